"""The head of every registered model: what depends on the number of classes, and nothing else."""

from typing import Any

import pytest
import torch
from torch import nn

from d2lcli.registry import MODELS
from d2lcli.training.freezing import freeze
from d2lcli.training.heads import head_name, in_head, replace_head

CLASSIFIERS = [name for name in MODELS.names() if MODELS.describe(name).task == "classification"]
ALL_HEAD = ("softmax_regression",)


def side(name: str) -> int:
    return max(8, MODELS.describe(name).min_image_size)


def build(name: str, classes: int) -> nn.Module:
    takes = MODELS.parameters(name)
    options: dict[str, Any] = {"in_features": 6, "in_channels": 2, "image_size": side(name)}
    options |= {"num_classes": classes, "num_outputs": classes}
    with torch.device("meta"):
        model: nn.Module = MODELS.build(name, **{key: value for key, value in options.items() if key in takes})
    return model


def inputs(name: str) -> torch.Tensor:
    if "vocab_size" in MODELS.parameters(name):
        return torch.empty(2, 6, device="meta", dtype=torch.int64)
    shape = (2, side(name), side(name)) if MODELS.describe(name).min_image_size else (6,)
    return torch.empty(2, *shape, device="meta")


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in ALL_HEAD])
def test_the_head(name: str) -> None:
    model, other = build(name, 3), build(name, 7).state_dict()
    head = head_name(model)
    expected = {key for key, tensor in model.state_dict().items() if tensor.shape != other[key].shape}
    assert {key for key in model.state_dict() if in_head(key, head)} == expected

    still = freeze(model, "backbone")
    assert {key for key, parameter in model.named_parameters() if parameter.requires_grad} == expected
    assert still == [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]

    with torch.device("meta"):
        replace_head(model, [5, 4])
    assert head_name(model) == head
    assert model.eval()(inputs(name)).shape == (2, 3)
    assert [len(tensor) for key, tensor in model.named_parameters() if in_head(key, head) and tensor.ndim > 1] == [
        5,
        4,
        3,
    ]


@pytest.mark.parametrize("name", ALL_HEAD)
def test_a_model_that_is_all_head_cannot_be_frozen(name: str) -> None:
    with pytest.raises(ValueError, match="nothing would be frozen: all of this model is head"):
        freeze(build(name, 3), "backbone")
