"""The learning rates of layers that fall towards the input, written out by hand for one model of each shape."""

from typing import Any

import pytest
import torch
from torch import nn

from d2lcli.optim.depths import depths
from d2lcli.optim.param_groups import param_groups
from d2lcli.registry import MODELS
from d2lcli.training.heads import head_name

FAMILIES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "bert_tiny": (
        {"vocab_size": 9, "output": "sentence"},
        {"embedding.": 1 / 8, "blocks.0.": 1 / 4, "blocks.1.": 1 / 2, "pooler.": 1 / 2, "head.": 1.0},
    ),
    "gpt_tiny": (  # its head is tied to the embedding, and counts there
        {"vocab_size": 9},
        {"embedding.": 1 / 32, "positions.": 1 / 32, "blocks.0.": 1 / 16, "blocks.1.": 1 / 8, "blocks.2.": 1 / 4}
        | {"blocks.3.": 1 / 2, "norm.": 1 / 2},
    ),
    "vit_ti_16": (
        {"num_classes": 5, "image_size": 32},
        {"class_token": 2**-13, "conv_proj.": 2**-13, "encoder.pos_embedding": 2**-13, "encoder.ln.": 1 / 2}
        | {"heads.head.": 1.0}
        | {
            "encoder.layers.encoder_layer_0.": 2**-12,
            "encoder.layers.encoder_layer_1.": 2**-11,
            "encoder.layers.encoder_layer_2.": 2**-10,
            "encoder.layers.encoder_layer_3.": 2**-9,
            "encoder.layers.encoder_layer_4.": 2**-8,
            "encoder.layers.encoder_layer_5.": 2**-7,
            "encoder.layers.encoder_layer_6.": 2**-6,
            "encoder.layers.encoder_layer_7.": 2**-5,
            "encoder.layers.encoder_layer_8.": 2**-4,
            "encoder.layers.encoder_layer_9.": 2**-3,
            "encoder.layers.encoder_layer_10.": 2**-2,
            "encoder.layers.encoder_layer_11.": 2**-1,
        },
    ),
    "resnet18": (
        {"num_classes": 5},
        {"conv1.": 1 / 512, "bn1.": 1 / 512, "layer1.0.": 1 / 256, "layer1.1.": 1 / 128, "layer2.0.": 1 / 64}
        | {"layer2.1.": 1 / 32, "layer3.0.": 1 / 16, "layer3.1.": 1 / 8, "layer4.0.": 1 / 4, "layer4.1.": 1 / 2}
        | {"fc.": 1.0},
    ),
    "densenet": (  # a norm goes with the convolution before it
        {"num_classes": 5},
        {"features.conv0.": 1 / 256, "features.norm0.": 1 / 256, "features.denseblock1.": 1 / 128}
        | {"features.transition1.norm.": 1 / 64, "features.transition1.conv.": 1 / 64, "features.denseblock2.": 1 / 32}
        | {"features.transition2.": 1 / 16, "features.denseblock3.": 1 / 8, "features.transition3.": 1 / 4}
        | {"features.denseblock4.": 1 / 2, "features.norm5.": 1 / 2, "classifier.": 1.0},
    ),
    "vgg11": (
        {"num_classes": 5, "image_size": 32},
        {"features.0.": 2**-10, "features.3.": 2**-9, "features.6.": 2**-8, "features.8.": 2**-7, "features.11.": 2**-6}
        | {"features.13.": 2**-5, "features.16.": 2**-4, "features.18.": 2**-3, "classifier.0.": 1 / 4}
        | {"classifier.3.": 1 / 2, "classifier.6.": 1.0},
    ),
    "googlenet": (  # the branches of an inception are not in a row
        {"num_classes": 5},
        {"conv1.": 2**-12, "conv2.": 2**-11, "conv3.": 2**-10, "inception3a.": 2**-9, "inception3b.": 2**-8}
        | {"inception4a.": 2**-7, "inception4b.": 2**-6, "inception4c.": 2**-5, "inception4d.": 2**-4}
        | {"inception4e.": 2**-3, "inception5a.": 2**-2, "inception5b.": 2**-1, "fc.": 1.0},
    ),
    "t5": (  # encoder and decoder are counted each from its end; the head is tied
        {"vocab_size": 9, "num_layers": 2},
        {"embedding.": 1 / 8, "encoder_positions.": 1 / 8, "encoder.0.": 1 / 4, "encoder.1.": 1 / 2}
        | {"encoder_norm.": 1 / 2, "decoder_positions.": 1 / 8, "decoder.0.": 1 / 4, "decoder.1.": 1 / 2}
        | {"decoder_norm.": 1 / 2},
    ),
    "mlp": (
        {"in_features": 6, "hidden": [4, 3], "num_outputs": 2},
        {"hidden1.": 1 / 4, "hidden2.": 1 / 2, "output.": 1.0},
    ),
    "softmax_regression": ({"in_features": 6, "num_classes": 2}, {"": 1.0}),
}


def built(name: str, options: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = MODELS.build(name, **options)
    return model


def factors(model: nn.Module, head: str, decay: float, **options: Any) -> dict[str, float]:
    groups = param_groups(model, 0.1, head=head, layer_lr_decay=decay, **options)
    return {name: group.get("lr_mult", 1.0) for group in groups for name in group["names"]}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_layer_has_half_the_rate_of_the_next(name: str) -> None:
    options, by_prefix = FAMILIES[name]
    model = built(name, options)
    expected, used = {}, set()
    for tensor, _ in model.named_parameters():
        (prefix,) = [prefix for prefix in by_prefix if tensor.startswith(prefix)]
        expected[tensor] = by_prefix[prefix]
        used.add(prefix)
    assert used == {*by_prefix}
    assert factors(model, head_name(model), 0.5) == expected


def test_all_factors_multiply() -> None:
    model = nn.Sequential()
    for name in ("a", "b", "head"):
        model.add_module(name, nn.Linear(2, 2, bias=False))
    found = factors(model, "head", 0.5, head_lr_mult=10.0, layer_lr_mult=["a.*=3", "head.*=7"])
    assert found == {"a.weight": 0.75, "b.weight": 0.5, "head.weight": 70.0}


def test_a_new_head_of_two_layers_has_one_rate() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))
    assert depths(model, "2") == {"0.weight": 1, "0.bias": 1, "2.0.weight": 0, "2.0.bias": 0, "2.2.weight": 0} | {
        "2.2.bias": 0
    }


def test_a_model_that_is_one_layer_is_all_head() -> None:
    assert depths(nn.Linear(2, 2), "") == {"weight": 0, "bias": 0}


def test_frozen_layers_count() -> None:
    """The rates of the others do not depend on what is frozen."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    found = factors(model, "2", 0.5)
    assert found == {"0.weight": 0.25, "0.bias": 0.25, "2.weight": 1.0, "2.bias": 1.0}


def test_without_a_decay_there_are_no_more_groups() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert all("lr_mult" not in group for group in param_groups(model, 0.1, head="1", layer_lr_decay=1.0))


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.01, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"layer_lr_decay=.* must be above 0 and at most 1"):
        param_groups(nn.Linear(2, 2), 0.1, layer_lr_decay=decay)
