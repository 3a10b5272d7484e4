"""The options of a model's builder, from a checked config and what is known of the data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from d2lcli.errors import ConfigError
from d2lcli.registry import MODELS

FROM_DATA = (
    "in_features",
    "in_channels",
    "image_size",
    "num_classes",
    "num_outputs",
    "vocab_size",
    "source_vocab_size",
    "output",
)

# What comes out of a model of tokens that can do several tasks.
OUTPUTS = {
    "language_model": "language_model",
    "masked_language_model": "pretraining",
    "classification": "sentence",
    "regression": "sentence",
    "tagging": "tokens",
    "question_answering": "span",
}


def model_options(
    values: Mapping[str, Any],
    shape: Sequence[int],
    num_outputs: int,
    source_vocab_size: int = 0,
    vocab_size: int = 0,
) -> dict[str, Any]:
    """The options of the model's builder: the config's, each null that describes the data filled from it.

    `image_size` is the data's, because images are resized before the model sees them, and is left out where the builder
    does not take it.  What neither the config nor the data tells is left to the builder's own default.

    Args:
        values: a checked config; its node `model` has `name` and the options.
        shape: of one example, images as (channels, height, width); empty where it is not known.
        num_outputs: classes, regression targets or tokens; 0 where it is not known.
        source_vocab_size: tokens of the source language of pairs, likewise.
        vocab_size: tokens of the texts that the model reads, where they are not what it gives out.

    Raises:
        ConfigError: a model of images meets other data, or images too small for it; the minimum is named.
    """
    name = values["model"]["name"]
    _check_images(name, shape)
    options = {key: value for key, value in values["model"].items() if key != "name"}
    known: dict[str, Any] = _described(shape, num_outputs)
    known |= {"source_vocab_size": source_vocab_size} if source_vocab_size else {}
    known |= {"vocab_size": vocab_size} if vocab_size else {}
    if (task := values["task"]["name"]) in OUTPUTS:
        known["output"] = OUTPUTS[task]
    if "image_size" in known:
        options["image_size"] = known["image_size"]
    takes = MODELS.parameters(name)
    if "image_size" not in takes:
        options.pop("image_size", None)
    for key in FROM_DATA:
        if key in takes and options.get(key) is None:
            options.pop(key, None)
            options |= {key: known[key]} if key in known else {}
    return options


def _check_images(name: str, shape: Sequence[int]) -> None:
    smallest = MODELS.describe(name).min_image_size
    if not smallest or not shape:
        return
    given = " x ".join(str(size) for size in shape)
    if len(shape) != 3:
        raise ConfigError(f"model '{name}' takes images, but one example of the data has shape {given}")
    if min(shape[1:]) < smallest:
        raise ConfigError(
            f"model '{name}' takes images of at least {smallest} x {smallest}, but one of the data set is {given}",
            f"set model.image_size to {smallest} or more",
        )


def _described(shape: Sequence[int], num_outputs: int) -> dict[str, int]:
    """The sizes that the data tells, by the names of the builders' parameters."""
    known: dict[str, int] = {}
    if shape:
        known["in_features"] = math.prod(shape)
    if len(shape) == 3:
        known |= {"in_channels": shape[0], "image_size": shape[-1]}
    if num_outputs:
        known |= {"num_classes": num_outputs, "num_outputs": num_outputs, "vocab_size": num_outputs}
    return known
