"""`d2l diagnose` on runs whose troubles are known."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import d2l, train
from torch import nn

from d2lcli.diagnosis.report import Diagnosis, diagnose
from d2lcli.diagnosis.signals import noise_scale, observe
from d2lcli.tasks.losses import mse
from d2lcli.tasks.regression import regression
from d2lcli.training.plan import changed_config

DEEP = f"model.hidden={[16] * 20}".replace(" ", "")
QUICK = ("data.limit=1000", "hardware=cpu", "hardware.threads=1", "steps=3")


def look(run: Path, **options: Any) -> Diagnosis:
    return diagnose(run, changed_config(run, []), **options)


def test_sigmoid_layers_without_and_relu_layers_with_gradients(tmp_path: Path) -> None:
    """A sigmoid passes on at most a quarter: 20 layers shrink a gradient beyond use.  He's weights keep it."""
    train(tmp_path / "sigmoid", "model=mlp", DEEP, "model.activation=sigmoid", "optim=sgd", *QUICK)
    found = look(tmp_path / "sigmoid")
    assert found.findings[0].text.startswith("gradients vanish") and "relu" in found.findings[0].advice
    linear = [layer for layer in found.layers if layer.type == "Linear"]
    assert linear[-1].gradient / linear[0].gradient > 4**19
    train(tmp_path / "relu", "model=mlp", DEEP, "init=kaiming_normal", "optim=sgd", "optim.lr=0.001", *QUICK)
    found = look(tmp_path / "relu")
    assert not any("vanish" in finding.text or "explode" in finding.text for finding in found.findings)


def test_saturated_and_dead_units_and_exploding_gradients(tmp_path: Path) -> None:
    large = ("model=mlp", "model.hidden=[64,64,64,64]", "init=normal", "init.std=1", "optim.lr=1e-6", *QUICK)
    train(tmp_path / "tanh", *large, "model.activation=tanh")
    assert any("saturated" in finding.text for finding in look(tmp_path / "tanh").findings)
    train(tmp_path / "relu", *large)  # each layer multiplies by about sqrt(64 / 2)
    assert any("explode" in finding.text for finding in look(tmp_path / "relu").findings)
    train(tmp_path / "dead", "model=mlp", "optim=sgd", "optim.lr=30", "data.normalize=false", *QUICK)
    found = look(tmp_path / "dead")
    assert any("dead" in finding.text for finding in found.findings)


def test_a_minimum_and_a_saddle(tmp_path: Path) -> None:
    """Least squares trained to its end; and a tanh network from zeros, whose weights have no gradient but curvature."""
    whole = ("data.batch_size=1000", "optim=gd", "hardware=cpu", "hardware.threads=1")
    train(tmp_path / "minimum", "model=linear_regression", "optim.lr=0.4", "epochs=60", *whole)
    found = look(tmp_path / "minimum")
    assert found.curvature.kind == "minimum" and found.curvature.exact
    assert any("this is a minimum" in finding.text for finding in found.findings)
    assert found.curvature.gershgorin is not None
    assert found.curvature.gershgorin[0] <= found.curvature.smallest <= found.curvature.largest
    network = ("model=mlp", "model.hidden=[4]", "model.activation=tanh", "task=regression", "init=zeros")
    train(tmp_path / "saddle", *network, "data=synthetic_regression", "optim.lr=0.2", "epochs=80", *whole)
    found = look(tmp_path / "saddle")
    assert found.curvature.kind == "saddle" and found.curvature.smallest < 0 < found.curvature.largest
    assert any("saddle" in finding.text for finding in found.findings)
    assert found.findings[0].text.startswith("all rows of hidden1.weight are equal")


def test_a_rate_beyond_stability_is_named(tmp_path: Path) -> None:
    """The largest eigenvalue of mean squared errors on standard normal inputs is near 2, the limit near 1."""
    train(tmp_path / "run", "model=linear_regression", "optim=gd", "optim.lr=5", "epochs=1", "hardware=cpu")
    assert any("exceeds 2 / largest eigenvalue" in finding.text for finding in look(tmp_path / "run").findings)


def test_figures_by_hand() -> None:
    """One linear layer, one example: the gradient by the output is 2 (w x - y), by the weight 2 (w x - y) x."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    batch = (torch.tensor([[2.0]]), torch.tensor([[1.0]]))
    layers, gradients = observe(nn.Sequential(model), regression(mse), [batch])
    assert (layers[0].mean, layers[0].std) == (6.0, 0.0)
    assert layers[0].gradient == pytest.approx(10.0) and layers[0].weight_gradient == pytest.approx(20.0)
    assert gradients[0][0].item() == pytest.approx(20.0)


def test_the_noise_scale_of_known_noise() -> None:
    """Gradients 1 + noise of variance 50 an example, in 8 dimensions: tr(Sigma) / |G|^2 = 50."""
    generator = torch.Generator().manual_seed(0)
    batches = [[torch.ones(8) + (50 / 32) ** 0.5 * torch.randn(8, generator=generator)] for _ in range(4000)]
    assert noise_scale(batches, 32) == pytest.approx(50, rel=0.1)
    assert noise_scale(batches[:1], 32) is None


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = tmp_path / "run"
    train(run, "model=lenet", "optim=adamw", *QUICK)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = d2l("diagnose", run, "--json", "--plot")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["step"] == 3 and found["findings"] and found["weights"][0]["step"] > 0
    assert Path(found["plot"]).read_bytes().startswith(b"\x89PNG")
    assert {path: path.read_bytes() for path in before} == before
    shown = d2l("diagnose", run)
    assert "features.0" in shown.stdout and "GRADIENT" in shown.stdout
    missing = d2l("diagnose", tmp_path / "nothing")
    assert missing.returncode == 4 and missing.stderr.startswith("error:")
    assert d2l("diagnose", run, "--checkpoint", "99").returncode == 4
    assert d2l("diagnose", run, "modle=lenet").returncode == 2


def test_texts_and_a_large_model_is_measured_on_fewer_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is off wherever it stands, in recurrent layers and in attention too: two looks are the same."""
    words = (
        "data.limit=60",
        "data.batch_size=8",
        "hardware=cpu",
        "hardware.threads=1",
        "steps=2",
        "scheduler=constant",
    )
    sizes = {
        "seq2seq": ("model.embed_dim=4", "model.hidden_size=4", "model.dropout=0.5"),
        "transformer": ("model.dim=4", "model.num_heads=2", "model.hidden=4", "model.dropout=0.5"),
        "bert": ("model.dim=4", "model.num_heads=2", "model.hidden=4", "model.dropout=0.5"),
    }
    for name, size in sizes.items():
        train(tmp_path / name, f"model={name}", *size, *words)
        monkeypatch.setattr("d2lcli.diagnosis.report.LARGE", 1)
        monkeypatch.setattr("d2lcli.diagnosis.report.FEWER_STEPS", 3)
        found = look(tmp_path / name, batches=4)
        assert found.curvature_batches == 2 and not found.curvature.exact
        assert look(tmp_path / name, batches=4) == found
