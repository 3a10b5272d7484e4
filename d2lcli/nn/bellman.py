"""Bellman's equations on tables: values of states and actions, policies, returns (d2l 17.1 and 17.2).

Legend: S states, A actions, K outcomes that an action can have.  All tables are float64.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

MOST_SWEEPS = 2000
MOST_POLICIES = 1000  # far more than it takes; a discount of almost 1 leaves rounding that could go on for ever
EQUAL = 1e-12  # actions whose values differ by less, relative to the largest, are equally good


class Outcomes(Protocol):
    """What each action may lead to, all (S, A, K): outcome k of action a in state s has probabilities[s, a, k]."""

    @property
    def probabilities(self) -> Tensor: ...

    @property
    def next_states(self) -> Tensor:
        """int64."""
        ...

    @property
    def rewards(self) -> Tensor: ...

    @property
    def done(self) -> Tensor:
        """bool: the episode ends there, and nothing that comes afterwards counts."""
        ...


def discounted_return(rewards: Sequence[float], gamma: float) -> float:
    """sum_t gamma^t r_t, at most r_max / (1 - gamma) (d2l 17.1)."""
    total = 0.0
    for reward in reversed(rewards):
        total = reward + gamma * total
    return total


def action_values(outcomes: Outcomes, values: Tensor, gamma: float) -> Tensor:
    """Q(s, a) = sum_k p_k (r_k + gamma (1 - done_k) V(s'_k)), for any V.

    Args:
        outcomes: of all actions.
        values: V, (S,).
        gamma: the discount, from 0 to 1.

    Returns:
        (S, A).
    """
    later = values[outcomes.next_states].masked_fill(outcomes.done, 0.0)
    return (outcomes.probabilities * (outcomes.rewards + gamma * later)).sum(2)


def uniform_policy(outcomes: Outcomes) -> Tensor:
    """Every action with the same probability, (S, A)."""
    states, actions, _ = outcomes.probabilities.shape
    return torch.full((states, actions), 1 / actions, dtype=torch.float64, device=outcomes.probabilities.device)


def greedy_policy(q: Tensor) -> Tensor:
    """The best action of each state with probability 1, the first one of several: (S, A) to (S, A)."""
    return torch.zeros_like(q, dtype=torch.float64).scatter_(1, q.argmax(1, keepdim=True), 1.0)


def policy_values(outcomes: Outcomes, policy: Tensor, gamma: float) -> Tensor:
    """V = r + gamma P V by a linear solve: what a policy earns from each state on, (S,) (d2l 17.2).

    With gamma = 1 the equation has no solution where a policy may go on for ever.  Then the discount is 1 - 2^-20,
    which looks about a million steps ahead.

    Args:
        outcomes: of all actions.
        policy: probabilities of the actions, (S, A).
        gamma: the discount, from 0 to 1.
    """
    if gamma == 1 and not always_ends(outcomes, policy):
        gamma = 1 - 2.0**-20
    transitions, rewards = chain(outcomes, policy)
    identity = torch.eye(len(rewards), dtype=torch.float64, device=rewards.device)
    solved: Tensor = torch.linalg.solve(identity - gamma * transitions, rewards)
    return solved


def always_ends(outcomes: Outcomes, policy: Tensor) -> bool:
    """Whether an episode can end from each state that a policy leads to, and so will with probability 1."""
    possible = policy[:, :, None] * outcomes.probabilities > 0
    ends = torch.zeros(len(policy), dtype=torch.bool, device=policy.device)
    while True:
        before, ends = ends, (possible & (outcomes.done | ends[outcomes.next_states])).any(2).any(1)
        if torch.equal(before, ends):
            return bool(ends.all())


def chain(outcomes: Outcomes, policy: Tensor) -> tuple[Tensor, Tensor]:
    """The Markov chain of a policy: P (S, S) without the steps that end an episode, and the expected rewards (S,)."""
    weights = policy[:, :, None] * outcomes.probabilities  # (S, A, K)
    states = len(policy)
    transitions = torch.zeros(states, states, dtype=torch.float64, device=policy.device)
    going_on = weights.masked_fill(outcomes.done, 0.0).reshape(states, -1)
    transitions.scatter_add_(1, outcomes.next_states.reshape(states, -1), going_on)
    return transitions, (weights * outcomes.rewards).sum((1, 2))


def improved(q: Tensor, policy: Tensor) -> Tensor:
    """The greedy policy, (S, A); a state keeps its action where no other one is better by more than rounding."""
    best = q.amax(1)
    own = (policy * q).sum(1)
    keep = own >= best - EQUAL * q.abs().max()
    return torch.where(keep[:, None], policy, greedy_policy(q))


def optimal_values(outcomes: Outcomes, gamma: float) -> Tensor:
    """V*, (S,): sweeps of value iteration, then policy iteration, whose solves make it exact up to rounding."""
    values = torch.zeros(len(outcomes.probabilities), dtype=torch.float64, device=outcomes.probabilities.device)
    for _ in range(MOST_SWEEPS):
        before, values = values, action_values(outcomes, values, gamma).amax(1)
        if (values - before).abs().max() <= EQUAL * values.abs().max():
            if gamma == 1:  # nothing is left to solve, and of equally good actions some may go on for ever
                return values
            break
    policy = greedy_policy(action_values(outcomes, values, gamma))
    for _ in range(MOST_POLICIES):
        values = policy_values(outcomes, policy, gamma)
        better = improved(action_values(outcomes, values, gamma), policy)
        if torch.equal(better, policy):
            break
        policy = better
    return values


def success_probabilities(outcomes: Outcomes, policy: Tensor, goal: Tensor, max_steps: int) -> Tensor:
    """How likely an episode of at most `max_steps` steps ends in a goal, from each state on: (S,).

    Args:
        outcomes: of all actions.
        policy: probabilities of the actions, (S, A).
        goal: which states are one, bool (S,).
        max_steps: after which an episode is cut off.
    """
    weights = policy[:, :, None] * outcomes.probabilities  # (S, A, K)
    reached = (weights * (outcomes.done & goal[outcomes.next_states])).sum((1, 2))  # in one step
    going_on = weights.masked_fill(outcomes.done, 0.0)
    found = torch.zeros_like(reached)
    for _ in range(max_steps):
        before, found = found, reached + (going_on * found[outcomes.next_states]).sum((1, 2))
        if torch.equal(before, found):
            break
    return found
