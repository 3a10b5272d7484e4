"""GPTs with converted weights give the logits of Hugging Face transformers, from its memory and from its files.

Everything is built from a configuration with random weights: nothing is downloaded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from d2lcli.models.gpt import Decoder, gpt1, gpt2, transformer_lm
from d2lcli.training.converters import convert, recognise

REASON = "transformers is not installed: pip install -c constraints.txt -e '.[slow]'"
pytestmark = pytest.mark.slow

SMALL = {"vocab_size": 31, "n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4}


def small(**options: Any) -> Decoder:
    sizes: dict[str, Any] = {"vocab_size": 31, "max_len": 20, "dim": 24, "num_layers": 3, "num_heads": 4, "hidden": 96}
    return transformer_lm(**sizes, activation="gelu_tanh", **options)


CASES: dict[str, tuple[str, dict[str, Any], Callable[..., Decoder]]] = {
    "gpt1 small": ("OpenAIGPT", SMALL, lambda **options: small(norm_first=False, **options)),
    "gpt2 small": ("GPT2", SMALL, small),
    "gpt1": ("OpenAIGPT", {}, gpt1),
    "gpt2": ("GPT2", {}, gpt2),
}
every_case = pytest.mark.parametrize(("family", "sizes", "build"), CASES.values(), ids=list(CASES))


def drawn(family: str, sizes: dict[str, Any], head: str, **options: Any) -> nn.Module:
    """A model of transformers in which no two tensors are alike: norms and biases are drawn, too."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**sizes, **options)
    model: nn.Module = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.uniform_(0.5, 1.5) if name.endswith("weight") else value.normal_(std=0.5)
    return model


def tensors_of(model: nn.Module, source: str, folder: Path) -> dict[str, Tensor]:
    """In memory; in a file of today; in one of the first years, of the trunk alone, with the causal masks."""
    if source == "memory":
        return model.state_dict()
    model.save_pretrained(folder)  # type: ignore[operator]
    found = load_file(folder / "model.safetensors")
    if source == "file":
        return found
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8).tril() for i in range(3)}
    return {name.removeprefix("transformer."): tensor for name, tensor in found.items()} | masks


def tokens_for(model: Decoder) -> Tensor:
    most, vocab_size = model.max_len, model.embedding.num_embeddings
    return torch.randint(vocab_size, (2, min(most, 64)), generator=torch.Generator().manual_seed(1))


@every_case
@pytest.mark.parametrize("source", ["memory", "file", "old file"])
def test_logits(family: str, sizes: dict[str, Any], build: Callable[..., Decoder], source: str, tmp_path: Path) -> None:
    theirs, ours = drawn(family, sizes, "LMHeadModel"), build().eval()
    tensors = tensors_of(theirs, source, tmp_path)
    assert recognise(tensors, ours.state_dict()) == "transformers gpt"
    missing, unexpected = ours.load_state_dict(convert(tensors, ours.state_dict()), strict=False)
    assert missing == [] and all(name.endswith(".attn.bias") for name in unexpected)
    tokens = tokens_for(ours)
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt1 small", "gpt2 small"])
def test_loss_and_gradients(name: str) -> None:
    """Of the next-token loss, with which transformers shifts the labels itself."""
    family, sizes, build = CASES[name]
    theirs, ours = drawn(family, sizes, "LMHeadModel"), build().eval()
    ours.load_state_dict(convert(theirs.state_dict(), ours.state_dict()))
    tokens = tokens_for(ours)
    expected = theirs(tokens, labels=tokens).loss
    loss = nn.functional.cross_entropy(ours(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    expected.backward()
    loss.backward()
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    converted = convert(gradients, ours.state_dict())
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, converted[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt1 small", "gpt2 small"])
def test_classifier_of_texts(name: str) -> None:
    """GPT2ForSequenceClassification reads the last token that is no padding; its head has no bias, as ours at first."""
    family, sizes, build = CASES[name]
    theirs = drawn(family, sizes, "ForSequenceClassification", num_labels=5, pad_token_id=0)
    ours = build(output="sentence", num_classes=5).eval()
    assert isinstance(ours.classifier, nn.Linear)
    missing, unexpected = ours.load_state_dict(convert(theirs.state_dict(), ours.state_dict()), strict=False)
    assert missing == ["classifier.weight", "classifier.bias"] and unexpected == ["score.weight"]
    with torch.no_grad():
        ours.classifier.weight.copy_(theirs.get_parameter("score.weight"))
        ours.classifier.bias.zero_()
    lengths = torch.tensor([20, 7, 1])
    tokens = torch.randint(1, 31, (3, 20), generator=torch.Generator().manual_seed(1))
    tokens[torch.arange(20) >= lengths[:, None]] = 0
    with torch.no_grad():
        expected = theirs(tokens, attention_mask=tokens > 0).logits
        torch.testing.assert_close(ours(tokens, None, lengths), expected, rtol=1e-4, atol=1e-4)
