"""Our T5 with converted weights gives what Hugging Face transformers gives: states, logits, gradients and buckets.

Everything is built from a configuration with random weights: nothing is downloaded.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.models.t5 import T5, t5, t5_small
from d2lcli.nn.relative_positions import RelativePositions
from d2lcli.training.converters import convert

REASON = "transformers is not installed: pip install -c constraints.txt -e '.[slow]'"
pytestmark = pytest.mark.slow

OURS = {"vocab_size": 97, "dim": 48, "num_heads": 4, "head_dim": 16, "num_layers": 3, "hidden": 80, "max_distance": 40}
THEIRS = {
    "vocab_size": 97,
    "d_model": 48,
    "num_heads": 4,
    "d_kv": 16,
    "num_layers": 3,
    "d_ff": 80,
    "relative_attention_max_distance": 40,
}
LENGTHS = torch.tensor([150, 31, 2])
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def drawn(size: str) -> nn.Module:
    """A model of transformers in which no two tensors are alike, and the positions count."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(0)
    config = transformers.T5Config(dropout_rate=0.0, **(THEIRS if size == "small config" else {}))
    model: nn.Module = transformers.T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "layer_norm" in name:
                value.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                value.normal_()
    return model


def converted(size: str, theirs: nn.Module, source: str, path: Path) -> T5:
    """Ours with the weights of theirs, every tensor of it."""
    ours = t5(**OURS, dropout=0.0) if size == "small config" else t5_small(dropout=0.0)  # type: ignore[arg-type]
    tensors: dict[str, Tensor] = theirs.state_dict()
    if source == "file":
        theirs.save_pretrained(path)  # type: ignore[operator]
        tensors = load_file(path / "model.safetensors")
    ours.load_state_dict(convert(tensors, ours.state_dict()))
    return ours.eval()


def inputs(size: str) -> tuple[Tensor, Tensor]:
    """Source tokens with padding of any tokens, and target input."""
    generator = torch.Generator().manual_seed(1)
    vocab_size = 97 if size == "small config" else 32_128
    return (
        torch.randint(vocab_size, (3, 150), generator=generator),
        torch.randint(vocab_size, (3, 140), generator=generator),
    )


def counted() -> Tensor:
    return torch.arange(150) < LENGTHS[:, None]


@torch.no_grad()
@pytest.mark.parametrize("source", ["memory", "file"])
@pytest.mark.parametrize("size", ["small config", "t5-small"])
def test_states_and_logits(size: str, source: str, tmp_path: Path) -> None:
    theirs = drawn(size)
    ours = converted(size, theirs, source, tmp_path)
    tokens, target = inputs(size)
    expected = theirs(
        input_ids=tokens, attention_mask=counted().long(), decoder_input_ids=target, output_hidden_states=True
    )
    seen: list[Tensor] = []
    for block in ours.decoder:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    logits = ours(tokens, LENGTHS, target)
    memory, _ = ours._encode(tokens, LENGTHS)
    torch.testing.assert_close(memory[counted()], expected.encoder_last_hidden_state[counted()], **CLOSE)
    for mine, state in zip(seen, expected.decoder_hidden_states[:-1], strict=True):
        torch.testing.assert_close(mine, state, **CLOSE)
    torch.testing.assert_close(logits, expected.logits, **CLOSE)
    assert logits.std() > 0.3


@torch.no_grad()
@pytest.mark.parametrize("act", ["gated-gelu", "gated-silu", "gelu_new"])
def test_logits_of_version_1_1(act: str) -> None:
    """Two layers times each other, a head of its own, and a decoder of another depth."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(0)
    config = transformers.T5Config(
        dropout_rate=0.0, feed_forward_proj=act, tie_word_embeddings=False, num_decoder_layers=2, **THEIRS
    )
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    more = {"gelu_new": "gelu_tanh", "gated-gelu": "gelu_tanh", "gated-silu": "silu"}
    ours = t5(
        **OURS,
        dropout=0.0,
        activation=more[act],
        gated="gated" in act,
        tied=False,
        decoder_layers=2,  # type: ignore[arg-type]
    ).eval()
    tensors = theirs.state_dict() | {"lm_head.weight": torch.randn(97, 48)}
    theirs.lm_head.weight = nn.Parameter(tensors["lm_head.weight"])
    ours.load_state_dict(convert(tensors, ours.state_dict()))
    tokens, target = inputs("small config")
    expected = theirs(input_ids=tokens, attention_mask=counted().long(), decoder_input_ids=target).logits
    torch.testing.assert_close(ours(tokens, LENGTHS, target), expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("size", ["small config", "t5-small"])
def test_steps_with_a_cache(size: str, tmp_path: Path) -> None:
    """Also where the distances are beyond the largest bucket."""
    theirs = drawn(size)
    ours = converted(size, theirs, "memory", tmp_path)
    tokens, target = inputs(size)
    expected = theirs(input_ids=tokens, attention_mask=counted().long(), decoder_input_ids=target).logits
    state = ours.begin(tokens, LENGTHS)
    for first, last in [(0, 130), *((t, t + 1) for t in range(130, 140))]:
        logits, state = ours.step(target[:, first:last], state)
        torch.testing.assert_close(logits, expected[:, first:last], **CLOSE)


def test_gradients(tmp_path: Path) -> None:
    """In float64, those of the tables of positions and of the tied embeddings among them."""
    theirs = drawn("small config")
    ours = converted("small config", theirs, "memory", tmp_path).double()
    theirs.double()
    tokens, target = inputs("small config")
    labels = target.roll(-1, 1)
    theirs(input_ids=tokens, attention_mask=counted().long(), decoder_input_ids=target, labels=labels).loss.backward()
    functional.cross_entropy(ours(tokens, LENGTHS, target).flatten(0, 1), labels.flatten()).backward()
    expected = convert({name: p.grad for name, p in theirs.named_parameters()}, ours.state_dict())
    for name, parameter in ours.named_parameters():
        # transformers norms in float32 whatever the type of the model.
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (8, 20), (6, 33), (20, 1000), (128, 200)])
def test_buckets(buckets: int, max_distance: int, causal: bool) -> None:
    modeling = pytest.importorskip("transformers.models.t5.modeling_t5", reason=REASON)
    positions = RelativePositions(2, 1.0, buckets, max_distance, causal)
    offsets = torch.arange(-1200, 1201)
    expected = modeling.T5Attention._relative_position_bucket(offsets, not causal, buckets, max_distance)
    assert torch.equal(positions.bucket(offsets), expected)
    assert positions.bucket(offsets).unique().numel() == buckets - (not causal), "all but the one of 0 after the query"


@torch.no_grad()
def test_initial_weights() -> None:
    """The spread of each of our tensors is that of theirs."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(0)
    ours, theirs = t5_small(num_layers=1), transformers.T5ForConditionalGeneration(transformers.T5Config(num_layers=1))
    expected = convert(theirs.state_dict(), ours.state_dict())
    for name, tensor in ours.state_dict().items():
        if tensor.ndim == 1:
            assert torch.equal(tensor, expected[name])
        else:
            few = tensor.numel() < 1000
            assert tensor.std().item() == pytest.approx(expected[name].std().item(), rel=0.2 if few else 0.02), name
