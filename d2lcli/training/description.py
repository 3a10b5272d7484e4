"""A model of a config in figures: layers, shapes, parameters, multiply-adds and memory, without data or weights."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from d2lcli.errors import ConfigError
from d2lcli.registry import DATASETS, MODELS, OPTIMIZERS
from d2lcli.training.freezing import freeze
from d2lcli.training.heads import set_head
from d2lcli.training.memory import PRECISION_BYTES, Memory, state_tensors, training_memory
from d2lcli.training.options import model_options
from d2lcli.training.summary import Layer, Summary, summarize

SENTENCE = 10  # tokens that stand for a sentence, where each has its own length


def describe(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `show` prints, as plain values.  Shapes have the batch first, of size 1; memory is in bytes.

    Raises:
        ConfigError: the model refuses its options.
    """
    name = values["model"]["name"]
    shape = _data_shape(values)
    num_outputs = DATASETS.describe(values["data"]["name"]).num_outputs
    options = model_options(values, shape, num_outputs)
    input_shape = _input_shape(values, options, shape)
    if "image_size" in options:
        options["image_size"] = input_shape[-1]
    try:
        with torch.device("meta"):
            model: nn.Module = MODELS.build(name, **options)
            set_head(model, values["head"])
            freeze(model, values["freeze"])
        if hasattr(model, "latent_shape"):  # a GAN: what its generator makes goes through its discriminator
            input_shape = cast(tuple[int, ...], model.latent_shape)
            model = nn.Sequential(OrderedDict(model.named_children()))
        summary = summarize(model, input_shape, **_token_inputs(name, input_shape))
    except ValueError as error:
        raise ConfigError(f"model '{name}': {error}") from None
    settings = _memory_settings(values)
    memories = _memories(values, summary, settings["batch_size"])
    chosen = (settings["optimizer_name"], settings["precision"])
    return {
        "model": name,
        "data": values["data"]["name"],
        "input_shape": list(summary.input_shape),
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "note": _note(values["data"]["name"]),
        "activation_bytes": summary.activation_bytes,
        "layers": [_layer_row(layer) for layer in summary.layers],
        "memory": settings | asdict(memories[chosen]) | {"total": memories[chosen].total},
        "memory_table": [
            {"optimizer": name, "precision": precision, "state": memory.optimizer, "total": memory.total}
            | {"chosen": (name, precision) == chosen}
            for (name, precision), memory in memories.items()
        ],
    }


def _token_inputs(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What `summarize` is told of a model of tokens: that of pairs also takes lengths and target tokens."""
    if "vocab_size" not in MODELS.parameters(name):
        return {}
    if MODELS.describe(name).task != "sequence_to_sequence":
        return {"input_dtype": torch.int64}
    lengths = torch.empty(1, dtype=torch.int64, device="meta")
    return {"input_dtype": torch.int64, "further": (lengths, lengths.expand(1, *shape))}


def _data_shape(values: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of one example by the registry, images resized as in training; empty where only loading tells it."""
    shape = DATASETS.describe(values["data"]["name"]).shape
    size = values["data"].get("image_size") or values["model"].get("image_size")
    return (shape[0], size, size) if size and len(shape) == 3 else shape


def _input_shape(values: Mapping[str, Any], options: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one example: the sizes that the model is built for first, then the data's, then the defaults."""
    takes = MODELS.parameters(values["model"]["name"])
    if "in_channels" in takes:
        channels = options.get("in_channels", takes["in_channels"].default)
        size = values["data"].get("image_size") or values["model"].get("image_size") or (shape[-1] if shape else 0)
        if size:
            return (channels, size, size)
    if "in_features" in takes and (values["model"].get("in_features") or not shape):
        return (options.get("in_features", takes["in_features"].default),)
    if shape:
        return shape
    if "num_steps" in values["data"]:
        return (values["data"]["num_steps"] or SENTENCE,)
    name = values["data"]["name"]
    raise ConfigError(f"data '{name}' tells the shape of its examples only when it is loaded", "set model.image_size")


def _note(data: str) -> str:
    entry = DATASETS.describe(data)
    if entry.shape and entry.num_outputs:
        return ""
    return f"data '{data}' tells all its sizes only when it is loaded; what is missing is the model's default"


def _memory_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the memory depends on, for one device; precision `auto` counts as float32, which needs most."""
    precision = values["hardware"]["precision"]
    return {
        "batch_size": -(-values["data"]["batch_size"] // values["hardware"]["devices"]),
        "precision": "fp32" if precision == "auto" else precision,
        "optimizer_name": values["optim"]["name"],
    }


def _memories(values: Mapping[str, Any], summary: Summary, batch_size: int) -> dict[tuple[str, str], Memory]:
    """The memory by optimizer and precision: the config's optimizer with its options, others with defaults."""
    memories = {}
    for name, state in _optimizer_states(values["optim"]).items():
        for precision in PRECISION_BYTES:
            memories[name, precision] = training_memory(
                summary, batch_size=batch_size, state_tensors=state, precision=precision, ema=bool(values["ema"])
            )
    return memories


def _optimizer_states(optim: Mapping[str, Any]) -> dict[str, float]:
    """How many tensors of the size of the weights each optimizer keeps, by its name."""
    states = {}
    for name in sorted({*OPTIMIZERS.names(), optim["name"]}):
        chosen = name == optim["name"]
        options = {key: optim[key] for key in OPTIMIZERS.parameters(name) if chosen and key in optim}
        try:
            states[name] = state_tensors(partial(_build_optimizer, name, options))
        except Exception:  # a plugin's optimizer may refuse its defaults or the probe: its row is left out
            if chosen:
                raise
    return states


def _build_optimizer(name: str, options: Mapping[str, Any], params: list[nn.Parameter]) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = OPTIMIZERS.build(name, params=params, **options)
    return optimizer


def _layer_row(layer: Layer) -> dict[str, Any]:
    """A layer as plain values; the receptive field is a number, "all" of the input, or None."""
    field, stride = layer.receptive_field, layer.stride
    return asdict(layer) | {
        "output_shape": list(layer.output_shape),
        "receptive_field": "all" if field == math.inf else None if field is None else math.ceil(field),
        "stride": int(stride) if stride is not None and stride == int(stride) else stride,
    }
