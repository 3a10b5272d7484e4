"""Episodes of Q-learning: one agent, step by step, or many side by side (d2l 17.3).

Legend: S states, A actions, n agents whose episode goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from d2lcli.nn.exploration import choose, choose_one, cumulative

DRAWN = 256  # uniform numbers that are drawn at a time for one agent


@dataclass(frozen=True)
class Rules:
    """How agents act and learn.

    Args:
        explore: a table (S, A) -> probabilities of the actions (S, A).
        explore_row: the same for one state.
        rate: alpha, how far a value moves.
        gamma: the discount.
        max_steps: after which an episode is cut off; its last state then still counts with its value.
    """

    explore: Callable[[Tensor], Tensor]
    explore_row: Callable[[Sequence[float]], list[float]]
    rate: float
    gamma: float
    max_steps: int


@dataclass(frozen=True)
class Played:
    """What became of a batch of episodes.

    Args:
        loss: the mean over all steps of the loss between value and target, before each update; a scalar.
        steps: of all episodes.
        earned: rewards of all episodes, undiscounted.
    """

    loss: Tensor
    steps: int
    earned: float


def uniforms(generator: torch.Generator) -> Iterator[float]:
    """Numbers in [0, 1), without end."""
    while True:
        yield from torch.rand(DRAWN, generator=generator, dtype=torch.float64).tolist()


def play_one(
    world: Any, table: Tensor, rules: Rules, loss: Callable[..., Tensor], generator: torch.Generator
) -> Played:
    """One episode, and Q(s, a) <- (1 - alpha) Q(s, a) + alpha (r + gamma (1 - done) max Q(s')) after each step.

    Python numbers: for single steps they are many times faster than tensors.

    Args:
        world: `d2lcli.data.environment.Listed`.
        table: Q (S, A), changed in place.
        rules: see there.
        loss: of values and targets.
        generator: decides everything.
    """
    q: list[list[float]] = table.tolist()
    drawn = uniforms(generator)
    explore, rate, gamma = rules.explore_row, rules.rate, rules.gamma
    state, earned = world.begin(next(drawn)), 0.0
    before, wanted = [], []
    for _ in range(rules.max_steps):
        row = q[state]
        action = choose_one(explore(row), next(drawn))
        _, state, reward, done = world.step(state, action, next(drawn))
        target = reward if done else reward + gamma * max(q[state])
        before.append(row[action])
        wanted.append(target)
        row[action] = (1 - rate) * row[action] + rate * target
        earned += reward
        if done:
            break
    table.copy_(torch.tensor(q, dtype=table.dtype))
    pair = (torch.tensor(each, dtype=table.dtype, device=table.device) for each in (before, wanted))
    return Played(loss(*pair), len(wanted), earned)


def play_many(
    world: Any, table: Tensor, rules: Rules, loss: Callable[..., Tensor], count: int, generator: torch.Generator
) -> Played:
    """`count` episodes side by side, one step of all that go on at a time.

    Where several agents take the same action in the same state at the same time, its value moves by `rate` towards the
    mean of their targets: once, as for one agent, and in no order.

    Args:
        world: `d2lcli.data.environment.Environment`, or what can do its steps.
        table: Q (S, A), changed in place.
        rules, loss, generator: see `play_one`.
        count: of episodes.
    """
    flat, actions = table.view(-1), table.shape[1]
    sums = torch.zeros(2, flat.numel(), dtype=table.dtype, device=table.device)  # of targets, and how many
    total = torch.zeros((), dtype=table.dtype, device=table.device)
    states, steps, earned = world.begin(count, generator), 0, torch.zeros_like(total)
    ones = torch.ones(count, dtype=table.dtype, device=table.device)
    for _ in range(rules.max_steps):
        n = len(states)
        drawn = torch.rand(n, generator=generator, dtype=torch.float64, device=table.device)
        chosen = choose(cumulative(rules.explore(table)), states, drawn)
        following, rewards, done = world.step(states, chosen, generator)
        later = table.amax(1).index_select(0, following).masked_fill_(done, 0.0)
        targets = later.mul_(rules.gamma).add_(rewards)
        places = states * actions + chosen
        total += loss(flat.index_select(0, places), targets) * n
        sums.zero_()
        sums[0].index_add_(0, places, targets)
        sums[1].index_add_(0, places, ones[:n])
        visited = sums[1] > 0
        flat.copy_(torch.where(visited, flat.lerp(sums[0] / sums[1].clamp(min=1), rules.rate), flat))
        earned += rewards.sum()
        steps += n
        going_on = ~done
        states = following[going_on]
        if not len(states):
            break
        if len(states) < n:
            world.keep(going_on)
    return Played(total / steps, steps, float(earned))


def play_greedily(world: Any, table: Tensor, gamma: float, max_steps: int, generator: torch.Generator) -> float:
    """The discounted return of one episode of the greedy policy in a world that can only be played."""
    states, earned, weight = world.begin(1, generator), 0.0, 1.0
    for _ in range(max_steps):
        states, rewards, done = world.step(states, table[states].argmax(1), generator)
        earned += weight * rewards.item()
        weight *= gamma
        if done.item():
            break
    return earned
