"""`d2l evaluate --label-shift`: class frequencies of other data from predictions."""

import csv
import json
import random
from pathlib import Path

import pytest
import torch
from runs import d2l, train
from torch import nn

from d2lcli.errors import ConfigError
from d2lcli.training.label_shift import Reweighted, assess_label_shift
from d2lcli.training.plan import changed_config


def table(path: Path, rows: int, share: float, seed: int) -> Path:
    """Two overlapping classes, a with mean -1 and b with mean 1; `share` of the rows are b."""
    generator = random.Random(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["x", "y", "label"])
        for i in range(rows):
            b = i < share * rows
            writer.writerow([generator.gauss(1 if b else -1, 1), generator.gauss(0, 1), "b" if b else "a"])
    return path


def test_shares_are_found_in_the_run_s_own_data_and_in_other(tmp_path: Path) -> None:
    own, other = table(tmp_path / "own.csv", 2000, 0.5, 0), table(tmp_path / "other.csv", 4000, 0.9, 1)
    words = ["data=csv", "data.target=label", "model=softmax_regression", "optim=adam", "optim.lr=0.05", "epochs=5"]
    run = tmp_path / "run"
    train(run, *words, f"data.path={own}", "hardware=cpu")
    values = changed_config(run, [])
    report = assess_label_shift(run, values, values)  # a fifth of the rows, 400
    assert report["shares"] == pytest.approx([0.5, 0.5], abs=0.06)
    assert report["corrected_accuracy"] == pytest.approx(report["accuracy"], abs=0.02)
    done = d2l("evaluate", run, f"data.path={other}", "--label-shift", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["examples"] == 800 and sum(found["shares"]) == pytest.approx(1)


def test_corrected_predictions_are_bayes_rule() -> None:
    """P'(j | x) is proportional to P(j | x) w_j."""
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    weights = torch.tensor([0.5, 2.0, 1.0])
    found = torch.softmax(Reweighted(nn.Identity(), weights)(logits), 1)
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.6, 0.2]]) / 1.05)


def test_a_regression_has_no_classes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, "model=linear_regression", "epochs=1", "hardware=cpu")
    values = changed_config(run, [])
    with pytest.raises(ConfigError, match="predicts none"):
        assess_label_shift(run, values, values)
