"""Training rows weighted by how likely they are where the model will be used."""

import csv
import random
from pathlib import Path

import pytest
import torch
from runs import assert_equal, d2l, outcome, resume, train
from safetensors.torch import load_file
from torch import nn

from d2lcli.config import compose
from d2lcli.tasks.classification import classification
from d2lcli.tasks.losses import cross_entropy, mse
from d2lcli.tasks.regression import regression
from d2lcli.training.build import build

WORDS = ("data=csv", "data.target=y", "data.batch_size=16", "model=linear_regression", "hardware=cpu", "epochs=3")


def parabola(path: Path, rows: int, mean: float, seed: int, *, target: bool = True) -> Path:
    """x ~ N(mean, 1) and y = x^2: the best line depends on where x lies."""
    generator = random.Random(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["x", "y"] if target else ["x"])
        for _ in range(rows):
            x = generator.gauss(mean, 1)
            writer.writerow([x, x * x] if target else [x])
    return path


def test_the_line_fits_where_the_model_is_used(tmp_path: Path) -> None:
    """Under x ~ N(1, 1) the best line of x^2 is 2 x - 0, under N(0, 1) it is 1: the slopes are 2 and 0."""
    own = parabola(tmp_path / "own.csv", 4000, 0.0, 0)
    later = parabola(tmp_path / "later.csv", 1500, 1.0, 1, target=False)
    words = [*WORDS, f"data.path={own}", "optim=normal_equation", "epochs=1"]
    slopes = []
    for name, more in (("plain", []), ("weighted", [f"data.deployed={later}"])):
        train(tmp_path / name, *words, *more)
        weights = load_file(tmp_path / name / "checkpoints" / "last" / "model.safetensors")
        slopes.append(next(value for value in weights.values() if value.ndim == 2).item())
    assert slopes[0] == pytest.approx(0.0, abs=0.15)
    assert slopes[1] == pytest.approx(2.0, abs=0.35)


def test_weights_are_those_of_the_function_and_follow_their_rows(tmp_path: Path) -> None:
    own, later = parabola(tmp_path / "own.csv", 200, 0.0, 0), parabola(tmp_path / "later.csv", 100, 1.0, 1)
    values = compose([*WORDS, f"data.path={own}", f"data.deployed={later}"]).values
    run = build(values)
    split = run.dataset.train
    assert split.weights is not None and len(split.weights) == 160
    known = dict(zip(split.inputs.flatten().tolist(), split.weights.tolist()))
    for inputs, _, weights in run.train.batches(0):
        assert [known[x] for x in inputs.flatten().tolist()] == weights.tolist()


def test_a_weighted_loss_is_the_mean_of_weighted_losses() -> None:
    inputs, targets, weights = torch.randn(6, 2), torch.randn(6, 1), torch.rand(6)
    model = nn.Linear(2, 1)
    found = regression(mse).train_loss(model, (inputs, targets, weights))
    torch.testing.assert_close(found, ((model(inputs) - targets)[:, 0] ** 2 * weights).mean())
    labels, model = torch.tensor([0, 1, 2, 0, 1, 2]), nn.Linear(2, 3)
    found = classification(cross_entropy, label_smoothing=0.1).train_loss(model, (inputs, labels, weights))
    each = nn.functional.cross_entropy(model(inputs), labels, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(found, (each * weights).mean())


def test_resume_is_exact_and_accumulation_equals_one_batch(tmp_path: Path) -> None:
    own, later = parabola(tmp_path / "own.csv", 80, 0.0, 0), parabola(tmp_path / "later.csv", 40, 1.0, 1)
    words = [*WORDS, f"data.path={own}", f"data.deployed={later}", "optim=sgd"]
    train(tmp_path / "whole", *words)
    train(tmp_path / "part", *words, "epochs=1")
    resume(tmp_path / "part", "epochs=3", allow_drift=True)
    assert_equal(tmp_path / "part", outcome(tmp_path / "whole"))
    train(tmp_path / "halves", *words, "data.batch_size=8", "accumulate=2")
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "last" / "model.safetensors") for name in ("whole", "halves")
    )
    for key, value in one.items():
        torch.testing.assert_close(two[key], value)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("y\n1\n", 3, ["no column 'x'", "later.csv"]),
        ("x\nhot\n", 3, ["column 'x' holds text", "later.csv"]),
        ("", 3, ["later.csv", "no rows"]),
    ],
)
def test_other_rows_that_do_not_fit(tmp_path: Path, text: str, code: int, words: list[str]) -> None:
    own = parabola(tmp_path / "own.csv", 50, 0.0, 0)
    (tmp_path / "later.csv").write_text(text)
    done = d2l("train", *WORDS, f"data.path={own}", f"data.deployed={tmp_path / 'later.csv'}", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "runs").exists()
