"""What every registered model must do; a model is tested the moment it is registered."""

import ast
import copy
import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2lcli.registry import DATASETS, MODELS, TASKS

GANS = {"gan": (6,), "dcgan": (2, 8, 8)}  # what their generators make at the sizes below, out of noise
SIZES = {
    "in_features": 6,
    "in_channels": 2,
    "num_classes": 3,
    "num_outputs": 3,
    "vocab_size": 3,
    "source_vocab_size": 5,
}
BATCH = 4
DEEP = 6  # more blocks than that, and the published widths, would take gigabytes
TABLES = ("value_table", "q_table")  # their values begin alike, whatever the seed
Inputs = tuple[Tensor, ...]


def tiny_options(name: str) -> dict[str, Any]:
    """Small sizes for whatever the builder takes; images of the smallest size, but not below 8; of many blocks two."""
    takes = MODELS.parameters(name)
    options: dict[str, Any] = {key: size for key, size in SIZES.items() if key in takes}
    if "image_size" in takes:
        options["image_size"] = side(name)
    if "num_layers" in takes and takes["num_layers"].default > DEEP:
        options["num_layers"] = 2
    if name in TABLES:
        options["initial"] = 0.5
    return options


def side(name: str) -> int:
    return max(8, MODELS.describe(name).min_image_size)


def reads_tokens(name: str) -> bool:
    return "vocab_size" in MODELS.parameters(name)


def shape_of_outputs(name: str, outputs: int = 3) -> tuple[int, ...]:
    if name == "value_table":
        return (BATCH, 1)
    if name in GANS:
        return (BATCH, *GANS[name])
    of_each_token = reads_tokens(name) and MODELS.describe(name).task != "classification"
    return (BATCH, 6, outputs) if of_each_token else (BATCH, outputs)


def doubled(inputs: Inputs) -> Inputs:
    return tuple(each.double() if each.is_floating_point() else each for each in inputs)


