"""Encoder-decoders: sizes of the book, masks, causality, and cached decoding."""

from typing import Any

import pytest
import torch
from torch import nn

from d2lcli.generation.beam import beam
from d2lcli.generation.greedy import greedy
from d2lcli.generation.translation import Decoding
from d2lcli.models.seq2seq import seq2seq, seq2seq_attention
from d2lcli.models.transformer import transformer, transformer_base, transformer_d2l
from d2lcli.nn.additive import AdditiveAttention, masked_softmax
from d2lcli.registry import MODELS

SMALL = {"vocab_size": 11, "source_vocab_size": 13}
NAMES = [name for name in MODELS.names() if MODELS.describe(name).task == "sequence_to_sequence"]
TINY: dict[str, dict[str, Any]] = {
    "seq2seq": {"embed_dim": 8, "hidden_size": 8},
    "seq2seq_attention": {"embed_dim": 8, "hidden_size": 8},
    "transformer": {"dim": 8, "num_heads": 2, "hidden": 12, "num_layers": 2},
}
every_model = pytest.mark.parametrize("name", TINY)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(name: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build(name, **SMALL, **TINY[name], **more).double().eval()


def batch(n: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(4, 13, (n, 6), generator=generator)
    lengths = torch.tensor([6, 2, 4, 1, 5])[:n]
    source = source.masked_fill(torch.arange(6) >= lengths[:, None], 1)
    return source, lengths, torch.randint(4, 11, (n, 5), generator=generator)


def test_the_book_s_sizes() -> None:
    plain = seq2seq()
    encoder = count(plain.encoder)
    assert (encoder, count(plain) - encoder) == (840_704, 1_088_712)
    assert count(seq2seq_attention()) - count(plain) == 131_328
    small = transformer_d2l()
    encoder = count(small.source) + count(small.encoder)
    assert (encoder, count(small) - encoder) == (643_712, 1_220_424)
    with torch.device("meta"):
        base = transformer_base(tied="all")
    assert count(base) == pytest.approx(63.08e6, rel=1e-3)


@every_model
def test_padding_changes_nothing(name: str) -> None:
    model, (source, lengths, inputs) = build(name), batch()
    outputs = model(source, lengths, inputs)
    wider = nn.functional.pad(source, (0, 3), value=1)
    torch.testing.assert_close(model(wider, lengths, inputs), outputs)
    for row in range(3):
        alone = model(source[row : row + 1, : lengths[row]], lengths[row : row + 1], inputs[row : row + 1])
        torch.testing.assert_close(alone[0], outputs[row])


@every_model
@pytest.mark.parametrize("training", [False, True])
def test_no_token_sees_a_later_one(name: str, training: bool) -> None:
    model, (source, lengths, inputs) = build(name, dropout=0.0).train(training), batch()
    outputs = model(source, lengths, inputs)
    for t in range(1, 5):
        changed = inputs.clone()
        changed[:, t] = (inputs[:, t] + 1 - 4) % 7 + 4
        other = model(source, lengths, changed)
        assert torch.equal(other[:, :t], outputs[:, :t]) or torch.allclose(other[:, :t], outputs[:, :t], atol=1e-12)
        assert not torch.allclose(other[:, t:], outputs[:, t:])


@every_model
def test_step_by_step_equals_all_at_once(name: str) -> None:
    model, (source, lengths, inputs) = build(name), batch()
    state, parts = model.begin(source, lengths), []
    for t in range(5):
        logits, state = model.step(inputs[:, t : t + 1], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(source, lengths, inputs), rtol=1e-9, atol=1e-10)


@every_model
def test_sources_without_padding_step_by_step(name: str) -> None:
    model, (source, _, inputs) = build(name), batch()
    lengths = torch.tensor([6, 6, 6])
    state, parts = model.begin(source, lengths), []
    for t in range(5):
        logits, state = model.step(inputs[:, t : t + 1], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(source, lengths, inputs), rtol=1e-9, atol=1e-10)


@every_model
@torch.no_grad()
def test_rows_of_a_search_are_as_if_each_had_its_own_source(name: str) -> None:
    model, (source, lengths, inputs) = build(name), batch()
    tokens = torch.stack([inputs, inputs.flip(1)], 1).flatten(0, 1)  # (6, 5), two rows of each source
    rows = torch.tensor([1, 1, 2, 3, 5, 4])
    moved = torch.cat([tokens[rows, :3], tokens[:, 3:]], 1)
    found = Decoding(model, source, lengths)
    steps = [found(tokens[:, :1]), found(tokens[:, :3])]
    found.reorder(rows)
    steps.append(found(moved))
    alone = source.repeat_interleave(2, 0), lengths.repeat_interleave(2)
    before, after = model(*alone, tokens), model(*alone, moved)
    for step, expected in zip(steps, (before[:, 0], before[:, 2], after[:, 4]), strict=True):
        torch.testing.assert_close(step, expected)


@every_model
def test_a_cache_changes_no_translation(name: str) -> None:
    model, (source, lengths, _) = build(name), batch()
    start = torch.full((3, 1), 2)
    for decoder in (greedy(max_tokens=9), beam(max_tokens=9, beam_size=4)):
        plain, cached = (decoder(Decoding(model, source, lengths, cache=cache), start, 3) for cache in (False, True))
        assert torch.equal(plain.tokens, cached.tokens)
        torch.testing.assert_close(plain.log_probs, cached.log_probs)


@pytest.mark.parametrize("name", ["seq2seq_attention", "transformer"])
def test_attention_weights_are_a_distribution_over_the_source(name: str) -> None:
    model, (source, lengths, inputs) = build(name), batch()
    weights = model.attention_weights(source, lengths, inputs)
    assert weights.shape == (3, 5, 6)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 5, dtype=torch.float64))
    for row, length in enumerate(lengths.tolist()):
        assert weights[row, :, length:].eq(0).all()


