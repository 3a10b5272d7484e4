"""A run that pauses and goes on, as searches have it, is the run that never paused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import MLP, newest, resume, rows, train

from d2lcli.training import session
from d2lcli.training.plan import Rest, already_finished, make_plan


def train_to(folder: Path, rest: Rest, *overrides: str) -> dict[str, Any]:
    plan = make_plan(overrides, resume=folder)
    return session.train(replace(plan, rest=rest), quiet=True)


def weights(folder: Path) -> bytes:
    return (newest(folder) / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("unit", "amounts"), [("epochs", (1, 2, 3)), ("steps", (2, 5, 7, 15))])
def test_pauses_leave_no_trace(tmp_path: Path, unit: Any, amounts: tuple[int, ...]) -> None:
    words = [*MLP, "scheduler=cosine", "model.dropout=0.5", "optim=adam"]
    whole = train(tmp_path / "whole", *words)
    results = [train_to(tmp_path / "parts", Rest(unit, amount), *words) for amount in amounts]
    assert [result["status"] for result in results] == ["paused"] * (len(amounts) - 1) + ["finished"]
    assert [result["steps"] for result in results] == [amount * (5 if unit == "epochs" else 1) for amount in amounts]
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert results[-1]["metrics"] == whole["metrics"]
    assert rows(tmp_path / "parts", "train") == rows(tmp_path / "whole", "train")


def test_a_paused_run_is_evaluated_where_it_pauses(tmp_path: Path) -> None:
    result = train_to(tmp_path / "run", Rest("epochs", 2), *MLP, "epochs=9", "eval_every=5")
    assert [row["step"] for row in rows(tmp_path / "run", "val")] == [10] and result["metrics"]["loss"] > 0


def test_seconds_end_with_the_epoch_in_which_they_are_used_up(tmp_path: Path) -> None:
    result = train_to(tmp_path / "run", Rest("seconds", 1e-6), *MLP, "epochs=9")
    assert (result["status"], result["steps"]) == ("paused", 5)
    assert rows(tmp_path / "run", "val")[-1]["step"] == 5


def test_a_rest_beyond_the_end_is_the_end(tmp_path: Path) -> None:
    result = train_to(tmp_path / "run", Rest("epochs", 50), *MLP)
    assert (result["status"], result["steps"]) == ("finished", 15)
    assert already_finished(make_plan([], resume=tmp_path / "run")) is not None


def test_a_paused_run_is_resumed_by_hand_like_any_other(tmp_path: Path) -> None:
    train_to(tmp_path / "run", Rest("epochs", 1), *MLP)
    assert already_finished(make_plan([], resume=tmp_path / "run")) is None
    assert resume(tmp_path / "run")["status"] == "finished"
