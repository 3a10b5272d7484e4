"""Environments of gymnasium, where it is installed: their tables, or episodes that are played."""

import sys
from pathlib import Path

import pytest
import torch
from runs import assert_equal, outcome, resume, stop_at, train

from d2lcli.data.frozen_lake import MAPS, lake
from d2lcli.data.gymnasium import Simulated, gymnasium
from d2lcli.errors import DataError
from d2lcli.training import signals

CPU = ("hardware=cpu", "hardware.threads=1")
PLAYED = ("model=q_table", "data=gymnasium", "data.env=Blackjack-v1", "data.num_val=50", "task.gamma=1", *CPU)


def test_a_library_that_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(DataError, match="gymnasium is not installed") as caught:
        gymnasium(env="Blackjack-v1")
    assert "pip install 'd2lcli[rl]'" in caught.value.hint


def test_an_id_names_no_module() -> None:
    with pytest.raises(ValueError, match="names no module"):
        gymnasium(env="os:Blackjack-v1")
    with pytest.raises(ValueError, match="env is not given"):
        gymnasium()


def test_tables_are_taken_where_there_are_some() -> None:
    pytest.importorskip("gymnasium")
    data = gymnasium(env="FrozenLake-v1", options={"is_slippery": True, "map_name": "8x8"}, objective="states")
    own = lake(MAPS["8x8"], True)
    assert data.shape == (64,) and data.num_outputs == 4
    for name in ("probabilities", "next_states", "rewards", "done", "start", "goal"):
        ours, theirs = getattr(own, name), getattr(data.environment, name)
        if name in ("next_states", "rewards", "done"):  # where an outcome cannot be it says nothing
            ours, theirs = (each.masked_fill(own.probabilities == 0, 0) for each in (ours, theirs))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("env", "options", "words"),
    [
        ("Nosuch-v1", None, "Nosuch"),
        ("CartPole-v1", None, "no numbered states"),
        ("Pendulum-v1", None, "no numbered actions"),
        ("FrozenLake-v1", {"no_such": 1}, "no_such"),
        ("FrozenLake-v1", {"map_name": "9x9"}, "9x9"),
    ],
)
def test_what_cannot_be_learnt_by_a_table(env: str, options: dict[str, int | str] | None, words: str) -> None:
    pytest.importorskip("gymnasium")
    with pytest.raises(ValueError, match=words):
        gymnasium(env=env, options=options)


def test_what_can_only_be_played_has_no_sweeps() -> None:
    pytest.importorskip("gymnasium")
    with pytest.raises(ValueError, match="use model=q_table"):
        gymnasium(env="Blackjack-v1", objective="states")


def test_agents_play_side_by_side_as_they_do_alone() -> None:
    library = pytest.importorskip("gymnasium")
    world = gymnasium(env="Blackjack-v1").environment
    assert isinstance(world, Simulated) and world.num_states == 32 * 11 * 2
    states = world.begin(5, torch.Generator().manual_seed(3))
    seeds = torch.randint(2**31, (5,), generator=torch.Generator().manual_seed(3)).tolist()
    copies = [library.make("Blackjack-v1") for _ in range(5)]
    seen = [copy.reset(seed=seed)[0] for copy, seed in zip(copies, seeds)]
    for _ in range(3):
        assert states.tolist() == [(a * 11 + b) * 2 + int(c) for a, b, c in seen]
        states, rewards, done = world.step(states, torch.ones_like(states), torch.Generator())
        results = [copy.step(1) for copy in copies]
        seen = [result[0] for result in results]
        assert rewards.tolist() == [result[1] for result in results]
        assert done.tolist() == [result[2] for result in results]
        world.keep(~done)
        copies = [copy for copy, result in zip(copies, results) if not result[2]]
        states = states[~done]
        seen = [each for each, result in zip(seen, results) if not result[2]]
    assert world.shown((20 * 11 + 10) * 2 + 1) == "state 20, 10, 1"


@pytest.mark.parametrize("side_by_side", [1, 4])
def test_a_run_that_plays_goes_on_to_the_same_bits(
    tmp_path: Path, side_by_side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gymnasium")
    words = (*PLAYED, "data.episodes=40", "epochs=2", f"data.batch_size={side_by_side}", "log_every=3")
    result = train(tmp_path / "whole", *words)
    assert set(result["metrics"]) == {"loss", "start_value"}  # the others need tables
    stop_at(monkeypatch, 13)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "stopped", *words)
    resume(tmp_path / "stopped")
    assert_equal(tmp_path / "stopped", outcome(tmp_path / "whole"))


@pytest.mark.slow
def test_blackjack_is_learnt(tmp_path: Path) -> None:
    """The best policy loses .045 of a stake on average; one that always takes a card nearly all of it."""
    pytest.importorskip("gymnasium")
    words = ("data.episodes=20000", "epochs=5", "optim.lr=0.02", "task.epsilon_decay=0.9999", "model.initial=0")
    result = train(tmp_path / "run", *PLAYED, *words, "data.num_val=4000")
    assert -0.12 < result["metrics"]["start_value"] < 0
