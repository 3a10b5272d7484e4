"""Runs of agents: value iteration and Q-learning to their known ends, exact resume, searches, and wrong uses."""

from pathlib import Path

import pytest
import torch
from runs import assert_equal, outcome, resume, rows, stop_at, train, weights

import d2lcli
from d2lcli.data.frozen_lake import MAPS, lake
from d2lcli.errors import ConfigError, D2LError
from d2lcli.nn.bellman import optimal_values
from d2lcli.registry import DATASETS
from d2lcli.training import signals

CPU = ("hardware=cpu", "hardware.threads=1")
BEST = 0.95**5


def test_value_iteration_is_there_after_six_sweeps_and_the_seventh_changes_nothing(tmp_path: Path) -> None:
    result = train(tmp_path / "run", "experiment=value_iteration_d2l", *CPU)
    changes = [row["values"]["largest_change"] for row in rows(tmp_path / "run", "train")]
    assert len(changes) == 10 and min(changes[:6]) > 0.5 and not any(changes[6:])
    assert float(weights(tmp_path / "run")["values"][0]) == pytest.approx(BEST, abs=1e-15)
    assert result["metrics"]["start_value"] == pytest.approx(BEST, abs=1e-15)
    assert result["best"] == {"step": 6, "bellman_residual": 0.0}


@pytest.mark.parametrize("size", MAPS)
def test_values_of_slippery_ice_are_a_solver_s(tmp_path: Path, size: str) -> None:
    words = (f"data.map={size}", "data.slippery=true", "epochs=700", "eval_every=700", "checkpoint_every=700")
    train(tmp_path / "run", "model=value_table", *words, *CPU)
    expected = optimal_values(lake(MAPS[size], True), 0.95)
    torch.testing.assert_close(weights(tmp_path / "run")["values"], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_q_learning_finds_the_best_policy_within_256_episodes(tmp_path: Path, seed: int) -> None:
    result = train(tmp_path / "run", "model=q_table", "epochs=1", f"seed={seed}", *CPU)
    assert result["steps"] == 256
    assert result["metrics"]["start_value"] == pytest.approx(BEST, abs=1e-14)
    assert result["metrics"]["success_rate"] == 1


def test_many_side_by_side_find_it_on_slippery_ice(tmp_path: Path) -> None:
    words = ("data.slippery=true", "data.batch_size=256", "data.episodes=5120", "epochs=2", "task.epsilon_decay=0.9995")
    result = train(tmp_path / "run", "model=q_table", *words, "optim.lr=0.05", *CPU)
    assert result["metrics"]["optimality_gap"] < 0.01


@pytest.mark.parametrize("explore", ["eps_greedy", "softmax"])
def test_both_ways_to_explore_learn_the_taxi(tmp_path: Path, explore: str) -> None:
    words = ("data=taxi", "data.batch_size=64", "data.episodes=2560", "epochs=2", f"task.explore={explore}")
    result = train(tmp_path / "run", "model=q_table", *words, "task.tau=0.5", *CPU)
    assert result["metrics"]["success_rate"] > 0.99 and result["metrics"]["optimality_gap"] < 0.5


SETTINGS = {
    "q_learning": "model=q_table data.episodes=20 epochs=3",
    "q_learning_side_by_side": "model=q_table data=taxi data.episodes=20 data.batch_size=6 epochs=5 ema=0.5",
    "q_learning_softmax": "model=q_table data.slippery=true data.episodes=20 epochs=3 task.explore=softmax",
    "value_iteration": "model=value_table data.slippery=true epochs=20 scheduler=cosine",
    "policy_iteration": "model=value_table task=policy_iteration data=taxi epochs=12 optim.lr=0.7",
    "policy_evaluation": "model=q_table task=policy_evaluation data=cliff_walking epochs=20",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SETTINGS[setting].split(), "log_every=3", *CPU)
    train(tmp_path / "whole", *words)
    stop_at(monkeypatch, 7)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "stopped", *words)
    resume(tmp_path / "stopped")
    assert_equal(tmp_path / "stopped", outcome(tmp_path / "whole"))


def test_two_runs_of_one_seed_are_equal_and_another_seed_is_another_run(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        train(tmp_path / name, "model=q_table", "epochs=1", "data.episodes=30", f"seed={seed}", *CPU)
    assert_equal(tmp_path / "same", outcome(tmp_path / "one"))
    assert not torch.equal(weights(tmp_path / "one")["values"], weights(tmp_path / "other")["values"])


def test_a_run_is_evaluated_elsewhere(tmp_path: Path) -> None:
    train(tmp_path / "run", "model=q_table", "epochs=1", *CPU)
    here, there = (d2lcli.evaluate(tmp_path / "run", words)["metrics"] for words in ([], ["data.slippery=true"]))
    assert here["start_value"] == pytest.approx(BEST, abs=1e-14) and there["start_value"] < 0.1
    with pytest.raises(ConfigError, match=r"no data for model 'q_table' \(it takes: .*frozen_lake"):
        d2lcli.evaluate(tmp_path / "run", ["data=fashion_mnist_mini"])


WRONG = {
    "task=q_learning": "set model=q_table",
    "task=value_iteration": "model=value_table",
    "data=frozen_lake": "set model=q_table",
    "model=mlp data=taxi task=classification": "is no data for model 'mlp': set model=q_table or model=value_table",
    "model=q_table data=fashion_mnist_mini": "is no data for model 'q_table'",
    "model=q_table task=classification": "is no task for model 'q_table'",
    "model=value_table task=q_learning": "set model=q_table",
    "model=q_table task.gamma=1.1": "want >= 0 and <= 1",
    "model=q_table task.gamma=-0.1": "want >= 0 and <= 1",
    "model=q_table accumulate=2": "needs accumulate=1",
    "model=q_table hardware=ddp hardware.devices=2": "use strategy=single",
    "model=q_table optim=adam": "needs optim=sgd",
    "model=q_table cv=3": "folds",
    "model=q_table data.objective=states": "takes episodes, not states",
    "model=q_table data.map=[SFX,FFG]": "unknown letter 'X'",
    "model=q_table data.map=[SF,FF]": "no goal",
    "model=q_table data.batch_size=300": "has only 256 examples",
    "model=q_table task.metrics=[rmse]": "for predictions",
    "model=mlp task.metrics=[start_value]": "for policies",
    "model=value_table task=policy_evaluation task.policy=[1]": "1 entries, but there are 16 states",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_uses_have_a_line(tmp_path: Path, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *words.split(), *(CPU if "hardware" not in words else ()))
    assert any(WRONG[words] in line for line in caught.value.lines), caught.value.lines


def test_there_is_nothing_to_diagnose(tmp_path: Path) -> None:
    from d2lcli.diagnosis.report import diagnose
    from d2lcli.training.plan import changed_config

    train(tmp_path / "run", "model=value_table", *CPU)
    with pytest.raises(D2LError, match="nothing to diagnose"):
        diagnose(tmp_path / "run", changed_config(tmp_path / "run", []))


@pytest.mark.parametrize("model", ["q_table", "value_table"])
@pytest.mark.parametrize("data", ["frozen_lake", "cliff_walking", "taxi"])
def test_every_environment_passes_the_smoke_test(tmp_path: Path, model: str, data: str) -> None:
    assert data in DATASETS
    result = d2lcli.train([f"model={model}", f"data={data}", *CPU], run_dir=tmp_path / "run", smoke=True)
    assert result["status"] == "finished" and result["steps"] == 2
