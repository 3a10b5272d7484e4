"""BERT under the names of transformers, and what of a pre-trained one another task takes over.

The names stand here as loops over the layers, written from its sources.  tests/reference compares hidden states.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2lcli.models.bert import Output, bert_tiny
from d2lcli.training.converters import convert, recognise
from d2lcli.training.transfer import load
from d2lcli.training.weights import Weights

HEADS = {
    "pretraining": ("cls.predictions.decoder", "cls.predictions.transform.dense", "cls.seq_relationship"),
    "sentence": ("classifier",),
    "tokens": ("classifier",),
    "span": ("qa_outputs",),
}


def state_of(output: Output, vocab_size: int = 20) -> dict[str, Tensor]:
    with torch.device("meta"):
        return bert_tiny(vocab_size=vocab_size, output=output).state_dict()


def transformers_bert(
    output: str, prefix: str = "bert.", affine: tuple[str, str] = ("weight", "bias")
) -> Iterator[str]:
    """`affine` are the names of a norm's tensors."""
    norms, layers = [f"{prefix}embeddings.LayerNorm"], list(HEADS[output])
    for table in ("word", "position", "token_type"):
        yield f"{prefix}embeddings.{table}_embeddings.weight"
    for i in range(2):
        block = f"{prefix}encoder.layer.{i}."
        layers += [block + "attention.self." + part for part in ("query", "key", "value")]
        layers += [block + part for part in ("attention.output.dense", "intermediate.dense", "output.dense")]
        norms += [block + part for part in ("attention.output.LayerNorm", "output.LayerNorm")]
    if output in ("pretraining", "sentence"):
        layers.append(f"{prefix}pooler.dense")
    if output == "pretraining":
        norms.append("cls.predictions.transform.LayerNorm")
    for layer in layers:
        yield from (f"{layer}.weight", f"{layer}.bias")
    for norm in norms:
        yield from (f"{norm}.{leaf}" for leaf in affine)


@pytest.mark.parametrize("affine", [("weight", "bias"), ("gamma", "beta")])
@pytest.mark.parametrize("prefix", ["bert.", ""])
@pytest.mark.parametrize("output", HEADS)
def test_every_tensor_of_the_model_is_found(output: Output, prefix: str, affine: tuple[str, str]) -> None:
    own, names = state_of(output), list(transformers_bert(output, prefix, affine))
    assert recognise(names, own) == "transformers bert"
    assert set(convert({name: torch.zeros(1) for name in names}, own)) == set(own)
    assert recognise(own, own) == "own"


def test_files_that_leave_out_what_is_tied() -> None:
    """safetensors holds the embedding but not the head's weight; the head's bias may lie beside its layer."""
    with torch.device("meta"):
        model = bert_tiny(vocab_size=20)
    names = {name for name in transformers_bert("pretraining") if "predictions.decoder" not in name}
    tensors = {name: torch.zeros(1) for name in names | {"cls.predictions.bias"}}
    made = convert(tensors, model.state_dict())
    assert set(made) == set(model.state_dict())
    assert made["masked.decoder.weight"] is tensors["bert.embeddings.word_embeddings.weight"]
    assert made["masked.decoder.bias"] is tensors["cls.predictions.bias"]


def test_positions_get_an_axis_for_the_batch_and_projections_are_stacked() -> None:
    tensors = {name: torch.zeros(4) for name in transformers_bert("span")}
    table = tensors["bert.embeddings.position_embeddings.weight"] = torch.arange(6.0).view(3, 2)
    for number, part in enumerate(("value", "key", "query")):
        tensors[f"bert.encoder.layer.1.attention.self.{part}.bias"] = torch.tensor([float(number)])
    made = convert(tensors, state_of("span"))
    assert torch.equal(made["embedding.positions.weight"], table[None])
    assert made["blocks.1.attention.in_proj_bias"].tolist() == [2, 1, 0]


@pytest.mark.parametrize("output", ["sentence", "tokens", "span"])
def test_another_task_takes_the_encoder_and_draws_its_head(output: Output) -> None:
    torch.manual_seed(0)
    source, model = bert_tiny(vocab_size=20), bert_tiny(vocab_size=20, output=output, num_classes=3)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load(model, Weights(Path("w.safetensors"), "0" * 64, source.state_dict()))
    assert report.new_head == ["head.weight", "head.bias"] and not report.missing and not report.skipped
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, first[name] if name in report.new_head else source.state_dict()[name])
    unused = ("masked.", "next_sentence.") + (() if output == "sentence" else ("pooler.",))
    assert report.unexpected == [name for name in source.state_dict() if name.startswith(unused)]
