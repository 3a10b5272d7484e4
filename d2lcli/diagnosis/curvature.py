"""The curvature of the loss: extreme eigenvalues of its Hessian H without H, and the kind of a critical point.

Legend: n trainable parameters, g gradient, v a vector of length n.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

SMALL = 500  # parameters up to which the whole Hessian is made
FLAT = 1e-4  # of the largest eigenvalue's size: what is below counts as zero

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Curvature:
    """What the Hessian says.

    Args:
        smallest, largest: its eigenvalues.
        kind: minimum, maximum, saddle, or "not critical" where the gradient is not small.
        gershgorin: bounds of all eigenvalues from the rows of a small Hessian, or None.
        exact: whether the eigenvalues are those of the whole matrix.
    """

    smallest: float
    largest: float
    kind: str
    gershgorin: tuple[float, float] | None
    exact: bool


def hessian_product(loss: Callable[[], Tensor], params: Sequence[Tensor]) -> tuple[Tensor, Product]:
    """The gradient (n,) and the function v -> H v, by differentiating twice (Pearlmutter, 1994).

    Args:
        loss: computes a scalar anew.
        params: what it is differentiated by.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention can be differentiated only once
        value = loss()
    gradients = torch.autograd.grad(value, params, create_graph=True, allow_unused=True, materialize_grads=True)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])

    def product(v: Tensor) -> Tensor:
        if not flat.requires_grad:  # the loss is linear
            return torch.zeros_like(v)
        along = flat @ v.to(flat.dtype)
        found = torch.autograd.grad(along, params, retain_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in found]).to(v.dtype)

    return flat.detach(), product


def lanczos(product: Product, n: int, *, steps: int = 40, seed: int = 0, device: torch.device | None = None) -> Tensor:
    """Ritz values of a symmetric matrix, ascending; the outermost approach its extreme eigenvalues fast.

    Every new vector is made orthogonal to all before it, twice: without that, found eigenvalues come again.

    Args:
        product: v -> H v, for float64 vectors (n,).
        n: of the matrix (n, n).
        steps: products to take, at most.
        seed: of the first vector.
        device: of the vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(n, generator=generator, dtype=torch.float64).to(device or "cpu")
    basis = [v / v.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, n)):
        w = product(basis[-1])
        diagonal.append(float(basis[-1] @ w))
        for _ in range(2):
            known = torch.stack(basis)
            w = w - known.T @ (known @ w)
        norm = float(w.norm())
        if norm < 1e-10 * max(1e-30, max(map(abs, diagonal))):
            break
        beside.append(norm)
        basis.append(w / norm)
    k = len(diagonal)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for i, value in enumerate(beside[: k - 1]):
        matrix[i, i + 1] = matrix[i + 1, i] = value
    found: Tensor = torch.linalg.eigvalsh(matrix)
    return found


def gershgorin(matrix: Tensor) -> tuple[float, float]:
    """Bounds of all eigenvalues of a symmetric matrix: h_ii -+ sum_{j != i} |h_ij|, the least and the greatest."""
    centre = torch.diagonal(matrix)
    radius = matrix.abs().sum(1) - centre.abs()
    return (centre - radius).min().item(), (centre + radius).max().item()


def kind_of_point(gradient_norm: float, smallest: float, largest: float, tolerance: float) -> str:
    """minimum, maximum or saddle by the signs of the extreme eigenvalues, where |g| is at most `tolerance`."""
    if gradient_norm > tolerance:
        return "not critical"
    zero = FLAT * max(abs(smallest), abs(largest))
    if smallest < -zero and largest > zero:
        return "saddle"
    if largest > zero:
        return "minimum"
    return "maximum" if smallest < -zero else "flat"


def curvature(
    loss: Callable[[], Tensor], params: Sequence[Tensor], *, steps: int = 40, tolerance: float | None = None
) -> Curvature:
    """Extreme eigenvalues of the Hessian of `loss`, and what kind of point the parameters are.

    Args:
        loss: computes a scalar anew, without random parts.
        params: what it is differentiated by.
        steps: of Lanczos' method, where there are more than 500 parameters.
        tolerance: the largest norm of a gradient that counts as zero; None is 1e-3 (1 + the largest eigenvalue's size).
    """
    gradient, product = hessian_product(loss, params)
    n = len(gradient)
    bounds = None
    if n <= SMALL:
        identity = torch.eye(n, dtype=torch.float64, device=gradient.device)
        matrix = torch.stack([product(row) for row in identity])
        matrix = (matrix + matrix.T) / 2
        bounds = gershgorin(matrix)
        values = torch.linalg.eigvalsh(matrix)
    else:
        values = lanczos(product, n, steps=steps, device=gradient.device)
    smallest, largest = values[0].item(), values[-1].item()
    if tolerance is None:
        tolerance = 1e-3 * (1 + max(abs(smallest), abs(largest)))
    kind = kind_of_point(gradient.double().norm().item(), smallest, largest, tolerance)
    return Curvature(smallest, largest, kind, bounds, n <= SMALL)
