"""L-BFGS, each evaluation of which is a step, against SciPy's, and in the training loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import assert_equal, d2l, losses, outcome, resume, stop_at, train, weights
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from d2lcli.data.synthetic import synthetic_regression
from d2lcli.optim.lbfgs import LBFGS, lbfgs
from d2lcli.training import signals


def run(optimizer: LBFGS, loss: Tensor) -> None:
    optimizer.backward(loss)
    optimizer.step()
    optimizer.zero_grad()


def logistic(count: int = 200) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    chance = torch.sigmoid(x @ torch.linspace(-2, 2, 6, dtype=torch.float64))
    return x, torch.bernoulli(chance, generator=generator)


def test_logistic_regression_ends_where_scikit_learns_does() -> None:
    x, y = logistic()
    layer = nn.Linear(6, 1, bias=False).double()
    optimizer = lbfgs(layer.parameters(), weight_decay=0.01)
    for _ in range(40):
        run(optimizer, nn.functional.binary_cross_entropy_with_logits(layer(x)[:, 0], y))
    reference = LogisticRegression(C=1 / (0.01 * len(x)), fit_intercept=False, tol=1e-10, max_iter=1000)
    reference.fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(layer.weight.detach(), reference.coef_, rtol=1e-5)


def test_rosenbrocks_valley_takes_about_as_many_evaluations_as_scipys() -> None:
    point = nn.Parameter(torch.full((10,), -1.2, dtype=torch.float64))
    optimizer, values = lbfgs([point]), []
    for _ in range(100):
        loss = (100 * (point[1:] - point[:-1] ** 2) ** 2 + (1 - point[:-1]) ** 2).sum()
        values.append(loss.item())
        run(optimizer, loss)

    def rosen(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(x, requires_grad=True)
        value = (100 * (at[1:] - at[:-1] ** 2) ** 2 + (1 - at[:-1]) ** 2).sum()
        return value.item(), torch.autograd.grad(value, at)[0].numpy()

    reference = minimize(rosen, np.full(10, -1.2), jac=True, method="L-BFGS-B")
    reached = next(i for i, value in enumerate(values) if value < 1e-6)
    assert reached < reference.nfev + 10


def test_losses_of_several_batches_add_up_and_groups_are_one_problem() -> None:
    x, y = logistic()
    whole, parts = (nn.Linear(6, 1).double() for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    one = lbfgs(whole.parameters())
    two = lbfgs([{"params": [parts.weight]}, {"params": [parts.bias]}])
    entropy = nn.functional.binary_cross_entropy_with_logits
    for _ in range(12):
        run(one, entropy(whole(x)[:, 0], y))
        for rows in (slice(0, 50), slice(50, 200)):
            share = (rows.stop - rows.start) / 200
            two.backward(share * entropy(parts(x[rows])[:, 0], y[rows]))
        two.step()
        two.zero_grad()
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(parts.bias, whole.bias, rtol=1e-8, atol=1e-10)


def test_a_point_without_a_gradient_and_a_rate_of_zero_move_nothing() -> None:
    point = nn.Parameter(torch.zeros(3))
    optimizer = lbfgs([point])
    run(optimizer, (point**2).sum())
    assert point.tolist() == [0.0] * 3
    other = nn.Parameter(torch.ones(3))
    still = lbfgs([other], lr=0.0)
    run(still, (other**2).sum())
    assert other.tolist() == [1.0] * 3
    still.param_groups[0]["lr"] = 1.0
    for _ in range(3):
        run(still, (other**2).sum())
    torch.testing.assert_close(other.detach(), torch.zeros(3))


def test_at_the_limit_of_float32_it_stays_where_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(50, 3, generator=generator), nn.Parameter(torch.zeros(3))
    y = x @ torch.tensor([1.0, -2.0, 3.0])
    optimizer = lbfgs([w])
    for _ in range(200):
        run(optimizer, ((x @ w - y) ** 2).mean())
    torch.testing.assert_close(w.detach(), torch.tensor([1.0, -2.0, 3.0]), rtol=1e-5, atol=1e-5)


def test_misuse_is_refused() -> None:
    point = nn.Parameter(torch.ones(2))
    optimizer = lbfgs([point])
    (point**2).sum().backward()
    with pytest.raises(ValueError, match=r"optimizer\.backward"):
        optimizer.step()
    with pytest.raises(ValueError, match=r"optimizer\.backward"):
        optimizer.step(lambda: 0.0)
    with pytest.raises(ValueError, match="history=0 must be"):
        lbfgs([point], history=0)
    with pytest.raises(ValueError, match="one device and of one type"):
        lbfgs([point, nn.Parameter(torch.ones(2).double())])
    rates = lbfgs([{"params": [point]}, {"params": [nn.Parameter(torch.ones(1))], "lr": 0.1}])
    with pytest.raises(ValueError, match="no layer can have a learning rate of its own"):
        rates.backward((point**2).sum())


LINEAR = ("model=linear_regression", "optim=lbfgs", "hardware=cpu", "hardware.threads=1", "log_every=1")


def test_a_run_ends_at_least_squares(tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, "epochs=12", "data.batch_size=64")
    data = synthetic_regression().train
    x = np.hstack([data.inputs.numpy(), np.ones((1000, 1))])  # type: ignore[union-attr]
    expected = np.linalg.lstsq(x, data.targets.numpy(), rcond=None)[0].ravel()
    found = torch.cat([each.flatten() for name, each in sorted(weights(tmp_path / "run").items(), reverse=True)])
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert losses(tmp_path / "run")[-1] < 1.1e-4


def test_a_run_that_was_stopped_in_a_line_search_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model=mlp", "model.hidden=[8]", "optim=lbfgs", "optim.lr=5", "data.limit=200", "data.batch_size=64")
    words += ("epochs=12", "hardware=cpu", "hardware.threads=1", "log_every=3")
    train(tmp_path / "whole", *words)
    expected = outcome(tmp_path / "whole")
    for step in (3, 4):
        stop_at(monkeypatch, step)
        with pytest.raises(signals.Stopped):
            train(tmp_path / f"cut{step}", *words)
        signals.state.requested = 0
        resume(tmp_path / f"cut{step}")
        assert_equal(tmp_path / f"cut{step}", expected)


@pytest.mark.parametrize("key", ["clip_norm=1", "clip_value=1", "l1=0.1", "l2=0.1", "max_norm=1"])
def test_what_the_loss_does_not_show_is_refused(tmp_path: Path, key: str) -> None:
    done = d2l("train", *LINEAR, key, "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and f"{key.partition('=')[0]}: optim=lbfgs compares losses" in done.stderr


def test_a_model_in_parts_is_refused(tmp_path: Path) -> None:
    done = d2l("train", *LINEAR, "strategy=fsdp", "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and "'lbfgs' needs all weights in one process" in done.stderr, done.stderr


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    words = ("epochs=8", "data.batch_size=250")
    train(tmp_path / "one", *LINEAR, *words)
    done = d2l(
        "train",
        *LINEAR,
        *words,
        "hardware=ddp",
        "hardware.device=cpu",
        "hardware.devices=2",
        "--run-dir",
        tmp_path / "two",
    )
    assert done.returncode == 0, done.stderr
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], tensor, rtol=1e-4, atol=1e-4)
