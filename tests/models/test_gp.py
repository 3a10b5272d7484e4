"""The Gaussian process as a model: against scikit-learn, and as a run."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import assert_equal, d2l, outcome, resume, rows, stop_at, train
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, ExpSineSquared, WhiteKernel
from torch import Tensor
from torch.nn.functional import softplus

from d2lcli.data.synthetic import noisy_sine
from d2lcli.errors import DataError, MemoryFullError
from d2lcli.models.gp import GaussianProcess, gp
from d2lcli.nn import gaussian_process
from d2lcli.training import signals

GP = ("model=gp", "hardware=cpu", "hardware.threads=1")


def told(
    count: int = 25, features: int = 2, outputs: int = 1, **options: Any
) -> tuple[GaussianProcess, Tensor, Tensor]:
    """A model with data, and the data."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, features, generator=generator, dtype=torch.float64)
    y = torch.sin(2 * x[:, :1]) + 0.3 * torch.randn(count, outputs, generator=generator, dtype=torch.float64)
    model = gp(in_features=features, num_outputs=outputs, **options)
    model.remember(x, y)
    return model, x, y


def reference(x: Tensor, y: Tensor, kernel: Any, **options: Any) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None, **options).fit(x.numpy(), y.numpy())


def test_parameters_begin_with_log_2_and_lengthscales_with_the_root_of_the_features_times_that() -> None:
    assert gp().parameter_values() == {
        name: [pytest.approx(math.log(2))] for name in ("rbf_variance", "rbf_lengthscale", "noise")
    }
    assert all(raw.item() == 0.0 for raw in gp().raw.values())
    four = gp(in_features=4, kernel="matern32 + linear", ard=True).parameter_values()
    assert four["matern32_lengthscale"] == [pytest.approx(2 * math.log(2))] * 4
    assert four["linear_bias"] == [pytest.approx(math.log(2))]
    given = gp(kernel="rbf * periodic", variance=3.0, ls2=0.25, period=7.0, noise=1e-4).parameter_values()
    assert given == {
        "rbf_variance": [pytest.approx(3.0)],
        "rbf_lengthscale": [pytest.approx(0.5)],
        "periodic_lengthscale": [pytest.approx(0.5)],
        "periodic_period": [pytest.approx(7.0)],
        "noise": [pytest.approx(1e-4)],
    }


