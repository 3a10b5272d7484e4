"""What every registered initialiser must do."""

import pytest
import torch
from torch import nn

from d2lcli.registry import INITIALIZERS

pytestmark = pytest.mark.parametrize("name", INITIALIZERS.names())


def small_model() -> nn.Module:
    """Linear and convolutional layers with and without biases, and a norm; every parameter is 123."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, groups=2, bias=False),
        nn.ConvTranspose2d(4, 3, 2),
        nn.Flatten(),
        nn.Linear(75, 5),
        nn.Conv1d(3, 3, 1),
    )
    for parameter in model.parameters():
        nn.init.constant_(parameter, 123.0)
    return model


def initialised(name: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = small_model().to(dtype)
    torch.manual_seed(seed)
    INITIALIZERS.build(name)(model)
    return model


def test_weights_are_set_biases_zero_and_norms_left(name: str) -> None:
    for layer in initialised(name):
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.eq(123).all() and layer.bias.eq(123).all()
        elif not isinstance(layer, nn.Flatten):
            assert not layer.get_parameter("weight").eq(123).any()
            assert layer.bias is None or not layer.get_parameter("bias").any()


def test_weights_are_finite_trainable_and_without_a_graph(name: str) -> None:
    for parameter in initialised(name).parameters():
        assert parameter.isfinite().all()
        assert parameter.requires_grad and parameter.is_leaf and parameter.grad is None


def test_the_seed_decides(name: str) -> None:
    first, again, other = (nn.utils.parameters_to_vector(initialised(name, seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    deterministic = name in ("constant", "zeros", "ones")
    assert torch.equal(first, other) == deterministic


def test_numbers_come_from_torch_s_generator_alone(name: str) -> None:
    """The state of the generator before decides the state after: nothing else is drawn from."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    INITIALIZERS.build(name)
    assert torch.equal(torch.get_rng_state(), state)  # building draws nothing
    ends = []
    for _ in range(2):
        initialised(name, seed=3)
        ends.append(torch.get_rng_state())
    assert torch.equal(*ends)


def test_float64(name: str) -> None:
    assert all(parameter.dtype == torch.float64 for parameter in initialised(name, dtype=torch.float64).parameters())


def test_a_single_layer_and_a_model_without_layers(name: str) -> None:
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.bias, 5.0)
    INITIALIZERS.build(name)(layer)
    assert layer.bias.tolist() == [0, 0]
