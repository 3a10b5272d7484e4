"""The GPTs: published sizes, initial weights, causality, checkpointing, the classifier of texts, cached decoding."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2lcli.models import gpt
from d2lcli.models.gpt import Decoder, SentenceClassifier, gpt1, gpt2, gpt_tiny
from d2lcli.training.heads import head_name

Builder = Callable[..., Decoder]
PUBLISHED = {
    "gpt1": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
}
every_order = pytest.mark.parametrize("build", [gpt_tiny, gpt1], ids=["pre-norm", "post-norm"])


def small(build: Builder, **options: Any) -> Decoder:
    """Two blocks, in float64; weights so large that the outputs depend on every token."""
    torch.manual_seed(0)
    model = build(**{"vocab_size": 11, "num_layers": 2, "max_len": 16} | options).double()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.2)
    return model


def text(n: int, t: int) -> Tensor:
    return torch.randint(11, (n, t), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_number_of_parameters(name: str) -> None:
    """V d + T d + L (12 d^2 + 13 d), and 2 d of the norm behind the blocks of a GPT-2."""
    build = getattr(gpt, name)
    with torch.device("meta"):
        model, classifier = build(), build(output="sentence", num_classes=5)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]
    dim = gpt.SIZES[name][0]
    assert sum(parameter.numel() for parameter in classifier.parameters()) == PUBLISHED[name] + 5 * (dim + 1)


@pytest.mark.parametrize(("build", "layers", "residual"), [(gpt2, 2, 0.01), (gpt2, 8, 0.005), (gpt1, 2, 0.02)])
def test_initial_weights(build: Builder, layers: int, residual: float) -> None:
    """0.02, and 0.02 / sqrt(2 L) for what adds to the residual stream of a GPT-2: measured over 590,000 or more."""
    torch.manual_seed(0)
    model = build(vocab_size=1000, num_layers=layers)
    adding = 0
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            adds = name.endswith(("out_proj.weight", "linear2.weight"))
            assert parameter.std().item() == pytest.approx(residual if adds else 0.02, rel=0.01), name
            assert abs(parameter.mean().item()) < 2e-4, name
            adding += adds
        else:
            assert torch.equal(parameter, torch.full_like(parameter, float(not name.endswith("bias")))), name
    assert adding == 2 * layers


def test_the_head_shares_the_embedding_s_weights() -> None:
    model = gpt_tiny()
    assert model.head.weight is model.embedding.weight
    assert "head.weight" not in dict(model.named_parameters())


def test_hidden_units_have_no_dropout() -> None:
    """Dropout is on embeddings, attention weights and the outputs of layers, as in both papers' code."""
    model = gpt2(vocab_size=11, num_layers=1, dropout=0.3)
    rates = {name: layer.p for name, layer in model.named_modules() if isinstance(layer, nn.Dropout)}
    assert rates.pop("blocks.0.feed_forward.dropout") == 0.0
    assert set(rates.values()) == {0.3} and len(rates) == 3
    assert model.get_submodule("blocks.0.attention").dropout == 0.3


@every_order
@pytest.mark.parametrize("training", [False, True])
def test_a_later_token_changes_no_earlier_output(build: Builder, training: bool) -> None:
    model = small(build, dropout=0.0).train(training)
    tokens = text(2, 9)
    other = tokens.clone()
    other[:, 5] = (other[:, 5] + 1) % 11
    before, after = model(tokens), model(other)
    assert torch.equal(before[:, :5], after[:, :5])
    assert all(not torch.allclose(before[:, i], after[:, i]) for i in range(5, 9))


@every_order
@pytest.mark.parametrize("pieces", [[1] * 16, [5, 1, 1, 9]])
def test_a_cache_changes_no_logits(build: Builder, pieces: list[int]) -> None:
    model, tokens = small(build).eval(), text(3, 16)
    state, parts = model.begin(3), []  # type: ignore[operator]
    for piece in tokens.split(pieces, 1):
        logits, state = model(piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens))


def trained(model: Decoder) -> tuple[Tensor, dict[str, Tensor], int]:
    """The loss of one batch, all gradients, and how many bytes were kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    tokens = text(4, 16)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(tokens).flatten(0, -2)
    loss = nn.functional.cross_entropy(logits, tokens.flatten()[: len(logits)])
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return loss.detach(), gradients, sum(size for address, size in kept.items() if address not in own)


@every_order
@pytest.mark.parametrize("output", ["language_model", "sentence"])
def test_checkpointing_changes_memory_and_nothing_else(build: Builder, output: str) -> None:
    """Bit for bit, with dropout.  Of a block only its input is kept, one tensor of the width where there were 18."""
    options = {"output": output, "num_classes": 11, "dropout": 0.3, "num_layers": 4}
    loss, gradients, kept = trained(small(build, **options))
    other, same, less = trained(small(build, checkpointing=True, **options))
    assert torch.equal(loss, other)
    assert gradients.keys() == same.keys() and all(torch.equal(gradients[name], same[name]) for name in gradients)
    assert less < kept / 8


def test_nothing_is_computed_again_in_an_evaluation() -> None:
    model, calls = small(gpt_tiny, checkpointing=True).eval(), []
    model.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(text(2, 9))
    assert len(calls) == 1


def test_the_classifier_reads_the_last_token_of_each_text() -> None:
    """W h + b of the last token's h, by hand; what lies behind it and segments change nothing."""
    model = small(gpt_tiny, output="sentence", num_classes=3).eval()
    assert isinstance(model, SentenceClassifier) and head_name(model) == "classifier"
    tokens, lengths = text(3, 9), torch.tensor([9, 4, 1])
    logits = model(tokens, None, lengths)
    assert logits.shape == (3, 3)
    for row, length in enumerate(lengths.tolist()):
        hidden = model.norm(model.run_blocks(model.embed(tokens[row : row + 1, :length])))[0, -1]
        torch.testing.assert_close(logits[row], model.classifier.weight @ hidden + model.classifier.bias)
    other = tokens.clone()
    other[1, 4:], other[2, 1:] = 0, 0
    torch.testing.assert_close(model(other, torch.ones_like(tokens), lengths), logits)
    torch.testing.assert_close(model(tokens[:1]), logits[:1])


def test_a_classifier_starts_from_a_language_model() -> None:
    model = small(gpt_tiny)
    classifier = small(gpt_tiny, output="sentence")
    missing, unexpected = classifier.load_state_dict(model.state_dict(), strict=False)
    assert missing == ["classifier.weight", "classifier.bias"] and unexpected == ["head.weight"]


@pytest.mark.parametrize("output", ["language_model", "sentence"])
def test_more_tokens_than_max_len_are_refused(output: str) -> None:
    with pytest.raises(ValueError, match="max_len is 16, but there are 17 tokens"):
        small(gpt_tiny, output=output)(text(1, 17))


def test_at_first_all_tokens_are_about_as_likely() -> None:
    """The first loss is log V, that of a guess."""
    torch.manual_seed(0)
    logits = gpt_tiny(vocab_size=50)(torch.randint(50, (4, 64)))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(50, (256,)))
    assert loss.item() == pytest.approx(math.log(50), abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_len": 0}, "max_len must be at least 1"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"dropout": 1.5}, "dropout must lie between 0 and 1"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt_tiny(**options)
