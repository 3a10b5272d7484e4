"""The decoder-only Transformer: sizes, causality, cached decoding, and texts longer than it reads."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2lcli.generation.beam import beam
from d2lcli.generation.continuation import Continuation, first_read, next_logits
from d2lcli.generation.greedy import greedy
from d2lcli.models.gpt import TransformerLanguageModel, transformer_lm
from d2lcli.tasks.language_model import language_model
from d2lcli.tasks.losses import cross_entropy

FORMS: list[dict[str, Any]] = [
    {},
    {"positions": "sinusoidal", "norm_first": False, "activation": "relu", "bias": False},
    {"positions": "sinusoidal", "tied": False},
]
every_form = pytest.mark.parametrize("form", FORMS, ids=["gpt", "paper", "untied"])


def small(**options: Any) -> TransformerLanguageModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 11, "dim": 12, "num_heads": 3, "num_layers": 2, "hidden": 20, "max_len": 16}
    model = transformer_lm(**sizes | {"dropout": 0.0} | options)
    assert isinstance(model, TransformerLanguageModel)
    return model.double().eval()


def loud(**options: Any) -> TransformerLanguageModel:
    """Weights so large that the logits depend on every token."""
    model = small(**options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def text(n: int, t: int, seed: int = 0) -> Tensor:
    return torch.randint(11, (n, t), generator=torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_number_of_parameters() -> None:
    """Per block 4 d^2 + 4 d of attention, 2 d h + h + d of the two layers and 4 d of norms."""
    d, h, blocks, tokens, most = 128, 512, 4, 28, 256
    block = 4 * d**2 + 4 * d + 2 * d * h + h + d + 4 * d
    expected = tokens * d + most * d + blocks * block + 2 * d
    assert count(transformer_lm()) == expected == 829_696
    assert count(transformer_lm(positions="sinusoidal")) == expected - most * d
    assert count(transformer_lm(tied=False)) == expected + tokens * d
    assert count(transformer_lm(norm_first=False)) == expected - 2 * d
    assert count(transformer_lm(bias=False)) == expected - blocks * 4 * d


@every_form
@pytest.mark.parametrize("training", [False, True])
def test_a_later_token_changes_no_earlier_output(form: dict[str, Any], training: bool) -> None:
    model = loud(**form).train(training)
    tokens = text(2, 9)
    other = tokens.clone()
    other[:, 5] = (other[:, 5] + 1) % 11
    before, after = model(tokens), model(other)
    assert torch.equal(before[:, :5], after[:, :5])
    assert all(not torch.allclose(before[:, i], after[:, i]) for i in range(5, 9))


@every_form
@pytest.mark.parametrize("pieces", [[1] * 16, [5, 1, 1, 9], [16]])
def test_a_cache_changes_no_logits(form: dict[str, Any], pieces: list[int]) -> None:
    model, tokens = loud(**form), text(3, 16)
    state, parts = model.begin(3), []
    for piece in tokens.split(pieces, 1):
        logits, state = model(piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens), rtol=1e-10, atol=1e-10)
    assert all(part.shape == (2, 3, 3, 16, 4) for part in state)


def test_with_a_cache_each_token_is_read_once() -> None:
    model, read = loud(), []
    model.embedding.register_forward_hook(lambda layer, inputs, outputs: read.append(inputs[0].shape[1]))
    greedy(max_tokens=8)(next_logits(model), text(1, 5))
    assert read == [5] + [1] * 7


@every_form
@pytest.mark.parametrize("decoder", [greedy(12), beam(12, beam_size=3)])
def test_a_cache_changes_no_text(form: dict[str, Any], decoder: Any) -> None:
    model, prompt = loud(**form), text(2, 4)
    plain, cached = (decoder(next_logits(model, cache=cache), prompt) for cache in (False, True))
    assert torch.equal(plain.tokens, cached.tokens)
    torch.testing.assert_close(plain.log_probs, cached.log_probs)


@pytest.mark.parametrize("decoder", [greedy(40), beam(40, beam_size=3)])
@pytest.mark.parametrize("prompt", [3, 16, 17, 45])
def test_nor_a_text_that_grows_beyond_max_len(decoder: Any, prompt: int) -> None:
    model = loud()
    plain, cached = (decoder(next_logits(model, cache=cache), text(2, prompt)) for cache in (False, True))
    assert torch.equal(plain.tokens, cached.tokens) and plain.tokens.shape == (2, prompt + 40)
    torch.testing.assert_close(plain.log_probs, cached.log_probs)


@pytest.mark.parametrize("max_len", [1, 2, 3, 7, 8])
def test_which_tokens_are_read(max_len: int) -> None:
    """The rule as a walk: a reader who is full goes on from the last half."""
    start = 0
    for length in range(1, 60):
        if length - start > max_len:
            start = length - max(max_len // 2, 1)
        assert first_read(length, max_len) == start
    assert first_read(10**6, None) == 0


def test_a_full_state_is_read_again_and_then_goes_on() -> None:
    model, tokens, read = loud(), text(1, 40), []
    model.embedding.register_forward_hook(lambda layer, inputs, outputs: read.append(inputs[0].shape[1]))
    source = Continuation(model)
    for length in range(16, 36):
        source(tokens[:, :length])
    assert read == [16, 8] + [1] * 8 + [8] + [1] * 8 + [8]


def test_more_tokens_than_max_len_are_refused() -> None:
    model = small()
    with pytest.raises(ValueError, match="max_len is 16, but there are 17 tokens"):
        model(text(1, 17))
    _, state = model(text(1, 16), model.begin(1))
    with pytest.raises(ValueError, match="max_len is 16, but there are 17 tokens"):
        model(text(1, 1), state)


def test_no_state_goes_on_from_window_to_window() -> None:
    model, task = loud(), language_model(cross_entropy, (), tbptt=4)
    tokens = text(2, 13)
    batch = (tokens[:, :-1], tokens[:, 1:], True)
    expected = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    for _ in range(3):
        torch.testing.assert_close(task.train_loss(model, batch), expected)
        torch.testing.assert_close(task.eval_step(model, batch)[0].mean(), expected)
    assert task.state() == {}


def test_at_first_all_tokens_are_about_as_likely() -> None:
    """With GPT's small embeddings the first loss is log V, that of a guess."""
    torch.manual_seed(0)
    logits = transformer_lm()(torch.randint(28, (4, 64)))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(28, (256,)))
    assert loss.item() == pytest.approx(math.log(28), abs=0.1)


def test_it_learns_what_only_attention_can_tell() -> None:
    """The token that follows is the one that stood four places before."""
    torch.manual_seed(0)
    model = transformer_lm(vocab_size=6, dim=32, num_heads=2, num_layers=2, hidden=64, max_len=16, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        tokens = torch.randint(6, (32, 4)).repeat(1, 4)
        logits = model(tokens[:, :-1])[:, 3:]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 4:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_len": 0}, "max_len must be at least 1"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_heads": 5}, "num_heads must divide the width 12"),
        ({"dropout": 1.5}, "dropout must lie between 0 and 1"),
        ({"activation": "swish"}, "activation must be one of"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)
