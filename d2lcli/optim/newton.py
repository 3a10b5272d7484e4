"""Methods that look at curvature (d2l 12.3): Newton's, diagonal preconditioning, and least squares in closed form.

They are for small problems: a Hessian of n parameters takes n backward passes and, in full, n^2 numbers.  They need
more than the gradient: `optimizer.backward(loss)` takes the place of `loss.backward()`; calls before a step add up.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from d2lcli.optim.base import CachedOptimizer
from d2lcli.optim.checks import require_non_negative
from d2lcli.optim.packs import Group

MAX_PARAMETERS = 5_000
NEGLIGIBLE = 1e-7  # of the largest eigenvalue: such a direction is flat, and nothing moves along it


class SecondOrder(CachedOptimizer):
    """What the methods share: gradients and Hessian rows by double differentiation.

    Weight decay adds weight_decay / 2 * |w|^2 to the objective, in gradient and Hessian.  A learning rate multiplies
    the step.  Between updates nothing is kept, so there is no state to save.
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        super().__init__(params, defaults, "plain")
        count = sum(param.numel() for param in self._params)
        if count > MAX_PARAMETERS:
            raise ValueError(f"{count:,} parameters are too many for a Hessian; at most {MAX_PARAMETERS:,}")
        self._curvature: Tensor | None = None

    def state_names(self, group: Group) -> tuple[str, ...]:
        return ()

    def check_group(self, group: Group) -> None:
        require_non_negative(group, "lr", "weight_decay", *(key for key in ("damping", "eps") if key in group))

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to `param.grad`, and its second derivatives to what the next step uses.

        Args:
            loss: a scalar, twice differentiable.
        """
        gradient = self._flat_gradient(loss)
        curvature = self._measure(gradient)
        self._curvature = curvature if self._curvature is None else self._curvature + curvature
        for param, part in zip(self._params, self._parts(gradient.detach()), strict=True):
            param.grad = part.clone() if param.grad is None else param.grad + part

    def _flat_gradient(self, loss: Tensor) -> Tensor:
        grads = torch.autograd.grad(loss, self._params, create_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([grad.reshape(-1) for grad in grads])

    def _rows(self, gradient: Tensor) -> Iterable[Tensor]:
        """The rows of the Hessian, one after the other."""
        for element in gradient:
            if element.requires_grad:
                found = torch.autograd.grad(
                    element, self._params, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                yield torch.cat([part.reshape(-1) for part in found])
            else:
                yield torch.zeros_like(gradient)

    def _measure(self, gradient: Tensor) -> Tensor:
        """What a method keeps of the Hessian; by default all of it, (n, n)."""
        return torch.stack(list(self._rows(gradient)))

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """A vector over all parameters as tensors of their shapes."""
        sizes = [param.numel() for param in self._params]
        return [part.view_as(param) for part, param in zip(torch.split(flat, sizes), self._params, strict=True)]

    def _per_parameter(self, key: str) -> Tensor:
        """An option of the groups as a vector over all parameters."""
        return torch.cat(
            [param.new_full((param.numel(),), float(g[key])) for g in self.param_groups for param in g["params"]]
        )

    def direction(self, w: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
        """The step to subtract, before the learning rate; decay is within gradient and curvature."""
        raise NotImplementedError

    def _step(self, closure: Callable[[], float] | None = None) -> float | None:
        if closure is not None or self._curvature is None:
            raise ValueError("this optimizer needs second derivatives: call optimizer.backward(loss) before step()")
        with torch.no_grad():
            w = torch.cat([param.reshape(-1) for param in self._params])
            gradient = torch.cat([param.grad.reshape(-1) for param in self._params if param.grad is not None])
            decay = self._per_parameter("weight_decay")
            curvature = self._curvature + (decay if self._curvature.ndim == 1 else torch.diag(decay))
            step = self._per_parameter("lr") * self.direction(w, gradient + decay * w, curvature)
            for param, part in zip(self._params, self._parts(step), strict=True):
                param.sub_(part)
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop gradients and second derivatives."""
        super().zero_grad(set_to_none)
        self._curvature = None


