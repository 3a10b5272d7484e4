"""L-BFGS (Liu and Nocedal, 1989): a quasi-Newton method that keeps the last few steps, with a line search.

Legend: P numbers in all parameters, m updates that are remembered.
"""

from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from typing import Any

import torch
from torch import Tensor

from d2lcli.nn.quasi_newton import LineSearch, two_loop
from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require, require_non_negative
from d2lcli.optim.packs import Group

SEARCH = len(fields(LineSearch))


class LBFGS(CachedOptimizer):
    """x <- x + t d with d = -H g; H from the last m steps, t from a search for the strong Wolfe conditions.

    A `step` is one evaluation: it takes the loss and the gradient at the point that the step before chose, and goes to
    the next point of the line search, or begins another search there.  So no closure is needed, any batches may be
    added up before a step, and everything that is known in between is in the state: flat tensors beside the first
    parameter.  `optimizer.backward(loss)` takes the place of `loss.backward()`, because the search compares losses.

    Weight decay adds weight_decay / 2 * |w|^2 to the objective.  A search that finds nothing better forgets the last
    steps, and the next one goes along the gradient.
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self._loss: Tensor | None = None
        super().__init__(params, defaults, "plain")

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ()

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "weight_decay")
        history = group["history"]
        require("history", history, isinstance(history, int) and history >= 1, "an integer, at least 1")

    def _pack(self, group: Group) -> None:
        """Allocate the state of all parameters anew: another group is another problem."""
        first = self._params[0]
        if any(param.device != first.device or param.dtype != first.dtype for param in self._params):
            raise ValueError("lbfgs needs all parameters on one device and of one type")
        size, history = sum(param.numel() for param in self._params), (self.defaults | group)["history"]
        known = self.state[first]
        for name in ("origin", "gradient", "direction"):  # of the search that is under way
            known[name] = torch.zeros(size, dtype=first.dtype, device=first.device)
        for name in ("steps", "changes"):  # (m, P); update k is row k % m
            known[name] = torch.zeros(history, size, dtype=first.dtype, device=first.device)
        # Updates that count, whether a search is under way, and what it knows.
        known["search"] = torch.zeros(2 + SEARCH, dtype=torch.float64)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to `param.grad`, and `loss` to what the next step compares.

        Args:
            loss: a scalar.

        Raises:
            ValueError: the groups have different learning rates.
        """
        if len({group["lr"] for group in self.param_groups}) > 1:
            raise ValueError("lbfgs takes one step with all parameters: no layer can have a learning rate of its own")
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.detach().double()
        self._loss = value if self._loss is None else self._loss + value

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop gradients and the loss."""
        super().zero_grad(set_to_none)
        self._loss = None

    def _step(self, closure: Callable[[], float] | None = None) -> float | None:
        if closure is not None or self._loss is None:
            raise ValueError("this optimizer compares losses: call optimizer.backward(loss) before step()")
        with torch.no_grad():
            x = torch.cat([param.reshape(-1) for param in self._params])
            grads = [torch.zeros_like(param) if param.grad is None else param.grad for param in self._params]
            decay = self._decay()
            value = _mean_over_processes(self._loss) + 0.5 * float((decay * x.square()).sum())
            gradient = torch.cat([grad.reshape(-1) for grad in grads]).to(x) + decay * x
            self._go_on(x, value, gradient)
        return None

    def _decay(self) -> Tensor:
        """The weight decay of each number, (P,)."""
        parts = [
            param.new_full((param.numel(),), group["weight_decay"])
            for group in self.param_groups
            for param in group["params"]
        ]
        return torch.cat(parts)

    def _go_on(self, x: Tensor, value: float, gradient: Tensor) -> None:
        """Tell the search under way what is here, or begin one."""
        known = self.state[self._params[0]]
        count, searching, *numbers = known["search"].tolist()
        if searching:
            search = LineSearch(*numbers)
            if not search.advance(value, float(gradient @ known["direction"])):
                self._move(int(count), search)
                return
            count = self._learn(int(count), search.step, gradient)
        known["search"].zero_()
        known["search"][0] = count
        self._begin(x, value, gradient)

    def _learn(self, count: int, step: float, gradient: Tensor) -> int:
        """Remember an update where it tells of curvature; forget all where there was none to make."""
        known = self.state[self._params[0]]
        if not step:
            return 0
        moved, change = step * known["direction"], gradient - known["gradient"]
        if float(moved @ change) <= torch.finfo(moved.dtype).eps * float(change @ change):
            return count
        row = count % len(known["steps"])
        known["steps"][row], known["changes"][row] = moved, change
        return count + 1

    def _begin(self, x: Tensor, value: float, gradient: Tensor) -> None:
        """Start a search from here; at a point without a gradient there is nothing to do."""
        known = self.state[self._params[0]]
        count, rate = int(known["search"][0]), float(self.param_groups[0]["lr"])
        rows = [k % len(known["steps"]) for k in range(max(0, count - len(known["steps"])), count)]
        direction = -two_loop(gradient, [known["steps"][k] for k in rows], [known["changes"][k] for k in rows])
        slope = float(gradient @ direction)
        if not slope < 0:
            count, direction = 0, -gradient
            slope = float(gradient @ direction)
        if not slope < 0 or not rate:
            return
        known["origin"].copy_(x)
        known["gradient"].copy_(gradient)
        known["direction"].copy_(direction)
        first = rate if count else rate * min(1.0, 1.0 / float(gradient.abs().sum()))
        self._move(count, LineSearch(value, slope, first))

    def _move(self, count: int, search: LineSearch) -> None:
        """Go to the step that the search wants to see, and keep what it knows."""
        known = self.state[self._params[0]]
        known["search"].copy_(torch.tensor([count, 1.0, *astuple(search)], dtype=torch.float64))
        target = known["origin"] + search.step * known["direction"]
        for param, part in zip(self._params, target.split([param.numel() for param in self._params]), strict=True):
            param.copy_(part.view_as(param))


def _mean_over_processes(loss: Tensor) -> float:
    """The loss of all examples, where each of several processes has seen a part: their gradients were averaged, too."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        loss = loss.clone()
        torch.distributed.all_reduce(loss)
        return float(loss) / torch.distributed.get_world_size()
    return float(loss)


def lbfgs(params: Iterable[Any], lr: float = 1.0, history: int = 10, weight_decay: float = 0.0) -> LBFGS:
    """L-BFGS with a strong Wolfe line search, each evaluation of which is a step.

    Args:
        params: tensors or param groups, on one device and of one type.
        lr: the first step that a search tries, over the quasi-Newton step; 1 is right but for odd problems.
        history: updates that are remembered, each two tensors of the parameters' size.
        weight_decay: strength of the L2 penalty, at least 0.

    Raises:
        ValueError: a value out of range, or parameters of several types or devices.
    """
    return LBFGS(params, {"lr": lr, "history": history, "weight_decay": weight_decay})
