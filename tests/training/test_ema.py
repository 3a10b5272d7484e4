"""The moving average of the weights against its closed form."""

import pytest
import torch
from torch import nn

from d2lcli.errors import CheckpointError
from d2lcli.training.ema import Ema


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_the_average_has_a_closed_form() -> None:
    layer, decay = nn.Linear(1, 1, bias=False).double(), 0.9
    nn.init.constant_(layer.weight, 5.0)
    ema = Ema(layer, decay)
    weights = [1.0, -2.0, 4.0, 0.5]
    for weight in weights:
        nn.init.constant_(layer.weight, weight)
        ema.update()
    n = len(weights)
    expected = decay**n * 5.0 + sum((1 - decay) * decay ** (n - 1 - i) * weight for i, weight in enumerate(weights))
    assert ema.state()["weight"].item() == pytest.approx(expected, rel=1e-12)


def test_running_statistics_are_averaged_and_counters_are_not() -> None:
    model = network()
    ema = Ema(model, 0.75)
    model(torch.full((4, 1, 5, 5), 2.0))
    ema.update()
    assert set(ema.state()) == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
    mean = model[1].running_mean
    torch.testing.assert_close(ema.state()["1.running_mean"], 0.25 * mean)  # it began at zero


def test_a_swap_computes_with_the_average_and_puts_the_weights_back() -> None:
    model = network().to(memory_format=torch.channels_last)
    ema = Ema(model, 0.5)
    with torch.no_grad():
        for param in model.parameters():
            param.add_(1.0)
    ema.update()
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), ema.swap(model):
        for name, tensor in ema.state().items():
            assert torch.equal(model.state_dict()[name], tensor)
        torch.testing.assert_close(model[0].weight, own["0.weight"] - 0.5)
        raise KeyboardInterrupt
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, own[name])
    model(torch.ones(1, 1, 5, 5)).sum().backward()  # the graph is not disturbed
    ema.update()
    torch.testing.assert_close(ema.state()["0.bias"], own["0.bias"] - 0.25)


def test_an_average_continues_from_its_state() -> None:
    model = network()
    first, second = Ema(model, 0.9), Ema(model, 0.9)
    with torch.no_grad():
        model[0].weight.mul_(3.0)
    first.update()
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    first.update()
    second.update()
    for name, tensor in first.state().items():
        assert torch.equal(tensor, second.state()[name])


def test_tied_weights_are_averaged_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    nn.init.zeros_(model[0].weight)
    ema = Ema(model, 0.5)
    nn.init.ones_(model[0].weight)
    ema.update()
    assert list(ema.state()) == ["0.weight"]
    with ema.swap(model):
        assert torch.equal(model[1].weight, torch.full((2, 2), 0.5))
    assert torch.equal(model[1].weight, torch.ones(2, 2))


def test_what_does_not_fit_is_refused() -> None:
    for decay in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="ema decay"):
            Ema(network(), decay)
    ema = Ema(network(), 0.5)
    good = dict(ema.state())
    for bad in (good | {"more": torch.zeros(1)}, good | {"0.bias": torch.zeros(7)}, dict(list(good.items())[1:])):
        with pytest.raises(CheckpointError, match="1 differ"):
            ema.load(bad)