class Newton(SecondOrder):
    """w <- w - lr (H + damping I)^-1 g.

    H is taken apart into eigenvectors; directions of negligible curvature are left alone.  With absolute=True the sizes
    of the eigenvalues take their place: every step then leads downhill, while otherwise a saddle or a maximum attracts.
    """

    def direction(self, w: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh((curvature + curvature.T).double() / 2)
        if self.defaults["absolute"]:
            values = values.abs()
        values = values + self.defaults["damping"]
        inverse = torch.where(values.abs() > NEGLIGIBLE * values.abs().max(), 1 / values, torch.zeros_like(values))
        step: Tensor = vectors @ (inverse * (vectors.T @ gradient.double()))
        return step.to(gradient.dtype)


class PreconditionedGD(SecondOrder):
    """w <- w - lr g / (|diag H| + eps): a rate for each weight, without the full inverse."""

    def _measure(self, gradient: Tensor) -> Tensor:
        return torch.stack([row[i] for i, row in enumerate(self._rows(gradient))])

    def direction(self, w: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
        step: Tensor = gradient / (curvature.abs() + self.defaults["eps"])
        return step


class NormalEquation(SecondOrder):
    """w <- w - lr (w - w*), where w* solves (X^T X + weight_decay I) w* = X^T y; the shortest if there are several.

    The squared loss of a linear model is quadratic in its parameters: its Hessian is X^T X, up to a factor that goes.
    """

    def _measure(self, gradient: Tensor) -> Tensor:
        self._refuse_other_losses(gradient)
        return super()._measure(gradient)

    def _refuse_other_losses(self, gradient: Tensor) -> None:
        """Third derivatives are zero for a quadratic loss, and for no other that people train with."""
        weights = torch.linspace(1, 2, len(gradient), dtype=gradient.dtype, device=gradient.device)
        options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
        product = torch.autograd.grad(gradient @ weights, self._params, create_graph=True, **options)
        flat = torch.cat([part.reshape(-1) for part in product])
        if flat.requires_grad:
            third = torch.autograd.grad(flat @ weights, self._params, retain_graph=True, **options)
            if any(part.any() for part in third):
                raise ValueError("normal_equation solves linear models with a squared loss; this loss is not quadratic")
        if not flat.any():
            raise ValueError("normal_equation solves linear models with a squared loss; this loss has no curvature")

    def direction(self, w: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
        a, b = curvature.double(), (curvature.double() @ w.double()) - gradient.double()
        rtol = NEGLIGIBLE if w.dtype == torch.float32 else None
        solution: Tensor = torch.linalg.pinv(a, rtol=rtol, hermitian=True) @ b
        return w - solution.to(w.dtype)


def newton(
    params: Iterable[Any],
    lr: float = 1.0,
    damping: float = 0.0,
    absolute: bool = False,
    weight_decay: float = 0.0,
) -> Newton:
    """Newton's method with the exact Hessian, for at most 5,000 parameters.

    Args:
        params: tensors or param groups.
        lr: factor of the step; 1 solves a quadratic problem at once.
        damping: added to every eigenvalue of the Hessian, at least 0.
        absolute: take the sizes of the eigenvalues, so that steps lead downhill where the loss is not convex.
        weight_decay: strength of the L2 penalty, at least 0.

    Raises:
        ValueError: a value out of range, or too many parameters.
    """
    defaults = {"lr": lr, "damping": damping, "absolute": absolute, "weight_decay": weight_decay}
    return Newton(params, defaults)


def preconditioned_gd(
    params: Iterable[Any], lr: float = 0.5, eps: float = 1e-8, weight_decay: float = 0.0
) -> PreconditionedGD:
    """Gradient descent preconditioned by the diagonal of the Hessian, for at most 5,000 parameters.

    Args:
        params: tensors or param groups.
        lr: factor of the step.
        eps: added to the size of each diagonal element, at least 0.
        weight_decay: strength of the L2 penalty, at least 0.

    Raises:
        ValueError: a value out of range, or too many parameters.
    """
    return PreconditionedGD(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})


def normal_equation(params: Iterable[Any], lr: float = 1.0, weight_decay: float = 0.0) -> NormalEquation:
    """Linear least squares in closed form (d2l 3.1): the first update ends at the solution.

    Args:
        params: tensors or param groups.
        lr: share of the way to the solution; 1 goes there.
        weight_decay: strength of the L2 penalty (ridge regression), at least 0.

    Raises:
        ValueError: a value out of range, too many parameters; in `backward`, a loss that is not quadratic in them.
    """
    return NormalEquation(params, {"lr": lr, "weight_decay": weight_decay})
