"""What a run writes, and that it is the same each time: files, logs, determinism, precision, layout."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from runs import MLP, SMALL, losses, outcome, rows, train, weights

import d2lcli


def test_tensorboard_reads_the_same_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "run", *MLP)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in rows(tmp_path / "run"):
        for name, value in row["values"].items():
            expected.setdefault(f"{row['split']}/{name}", []).append((row["step"], value))
    assert set(expected) == {"train/loss", "train/lr", "train/grad_norm", "val/loss", "val/accuracy"}
    for tag, points in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [step for step, _ in points]
        assert [value for _, value in found] == pytest.approx([value for _, value in points], rel=1e-6)
    assert all(event.value > 0 for event in events.Scalars("speed/examples_per_second"))
    assert set(events.Tags()["scalars"]) == {*expected, "speed/examples_per_second"}


def test_the_files_of_a_run(tmp_path: Path) -> None:
    from d2lcli.config import compose

    words = (*MLP, "seed=3")
    result = train(tmp_path / "run", *words)
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {"config.yaml", "meta.json", "metrics.jsonl", "tensorboard", "checkpoints", "result.json"}
    assert yaml.safe_load((folder / "config.yaml").read_text()) == compose(words).values
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["run"] == str(folder) and result["status"] == "finished"
    assert (result["steps"], result["epochs"], result["device"], result["precision"]) == (15, 3.0, "cpu", "fp32")
    assert result["parameters"] == 784 * 8 + 8 + 8 * 10 + 10
    assert result["metrics"] == rows(folder, "val")[-1]["values"]
    assert result["seconds"] > 0 and result["examples_per_second"] > 0
    assert result["examples_per_second"] * result["seconds"] <= 15 * 8 * 60
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["seed"], meta["device"], meta["overrides"]) == (3, "cpu", list(words))
    assert meta["versions"]["torch"] == torch.__version__
    assert len(meta["data"]["sha256"]) == 4 and all(len(digest) == 64 for digest in meta["data"]["sha256"].values())
    assert {"command", "git", "started", "machine"} <= set(meta)


def test_times_grow_and_rows_are_in_order(tmp_path: Path) -> None:
    train(tmp_path / "run", *MLP)
    found = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in found] == sorted(row["step"] for row in found)
    assert [row["seconds"] for row in found] == sorted(row["seconds"] for row in found)
    assert all(set(row) == {"step", "epoch", "split", "values", "seconds"} for row in found)


def test_two_runs_are_equal_and_another_seed_is_not(tmp_path: Path) -> None:
    words = (*SMALL, "model=mlp", "model.dropout=0.5", "model.hidden=[8]", "data.flip=true", "ema=0.9")
    train(tmp_path / "one", *words)
    torch.manual_seed(5)
    torch.rand(9)
    train(tmp_path / "two", *words)
    train(tmp_path / "three", *words, "seed=1")
    one, two, three = (outcome(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one["model.safetensors"] != three["model.safetensors"] and one["rows"] != three["rows"]


def test_logging_and_evaluating_change_no_weight(tmp_path: Path) -> None:
    words = (*SMALL, "model=mlp", "model.dropout=0.5", "model.hidden=[8]")
    train(tmp_path / "one", *words)
    more = ("log_every=1", "checkpoint_every=1", "data.eval_batch_size=3", "eval_every=3", "keep=9")
    train(tmp_path / "two", *words, *more)
    assert outcome(tmp_path / "one")["model.safetensors"] == outcome(tmp_path / "two")["model.safetensors"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_follows_full_precision(precision: str, tmp_path: Path) -> None:
    words = (*SMALL, "model=lenet", "model.activation=relu", "optim=adam", "hardware.precision=")
    train(tmp_path / "full", *words[:-1])
    result = train(tmp_path / "half", *words[:-1], words[-1] + precision)
    assert result["precision"] == precision
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "full"), rel=0.02)
    assert losses(tmp_path / "half") != losses(tmp_path / "full")
    assert all(tensor.dtype == torch.float32 for tensor in weights(tmp_path / "half").values())


def test_the_layout_of_images_changes_nothing_but_rounding(tmp_path: Path) -> None:
    words = (*SMALL, "model=lenet", "model.activation=relu")
    train(tmp_path / "one", *words)
    train(tmp_path / "two", *words, "hardware.channels_last=true")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own compiler warns of itself
def test_a_compiled_model_trains_alike(tmp_path: Path) -> None:
    train(tmp_path / "one", *MLP)
    train(tmp_path / "two", *MLP, "hardware.compile=true")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert weights(tmp_path / "two").keys() == weights(tmp_path / "one").keys()
    assert d2lcli.evaluate(tmp_path / "two")["examples"] == 40
