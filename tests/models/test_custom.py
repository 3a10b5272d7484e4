"""Fixed weights, control flow, tied parameters and hand-made layers (d2l 6)."""

import json
import signal
from pathlib import Path

import pytest
import torch
from runs import assert_equal, newest, outcome, resume, stop_at, train
from safetensors import safe_open
from torch import Tensor, nn

import d2lcli
from d2lcli.models.custom import centered_mlp, fixed_hidden_mlp, halve_until_small, tied_mlp
from d2lcli.nn.custom_layers import Centered, MyLinear
from d2lcli.training import signals

WORDS = ("epochs=2", "data.limit=64", "log_every=1", "hardware=cpu", "hardware.threads=1")


def inputs(rows: int = 6, features: int = 2) -> Tensor:
    return 3 * torch.randn(rows, features, generator=torch.Generator().manual_seed(0))


def test_fixed_weights_are_saved_and_moved_but_not_trained() -> None:
    model = fixed_hidden_mlp()
    assert "rand_weight" in model.state_dict()
    assert "rand_weight" not in dict(model.named_parameters())
    assert model.to(torch.float64).get_buffer("rand_weight").dtype == torch.float64
    assert fixed_hidden_mlp().to("meta").get_buffer("rand_weight").is_meta
    before = model.get_buffer("rand_weight").clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model(inputs().double()).square().mean().backward()
    optimizer.step()
    assert torch.equal(model.get_buffer("rand_weight"), before) and not before.requires_grad
    assert bool((before >= 0).all()) and bool((before < 1).all()) and before.shape == (20, 20)


def test_the_forward_pass_step_by_step() -> None:
    """One row at a time, with a loop in plain Python."""
    torch.manual_seed(3)
    model = fixed_hidden_mlp(in_features=4, num_outputs=2, hidden=5).double()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    halvings = []
    for row in 100 * inputs(7, 4).double():
        x = state["input.weight"] @ row + state["input.bias"]
        x = state["shared.weight"] @ x + state["shared.bias"]
        x = (x @ state["rand_weight"] + 1).clamp(min=0)
        x = state["shared.weight"] @ x + state["shared.bias"]
        halvings.append(0)
        while x.abs().sum() > 1:
            x = x / 2
            halvings[-1] += 1
        expected = state["output.weight"] @ x + state["output.bias"]
        torch.testing.assert_close(model(row[None])[0], expected, rtol=1e-12, atol=1e-12)
    assert len(set(halvings)) > 1


def test_halving_is_by_rows_and_ends() -> None:
    rows = torch.tensor([[0.5, 0.5], [1.5, -1.5], [0.0, 0.0], [1e30, 1e30], [torch.inf, 1.0], [torch.nan, 1.0]])
    halved = halve_until_small(rows)
    assert torch.equal(halved[:3], torch.tensor([[0.5, 0.5], [0.375, -0.375], [0.0, 0.0]]))
    assert 0.5 < halved[3].sum() <= 1
    assert halved[4].tolist() == [torch.inf, 1.0] and halved[5].isnan().any()
    x = torch.tensor([[3.0, 0.0], [0.25, 0.25]], requires_grad=True)
    (gradient,) = torch.autograd.grad(halve_until_small(x).sum(), x)
    assert gradient.tolist() == [[0.25, 0.25], [1.0, 1.0]]  # 3 was halved twice


def test_gradients_of_tied_layers_add_up() -> None:
    torch.manual_seed(0)
    tied, untied = tied_mlp().double(), tied_mlp(tie=False).double()
    assert list(tied.state_dict()) == list(untied.state_dict())
    untied.load_state_dict(tied.state_dict())
    x = inputs().double()
    assert torch.equal(tied(x), untied(x))
    for model in (tied, untied):
        model(x).square().mean().backward()
    for name in ("weight", "bias"):
        one, other = (untied.get_parameter(f"hidden{layer}.{name}").grad for layer in (2, 3))
        assert one is not None and other is not None and not torch.equal(one, other)
        torch.testing.assert_close(tied.get_parameter(f"hidden2.{name}").grad, one + other, rtol=1e-12, atol=0)


def test_tied_layers_are_one() -> None:
    tied, untied = tied_mlp(), tied_mlp(tie=False)
    assert tied.get_submodule("hidden2") is tied.get_submodule("hidden3")
    assert [name for name, _ in tied.named_parameters() if "hidden3" in name] == []
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == 8 * 8 + 8


@pytest.mark.parametrize("model", ["tied_mlp", "fixed_hidden_mlp", "centered_mlp"])
def test_checkpoints_bring_everything_back(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped and resumed equals uninterrupted; a fresh process's evaluation gives the run's own numbers."""
    words = (f"model={model}", "ema=0.9", *WORDS)
    train(tmp_path / "whole", *words)
    stop_at(monkeypatch, 3)
    with pytest.raises(signals.Stopped) as stopped:
        train(tmp_path / "run", *words)
    assert stopped.value.signum == signal.SIGTERM
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", outcome(tmp_path / "whole"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    found = d2lcli.evaluate(tmp_path / "run", checkpoint="last")
    assert found["metrics"]["rmse"] == pytest.approx(result["metrics"]["rmse"], rel=1e-6)


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    train(tmp_path / "run", "model=tied_mlp", *WORDS)
    checkpoint = newest(tmp_path / "run")
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        assert "hidden2.weight" in file.keys() and "hidden3.weight" not in file.keys()  # noqa: SIM118
    aliases = json.loads((checkpoint / "state.json").read_text())["aliases"]["model"]
    assert aliases == {"hidden3.weight": "hidden2.weight", "hidden3.bias": "hidden2.bias"}


def test_centered_has_mean_zero_and_no_parameters() -> None:
    layer = Centered()
    assert layer(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).tolist() == [-2, -1, 0, 1, 2]  # the book's example
    features = nn.Sequential(nn.Linear(8, 128), layer)(torch.rand(4, 8, generator=torch.Generator().manual_seed(1)))
    assert abs(features.mean().item()) < 1e-6 and features.mean(dim=1).abs().max().item() < 1e-6
    assert list(layer.parameters()) == [] and list(layer.state_dict()) == []
    hidden = centered_mlp()[:3](inputs(100))  # type: ignore[index]
    assert hidden.shape == (100, 128) and hidden.mean(dim=1).abs().max().item() < 1e-6


def test_my_linear_computes_and_learns() -> None:
    layer = MyLinear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 0.0], [0.0, 1.0]]))
        layer.bias.copy_(torch.tensor([0.5, -1.0]))
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert layer(x).tolist() == [[5.5, 1.0]]  # 1 + 4 + .5, -1 + 3 - 1
    layer(x).sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None
    assert layer.weight.grad.tolist() == [[1, 1], [2, 2], [3, 3]] and layer.bias.grad.tolist() == [1, 1]
    assert layer(-10 * x).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(("model", "parameters"), [(fixed_hidden_mlp, 501), (tied_mlp, 105), (centered_mlp, 513)])
def test_sizes(model: object, parameters: int) -> None:
    """Written out: 60 + 420 + 21, 24 + 72 + 9, 256 + 128 + 129."""
    assert callable(model)
    assert sum(parameter.numel() for parameter in model().parameters()) == parameters
    for name in ("in_features", "num_outputs", "hidden"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, but it is 0"):
            model(**{name: 0})
