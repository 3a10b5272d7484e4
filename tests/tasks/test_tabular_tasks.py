"""Sweeps and steps of Q-learning by hand, policies that are given, and the metrics of policies."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from d2lcli.data.environment import environment_dataset
from d2lcli.data.frozen_lake import MAPS, lake
from d2lcli.models.tables import QTable, ValueTable
from d2lcli.nn.exploration import epsilon_greedy, epsilon_greedy_row
from d2lcli.registry import METRICS, TASKS
from d2lcli.tasks.losses import cross_entropy, gaussian_nll, mse
from d2lcli.tasks.playing import Rules, play_many, play_one
from d2lcli.tasks.policy_evaluation import read_policy

NAMES = ["start_value", "optimality_gap", "success_rate", "bellman_residual", "value_error"]
CPU = torch.device("cpu")


def bound(name: str, *, slippery: bool = False, **options: Any) -> Any:
    """A task on the 4x4 lake."""
    task = TASKS.build(name, loss=mse, metrics=[METRICS.build(each) for each in NAMES], **options)
    world = lake(MAPS["4x4"], slippery)
    task.bind(environment_dataset("frozen_lake", world, "states", 256, "a test"), CPU)
    return task


def measured(task: Any, model: Any) -> dict[str, float]:
    losses, rows, start = task.eval_step(model, (torch.eye(16), torch.zeros(16, 4)))
    assert losses.shape == (16,)
    found = {}
    for name, metric in task.metrics.items():
        metric.reset()
        task.update(metric, rows, start)
        found[name] = metric.compute()
    return found


def test_a_sweep_of_value_iteration_by_hand() -> None:
    task, model = bound("value_iteration", gamma=0.5), ValueTable(16, 0.0)
    task.advance(model, (), 1.0)
    assert model.values.tolist() == [0.0] * 14 + [1.0, 0.0]  # one step before the goal
    task.advance(model, (), 1.0)
    assert {s: v for s, v in enumerate(model.values.tolist()) if v} == {10: 0.5, 13: 0.5, 14: 1.0}


def test_a_rate_below_1_goes_part_of_the_way() -> None:
    task, model = bound("value_iteration", gamma=0.5), ValueTable(16, 0.8)
    task.advance(model, (), 0.25)
    values = model.values.tolist()
    assert values[14] == pytest.approx(0.75 * 0.8 + 0.25 * 1.0)
    assert values[0] == pytest.approx(0.75 * 0.8 + 0.25 * 0.5 * 0.8)
    assert values[5] == pytest.approx(0.75 * 0.8)  # a hole


@pytest.mark.parametrize("table", [ValueTable(16, 0.0), QTable(16, 4, 1.0)], ids=["values", "action values"])
def test_seven_sweeps_solve_the_lake(table: Any) -> None:
    task, changes = bound("value_iteration"), []
    for _ in range(7):
        task.advance(table, (), 1.0)
        changes.append(float(task.noted["largest_change"]))
    assert changes[6] < 1e-15 < 0.01 < min(changes[:6])
    found = measured(task, table)
    assert found["start_value"] == pytest.approx(0.95**5, abs=1e-14) and found["success_rate"] == 1
    assert found["bellman_residual"] < 1e-15 and found["value_error"] < 1e-15


@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize("options", [{}, {"sweeps": 3}])
def test_policy_iteration_ends_where_value_iteration_does(slippery: bool, options: dict[str, Any]) -> None:
    by_policies, by_values = (bound(f"{name}_iteration", slippery=slippery) for name in ("policy", "value"))
    by_policies = bound("policy_iteration", slippery=slippery, **options)
    one, other = ValueTable(16, 0.0), ValueTable(16, 0.0)
    for _ in range(10 if not options else 300):
        by_policies.advance(one, (), 1.0)
    for _ in range(900):
        by_values.advance(other, (), 1.0)
    torch.testing.assert_close(one.values, other.values, rtol=1e-10, atol=1e-10)


def test_policy_evaluation_finds_numpy_s_solution() -> None:
    task, model = bound("policy_evaluation", slippery=True), ValueTable(16, 0.0)
    for _ in range(900):
        task.advance(model, (), 1.0)
    world = task.environment
    transitions, rewards = (each.numpy().mean(1) for each in world.expected())  # all actions alike
    going_on = transitions * ~world.final.numpy()  # what leads into a hole or the goal ends there
    expected = np.linalg.solve(np.eye(16) - 0.95 * going_on, rewards)
    np.testing.assert_allclose(model.values.detach().numpy(), expected, rtol=1e-11, atol=1e-13)
    assert measured(task, model)["start_value"] == pytest.approx(expected[0], rel=1e-10)


def test_policies_that_are_given() -> None:
    world = lake(MAPS["4x4"], False)
    assert read_policy([2] * 16, world)[3].tolist() == [0, 0, 1, 0]
    assert read_policy([[0.1, 0.2, 0.3, 0.4]] * 16, world)[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    for wrong, words in (
        ([1, 2], "2 entries, but there are 16 states"),
        ([4] * 16, "4 is none of the actions 0 .. 3"),
        ([[0.5, 0.5]] * 16, "no probabilities of 4 actions"),
        ([[0.5, 0.6, 0, 0]] * 16, "no probabilities of 4 actions"),
    ):
        with pytest.raises(ValueError, match=words):
            read_policy(wrong, world)  # type: ignore[arg-type]


def rules(rate: float = 0.9, epsilon: float = 0.9, max_steps: int = 100) -> Rules:
    return Rules(
        partial(epsilon_greedy, epsilon=epsilon), partial(epsilon_greedy_row, epsilon=epsilon), rate, 0.95, max_steps
    )


class Script:
    """A world of two states: action 0 gives 1 and goes on to state 1; there every action gives 2 and ends."""

    def begin(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(count, dtype=torch.int64)

    def step(self, states: Tensor, actions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        over = states == 1
        rewards = torch.where(over, 2.0, 1.0).double()
        return torch.ones_like(states), rewards, over

    def keep(self, going_on: Tensor) -> None:
        pass


def test_updates_of_q_learning_by_hand() -> None:
    table = torch.tensor([[0.5, 0.4], [3.0, 0.2]], dtype=torch.float64)
    played = play_many(Script(), table, rules(0.9, epsilon=0.0), mse, 1, torch.Generator().manual_seed(0))
    # (1 - .9) .5 + .9 (1 + .95 * 3); then (1 - .9) 3 + .9 * 2, because the episode is over
    assert table.tolist() == [pytest.approx([0.05 + 0.9 * 3.85, 0.4]), pytest.approx([2.1, 0.2])]
    assert float(played.loss) == pytest.approx(((3.85 - 0.5) ** 2 + (2 - 3.0) ** 2) / 2)
    assert (played.steps, played.earned) == (2, 3.0)


def test_agents_that_meet_move_a_value_once_towards_their_mean() -> None:
    class Two(Script):
        def step(self, states: Tensor, actions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
            return states, torch.tensor([1.0, 4.0], dtype=torch.float64), torch.ones(2, dtype=torch.bool)

    table = torch.tensor([[0.5, 0.0], [7.0, 7.0]], dtype=torch.float64)
    play_many(Two(), table, rules(0.8, epsilon=0.0), mse, 2, torch.Generator().manual_seed(0))
    assert table.tolist() == [pytest.approx([0.2 * 0.5 + 0.8 * 2.5, 0.0]), [7.0, 7.0]]


def test_one_agent_learns_as_many_would() -> None:
    """The same rule: for actions without chance, the update of each visited pair is that of a replay with tensors."""
    world = lake(MAPS["4x4"], False)
    one = torch.rand(16, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = one.clone()
    played = play_one(world.listed(), one, rules(epsilon=0.0), mse, torch.Generator().manual_seed(0))
    again = play_many(world, other, rules(epsilon=0.0), mse, 1, torch.Generator().manual_seed(1))
    torch.testing.assert_close(one, other, rtol=1e-14, atol=1e-14)
    assert (played.steps, played.earned) == (again.steps, again.earned)
    torch.testing.assert_close(played.loss, again.loss)


def test_an_episode_that_is_cut_off_does_not_end() -> None:
    world = lake(["SFG"], False)
    table = torch.zeros(3, 4, dtype=torch.float64)
    table[1] = 2.0
    play_many(world, table, rules(1.0, epsilon=1.0, max_steps=1), mse, 64, torch.Generator().manual_seed(0))
    assert float(table[0, 2]) == pytest.approx(0.95 * 2.0)


def test_epsilon_falls_from_episode_to_episode() -> None:
    task = TASKS.build("q_learning", loss=mse, metrics=[], epsilon=0.8, epsilon_decay=0.5, epsilon_min=0.1)
    assert [task.rate_of_exploration(n) for n in (0, 1, 2, 3, 9)] == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.1])


def test_the_figures_of_a_table_that_knows_nothing() -> None:
    found = measured(bound("value_iteration"), ValueTable(16, 0.0))
    assert found["start_value"] == found["success_rate"] == 0
    assert found["optimality_gap"] == pytest.approx(0.95**5) and found["bellman_residual"] == 1
    assert found["value_error"] == 1  # V* of the cell before the goal


@pytest.mark.parametrize("loss", [cross_entropy, gaussian_nll])
def test_a_loss_must_be_a_distance(loss: Any) -> None:
    with pytest.raises(ValueError, match="distance"):
        TASKS.get("value_iteration")(loss, [])


def test_what_is_refused() -> None:
    for name in ("q_learning", "value_iteration", "policy_iteration", "policy_evaluation"):
        for gamma in (-0.1, 1.1):
            with pytest.raises(ValueError, match="gamma"):
                TASKS.get(name)(mse, [], gamma=gamma)
        with pytest.raises(ValueError, match="for predictions"):
            TASKS.get(name)(mse, [METRICS.build("rmse")])
        with pytest.raises(ValueError, match="taken"):
            TASKS.get(name)(mse, [METRICS.build("start_value"), METRICS.build("start_value")])
    with pytest.raises(ValueError, match="sweeps"):
        TASKS.get("policy_iteration")(mse, [], sweeps=0)
    for key, value in (("tau", 0.0), ("epsilon", 1.5), ("epsilon_decay", -1.0)):
        with pytest.raises(ValueError, match=key):
            TASKS.get("q_learning")(mse, [], **{key: value})


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_for_policies_and_need_states(name: str) -> None:
    metric = METRICS.build(name)
    with pytest.raises(ValueError, match="this task has none"):
        metric.bind(3)
    with pytest.raises(ValueError, match="has seen no"):
        metric.compute()


def test_the_interval_of_episodes_that_were_played() -> None:
    metric = METRICS.build("start_value")
    returns = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.full((400, 5), torch.nan, dtype=torch.float64)
    rows[:, 0] = returns
    metric.update(rows[:150], torch.ones(150))
    metric.update(rows[150:], torch.ones(250))
    assert metric.compute() == pytest.approx(float(returns.mean()))
    low, high = metric.interval()
    half = 1.959963984540054 * float(returns.std()) / 20
    assert (high - low) / 2 == pytest.approx(half) and (low + high) / 2 == pytest.approx(metric.compute())
    exact = METRICS.build("start_value")
    exact.update(rows, torch.full((400,), 1 / 400))  # from tables: nothing is uncertain
    assert exact.interval() is None and exact.compute() == pytest.approx(metric.compute())