def test_likelihood_gradient_and_prediction_are_scikit_learns() -> None:
    options = {"kernel": "rbf + rbf * periodic", "variance": 0.8, "lengthscale": 1.1, "period": 1.7, "noise": 0.09}
    model, x, y = told(features=1, **options)
    parts = ConstantKernel(0.8) * RBF(1.1), ConstantKernel(0.8) * RBF(1.1) * ExpSineSquared(1.1, 1.7)
    judge = reference(x, y, parts[0] + parts[1] + WhiteKernel(0.09))
    likelihood, slopes = judge.log_marginal_likelihood(judge.kernel_.theta, eval_gradient=True)
    total = model.log_marginal_likelihood()
    total.backward()
    assert total.item() == pytest.approx(likelihood, rel=1e-8)
    names = ["rbf_variance", "rbf_lengthscale", "rbf_2_variance", "rbf_2_lengthscale"]
    names += ["periodic_lengthscale", "periodic_period", "noise"]
    raws = [model.raw[name] for name in names]
    by_log = [(raw.grad / torch.sigmoid(raw) * softplus(raw)).item() for raw in raws]  # type: ignore[operator]
    np.testing.assert_allclose(by_log, slopes, rtol=1e-8, atol=1e-8)
    queries = torch.linspace(-3, 3, 11, dtype=torch.float64)[:, None]
    mean, deviation = judge.predict(queries.numpy(), return_std=True)
    found, variance = model.predict(queries)
    np.testing.assert_allclose(found[:, 0], mean.ravel(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(variance[:, 0] + 0.09, deviation**2, rtol=1e-8)
    np.testing.assert_allclose(model.eval()(queries).detach(), found)


def test_the_variance_of_an_observation_is_that_of_the_function_and_the_noise() -> None:
    model, x, y = told(noise=0.3, variance=1.2, lengthscale=0.8)
    kernel = ConstantKernel(1.2) * RBF(0.8)
    latent = GaussianProcessRegressor(kernel, alpha=0.3, optimizer=None).fit(x.numpy(), y.numpy())
    observed = reference(x, y, kernel + WhiteKernel(0.3))
    queries = 2 * x
    variances = [judge.predict(queries.numpy(), return_std=True)[1] ** 2 for judge in (latent, observed)]
    np.testing.assert_allclose(variances[1] - variances[0], 0.3)  # theirs, too
    found = model.predict(queries)[1][:, 0]
    np.testing.assert_allclose(found, variances[0], rtol=1e-8)
    np.testing.assert_allclose(found + model.posterior().noise, variances[1], rtol=1e-8)


def test_standardised_targets_are_those_of_scikit_learn_in_their_own_unit() -> None:
    model, x, y = told(standardize=True, noise=0.2, variance=0.9, lengthscale=0.7)
    model.remember(x, 50 * y + 1000)
    judge = reference(x, 50 * y + 1000, ConstantKernel(0.9) * RBF(0.7) + WhiteKernel(0.2), normalize_y=True)
    mean, deviation = judge.predict(x.numpy(), return_std=True)
    found, variance = model.predict(x)
    np.testing.assert_allclose(found[:, 0], mean.ravel(), rtol=1e-8)
    np.testing.assert_allclose(variance + model.posterior().noise, deviation[:, None] ** 2, rtol=1e-8)
    units = 25 * np.log(float((50 * y).std(correction=0)))
    likelihood = model.log_marginal_likelihood().item()
    assert likelihood == pytest.approx(judge.log_marginal_likelihood() - units, rel=1e-8)


@pytest.mark.parametrize(
    ("scale", "shift", "chosen"), [(1.0, 0.0, False), (1.0, 50.0, True), (0.01, 0.0, True), (1e5, 0.0, True)]
)
def test_targets_far_from_the_prior_are_standardised_where_nothing_is_said(
    scale: float, shift: float, chosen: bool
) -> None:
    model, x, y = told()
    model.remember(x, scale * y + shift)
    assert (float(model.posterior().scale) != 1.0) == chosen
    told_so, _, _ = told(standardize=False)
    told_so.remember(x, scale * y + shift)
    assert float(told_so.posterior().scale) == 1.0 and float(told_so.posterior().shift) == 0.0


def test_a_constant_mean_is_learned() -> None:
    model, x, y = told(mean="constant", standardize=False)
    model.remember(x, y + 4)
    total = model.log_marginal_likelihood()
    total.backward()
    assert model.constant is not None and model.constant.grad is not None
    with torch.no_grad():
        values = []
        for step in (-1e-5, 1e-5):
            model.constant.fill_(step)
            values.append(model.log_marginal_likelihood().item())
        model.constant.zero_()
    assert float(model.constant.grad) == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-6)
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=50)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -model.log_marginal_likelihood()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    assert model.constant.item() == pytest.approx(4.0, abs=0.6)


def test_second_derivatives_are_those_of_autograd_through_the_factorisation() -> None:
    model, x, y = told(kernel="rbf + linear")
    names = model.names

    def through_model(*raws: Tensor) -> Tensor:
        values = {f"raw.{name}": raw for name, raw in zip(names, raws)}
        found: Tensor = torch.func.functional_call(Likelihood(model), {f"model.{key}": v for key, v in values.items()})
        return found

    raws = tuple(model.raw[name].detach().clone().requires_grad_() for name in names)
    first = torch.autograd.grad(through_model(*raws), raws, create_graph=True)
    hessian = torch.stack([torch.cat(torch.autograd.grad(each.sum(), raws, retain_graph=True)) for each in first])
    flat = torch.cat([raw.detach() for raw in raws])
    expected = torch.autograd.functional.hessian(
        lambda raw: gaussian_process.plain_evidence(model.kernel, raw, x, y), flat
    )
    torch.testing.assert_close(hessian, expected, rtol=1e-7, atol=1e-7)


