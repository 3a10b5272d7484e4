"""Minimising by L-BFGS with a line search for the strong Wolfe conditions (Nocedal and Wright, 2006, chapters 3 and 7).

The line search is told a value and a slope and says which step to try next: so the values may come from a training
loop, one for each update, and what it knows can be saved in between.  It interpolates as torch.optim.LBFGS does.

Legend: P parameters; f the function along a direction, of the step t.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DECREASE = 1e-4  # of f, over what the slope at 0 promises
CURVATURE = 0.9  # the slope that is left, over that at 0
MOST_TRIALS = 25
NARROW = 1e-9  # a bracket's width over its far end
LONGEST = 10.0  # times the last step, while no bracket is known


@dataclass
class LineSearch:
    """A search for a step t with f(t) <= f(0) + 1e-4 t f'(0) and |f'(t)| <= 0.9 |f'(0)|; all fields are numbers.

    Args:
        value, slope: f(0), f'(0) < 0.
        step: what is to be tried now.
        low, low_value, low_slope: the best step so far that decreases f enough, at first 0.
        high, high_value, high_slope: the other end of a bracket around an acceptable step; inf before there is one.
        trials: values seen.
        timid: 1 where the last interpolation came close to an end of the bracket.
        ending: 1 where the search has given up, and `step` is the best that it found.
    """

    value: float
    slope: float
    step: float
    low: float = 0.0
    low_value: float = math.nan
    low_slope: float = math.nan
    high: float = math.inf
    high_value: float = math.inf
    high_slope: float = math.nan
    trials: float = 0.0
    timid: float = 0.0
    ending: float = 0.0

    def __post_init__(self) -> None:
        if math.isnan(self.low_value):
            self.low_value, self.low_slope = self.value, self.slope

    def advance(self, value: float, slope: float) -> bool:
        """Take f and f' at `step`.

        Returns:
            Whether `step` is accepted; where not, `step` is another one to try.
        """
        t = self.step
        self.trials += 1
        if self.ending:
            return True
        here, before = (t, value, slope), (self.low, self.low_value, self.low_slope)
        enough = value <= self.value + DECREASE * t * self.slope
        if not enough or (value >= self.low_value and self.trials > 1):  # also NaN
            self.high, self.high_value, self.high_slope = here
        elif abs(slope) <= -CURVATURE * self.slope:
            return True
        else:
            if slope * (self.high - self.low) >= 0:
                self.high, self.high_value, self.high_slope = before
            self.low, self.low_value, self.low_slope = here
        if self.trials >= MOST_TRIALS or self._narrow():
            self.ending, self.step = 1.0, self.low
            return self.low == t
        if math.isinf(self.high):
            self.step = _cubic_minimum(*before, *here, t + 0.01 * (t - before[0]), LONGEST * t)
        else:
            self.step = self._inside()
        return False

    def _narrow(self) -> bool:
        return abs(self.high - self.low) <= NARROW * max(self.low, self.high) < math.inf

    def _inside(self) -> float:
        """The minimum of the cubic through both ends, kept away from them where it came close twice."""
        left, right = sorted((self.low, self.high))
        ends = (self.low, self.low_value, self.low_slope), (self.high, self.high_value, self.high_slope)
        first, second = sorted(ends)
        t = _cubic_minimum(*first, *second, left, right)
        room = 0.1 * (right - left)
        close = min(right - t, t - left) < room
        if close and (self.timid or t >= right or t <= left):
            t = right - room if right - t < t - left else left + room
            close = False
        self.timid = float(close)
        return t


def _cubic_minimum(
    a: float, value_a: float, slope_a: float, b: float, value_b: float, slope_b: float, least: float, most: float
) -> float:
    """Where the cubic of these values and slopes at a < b has its minimum, within bounds; else their middle."""
    if not math.isfinite(value_b) or not math.isfinite(slope_b):
        return (least + most) / 2
    inner = slope_a + slope_b - 3 * (value_a - value_b) / (a - b)
    squared = inner * inner - slope_a * slope_b
    if not squared >= 0:
        return (least + most) / 2
    root = math.sqrt(squared)
    below = slope_b - slope_a + 2 * root
    if below == 0:
        return (least + most) / 2
    return min(max(b - (b - a) * (slope_b + root - inner) / below, least), most)


def two_loop(gradient: Tensor, steps: Sequence[Tensor], changes: Sequence[Tensor]) -> Tensor:
    """The inverse Hessian that the last updates tell of, times the gradient (Nocedal, 1980): (P,).

    Args:
        gradient: (P,).
        steps: what was added to the parameters, the oldest first, each (P,).
        changes: what each added to the gradient; the product of the two is positive.
    """
    if not steps:
        return gradient.clone()
    products = [torch.dot(s, y).item() for s, y in zip(steps, changes)]
    q, shares = gradient.clone(), []
    for s, y, product in zip(reversed(steps), reversed(changes), reversed(products)):
        shares.append(torch.dot(s, q).item() / product)
        q.add_(y, alpha=-shares[-1])
    q *= products[-1] / torch.dot(changes[-1], changes[-1]).item()
    for s, y, product, share in zip(steps, changes, products, reversed(shares)):
        q.add_(s, alpha=share - torch.dot(y, q).item() / product)
    return q


def minimise(
    function: Callable[[Tensor], tuple[float, Tensor]],
    start: Tensor,
    *,
    max_evaluations: int = 100,
    history: int = 10,
    tolerance: float = 1e-5,
    progress: float = 1e-9,
) -> tuple[Tensor, float]:
    """A local minimum of a smooth function.

    Args:
        function: from parameters (P,) to the value and the gradient (P,); an infinite value is a step too far.
        start: where it is finite.
        max_evaluations: of the function.
        history: updates that are remembered.
        tolerance: the largest size of a derivative that ends the search.
        progress: so does a decrease by no more than this, relative to the value, or to 1 where that is smaller.

    Returns:
        The parameters, and the value there.
    """
    x, (value, gradient) = start, function(start)
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    count = 1
    while count < max_evaluations and float(gradient.abs().max()) > tolerance:
        direction = -two_loop(gradient, steps, changes)
        slope = float(gradient @ direction)
        if not slope < 0:
            steps, changes, direction = [], [], -gradient
            slope = float(gradient @ direction)
        first = 1.0 if steps else min(1.0, 1.0 / float(gradient.abs().sum()))
        search, accepted = LineSearch(value, slope, first), False
        while not accepted and count < max_evaluations:
            trial = x + search.step * direction
            found, trial_gradient = function(trial)
            count += 1
            accepted = search.advance(found, float(trial_gradient @ direction))
        if not found < value:
            break
        step, change = trial - x, trial_gradient - gradient
        small = value - found <= progress * max(abs(value), abs(found), 1.0)
        x, value, gradient = trial, found, trial_gradient
        if small:
            break
        if float(step @ change) > torch.finfo(x.dtype).eps * float(change @ change):
            steps, changes = [*steps[1 - history :], step], [*changes[1 - history :], change]
    return x, value
