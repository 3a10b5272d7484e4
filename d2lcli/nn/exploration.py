"""How an agent that learns chooses its actions: probabilities from a table of action values (d2l 17.3).

Each rule is there twice: for a whole table, and for one state as a list of Python numbers, which is many times faster
where one agent takes one step at a time.

Legend: S states, A actions, n agents.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


def epsilon_greedy(q: Tensor, epsilon: float) -> Tensor:
    """1 - epsilon + epsilon / A for the best action, epsilon / A for the others; equally good ones share: (S, A)."""
    best = (q == q.amax(1, keepdim=True)).to(torch.float64)
    return epsilon / q.shape[1] + (1 - epsilon) * best / best.sum(1, keepdim=True)


def epsilon_greedy_row(q: Sequence[float], epsilon: float) -> list[float]:
    """`epsilon_greedy` for one state."""
    largest, low = max(q), epsilon / len(q)
    high = low + (1 - epsilon) / q.count(largest)
    return [high if value == largest else low for value in q]


def softmax_policy(q: Tensor, tau: float) -> Tensor:
    """exp(Q / tau) over its sum: the better, the likelier; all alike for a large tau (S, A)."""
    return torch.softmax(q.double() / tau, dim=1)


def softmax_row(q: Sequence[float], tau: float) -> list[float]:
    """`softmax_policy` for one state."""
    largest = max(q)
    counts = [math.exp((value - largest) / tau) for value in q]
    total = sum(counts)
    return [count / total for count in counts]


def cumulative(probabilities: Tensor) -> Tensor:
    """The bounds between the choices of each row, (rows, choices) -> (choices - 1, rows), laid out for `choose`."""
    columns = probabilities.unbind(1)[:-1]  # not cumsum, which a GPU does in no fixed order
    return torch.stack(list(accumulate(columns))) if columns else probabilities.new_zeros(0, len(probabilities))


def choose(bounds: Tensor, rows: Tensor, uniforms: Tensor) -> Tensor:
    """One choice for each agent, int64 (n,): the number of its row's bounds that its uniform number reaches.

    Args:
        bounds: (choices - 1, rows), see `cumulative`.
        rows: the row of each agent, int64 (n,).
        uniforms: in [0, 1), float64 (n,).
    """
    chosen = torch.zeros_like(rows)
    for bound in bounds:  # a column at a time: each is read in one pass, without a table (n, choices)
        chosen += bound.index_select(0, rows) <= uniforms
    return chosen


def choose_one(probabilities: Sequence[float], uniform: float) -> int:
    """`choose` for one agent."""
    bound = 0.0
    for choice, probability in enumerate(probabilities):
        bound += probability
        if uniform < bound:
            return choice
    return len(probabilities) - 1  # the bounds end at 1 but for rounding
