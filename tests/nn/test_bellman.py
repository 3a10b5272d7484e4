"""Values of policies against NumPy's solver, closed forms and walks of the tables."""

from collections import deque

import numpy as np
import pytest
import torch

from d2lcli.data.cliff_walking import cliff
from d2lcli.data.environment import Environment
from d2lcli.data.frozen_lake import MAPS, lake
from d2lcli.data.taxi import city
from d2lcli.nn.bellman import (
    action_values,
    discounted_return,
    greedy_policy,
    optimal_values,
    policy_values,
    success_probabilities,
    uniform_policy,
)  # fmt: skip

GAMMA = 0.95
MAKERS = {
    "lake": lambda: lake(MAPS["4x4"], False),
    "slippery": lambda: lake(MAPS["4x4"], True),
    "slippery_8x8": lambda: lake(MAPS["8x8"], True),
    "cliff": lambda: cliff(False),
    "slippery_cliff": lambda: cliff(True),
    "taxi": city,
}
every_world = pytest.mark.parametrize("name", MAKERS)


def by_numpy(world: Environment, policy: np.ndarray, gamma: float) -> np.ndarray:
    """(I - gamma P) V = r, put together outcome by outcome."""
    states, actions, outcomes = world.probabilities.shape
    matrix, rewards = np.eye(states), np.zeros(states)
    for s in range(states):
        for a in range(actions):
            for k in range(outcomes):
                weight = policy[s, a] * float(world.probabilities[s, a, k])
                rewards[s] += weight * float(world.rewards[s, a, k])
                if not world.done[s, a, k]:
                    matrix[s, int(world.next_states[s, a, k])] -= gamma * weight
    return np.linalg.solve(matrix, rewards)


def test_a_return_is_discounted_step_by_step() -> None:
    assert discounted_return([1.0, 2.0, 4.0], 0.5) == 1 + 2 / 2 + 4 / 4
    assert discounted_return([], 0.9) == 0
    assert discounted_return([0, 0, 0, 0, 0, 1], 0.95) == pytest.approx(0.7737809375, abs=1e-15)


def test_a_return_is_at_most_the_largest_reward_over_one_minus_gamma() -> None:
    bound = 1 / (1 - GAMMA)
    assert bound - 1e-6 < discounted_return([1.0] * 400, GAMMA) < bound


@pytest.mark.parametrize("name", ["lake", "slippery", "cliff"])
def test_the_values_of_the_uniform_policy_are_numpy_s(name: str) -> None:
    world = MAKERS[name]()
    policy = uniform_policy(world)
    found = policy_values(world, policy, GAMMA)
    np.testing.assert_allclose(found.numpy(), by_numpy(world, policy.numpy(), GAMMA), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["slippery", "slippery_cliff"])
def test_v_is_q_averaged_over_the_policy(name: str) -> None:
    world = MAKERS[name]()
    policy = torch.rand(world.num_states, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    policy /= policy.sum(1, keepdim=True)
    values = policy_values(world, policy, GAMMA)
    torch.testing.assert_close((policy * action_values(world, values, GAMMA)).sum(1), values, rtol=1e-12, atol=1e-12)


def steps_to_the_goal(rows: tuple[str, ...]) -> dict[int, int]:
    """Breadth first from the goal, over cells that are not holes."""
    width = len(rows[0])
    letters = "".join(rows)
    found = {letters.index("G"): 0}
    border = deque(found)
    while border:
        cell = border.popleft()
        row, column = divmod(cell, width)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < len(rows) and 0 <= c < width and rows[r][c] in "SF" and r * width + c not in found:
                found[r * width + c] = found[cell] + 1
                border.append(r * width + c)
    return found


@pytest.mark.parametrize("size", MAPS)
def test_the_best_values_of_the_lake_are_powers_of_gamma(size: str) -> None:
    values = optimal_values(lake(MAPS[size], False), GAMMA)
    away = steps_to_the_goal(MAPS[size])
    expected = [GAMMA ** (away[s] - 1) if away.get(s, 0) else 0.0 for s in range(len(values))]
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert size != "4x4" or float(values[0]) == pytest.approx(0.77378, abs=1e-5)


@every_world
def test_the_best_values_solve_the_bellman_equation(name: str) -> None:
    world = MAKERS[name]()
    values = optimal_values(world, GAMMA)
    assert (action_values(world, values, GAMMA).amax(1) - values).abs().max() < 1e-12 * max(1, values.abs().max())


@every_world
def test_policy_iteration_ends_where_value_iteration_does(name: str) -> None:
    world = MAKERS[name]()
    values = torch.zeros(world.num_states, dtype=torch.float64)
    for _ in range(900):  # .95^900 = 1e-20
        values = action_values(world, values, GAMMA).amax(1)
    found = optimal_values(world, GAMMA)
    torch.testing.assert_close(found, values, rtol=1e-11, atol=1e-11)


def test_without_a_discount_a_walk_along_the_cliff_costs_13() -> None:
    world = cliff(False)
    assert float(optimal_values(world, 1.0)[36]) == pytest.approx(-13, abs=1e-9)
    up = torch.zeros(48, 4, dtype=torch.float64)
    up[:, 0] = 1.0
    assert float(policy_values(world, up, 1.0)[36]) == pytest.approx(-(2.0**20))  # it never ends


def test_the_first_of_the_best_actions_is_taken() -> None:
    q = torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, -1.0]])
    assert greedy_policy(q).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_the_chance_of_success_within_a_number_of_steps() -> None:
    world = lake(MAPS["4x4"], False)
    policy = greedy_policy(action_values(world, optimal_values(world, GAMMA), GAMMA))
    for steps, expected in ((5, 0.0), (6, 1.0), (100, 1.0)):
        assert float(success_probabilities(world, policy, world.goal, steps)[0]) == expected


def test_the_chance_of_success_on_slippery_ice_is_that_of_a_chain() -> None:
    world = lake(MAPS["4x4"], True)
    policy = uniform_policy(world)
    transitions = world.expected()[0].numpy().mean(1)  # holes and the goal lead to themselves
    expected = np.linalg.matrix_power(transitions, 40)[:, 15]
    found = success_probabilities(world, policy, world.goal, 40).numpy()
    np.testing.assert_allclose(found[:15], expected[:15], rtol=1e-12)
