"""T5 under the names of transformers.

The names stand here as loops over the layers, written from its sources.  tests/reference compares logits.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2lcli.models.t5 import t5_small
from d2lcli.training.converters import convert, recognise, rename
from d2lcli.training.transfer import load
from d2lcli.training.weights import Weights

TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def transformers_t5(blocks: int = 6) -> Iterator[str]:
    yield "shared.weight"
    yield from TIED
    for stack, attentions in (("encoder", ("SelfAttention",)), ("decoder", ("SelfAttention", "EncDecAttention"))):
        yield f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        for i in range(blocks):
            block = f"{stack}.block.{i}.layer"
            for number, attention in enumerate(attentions):
                yield f"{block}.{number}.layer_norm.weight"
                yield from (f"{block}.{number}.{attention}.{part}.weight" for part in "qkvo")
            yield f"{block}.{len(attentions)}.layer_norm.weight"
            yield from (f"{block}.{len(attentions)}.DenseReluDense.{part}.weight" for part in ("wi", "wo"))
        yield f"{stack}.final_layer_norm.weight"


@pytest.fixture
def own() -> dict[str, Tensor]:
    with torch.device("meta"):
        return t5_small().state_dict()


def test_every_tensor_of_the_model_is_found(own: dict[str, Tensor]) -> None:
    tensors = {name: torch.zeros(1) for name in transformers_t5()}
    assert recognise(tensors, own) == "transformers t5"
    assert recognise(own, own) == "own"
    made = convert(tensors, own)
    assert set(made) == set(own)
    for mine, foreign in {
        "encoder_positions.table.weight": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "decoder.5.cross_attention.query.weight": "decoder.block.5.layer.1.EncDecAttention.q.weight",
        "decoder.3.cross_attention_norm.weight": "decoder.block.3.layer.1.layer_norm.weight",
        "encoder.2.feed_forward_norm.weight": "encoder.block.2.layer.1.layer_norm.weight",
        "decoder.2.feed_forward.linear1.weight": "decoder.block.2.layer.2.DenseReluDense.wi.weight",
    }.items():
        assert made[mine] is tensors[foreign]


def test_files_that_leave_out_what_is_tied(own: dict[str, Tensor]) -> None:
    """safetensors holds the table under its first name."""
    tensors = {name: torch.zeros(1) for name in transformers_t5() if name not in TIED}
    made = convert(tensors, own)
    assert set(made) == set(own)
    assert made["head.weight"] is made["embedding.weight"] is tensors["shared.weight"]


def test_a_report_of_an_old_file() -> None:
    """The table that old files hold for the attention to the memory is named as one without a place."""
    with torch.device("meta"):
        model = t5_small(vocab_size=20, num_layers=1)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    model = model.to_empty(device="cpu")
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    tensors = {name: torch.ones(shapes[rename(name, "transformers t5")]) for name in transformers_t5(1)}
    report = load(model, Weights(Path("w.safetensors"), "0" * 64, tensors | {unused: torch.ones(32, 8)}))
    assert report.unexpected == [unused] and not report.missing and not report.skipped and not report.new_head
    assert all(tensor.eq(1).all() for tensor in model.state_dict().values())
