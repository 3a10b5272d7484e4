"""Ten steps of every registered optimizer in float64, on a quadratic and on Rosenbrock's function, against NumPy.

The updates are written here from the formulas of the papers and the book, on gradients and Hessians by hand; those of
L-BFGS are torch's.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from d2lcli.registry import OPTIMIZERS

Vector = NDArray[np.float64]
A = np.array([[3.0, 0.5], [0.5, 1.0]])
B = np.array([1.0, -2.0])


class Quadratic:
    """x^T A x / 2 - b^T x."""

    def loss(self, x: Tensor) -> Tensor:
        return x @ torch.from_numpy(A) @ x / 2 - torch.from_numpy(B) @ x

    def gradient(self, x: Vector) -> Vector:
        return A @ x - B

    def hessian(self, x: Vector) -> Vector:
        return A


class Rosenbrock:
    """(1 - x)^2 + 100 (y - x^2)^2."""

    def loss(self, x: Tensor) -> Tensor:
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

    def gradient(self, x: Vector) -> Vector:
        inner = x[1] - x[0] ** 2
        return np.array([-2 * (1 - x[0]) - 400 * x[0] * inner, 200 * inner])

    def hessian(self, x: Vector) -> Vector:
        return np.array([[2 - 400 * x[1] + 1200 * x[0] ** 2, -400 * x[0]], [-400 * x[0], 200.0]])


Problem = Quadratic | Rosenbrock
Method = Callable[[Vector, Problem], Iterator[Vector]]


def descent(lr: float) -> Method:
    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        while True:
            x = x - lr * f.gradient(x)
            yield x

    return walk


def momentum(lr: float, beta: float, ahead: bool = False) -> Method:
    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        v = np.zeros(2)
        while True:
            g = f.gradient(x)
            v = beta * v + g
            x = x - lr * (g + beta * v if ahead else v)
            yield x

    return walk


def adagrad(lr: float, eps: float, inside: bool, start: float) -> Method:
    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        s = np.full(2, start)
        while True:
            g = f.gradient(x)
            s = s + g**2
            x = x - lr * g / (np.sqrt(s + eps) if inside else np.sqrt(s) + eps)
            yield x

    return walk


def rmsprop(lr: float, gamma: float, eps: float, inside: bool) -> Method:
    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        s = np.zeros(2)
        while True:
            g = f.gradient(x)
            s = gamma * s + (1 - gamma) * g**2
            x = x - lr * g / (np.sqrt(s + eps) if inside else np.sqrt(s) + eps)
            yield x

    return walk


def adadelta(lr: float, rho: float, eps: float) -> Method:
    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        s, d = np.zeros(2), np.zeros(2)
        while True:
            g = f.gradient(x)
            s = rho * s + (1 - rho) * g**2
            step = np.sqrt(d + eps) / np.sqrt(s + eps) * g
            x = x - lr * step
            d = rho * d + (1 - rho) * step**2
            yield x

    return walk


def adam(lr: float, eps: float, l2: float = 0.0, decay: float = 0.0, yogi: bool = False, start: float = 0.0) -> Method:
    b1, b2 = 0.9, 0.999

    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        m, s, t = np.zeros(2), np.full(2, start), 0
        while True:
            t += 1
            g = f.gradient(x) + l2 * x
            m = b1 * m + (1 - b1) * g
            s = s + (1 - b2) * g**2 * np.sign(g**2 - s) if yogi else b2 * s + (1 - b2) * g**2
            x = x - lr * (m / (1 - b1**t) / (np.sqrt(s / (1 - b2**t)) + eps) + decay * x)
            yield x

    return walk


def newton(lr: float, damping: float = 0.0, diagonal: bool = False, absolute: bool = False) -> Method:
    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        while True:
            h = f.hessian(x)
            if diagonal:
                step = f.gradient(x) / np.abs(np.diag(h))
            elif absolute:
                values, vectors = np.linalg.eigh(h)
                step = vectors @ (vectors.T @ f.gradient(x) / np.abs(values))
            else:
                step = np.linalg.solve(h + damping * np.eye(2), f.gradient(x))
            x = x - lr * step
            yield x

    return walk


def lbfgs(lr: float) -> Method:
    """The points at which torch's own L-BFGS with a line search evaluates the function."""

    def walk(x: Vector, f: Problem) -> Iterator[Vector]:
        point = nn.Parameter(torch.from_numpy(x))
        never = {"tolerance_grad": 0.0, "tolerance_change": 0.0}
        reference = torch.optim.LBFGS([point], lr, 50, history_size=10, line_search_fn="strong_wolfe", **never)
        seen = []

        def evaluate() -> Tensor:
            seen.append(point.detach().numpy().copy())
            point.grad = None
            loss = f.loss(point)
            loss.backward()
            return loss

        reference.step(evaluate)
        yield from seen[1:]
        while True:  # at the minimum
            yield seen[-1]

    return walk


