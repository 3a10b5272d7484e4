"""`d2l evaluate --drift`: the place in a stream where a model begins to fail."""

import csv
import json
import random
from pathlib import Path

from runs import d2l, train


def stream(path: Path, rows: int, change: int, seed: int) -> Path:
    """y = 2 x + noise of size 0.1; from row `change` on y = 2 x + 1."""
    generator = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y"])
        for row in range(rows):
            x = generator.gauss(0, 1)
            writer.writerow([x, 2 * x + generator.gauss(0, 0.1) + (row >= change)])
    return path


def test_an_alarm_sounds_soon_after_the_change_and_never_before(tmp_path: Path) -> None:
    own, other = stream(tmp_path / "own.csv", 3000, 3000, 0), stream(tmp_path / "other.csv", 3000, 1500, 1)
    words = ["data=csv", "data.target=y", "model=linear_regression", "optim=normal_equation", "epochs=1"]
    run = tmp_path / "run"
    train(run, *words, f"data.path={own}", "hardware=cpu")
    done = d2l("evaluate", run, "--drift", "--split", "train", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["alarms"] == []
    done = d2l("evaluate", run, f"data.path={other}", "--drift", "--split", "train", "--json")
    found = json.loads(done.stdout)
    assert found["alarms"] and found["loss"] > 10 * found["reference"]
    # The rows of a split come in an order of their own, half of them after the change: one within the first few.
    assert found["alarms"][0] < 100
    text = d2l("evaluate", run, f"data.path={other}", "--drift", "--split", "train").stdout
    assert "drift alarms:" in text and "as a stream" in text


def test_two_questions_at_once_are_refused(tmp_path: Path) -> None:
    done = d2l("evaluate", tmp_path, "--drift", "--label-shift")
    assert done.returncode == 2 and "one after the other" in done.stderr