class Likelihood(torch.nn.Module):
    """The log marginal likelihood as a forward pass, so that its parameters can be exchanged."""

    def __init__(self, model: GaussianProcess) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> Tensor:
        return self.model.log_marginal_likelihood()


def test_the_mean_can_be_differentiated() -> None:
    model, x, _ = told(mean="constant", kernel="matern52", ard=True)
    queries = x[:5] + 0.1
    model(queries).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        for i in range(len(parameter)):
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[i] += step
                    values.append(float(model(queries).sum()))
                    parameter[i] -= step
            assert float(parameter.grad[i]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_what_is_kept_of_the_posterior_follows_parameters_and_data() -> None:
    model, x, y = told()
    before = model.predict(x)[0]
    assert model.posterior() is model.posterior()
    with torch.no_grad():
        model.raw["noise"] += 1.0
    assert not torch.equal(model.predict(x)[0], before)
    with torch.no_grad():
        model.raw["noise"] -= 1.0
        model.targets.mul_(2)
    torch.testing.assert_close(model.predict(x)[0], 2 * before)
    model.remember(x, y)
    assert torch.equal(model.predict(x)[0], before)


def test_points_that_are_equal_and_hardly_any_noise_are_told() -> None:
    model = gp(noise=1e-30)
    x = torch.ones(8, 1, dtype=torch.float64)
    model.remember(x, torch.zeros(8, 1))
    with pytest.warns(RuntimeWarning, match=r"8 points is not positive definite in float64: .* was added"):
        model.log_marginal_likelihood()
    assert model.evidence is not None and model.evidence.jitter > 0 and model.jitter == model.evidence.jitter
    assert bool(model.predict(x)[0].isfinite().all())


def test_data_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gp()
    with pytest.raises(DataError, match="none of them 0"):
        model.remember(torch.zeros(0, 1), torch.zeros(0, 1))
    with pytest.raises(DataError, match="x of point 1 is not a finite number"):
        model.remember(torch.tensor([[0.0], [math.nan]]), torch.zeros(2))
    monkeypatch.setattr(gaussian_process, "MATRICES", 10**15)
    with pytest.raises(MemoryFullError, match="2 points takes"):
        model.remember(torch.zeros(2, 1), torch.zeros(2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"noise": 0.0}, "noise=0.0 must be above 0"),
        ({"lengthscale": -1.0}, "lengthscale=-1.0 must be above 0"),
        ({"ls2": -1.0}, "ls2=-1.0 must be above 0"),
        ({"ls2": 1.0, "lengthscale": 1.0}, "give one of the two"),
        ({"period": 1.0}, "the kernel 'rbf' has none"),
        ({"kernel": "linear", "lengthscale": 1.0}, "the kernel 'linear' has none"),
        ({"kernel": "sine"}, "unknown name 'sine'"),
        ({"in_features": 0}, "in_features must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gp(**options)


def test_the_books_fit(tmp_path: Path) -> None:
    """Adam, 50 steps of .1: from 1.000 to .344 on the book's noise, which cannot be drawn again here."""
    train(tmp_path / "run", "experiment=gp_d2l", "hardware=cpu")
    found = [row["values"] for row in rows(tmp_path / "run", "train")]
    assert len(found) == 50
    assert found[0]["loss"] == pytest.approx(1.0, abs=0.02) and found[40]["loss"] == pytest.approx(0.344, abs=0.03)
    first, last = found[0], found[-1]
    assert first["noise"] == first["rbf_lengthscale"] == pytest.approx(math.log(2))
    assert last["noise"] == pytest.approx(0.0625, abs=0.03)
    for row in found:
        terms = row["data_fit"] + row["complexity"] + row["constant"]
        assert row["log_marginal_likelihood"] == pytest.approx(terms) == pytest.approx(-50 * row["loss"])
    data = noisy_sine().train
    kernel = ConstantKernel(last["rbf_variance"]) * RBF(last["rbf_lengthscale"]) + WhiteKernel(last["noise"])
    judge = reference(data.inputs.double(), data.targets.double(), kernel)  # type: ignore[union-attr]
    assert judge.log_marginal_likelihood() == pytest.approx(last["log_marginal_likelihood"], rel=1e-6)


def test_lbfgs_reaches_the_maximum_of_scikit_learns(tmp_path: Path) -> None:
    train(tmp_path / "run", *GP, "epochs=40", "log_every=1", "eval_every=40")
    found = rows(tmp_path / "run", "train")[-1]["values"]
    data = noisy_sine().train
    kernel = ConstantKernel(0.7) * RBF(0.7) + WhiteKernel(0.7)
    judge = GaussianProcessRegressor(kernel, alpha=0.0).fit(data.inputs.numpy(), data.targets.numpy())  # type: ignore[union-attr]
    assert found["log_marginal_likelihood"] == pytest.approx(judge.log_marginal_likelihood_value_, abs=1e-4)
    theirs = np.exp(judge.kernel_.theta)
    ours = [found[name] for name in ("rbf_variance", "rbf_lengthscale", "noise")]
    np.testing.assert_allclose(ours, theirs, rtol=5e-3)


@pytest.mark.parametrize("optim", ["lbfgs", "adam"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optim: str
) -> None:
    words = (*GP, f"optim={optim}", "optim.lr=0.5", "epochs=9", "log_every=2", "model.kernel=rbf + linear")
    train(tmp_path / "whole", *words)
    expected = outcome(tmp_path / "whole")
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "cut", *words)
    signals.state.requested = 0
    resume(tmp_path / "cut")
    assert_equal(tmp_path / "cut", expected)


def test_a_table_of_columns_is_fitted_and_judged_from_the_run_alone(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    size, age = generator.uniform(40, 250, 120), generator.uniform(0, 90, 120)
    price = 1800 * size - 1200 * age + 20_000 * np.sin(age / 8) + generator.normal(0, 5000, 120)
    table = [f"{a:.1f},{b:.1f},{c:.0f}" for a, b, c in zip(size, age, price)]
    (tmp_path / "houses.csv").write_text("\n".join(["size,age,price", *table]))
    csv = ("data=csv", f"data.path={tmp_path / 'houses.csv'}", "data.target=price", "model.ard=true", "epochs=40")
    result = train(tmp_path / "run", *GP, *csv)
    assert result["metrics"]["rmse"] < 8000 < 0.1 * price.std()
    done = d2l("evaluate", tmp_path / "run", "--checkpoint", "last", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"] == pytest.approx(result["metrics"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["task=regression"], 2, "'regression' is no task for model 'gp'"),
        (["data=fashion_mnist_mini"], 2, "needs numbers as inputs"),
        (["data.num_train=1000000"], 6, "exact Gaussian process on 1,000,000 points takes"),
        (["strategy=ddp", "hardware.devices=2"], 2, "use strategy=single"),
        (["model.kernel=rbf+perodic"], 2, "did you mean 'periodic'"),
        (["task.loss=mse"], 2, "gaussian_nll"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = d2l("train", *GP, *words, "--run-dir", tmp_path / "run")
    assert done.returncode == code and said in done.stderr, done.stderr


def test_the_mixed_precision_of_a_run_changes_nothing(tmp_path: Path) -> None:
    words = (*GP, "optim=adam", "optim.lr=0.1", "epochs=3")
    results = [train(tmp_path / name, *words, f"hardware.precision={name}") for name in ("fp32", "bf16", "fp16")]
    assert results[0]["metrics"] == results[1]["metrics"] == pytest.approx(results[2]["metrics"], rel=1e-9)
