"""`d2l generate` on a Gaussian process: functions, error bars and the picture of both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import d2l, everything, train
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from d2lcli.generation.functions import posterior, prior
from d2lcli.models.gp import gp

GP = ("model=gp", "hardware=cpu", "hardware.threads=1")
PNG = b"\x89PNG\r\n\x1a\n"


def generate(run: Path, *words: str, code: int = 0) -> str:
    done = d2l("generate", run, *words)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("gp") / "run"
    train(run, *GP, "epochs=20")
    return run


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("gp") / "run"
    train(run, *GP, "data=synthetic_regression", "data.num_train=40", "data.num_val=20", "model.kernel=linear")
    return run


def test_the_numbers_are_those_of_scikit_learn(curve: Path) -> None:
    found = json.loads(generate(curve, "--num", "3", "decoder.num_points=30", "--json"))
    values = {name: numbers[0] for name, numbers in found["parameters"].items()}
    x, y = np.array(found["data"]).T
    assert len(x) == 50 and (x.min(), x.max()) == (0.0, 5.0)
    kernel = ConstantKernel(values["rbf_variance"]) * RBF(values["rbf_lengthscale"]) + WhiteKernel(values["noise"])
    judge = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(x[:, None], y)
    mean, deviation = judge.predict(np.array(found["x"])[:, None], return_std=True)
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found["observed_variance"], deviation**2, rtol=1e-7)
    noise = np.array(found["observed_variance"]) - found["variance"]
    np.testing.assert_allclose(noise, values["noise"], rtol=1e-9)
    assert (found["x"][0], found["x"][-1]) == pytest.approx((-0.5, 5.5))
    assert np.array(found["samples"]).shape == (3, 30)


def test_it_prints_parameters_and_where_the_picture_is(curve: Path) -> None:
    lines = generate(curve, "--num", "2").splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["rbf_variance", "rbf_lengthscale", "noise"]
    assert lines[-1] == str(curve / "samples" / "posterior.png")
    assert Path(lines[-1]).read_bytes().startswith(PNG)
    assert generate(curve, "decoder=prior").splitlines()[-1] == str(curve / "samples" / "prior.png")


def test_a_seed_decides_the_functions_and_the_rest_of_the_run_stays_as_it_is(curve: Path) -> None:
    def samples(*words: str) -> Any:
        return json.loads(generate(curve, "--num", "2", "--json", "decoder.num_points=20", *words))["samples"]

    before = {name: facts for name, facts in everything(curve).items() if "samples" not in name}
    assert samples() == samples() != samples("decoder.seed=1")
    assert {name: facts for name, facts in everything(curve).items() if "samples" not in name} == before


def test_a_prior_has_no_data_and_the_variance_of_its_kernel(curve: Path) -> None:
    found = json.loads(generate(curve, "decoder=prior", "decoder.width=3", "--json"))
    assert found["data"] == [] and found["width"] == 3 and set(found["mean"]) == {0.0}
    np.testing.assert_allclose(found["variance"], found["parameters"]["rbf_variance"][0], rtol=1e-9)


def test_of_several_features_one_is_drawn_and_the_others_stay(plane: Path) -> None:
    said = generate(plane, code=2)
    assert "the model has 2 features: choose one with feature=0 .. 1" in said
    drawn = json.loads(generate(plane, "decoder.feature=1", "--json", "decoder.num_points=3"))
    assert drawn["feature"] == 1 and drawn["plot"].endswith("posterior_feature_1.png")
    slope = (drawn["mean"][2] - drawn["mean"][0]) / (drawn["x"][2] - drawn["x"][0])
    assert slope == pytest.approx(-3.4, abs=0.2)  # the truth of the data


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["decoder=beam"], "unknown name 'beam' (known for this run: posterior, prior)"),
        (["decoder=pirior"], "did you mean 'prior'"),
        (["decoder.feature=1"], "none of the 1 features"),
        (["decoder.output=2"], "none of the 1 outputs"),
        (["decoder.num_points=1"], "num_points=1 must be at least 2"),
        (["decoder.width=0"], "width"),
        (["decoder.beam_size=2"], "unknown option 'beam_size'"),
        (["--prompt", "a"], "for text"),
        (["--stop", "."], "for text"),
        (["--attention", "a.png"], "does not translate"),
    ],
)
def test_what_a_function_has_no_use_for_is_refused(curve: Path, words: list[str], said: str) -> None:
    assert said in generate(curve, *words, code=2)


def test_text_has_no_use_for_functions(tmp_path: Path) -> None:
    text = ("model=rnn_lm", "data.limit=300", "data.batch_size=8", "hardware=cpu", "steps=1")
    train(tmp_path / "run", *text)
    said = generate(tmp_path / "run", "decoder=posterior", code=2)
    assert "unknown name 'posterior' (known for this run: beam, exhaustive, greedy, sampling)" in said


def test_both_decoders_of_a_model_with_several_outputs() -> None:
    model = gp(num_outputs=2, standardize=False)
    x = torch.linspace(0, 1, 9)[:, None]
    model.remember(x, torch.cat([x, 5 - x], 1))
    first, second = (posterior(output=i, num_points=9, margin=0.0)(model, 2) for i in range(2))
    np.testing.assert_allclose(first.x, x.flatten(), atol=1e-6)
    assert first.mean[0] < first.mean[-1] and second.mean[0] > second.mean[-1] > 2
    assert first.variance == second.variance
    assert len(prior(output=1)(model, 4).samples) == 4