SMALL = 2e-4  # a rate at which plain descent on Rosenbrock's function does not diverge
CASES: list[tuple[str, dict[str, Any], Method]] = [
    ("gd", {"lr": SMALL}, descent(SMALL)),
    ("sgd", {"lr": SMALL}, descent(SMALL)),
    ("momentum", {"lr": SMALL, "momentum": 0.9}, momentum(SMALL, 0.9)),
    ("nesterov", {"lr": SMALL, "momentum": 0.9}, momentum(SMALL, 0.9, ahead=True)),
    ("adagrad", {"lr": 0.1, "eps": 0.1}, adagrad(0.1, 0.1, True, 0.0)),
    ("adagrad", {"lr": 0.1, "eps": 0.1, "eps_mode": "outside", "initial": 0.5}, adagrad(0.1, 0.1, False, 0.5)),
    ("rmsprop", {"lr": 0.01, "gamma": 0.9, "eps": 0.1}, rmsprop(0.01, 0.9, 0.1, True)),
    ("rmsprop", {"lr": 0.01, "gamma": 0.9, "eps": 0.1, "eps_mode": "outside"}, rmsprop(0.01, 0.9, 0.1, False)),
    ("adadelta", {"lr": 1.0, "rho": 0.9, "eps": 1e-5}, adadelta(1.0, 0.9, 1e-5)),
    ("adam", {"lr": 0.01, "eps": 1e-6}, adam(0.01, 1e-6)),
    ("adam_l2", {"lr": 0.01, "eps": 1e-8, "l2": 0.1}, adam(0.01, 1e-8, l2=0.1)),
    ("adamw", {"lr": 0.01, "eps": 1e-8, "weight_decay": 0.1}, adam(0.01, 1e-8, decay=0.1)),
    ("yogi", {"lr": 0.01, "eps": 1e-3}, adam(0.01, 1e-3, yogi=True)),
    ("yogi", {"lr": 0.01, "eps": 1e-3, "initial": 1e-6}, adam(0.01, 1e-3, yogi=True, start=1e-6)),
    ("yogi", {"lr": 0.01, "eps": 1e-3, "l2": 0.1}, adam(0.01, 1e-3, l2=0.1, yogi=True)),
    ("newton", {"lr": 0.5}, newton(0.5)),
    ("newton", {"lr": 0.5, "damping": 2.0}, newton(0.5, damping=2.0)),
    ("newton", {"lr": 0.1, "absolute": True}, newton(0.1, absolute=True)),
    ("preconditioned_gd", {"lr": 0.1, "eps": 0.0}, newton(0.1, diagonal=True)),
    ("normal_equation", {"lr": 0.5}, newton(0.5)),
    ("lbfgs", {"lr": 1.0}, lbfgs(1.0)),
    ("lbfgs", {"lr": 0.1}, lbfgs(0.1)),
]


def test_every_optimizer_is_walked() -> None:
    assert {name for name, _, _ in CASES} == set(OPTIMIZERS.names())


