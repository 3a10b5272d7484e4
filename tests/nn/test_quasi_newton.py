"""L-BFGS with its line search against torch's and SciPy's, and on functions that are awkward."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from d2lcli.nn.quasi_newton import LineSearch, minimise, two_loop


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def bumpy(x: Tensor) -> Tensor:
    rates = torch.linspace(1, 30, len(x), dtype=x.dtype)
    return (rates * (x - 1) ** 2).sum() / 2 + (x**4).sum() / 10 + torch.cos(3 * x).sum()


def differentiated(
    function: Callable[[Tensor], Tensor], seen: list[Tensor]
) -> Callable[[Tensor], tuple[float, Tensor]]:
    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        seen.append(x)
        x = x.clone().requires_grad_()
        value = function(x)
        return value.item(), torch.autograd.grad(value, x)[0]

    return evaluate


@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("function", [rosenbrock, bumpy])
def test_it_evaluates_where_torchs_does(function: Callable[[Tensor], Tensor], size: int) -> None:
    point = nn.Parameter(torch.full((size,), -1.2, dtype=torch.float64))
    theirs: list[Tensor] = []
    reference = torch.optim.LBFGS([point], max_iter=20, max_eval=1000, line_search_fn="strong_wolfe", history_size=10)

    def closure() -> Tensor:
        theirs.append(point.detach().clone())
        point.grad = None
        value = function(point)
        value.backward()
        return value

    reference.step(closure)
    ours: list[Tensor] = []
    start = torch.full((size,), -1.2, dtype=torch.float64)
    minimise(differentiated(function, ours), start, max_evaluations=25, tolerance=1e-7)
    count = min(len(ours), len(theirs))
    assert count >= 9
    torch.testing.assert_close(torch.stack(ours[:count]), torch.stack(theirs[:count]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("size", [2, 10, 50])
def test_it_needs_about_as_many_evaluations_as_scipys(size: int) -> None:
    seen: list[Tensor] = []
    evaluate = differentiated(rosenbrock, seen)
    start = torch.full((size,), -1.2, dtype=torch.float64)
    found, value = minimise(evaluate, start, max_evaluations=1000)
    count = len(seen)

    def of_numpy(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = evaluate(torch.from_numpy(x))
        return value, gradient.numpy()

    reference = minimize(of_numpy, start.numpy(), jac=True, method="L-BFGS-B")
    assert value < 1e-8 and count < 1.2 * reference.nfev + 5
    torch.testing.assert_close(found, torch.ones(size, dtype=torch.float64), rtol=0, atol=1e-3)


def search(f: Callable[[float], float], slope: Callable[[float], float], first: float) -> LineSearch:
    made = LineSearch(f(0.0), slope(0.0), first)
    for _ in range(30):
        if made.advance(f(made.step), slope(made.step)):
            return made
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("first", [1e-6, 0.01, 1.0, 50.0, 1e5])
def test_an_accepted_step_satisfies_the_strong_wolfe_conditions(first: float) -> None:
    """phi(t) = -t / (t^2 + 2), function 1 of More and Thuente (1994)."""

    def f(t: float) -> float:
        return -t / (t * t + 2)

    def slope(t: float) -> float:
        return (t * t - 2) / (t * t + 2) ** 2

    t = search(f, slope, first).step
    assert f(t) <= f(0) + 1e-4 * t * slope(0)
    assert abs(slope(t)) <= 0.9 * abs(slope(0))


def test_a_step_into_infinity_is_halved() -> None:
    found = search(lambda t: t * t - t if t < 1 else math.inf, lambda t: 2 * t - 1 if t < 1 else math.nan, 4.0)
    assert 0 < found.step < 1


def test_a_search_where_nothing_is_better_ends_where_it_began() -> None:
    """The slope at 0 promises what the function does not keep."""
    assert search(lambda t: t, lambda t: -1.0, 1.0).step == 0.0


def test_two_loops_apply_the_inverse_of_a_quadratic_once_all_directions_are_known() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    hessian = root @ root.T + torch.eye(4, dtype=torch.float64)
    directions = torch.linalg.eigh(hessian).eigenvectors.T  # conjugate, as exact searches would make them
    gradient = torch.randn(4, generator=generator, dtype=torch.float64)
    found = two_loop(gradient, list(directions), [hessian @ step for step in directions])
    torch.testing.assert_close(found, torch.linalg.solve(hessian, gradient))
    assert torch.equal(two_loop(gradient, [], []), gradient)