def all_of(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A model with several heads returns a tuple; the first output is the one of the registry's shape."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def flat(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """All outputs of each example in a row: (BATCH, values)."""
    return torch.cat([each.flatten(1) for each in all_of(outputs)], 1)


def tiny_inputs(name: str) -> Inputs:
    """What the model is called with; the sentences of pairs have different lengths."""
    generator = torch.Generator().manual_seed(1)
    if reads_tokens(name):
        tokens = torch.randint(SIZES["vocab_size"], (BATCH, 6), generator=generator)
        if MODELS.describe(name).task == "sequence_to_sequence":
            of_source = "source_vocab_size" if "source_vocab_size" in MODELS.parameters(name) else "vocab_size"
            source = torch.randint(SIZES[of_source], (BATCH, 7), generator=generator)
            return source, torch.tensor([7, 3, 5, 1]), tokens
        return (tokens,)
    if name in GANS:
        return (torch.randn(BATCH, MODELS.parameters(name)["latent"].default, generator=generator),)
    shape = (SIZES["in_channels"], side(name), side(name)) if MODELS.describe(name).min_image_size else (6,)
    return (torch.randn(BATCH, *shape, generator=generator),)


def build(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = MODELS.build(name, **tiny_options(name))
    if hasattr(model, "remember"):  # it predicts from its training data itself
        model.remember(torch.randn(5, SIZES["in_features"]), torch.randn(5, SIZES["num_outputs"]))  # type: ignore
    return model


@lru_cache(maxsize=1)  # drawing the weights of a large network takes seconds, and the tests run model by model
def drawn(name: str) -> nn.Module:
    return build(name)


def tiny(name: str) -> nn.Module:
    """A model for one test alone."""
    return copy.deepcopy(drawn(name))


pytestmark = pytest.mark.parametrize("name", MODELS.names(), scope="module")


def test_defaults_build(name: str) -> None:
    with torch.device("meta"):
        model = MODELS.build(name)
    assert isinstance(model, nn.Module)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_forward(name: str) -> None:
    outputs = all_of(tiny(name)(*tiny_inputs(name)))
    assert outputs[0].shape == shape_of_outputs(name)
    assert all(each.dtype == torch.float32 and bool(each.isfinite().all()) for each in outputs)


def test_backward_reaches_every_parameter(name: str) -> None:
    if name in GANS:
        pytest.skip("each network has its turn: tests/tasks/test_gan.py")
    model = tiny(name)
    torch.stack([each.square().mean() for each in all_of(model(*tiny_inputs(name)))]).sum().backward()
    missing = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []
    broken = [key for key, parameter in model.named_parameters() if not parameter.grad.isfinite().all()]
    assert broken == []


def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (model.state_dict() for model in (drawn(name), build(name), build(name, seed=1)))
    assert all(torch.equal(parameter, again[key]) for key, parameter in first.items())
    assert name in TABLES or any(not torch.equal(parameter, other[key]) for key, parameter in first.items())


def test_state_dict_round_trip(name: str) -> None:
    model, other, inputs = tiny(name).eval(), tiny(name).eval(), tiny_inputs(name)
    for value in other.state_dict().values():
        value.zero_()
    assert not torch.equal(flat(model(*inputs)), flat(other(*inputs)))
    other.load_state_dict(model.state_dict())
    assert torch.equal(flat(model(*inputs)), flat(other(*inputs)))


def test_evaluation_is_deterministic(name: str) -> None:
    model, inputs = tiny(name).eval(), tiny_inputs(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert torch.equal(flat(model(*inputs)), flat(model(*inputs)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_float64_and_each_example_by_itself(name: str) -> None:
    model, inputs = tiny(name).eval(), tiny_inputs(name)
    single = flat(model(*inputs))
    double = flat(model.double()(*doubled(inputs)))
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3 * double.abs().max().item())
    one_by_one = torch.cat([flat(model(*(each[i : i + 1] for each in doubled(inputs)))) for i in range(BATCH)])
    torch.testing.assert_close(double, one_by_one)


@pytest.mark.parametrize("outputs", [1, 7])
def test_the_number_of_outputs_is_respected(name: str, outputs: int) -> None:
    takes = MODELS.parameters(name)
    if name == "value_table":
        pytest.skip("a state has one value")
    if name in GANS:
        pytest.skip("a GAN makes examples of the data's sizes: tests/models/test_gan_models.py")
    sizes = {key: outputs for key in ("num_classes", "num_outputs", "vocab_size") if key in takes}
    assert sizes, "a model takes num_classes, num_outputs or vocab_size"
    with torch.device("meta"):
        model = MODELS.build(name, **tiny_options(name) | sizes).eval()
        made = all_of(model(*(each.to("meta") for each in tiny_inputs(name))))
    assert made[0].shape == shape_of_outputs(name, outputs)


def test_the_smallest_image_is_the_smallest(name: str) -> None:
    smallest = MODELS.describe(name).min_image_size
    if not smallest:
        assert "in_channels" not in MODELS.parameters(name), "a model of images states the smallest one"
        return
    if name in GANS:
        pytest.skip("it makes images: tests/models/test_gan_models.py")
    for size, fits in ((smallest, True), (smallest - 1, False)):
        sized = {"image_size": size} if "image_size" in MODELS.parameters(name) else {}
        try:
            with torch.device("meta"):
                model = MODELS.build(name, **tiny_options(name) | sized).eval()
                shape = model(torch.empty(BATCH, SIZES["in_channels"], size, size)).shape
        except (ValueError, RuntimeError):
            shape = None
        assert (shape == (BATCH, 3)) == fits, f"images of {size} x {size}"


def test_it_brings_its_task_and_data(name: str) -> None:
    entry = MODELS.describe(name)
    assert entry.task in TASKS
    assert entry.data in DATASETS


def test_its_file_is_plain_pytorch(name: str) -> None:
    """No config, registry, command or other part of the product but bricks, so that the file can be copied out."""
    tree = ast.parse(Path(inspect.getfile(MODELS.get(name))).read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    own = [module for module in modules if module.partition(".")[0] == "d2lcli"]
    assert [module for module in own if module != "d2lcli.errors" and not module.startswith("d2lcli.nn.")] == []
    assert not any(word in attribute for attribute in vars(drawn(name)) for word in ("config", "registry", "cfg"))
