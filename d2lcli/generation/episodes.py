"""Episodes of the policy that a run's table of values stands for (d2l 17).

Legend: S states, A actions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from d2lcli.data.loader import stream_generator
from d2lcli.nn.bellman import action_values, discounted_return, greedy_policy
from d2lcli.nn.exploration import choose, cumulative
from d2lcli.tasks.tabular import Tabular, table_of
from d2lcli.training.judge import rebuild


@dataclass(frozen=True)
class Agent:
    """A policy in its environment.

    Attributes:
        environment: see `d2lcli.data.environment.Environment`, or one that can only be played.
        policy: probabilities of the actions, (S, A).
        values: V of the table, (S,).
        q: action values: those of the table, or what the outcomes of actions are worth under V, (S, A).
        gamma: the discount.
        checkpoint: the folder that the table came from.
    """

    environment: Any
    policy: Tensor
    values: Tensor
    q: Tensor
    gamma: float
    checkpoint: Path


@dataclass(frozen=True)
class Episode:
    """What happened.

    Attributes:
        states: of each moment, one more than actions.
        actions: their names.
        rewards: of each action.
        frames: the states in characters.
        ending: goal, end, or limit where it was cut off.
        earned: the sum of rewards.
        discounted: the discounted sum.
    """

    states: list[int]
    actions: list[str]
    rewards: list[float]
    frames: list[str]
    ending: str
    earned: float
    discounted: float


Play: TypeAlias = Callable[[Agent, int], Episode]
"""From an agent and the number of the episode."""


def open_agent(path: Path, values: dict[str, Any], checkpoint: str = "best") -> Agent:
    """A run's policy, from its folder.

    Raises:
        ConfigError: the environment refuses its options.
        DataError: it is missing.
        CheckpointError: no run, no such checkpoint, or a damaged one.
    """
    run = rebuild(path, values, checkpoint)
    task, table = run.task, table_of(run.model).cpu()
    assert isinstance(task, Tabular)
    task.bind(run.dataset, table.device)  # single steps of one agent are no work for a GPU
    environment = run.dataset.environment
    known = hasattr(environment, "probabilities")
    policy = task.policy(table) if known else greedy_policy(table)
    if table.dim() == 1:
        q = action_values(environment, table, task.gamma)
        return Agent(environment, policy, table, q, task.gamma, run.checkpoint)
    return Agent(environment, policy, (policy * table).sum(1), table, task.gamma, run.checkpoint)


def episode(*, epsilon: float = 0.0, max_steps: int | None = None, seed: int = 0, frame_seconds: float = 0.5) -> Play:
    """Play an episode.

    Args:
        epsilon: the chance of a random action in place of the policy's.
        max_steps: cut it off after so many; None is the environment's own limit.
        seed: decides it, with its number.
        frame_seconds: how long each step is shown in the animation.

    Raises:
        ValueError: a number out of range.
    """
    if not (0 <= epsilon <= 1 and 0 < frame_seconds < math.inf):
        raise ValueError(f"epsilon={epsilon!r} must be from 0 to 1, and frame_seconds={frame_seconds!r} above 0")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps={max_steps!r} must be at least 1")

    @torch.no_grad()
    def play(agent: Agent, number: int) -> Episode:
        world = agent.environment
        generator = stream_generator(seed, number, "episode")
        bounds = cumulative(epsilon / world.num_actions + (1 - epsilon) * agent.policy)
        state = world.begin(1, generator)
        states, done = [int(state)], False
        actions: list[str] = []
        rewards: list[float] = []
        while not done and len(actions) < (max_steps or world.max_steps):
            action = choose(bounds, state, torch.rand(1, generator=generator, dtype=torch.float64))
            state, reward, over = world.step(state, action, generator)
            actions.append(world.actions[int(action)])
            rewards.append(float(reward))
            states.append(int(state))
            done = bool(over)
        goal = getattr(world, "goal", None)
        ending = "limit" if not done else "goal" if goal is not None and goal[states[-1]] else "end"
        frames = [world.shown(each) for each in states]
        return Episode(
            states, actions, rewards, frames, ending, math.fsum(rewards), discounted_return(rewards, agent.gamma)
        )

    return play
