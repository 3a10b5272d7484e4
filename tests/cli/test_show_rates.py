"""`d2l show --plot`: the learning rate of a config over its run."""

import json
import math
from pathlib import Path

import pytest
from runs import d2l

pytest.importorskip("matplotlib")


def test_a_schedule_by_epoch_needs_no_data(tmp_path: Path) -> None:
    words = ["show", "data=fashion_mnist", "data.root=nowhere", "scheduler=sqrt", "optim.lr=0.3", "epochs=9", "--plot"]
    done = d2l(*words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rates"] == pytest.approx([0.3 / math.sqrt(t + 1) for t in range(9)])
    assert found["steps"] == list(range(9))
    assert (tmp_path / "learning_rate.png").read_bytes().startswith(b"\x89PNG")


def test_a_schedule_by_update_is_as_long_as_the_run(tmp_path: Path) -> None:
    """1,000 examples in batches of 100, 3 epochs: 30 updates."""
    words = ["data.limit=1000", "data.batch_size=100", "epochs=3", "optim=sgd", "optim.lr=0.2"]
    done = d2l("show", *words, "scheduler=warmup_cosine", "scheduler.warmup_steps=10", "--plot", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warmup_cosine, 30 steps" in done.stdout
    rows = dict(line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit())
    assert float(rows["0"]) == 0 and float(rows["10"]) == 0.2 and float(rows["29"]) < 0.002
    assert (tmp_path / "learning_rate.png").exists()
