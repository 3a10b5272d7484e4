"""`d2l show KEY=VALUE...`: a model's layers, shapes, parameters, multiply-adds and memory, without data."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2lcli.commands.terminal import print_json, print_table
from d2lcli.errors import ConfigError
from d2lcli.registry import DATASETS, MODELS, OPTIMIZERS

if TYPE_CHECKING:
    from torch import nn

    from d2lcli.training.summary import Memory, Summary


def show(overrides: list[str], json_output: bool, config_file: Path | None) -> None:
    """Print the model of a config.  No data set is loaded and no weight is drawn.

    Args:
        overrides: KEY=VALUE words of the command line.
        json_output: one JSON object instead of tables.
        config_file: a user's config.

    Raises:
        ConfigError: the config is wrong, or the model refuses its options.
    """
    from d2lcli.config import compose

    values = compose(overrides, config_file=config_file).values
    report = describe(values)
    if json_output:
        print_json(report)
    else:
        _print_tables(report)


def describe(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `show` prints, as plain values.  Shapes have the batch first, of size 1; memory is in bytes.

    Raises:
        ConfigError: the model refuses its options.
    """
    import torch

    from d2lcli.training.options import model_options
    from d2lcli.training.summary import summarize

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
        summary = summarize(model, input_shape)
    except ValueError as error:
        raise ConfigError(f"model '{name}': {error}") from None
    memory = _memory(values, summary)
    return {
        "model": name,
        "data": values["data"]["name"],
        "input_shape": list(summary.input_shape),
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "note": _note(values["data"]["name"]),
        "layers": [asdict(layer) | {"output_shape": list(layer.output_shape)} for layer in summary.layers],
        "memory": _memory_settings(values) | asdict(memory) | {"total": memory.total},
    }


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


def _memory(values: Mapping[str, Any], summary: "Summary") -> "Memory":
    from d2lcli.training.summary import state_tensors

    optim = values["optim"]
    options = {key: optim[key] for key in OPTIMIZERS.parameters(optim["name"]) if key in optim}
    settings = _memory_settings(values)
    return summary.memory(
        batch_size=settings["batch_size"],
        state_tensors=state_tensors(lambda params: OPTIMIZERS.build(optim["name"], params=params, **options)),
        precision=settings["precision"],
    )


def _print_tables(report: Mapping[str, Any]) -> None:
    print(f"{report['model']} on {report['data']}, input {' x '.join(map(str, report['input_shape']))}\n")
    columns = ("name", "type", "output_shape", "parameters", "multiply_adds")
    rows = [[layer[column] for column in columns] for layer in report["layers"]]
    rows.append(["(all)", "", "", report["parameters"], report["multiply_adds"]])
    print_table(["layer", "type", "output shape", "parameters", "multiply-adds"], rows)
    needs = report["memory"]
    print(f"\nMemory to train: batch {needs['batch_size']:,}, {needs['optimizer_name']}, {needs['precision']}\n")
    parts = ("parameters", "casts", "gradients", "optimizer", "activations", "total")
    print_table(["what", "bytes", "MiB"], [[part, needs[part], round(needs[part] / 2**20, 2)] for part in parts])
    if report["note"]:
        print(f"\nnote: {report['note']}")
