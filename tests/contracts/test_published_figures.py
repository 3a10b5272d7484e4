"""Every model that states published figures has them, at the builder's default sizes."""

import pytest
import torch
from torch import nn

from d2lcli.registry import MODELS
from d2lcli.training.summary import summarize

ROUNDED = 1_000_000  # a figure that is a multiple of this was published in rounded form
NAMES = [name for name in MODELS.names() if MODELS.describe(name).parameters or MODELS.describe(name).multiply_adds]


def default_shape(name: str) -> tuple[int, ...]:
    """The shape of one example by the builder's defaults: the most tokens that it reads, or images, else 224 x 224."""
    takes = MODELS.parameters(name)
    if "vocab_size" in takes:
        return (takes["max_len"].default,)
    if "in_features" in takes:
        return (takes["in_features"].default,)
    side = takes["image_size"].default if "image_size" in takes else 224
    return (takes["in_channels"].default, side, side)


@pytest.mark.parametrize("name", NAMES)
def test_figures(name: str) -> None:
    entry = MODELS.describe(name)
    with torch.device("meta"):
        model: nn.Module = MODELS.build(name)
    if entry.parameters:
        assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters
    if entry.multiply_adds:
        tokens = "vocab_size" in MODELS.parameters(name)
        summary = summarize(model, default_shape(name), input_dtype=torch.int64 if tokens else None)
        assert summary.parameters == sum(parameter.numel() for parameter in model.parameters())
        # Rounded figures have three digits or more, and some of them count norms too.
        off = 0.01 if entry.multiply_adds % ROUNDED == 0 else 0.005
        assert summary.multiply_adds == pytest.approx(entry.multiply_adds, rel=off)


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_of_the_product_is_described(name: str) -> None:
    entry = MODELS.describe(name)
    assert entry.idea and len(entry.idea) <= 60, "a few words for the comparison table"
    assert entry.depth >= 1
    assert not entry.year or 1900 < entry.year < 2100
