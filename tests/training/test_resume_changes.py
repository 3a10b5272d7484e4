"""Resuming under a changed config: longer runs, refusals by name, what is harmless, and drift that is asked for."""

from pathlib import Path

import pytest
from runs import MLP, SMALL, assert_equal, everything, outcome, resume, rows, stop_at, train

from d2lcli.errors import CheckpointError, ConfigError
from d2lcli.training import signals

LONGER = ("model=mlp", "model.hidden=[8]", "model.dropout=0.3", "ema=0.9", *SMALL)


def test_a_longer_run_equals_one_planned_so(tmp_path: Path) -> None:
    train(tmp_path / "short", *LONGER, "epochs=2")
    resume(tmp_path / "short", "epochs=4")
    train(tmp_path / "long", *LONGER, "epochs=4")
    assert_equal(tmp_path / "short", outcome(tmp_path / "long"))
    assert outcome(tmp_path / "long")["result.json"]["steps"] == 20


def test_a_longer_run_by_steps_has_the_same_weights(tmp_path: Path) -> None:
    """It was evaluated once more on the way, at its first end."""
    train(tmp_path / "short", *LONGER, "steps=7")
    assert resume(tmp_path / "short", "steps=12")["steps"] == 12
    train(tmp_path / "long", *LONGER, "steps=12")
    found, expected = outcome(tmp_path / "short"), outcome(tmp_path / "long")
    assert found["model.safetensors"] == expected["model.safetensors"]
    assert found["ema.safetensors"] == expected["ema.safetensors"]
    assert [row for row in found["rows"] if row["step"] != 7] == expected["rows"]


@pytest.mark.parametrize("scheduler", ["constant", "cosine"])
def test_more_patience_after_an_early_stop(scheduler: str, tmp_path: Path) -> None:
    """No evaluation after the first counts as better, so a run waits as often as it may; no schedule depends on it."""
    words = (*LONGER, f"scheduler={scheduler}", "epochs=9", "min_delta=1e9")
    assert train(tmp_path / "short", *words, "patience=2")["steps"] == 15
    assert resume(tmp_path / "short", "patience=4")["steps"] == 25
    train(tmp_path / "long", *words, "patience=4")
    assert_equal(tmp_path / "short", outcome(tmp_path / "long"))
    before = everything(tmp_path / "short" / "checkpoints")
    assert resume(tmp_path / "short", "patience=3")["steps"] == 25  # it has waited longer than that
    assert everything(tmp_path / "short" / "checkpoints") == before
    assert resume(tmp_path / "short", "patience=null")["steps"] == 45


def test_epochs_after_steps_are_not_taken_for_done(tmp_path: Path) -> None:
    train(tmp_path / "run", *MLP, "steps=3")
    assert resume(tmp_path / "run", "steps=null", "epochs=3")["steps"] == 15


def test_a_longer_run_is_refused_where_the_schedule_depends_on_the_length(tmp_path: Path) -> None:
    train(tmp_path / "run", *MLP, "scheduler=cosine", "epochs=1")
    before = everything(tmp_path / "run")
    with pytest.raises(ConfigError, match="epochs: 1 -> 2 would change the course"):
        resume(tmp_path / "run", "epochs=2")
    assert everything(tmp_path / "run") == before
    train(tmp_path / "fixed", *MLP, "scheduler=cosine", "scheduler.max_update=5", "epochs=1")
    assert resume(tmp_path / "fixed", "epochs=2")["steps"] == 10


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("optim.lr=0.2", "optim.lr"),
        ("model.hidden=[9]", "model.hidden"),
        ("data=emoji64", "data"),
        ("data.batch_size=9", "data.batch_size"),
        ("optim=adam", "optim"),
        ("seed=1", "seed"),
        ("accumulate=2", "accumulate"),
        ("hardware.precision=bf16", "hardware.precision"),
        ("ema=0.5", "ema"),
        ("data.limit=39", "data.limit"),
    ],
)
def test_a_changed_config_is_refused_by_name(
    change: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *MLP)
    before = everything(tmp_path / "run")
    with pytest.raises(ConfigError, match=rf"(^|; ){key}(\.\w+)?: .* would change the course of the run") as caught:
        resume(tmp_path / "run", change)
    assert caught.value.exit_code == 2 and "--allow-drift" in caught.value.hint
    assert everything(tmp_path / "run") == before


def test_harmless_keys_are_accepted_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *MLP)
    resume(tmp_path / "run", "log_every=1", "keep=1", "data.eval_batch_size=7")
    train(tmp_path / "whole", *MLP)
    assert outcome(tmp_path / "run")["model.safetensors"] == outcome(tmp_path / "whole")["model.safetensors"]
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [3, *range(5, 16)]
    assert "log_every: 1" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_config_file_changes_a_resumed_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *MLP)
    (tmp_path / "more.yaml").write_text("log_every: 1\n")
    resume(tmp_path / "run", config_file=tmp_path / "more.yaml")
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [3, *range(5, 16)]
    assert "log_every: 1" in (tmp_path / "run" / "config.yaml").read_text()


def test_drift_is_allowed_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *MLP)
    resume(tmp_path / "run", "optim.lr=0.2", allow_drift=True)
    assert {row["step"]: row["values"]["lr"] for row in rows(tmp_path / "run", "train")} == {
        3: 0.1, 6: 0.2, 9: 0.2, 12: 0.2, 15: 0.2,
    }  # fmt: skip


def test_fewer_batches_an_epoch_are_allowed_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch 4 of 5 was done; an epoch of 2 batches is over then."""
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *MLP)
    assert resume(tmp_path / "run", "data.batch_size=20", allow_drift=True)["epochs"] == 2


def test_another_width_does_not_fit_even_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 4)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *MLP)
    with pytest.raises(CheckpointError, match=r"has shape \(8, 784\) instead of \(9, 784\)"):
        resume(tmp_path / "run", "model.hidden=[9]", allow_drift=True)
    assert resume(tmp_path / "run")["status"] == "finished"  # the config that fits was kept
