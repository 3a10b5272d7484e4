"""BERT: published sizes, what padding, segments and positions do, every kind of output, and recomputed activations."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.models.bert import Bert, bert, bert_base, bert_d2l, bert_large, bert_tiny, minilm_l6
from d2lcli.training.heads import head_name

OUTPUTS = ("pretraining", "sentence", "tokens", "span")
every_output = pytest.mark.parametrize("output", OUTPUTS)
LENGTHS = torch.tensor([9, 4, 1])


def small(**options: Any) -> Bert:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 11, "dim": 12, "num_heads": 3, "num_layers": 2, "hidden": 20, "max_len": 16}
    return bert(**sizes | {"dropout": 0.0, "num_classes": 5} | options).double().eval()


def loud(**options: Any) -> Bert:
    """Weights so large that the outputs depend on every token."""
    model = small(**options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def text(n: int = 3, t: int = 9, seed: int = 0) -> Tensor:
    return torch.randint(11, (n, t), generator=torch.Generator().manual_seed(seed))


def segments() -> Tensor:
    return (torch.arange(9) >= torch.tensor([[5], [2], [0]])).long()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def outputs_of(made: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize(
    ("build", "with_pooler", "with_heads"),
    [(bert_base, 109_482_240, 110_106_428), (bert_large, 335_141_888, 336_226_108), (minilm_l6, 22_713_216, None)],
)
def test_published_sizes(build: Any, with_pooler: int, with_heads: int | None) -> None:
    with torch.device("meta"):
        model = build()
    assert count(model.embedding) + count(model.blocks) + count(model.pooler) == with_pooler
    assert count(model) == with_heads or with_heads is None


def test_the_book_s_size() -> None:
    with torch.device("meta"):
        assert count(bert_d2l(vocab_size=20_256)) == 5_632_546


def test_the_number_of_parameters() -> None:
    """Per block 4 d^2 + 4 d of attention, 2 d h + h + d of the two layers and 4 d of norms."""
    d, h, blocks, tokens, most = 128, 512, 2, 1000, 128
    block = 4 * d**2 + 4 * d + 2 * d * h + h + d + 4 * d
    encoder = (tokens + 2 + most) * d + 2 * d + blocks * block
    pooler, transform = d**2 + d, d**2 + d + 2 * d
    assert count(bert_tiny(vocab_size=tokens)) == encoder + pooler + transform + tokens + 2 * d + 2
    assert count(bert_tiny(vocab_size=tokens, output="sentence", num_classes=3)) == encoder + pooler + 3 * d + 3
    assert count(bert_tiny(vocab_size=tokens, output="tokens", num_classes=7)) == encoder + 7 * d + 7
    assert count(bert_tiny(vocab_size=tokens, output="span")) == encoder + 2 * d + 2


def test_the_book_s_shapes() -> None:
    """Of its heads, for two sequences of eight tokens with three masked ones each."""
    model = bert_d2l(vocab_size=10_000)
    tokens, positions = torch.randint(10_000, (2, 8)), torch.tensor([[1, 5, 2], [6, 1, 5]])
    logits, next_sentence = model(tokens, torch.zeros_like(tokens), None, positions)
    assert logits.shape == (2, 3, 10_000)
    assert next_sentence.shape == (2, 2)
    assert model.encode(tokens).shape == (2, 8, 128)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_book_s_encoder_is_torch_s(lengths: Tensor | None) -> None:
    """Post-norm blocks with relu over the plain sum of the three embeddings."""
    torch.manual_seed(0)
    model = bert_d2l(vocab_size=11).double().eval()
    words = {
        "attention.": "self_attn.",
        "add_attention.norm.": "norm1.",
        "feed_forward.": "",
        "add_feed_forward.norm.": "norm2.",
    }
    table, parts = dict(model.named_parameters()), model.embedding
    x = table["embedding.tokens.weight"][text()] + table["embedding.segments.weight"][segments()]
    x = x + parts.positions.weight[0, :9]
    padding = None if lengths is None else torch.arange(9) >= lengths[:, None]
    for block in model.blocks:
        twin = nn.TransformerEncoderLayer(128, 2, 256, batch_first=True, dtype=torch.float64).eval()
        own = block.state_dict()
        twin.load_state_dict(
            {
                theirs + key.removeprefix(ours): own[key]
                for key in own
                for ours, theirs in words.items()
                if key.startswith(ours)
            }
        )
        x = twin(x, src_key_padding_mask=padding)
    made = model.encode(text(), segments(), lengths)
    valid = slice(None) if padding is None else ~padding
    torch.testing.assert_close(made[valid], x[valid])


@every_output
def test_padding_changes_nothing(output: str) -> None:
    model, tokens, kinds = loud(output=output), text(), segments()
    padding = torch.arange(9) >= LENGTHS[:, None]
    other, other_kinds = (value.where(~padding, (value + 1) % most) for value, most in ((tokens, 11), (kinds, 2)))
    made = outputs_of(model(tokens, kinds, LENGTHS))
    for before, after in zip(made, outputs_of(model(other, other_kinds, LENGTHS)), strict=True):
        valid = ~padding if before.shape[1] == 9 else slice(None)
        assert torch.equal(before[valid], after[valid])
    for i, length in enumerate(LENGTHS.tolist()):
        alone = outputs_of(model(tokens[i : i + 1, :length], kinds[i : i + 1, :length]))
        for value, expected in zip(made, alone, strict=True):
            torch.testing.assert_close(value[i : i + 1, : expected.shape[1]], expected)


@every_output
def test_tokens_segments_and_positions_matter(output: str) -> None:
    model, tokens, kinds = loud(output=output), text(), segments()
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % 11
    for made in (model(other, kinds), model(tokens, 1 - kinds), model(tokens.roll(1, 1), kinds.roll(1, 1))):
        for before, after in zip(outputs_of(model(tokens, kinds)), outputs_of(made), strict=True):
            assert not (before == after).any()


@every_output
def test_no_segments_are_zeros_and_no_lengths_are_all(output: str) -> None:
    model, tokens = loud(output=output), text()
    given = model(tokens, torch.zeros_like(tokens), torch.full((3,), 9))
    for one, other in zip(outputs_of(model(tokens)), outputs_of(given), strict=True):
        torch.testing.assert_close(one, other)


def test_logits_at_positions_are_those_of_all_tokens() -> None:
    model, positions = loud(), torch.tensor([[8, 0], [3, 3], [1, 7]])
    everywhere, next_sentence = model(text(), segments(), LENGTHS)
    logits, same = model(text(), segments(), LENGTHS, positions)
    torch.testing.assert_close(logits, torch.stack([everywhere[i, row] for i, row in enumerate(positions.tolist())]))
    assert torch.equal(next_sentence, same)
    none, _ = model(text(), segments(), LENGTHS, positions[:, :0])
    assert none.shape == (3, 0, 11)


def test_the_ends_of_an_answer_are_no_padding() -> None:
    logits = loud(output="span")(text(), segments(), LENGTHS)
    assert torch.equal(logits == -torch.inf, (torch.arange(9) >= LENGTHS[:, None])[..., None].expand(3, 9, 2))
    assert logits.softmax(1).sum(1).allclose(torch.ones((), dtype=torch.float64))


def test_sentence_embeddings() -> None:
    model = loud()
    made = model.embed(text(), segments(), LENGTHS)
    states = model.encode(text(), segments(), LENGTHS)
    expected = torch.stack([states[i, :length].mean(0) for i, length in enumerate(LENGTHS.tolist())])
    torch.testing.assert_close(made, expected / expected.norm(dim=1, keepdim=True))
    torch.testing.assert_close(model.embed(text()), functional.normalize(model.encode(text()).mean(1), dim=1))


@pytest.mark.parametrize("pool", ["first", "mean"])
def test_a_sentence_is_judged_by_its_first_token_or_by_all(pool: str) -> None:
    model = loud(output="sentence", pool=pool)
    states = model.encode(text(), segments(), LENGTHS)
    lengths = LENGTHS.tolist() if pool == "mean" else [1, 1, 1]
    read = torch.stack([states[i, :length].mean(0) for i, length in enumerate(lengths)])
    expected = model.head(model.pooler(read).tanh())
    torch.testing.assert_close(model(text(), segments(), LENGTHS), expected)
    torch.testing.assert_close(model(text(), segments()), model(text(), segments(), torch.tensor([9, 9, 9])))


@every_output
def test_gradients_reach_every_parameter(output: str) -> None:
    model = small(output=output, num_classes=1 if output == "sentence" else 3)
    sum(each.square().mean() for each in outputs_of(model(text(), segments()))).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@every_output
def test_the_backbone_s_names_do_not_depend_on_the_output(output: str) -> None:
    model, backbone = small(output=output), ("embedding.", "blocks.")
    own = {name for name in model.state_dict() if not name.startswith(backbone)}
    assert {name for name in model.state_dict() if name not in own} == {
        name for name in small().state_dict() if name.startswith(backbone)
    }
    pooler, head = {"pooler.weight", "pooler.bias"}, {"head.weight", "head.bias"}
    if output != "pretraining":
        assert head_name(model) == "head"
        assert own == (pooler | head if output == "sentence" else head)


@pytest.mark.parametrize("build", [bert_tiny, bert_d2l])
def test_the_first_weights(build: Any) -> None:
    torch.manual_seed(0)
    for name, parameter in build(vocab_size=500).named_parameters():
        if "norm" in name:
            assert (parameter == float(name.endswith("weight"))).all()
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            off = 5 * 0.02 / parameter.numel() ** 0.5
            assert abs(parameter.mean()) < off and abs(parameter.std() - 0.02) < off, name


def test_the_masked_tokens_head_is_tied_but_not_the_book_s() -> None:
    tied, untied = bert_tiny(vocab_size=11), bert_d2l(vocab_size=11)
    assert tied.masked.decoder.weight is tied.embedding.tokens.weight
    assert untied.masked.decoder.weight is not untied.embedding.tokens.weight


def test_where_dropout_is() -> None:
    """As in the paper's code: none on hidden units; the book's has none on embeddings either."""

    def places(model: Bert) -> Iterator[str]:
        for name, module in model.named_modules():
            if isinstance(module, nn.Dropout) and module.p:
                yield name.replace("blocks.0.", "")

    blocks = ["add_attention.dropout", "add_feed_forward.dropout"]
    assert [*places(bert_tiny(vocab_size=11, num_layers=1))] == ["embedding.dropout", *blocks]
    assert [*places(bert_d2l(vocab_size=11, num_layers=1))] == blocks
    assert [*places(bert_tiny(vocab_size=11, num_layers=1, output="tokens"))][-1] == "dropout"


class Kept:
    """Counts the values that are kept for the backward pass outside of what is recomputed."""

    def __init__(self) -> None:
        self.values = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        self.values += tensor.numel()
        return tensor


@every_output
def test_recomputed_activations_change_no_bit(output: str) -> None:
    gradients, kept = [], []
    for checkpointing in (False, True):
        model = small(output=output, dropout=0.3, checkpointing=checkpointing).float().train()
        torch.manual_seed(1)
        kept.append(Kept())
        with torch.autograd.graph.saved_tensors_hooks(kept[-1], lambda tensor: tensor):
            made = outputs_of(model(text(), segments()))
        torch.stack([each.square().mean() for each in made]).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())
    assert kept[1].values < kept[0].values / 2


def test_it_learns_what_only_both_sides_can_tell() -> None:
    """The masked token is the sum of its neighbours."""
    torch.manual_seed(0)
    model = bert(vocab_size=6, dim=32, num_heads=2, num_layers=2, hidden=64, max_len=3, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    middle = torch.ones(64, 1, dtype=torch.long)
    for _ in range(500):
        tokens = torch.randint(5, (64, 3))
        target = (tokens[:, 0] + tokens[:, 2]) % 5
        tokens[:, 1] = 5
        logits, _ = model(tokens, positions=middle)
        loss = functional.cross_entropy(logits[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_len": 0}, "max_len must be at least 1"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"num_heads": 5}, "num_heads must divide the width 12"),
        ({"dropout": 1.5}, "dropout"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"pool": "max"}, "pool must be first or mean, but it is 'max'"),
        ({"output": "tagging"}, "output must be one of pretraining, sentence, tokens, span, but it is 'tagging'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_more_tokens_than_max_len_are_refused() -> None:
    with pytest.raises(ValueError, match="max_len is 16, but there are 17 tokens"):
        small()(text(1, 17))