def test_the_context_reaches_every_step() -> None:
    model, (source, lengths, inputs) = build("seq2seq"), batch()
    state = tuple(part.detach() for part in model.begin(source, lengths))
    context = state[-1].requires_grad_()
    logits, _ = model.step(inputs, (*state[:-1], context))
    for t in range(5):
        (gradient,) = torch.autograd.grad(logits[:, t].sum(), context, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_last_step_reads_the_padding() -> None:
    model, (source, lengths, inputs) = build("seq2seq", context="last_step"), batch()
    wider = nn.functional.pad(source, (0, 3), value=1)
    assert not torch.allclose(model(wider, lengths, inputs), model(source, lengths, inputs))


def test_additive_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    layer = AdditiveAttention(3, 4, 5).double()
    q, k, v = (torch.randn(2, n, d, dtype=torch.float64) for n, d in ((2, 3), (6, 4), (6, 7)))
    mask = torch.arange(6) < torch.tensor([[4], [6]])
    found, weights = layer(q, k, v, mask)
    for b in range(2):
        for m in range(2):
            scores = torch.stack(
                [
                    layer.score.weight[0] @ torch.tanh(layer.query.weight @ q[b, m] + layer.key.weight @ k[b, n])
                    for n in range(6)
                ]
            )
            expected = scores[mask[b]].softmax(0)
            torch.testing.assert_close(weights[b, m][mask[b]], expected)
            torch.testing.assert_close(found[b, m], expected @ v[b][mask[b]])


def test_masked_softmax_has_no_nan_where_nothing_is_let_in() -> None:
    mask = torch.tensor([[True, False], [False, False]])
    found = masked_softmax(torch.zeros(2, 1, 2), mask)
    assert found.tolist() == [[[1.0, 0.0]], [[0.0, 0.0]]]


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="one vocabulary"):
        transformer(vocab_size=3, source_vocab_size=4, tied="all")