@pytest.mark.parametrize("problem", [Quadratic(), Rosenbrock()], ids=["quadratic", "rosenbrock"])
@pytest.mark.parametrize(("name", "options", "method"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_ten_steps(name: str, options: dict[str, Any], method: Method, problem: Problem) -> None:
    point = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = OPTIMIZERS.get(name)([point], **options)
    backward = getattr(optimizer, "backward", Tensor.backward)
    if name == "normal_equation" and isinstance(problem, Rosenbrock):
        with pytest.raises(ValueError, match="not quadratic"):
            backward(problem.loss(point))
        return
    expected = method(np.array([-1.2, 1.0]), problem)
    for _ in range(10):
        backward(problem.loss(point))
        optimizer.step()
        optimizer.zero_grad()
        close = 1e-8 if name == "lbfgs" else 0.0  # torch's no longer learns where steps are smaller than that
        np.testing.assert_allclose(point.detach().numpy(), next(expected), rtol=1e-10, atol=close)


def test_newton_solves_a_quadratic_in_one_step() -> None:
    point = nn.Parameter(torch.tensor([5.0, -7.0], dtype=torch.float64))
    optimizer = OPTIMIZERS.build("newton", params=[point])
    optimizer.backward(Quadratic().loss(point))
    optimizer.step()
    np.testing.assert_allclose(point.detach().numpy(), np.linalg.solve(A, B), rtol=1e-12)


def test_newton_on_cosh_reaches_zero() -> None:
    """f(x) = cosh(.5 x), from 10 (d2l 12.3)."""
    x = nn.Parameter(torch.tensor(10.0, dtype=torch.float64))
    optimizer = OPTIMIZERS.build("newton", params=[x])
    for _ in range(12):
        optimizer.zero_grad()
        optimizer.backward(torch.cosh(0.5 * x))
        optimizer.step()
    assert abs(x.item()) < 1e-12


def test_newton_leaves_a_flat_direction_alone() -> None:
    point = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = OPTIMIZERS.build("newton", params=[point])
    optimizer.backward(point.sum() ** 2)
    optimizer.step()
    torch.testing.assert_close(point.detach(), torch.tensor([-0.5, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_normal_equation_equals_least_squares(ridge: float) -> None:
    """Two batches before the step; numpy's lstsq on all rows, with sqrt(ridge n) I below them for the penalty."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, 3)), generator.normal(size=40)
    w = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = OPTIMIZERS.build("normal_equation", params=[w], weight_decay=ridge)
    for rows in (slice(0, 10), slice(10, 40)):
        errors = torch.from_numpy(x[rows]) @ w - torch.from_numpy(y[rows])
        optimizer.backward((errors**2).sum() / 40)  # the penalty is ridge / 2 |w|^2
    optimizer.step()
    below = np.sqrt(ridge * 40 / 2) * np.eye(3)
    expected = np.linalg.lstsq(np.vstack([x, below]), np.concatenate([y, np.zeros(3)]), rcond=None)[0]
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["newton", "preconditioned_gd", "normal_equation"])
def test_second_derivatives_are_asked_for(name: str) -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = OPTIMIZERS.build(name, params=[w])
    (w**2).sum().backward()
    with pytest.raises(ValueError, match=r"optimizer\.backward"):
        optimizer.step()
    with pytest.raises(ValueError, match=r"6,000 parameters are too many"):
        OPTIMIZERS.get(name)([nn.Parameter(torch.zeros(6000))])


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_adagrad_is_torchs() -> None:
    results = []
    for build in (
        lambda p: OPTIMIZERS.build("adagrad", params=p, lr=0.1, eps_mode="outside", eps=1e-3),
        lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-3),
    ):
        table = nn.Embedding(6, 3, sparse=True)
        nn.init.constant_(table.weight, 0.5)
        optimizer = build(table.parameters())
        for words in ([1, 2, 2], [2, 5], [1]):
            optimizer.zero_grad()
            (table(torch.tensor(words)) ** 2).sum().backward()
            optimizer.step()
        results.append(table.weight.detach())
    torch.testing.assert_close(results[0], results[1])
    assert torch.equal(results[0][0], torch.full((3,), 0.5))
