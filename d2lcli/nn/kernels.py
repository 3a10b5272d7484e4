"""Covariance functions of Gaussian processes (d2l 18.2), with the derivatives by their parameters in closed form.

Legend: n and m points of d features, x (n, d), z (m, d); K (n, m); W (n, n), symmetric; P positive parameters.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from d2lcli.errors import clean, nearest

Values: TypeAlias = Mapping[str, Tensor]
Pull: TypeAlias = Callable[[Tensor], dict[str, Tensor]]
"""From weights W to sum_ij W_ij dK_ij / dp of each parameter p."""

MOST_FACTORS = 16
TINY = 1e-30  # below it a squared distance is one of a point to itself, and its root has no derivative


def squared_distances(x: Tensor, z: Tensor) -> Tensor:
    """|x_i - z_j|^2, (n, m), by one product of matrices; rounding may leave a zero a little below."""
    norms = x.square().sum(1)[:, None] + z.square().sum(1)
    return norms.addmm_(x, z.T, alpha=-2)


def spread(weights: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """sum_ij W_ij (u_i - u_j) (v_i - v_j) of each column of u and v (n, d), without a matrix (n, n) for each: (d,)."""
    return 2 * ((weights.sum(1)[:, None] * u - weights @ u) * v).sum(0)


def rbf(squares: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-s / 2), the squared exponential, of squared distances s in lengthscales; and -2 d/ds of it."""
    k = (squares * -0.5).exp_()
    return k, k


def matern32(squares: Tensor) -> tuple[Tensor, Tensor]:
    """(1 + r) exp(-r) with r = sqrt(3 s), and -2 d/ds of it."""
    r = (3 * squares.clamp_min(TINY)).sqrt()
    decay = torch.exp(-r)
    return (1 + r) * decay, 3 * decay


def matern52(squares: Tensor) -> tuple[Tensor, Tensor]:
    """(1 + r + r^2 / 3) exp(-r) with r = sqrt(5 s), and -2 d/ds of it."""
    r = (5 * squares.clamp_min(TINY)).sqrt()
    decay = torch.exp(-r)
    slope = (1 + r) * decay
    return slope + r.square() * decay / 3, 5 / 3 * slope


class Factor:
    """A covariance function of one kind; its parameters are given to each call."""

    def sizes(self, num_features: int, ard: bool) -> dict[str, int]:
        """How many numbers each parameter has."""
        raise NotImplementedError

    def cross(self, values: Values, x: Tensor, z: Tensor) -> Tensor:
        """k(x_i, z_j), (n, m)."""
        raise NotImplementedError

    def diagonal(self, values: Values, x: Tensor) -> Tensor:
        """k(x_i, x_i), (n,)."""
        return torch.ones_like(x[:, 0])

    def square(self, values: Values, x: Tensor) -> tuple[Tensor, Pull]:
        """k(x_i, x_j), (n, n), and what gives its derivatives."""
        raise NotImplementedError


class Stationary(Factor):
    """k = f(s) with s = sum_j (x_j - z_j)^2 / l_j^2 and one lengthscale l, or one for each feature.

    One for each is automatic relevance determination: a feature that does not matter gets a long one.
    dk/dl_j = (-2 f'(s)) (x_j - z_j)^2 / l_j^3.

    Source: Rasmussen and Williams (2006), 4.2.1 and 5.1.
    """

    def __init__(self, shape: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        self.shape = shape

    def sizes(self, num_features: int, ard: bool) -> dict[str, int]:
        return {"lengthscale": num_features if ard else 1}

    def cross(self, values: Values, x: Tensor, z: Tensor) -> Tensor:
        middle = x.mean(0)  # distances do not change, and are more precise near 0
        u, v = ((points - middle) / values["lengthscale"] for points in (x, z))
        return self.shape(squared_distances(u, v))[0]

    def square(self, values: Values, x: Tensor) -> tuple[Tensor, Pull]:
        u = (x - x.mean(0)) / values["lengthscale"]
        k, steepness = self.shape(squared_distances(u, u))

        def pull(weights: Tensor) -> dict[str, Tensor]:
            found = spread(weights * steepness, u, u)  # (d,)
            return {"lengthscale": found.sum_to_size(values["lengthscale"].shape) / values["lengthscale"]}

        return k, pull


class Periodic(Factor):
    """k = exp(-2 sum_j sin^2(pi (x_j - z_j) / p) / l^2): rbf of the points cos(2 pi x / p), sin(2 pi x / p).

    Of several features it is a product of one such function each, which is positive definite.

    Source: MacKay (1998), "Introduction to Gaussian processes", section 5.
    """

    def sizes(self, num_features: int, ard: bool) -> dict[str, int]:
        return {"lengthscale": 1, "period": 1}

    def cross(self, values: Values, x: Tensor, z: Tensor) -> Tensor:
        u, v = (self._circle(values, points - x.mean(0)) for points in (x, z))
        return rbf(squared_distances(u, v))[0]

    @staticmethod
    def _circle(values: Values, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x / values["period"]
        return torch.cat([angle.cos(), angle.sin()], 1) / values["lengthscale"]  # (n, 2 d)

    def square(self, values: Values, x: Tensor) -> tuple[Tensor, Pull]:
        x = x - x.mean(0)
        u = self._circle(values, x)
        k, _ = rbf(squared_distances(u, u))

        def pull(weights: Tensor) -> dict[str, Tensor]:
            g = weights * k
            cos, sin = u.chunk(2, 1)
            moved = 2 * math.pi * torch.cat([sin * x, -cos * x], 1) / values["period"].square()  # du / dp
            return {
                "lengthscale": spread(g, u, u).sum(0, keepdim=True) / values["lengthscale"],
                "period": -spread(g, u, moved).sum(0, keepdim=True),
            }

        return k, pull


class Linear(Factor):
    """k = b + x . z: f(x) = w_0 + w . x with w_0 ~ N(0, b) and w ~ N(0, I), Bayesian linear regression.

    Source: Rasmussen and Williams (2006), 2.1.
    """

    def sizes(self, num_features: int, ard: bool) -> dict[str, int]:
        return {"bias": 1}

    def cross(self, values: Values, x: Tensor, z: Tensor) -> Tensor:
        return x @ z.T + values["bias"]

    def diagonal(self, values: Values, x: Tensor) -> Tensor:
        return x.square().sum(1) + values["bias"]

    def square(self, values: Values, x: Tensor) -> tuple[Tensor, Pull]:
        return self.cross(values, x, x), lambda weights: {"bias": weights.sum().reshape(1)}


class NeuralNetwork(Factor):
    """k = 2/pi arcsin(2 a(x, z) / sqrt((1 + 2 a(x, x)) (1 + 2 a(z, z)))) with a(x, z) = b + w x . z.

    The covariance of a network with one infinitely wide layer of units erf(u_0 + u . x), u_0 ~ N(0, b), u ~ N(0, w I);
    b + w x . z is x^T Sigma z of the points with a 1 in front.

    Source: Williams (1998), "Computation with infinite neural networks"; d2l 18.2, which prints sin for arcsin.
    """

    def sizes(self, num_features: int, ard: bool) -> dict[str, int]:
        return {"bias": 1, "weight": 1}

    def cross(self, values: Values, x: Tensor, z: Tensor) -> Tensor:
        inner = values["bias"] + values["weight"] * (x @ z.T)
        return 2 / math.pi * torch.asin(2 * inner * self._scale(values, x)[:, None] * self._scale(values, z))

    def diagonal(self, values: Values, x: Tensor) -> Tensor:
        return 2 / math.pi * torch.asin(1 - self._scale(values, x).square())

    @staticmethod
    def _scale(values: Values, x: Tensor) -> Tensor:
        """(1 + 2 a(x, x))^(-1/2), (n,)."""
        return (1 + 2 * (values["bias"] + values["weight"] * x.square().sum(1))).rsqrt()

    def square(self, values: Values, x: Tensor) -> tuple[Tensor, Pull]:
        scale = self._scale(values, x)
        sine = 2 * (values["bias"] + values["weight"] * (x @ x.T)) * scale[:, None] * scale

        def pull(weights: Tensor) -> dict[str, Tensor]:
            g = weights * (2 / math.pi) * (1 - sine.square()).rsqrt()
            ends = (g * sine).sum(1) * scale.square()  # (n,)
            scaled = scale[:, None] * x
            bias = scale @ g @ scale - ends.sum()
            weight = (scaled * (g @ scaled)).sum() - ends @ x.square().sum(1)
            return {"bias": 2 * bias.reshape(1), "weight": 2 * weight.reshape(1)}

        return 2 / math.pi * torch.asin(sine), pull


FACTORS: dict[str, Factor] = {
    "rbf": Stationary(rbf),
    "matern32": Stationary(matern32),
    "matern52": Stationary(matern52),
    "periodic": Periodic(),
    "linear": Linear(),
    "nn_kernel": NeuralNetwork(),
}


def parse_kernel(text: str) -> list[list[str]]:
    """The names in a sum of products: "rbf + periodic * linear" -> [["rbf"], ["periodic", "linear"]].

    Raises:
        ValueError: it is no such sum, a name is unknown, or there are too many.
    """
    terms = [[name.strip() for name in term.split("*")] for term in text.split("+")]
    names = [name for term in terms for name in term]
    for name in names:
        if name not in FACTORS:
            known = f"names joined by + and *, such as rbf + periodic * linear; the names are {', '.join(FACTORS)}"
            raise ValueError(
                f"kernel '{clean(text, 80)}': unknown name '{clean(name, 40)}'{nearest(name, FACTORS)} ({known})"
            )
    if len(names) > MOST_FACTORS:
        raise ValueError(f"kernel '{clean(text, 80)}' has {len(names)} names, more than {MOST_FACTORS}")
    return terms


class Kernel:
    """k = sum_t v_t prod_f k_tf, from a text that names the factors, such as "rbf + periodic * linear".

    A product has one variance v, so that no two parameters stand for the same thing.

    Args:
        text: see `parse_kernel`.
        num_features: d.
        ard: a lengthscale for each feature, in rbf, matern32 and matern52.

    Attributes:
        sizes: parameter name -> how many numbers, in the order of a vector (P,) of all: "rbf_variance",
            "rbf_lengthscale", "periodic_variance", ..., "rbf_2_variance" of a factor that comes twice.

    Raises:
        ValueError: the text does not name a kernel.
    """

    def __init__(self, text: str, num_features: int = 1, ard: bool = False) -> None:
        self.text, self.num_features, self.ard = text, num_features, ard
        self.terms: list[list[tuple[Factor, dict[str, slice]]]] = []
        self.sizes: dict[str, int] = {}
        seen: dict[str, int] = {}
        for names in parse_kernel(text):
            term = []
            for place, name in enumerate(names):
                seen[name] = seen.get(name, 0) + 1
                prefix = name if seen[name] == 1 else f"{name}_{seen[name]}"
                own = FACTORS[name].sizes(num_features, ard)
                variance = {"variance": 1} if place == 0 else {}
                term.append(
                    (FACTORS[name], {key: self._take(f"{prefix}_{key}", n) for key, n in (variance | own).items()})
                )
            self.terms.append(term)

    def _take(self, name: str, size: int) -> slice:
        start = self.size
        self.sizes[name] = size
        return slice(start, start + size)

    @property
    def size(self) -> int:
        """P."""
        return sum(self.sizes.values())

    def cross(self, values: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """k(x_i, z_j), (n, m), for positive parameters `values` (P,)."""
        return self._combine(values, lambda factor, own: factor.cross(own, x, z))

    def diagonal(self, values: Tensor, x: Tensor) -> Tensor:
        """k(x_i, x_i), (n,)."""
        return self._combine(values, lambda factor, own: factor.diagonal(own, x))

    def _combine(self, values: Tensor, compute: Callable[[Factor, Values], Tensor]) -> Tensor:
        total: Tensor | None = None
        for term in self.terms:
            product = values[term[0][1]["variance"]]
            for factor, places in term:
                product = product * compute(factor, {key: values[place] for key, place in places.items()})
            total = product if total is None else total + product
        assert total is not None
        return total

    def square(self, values: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """k(x_i, x_j), (n, n), and the function from W to sum_ij W_ij dK_ij / dp of all parameters, (P,)."""
        found = [
            [factor.square({key: values[place] for key, place in places.items()}, x) for factor, places in term]
            for term in self.terms
        ]
        products = [_product([k for k, _ in parts]) for parts in found]
        variances = [values[term[0][1]["variance"]] for term in self.terms]
        total = variances[0] * products[0]
        for variance, product in zip(variances[1:], products[1:]):
            total = total + variance * product

        def pull(weights: Tensor) -> Tensor:
            gradient = torch.empty_like(values)
            for term, parts, variance, product in zip(self.terms, found, variances, products):
                gradient[term[0][1]["variance"]] = torch.dot(weights.reshape(-1), product.reshape(-1))
                for i, (_, places) in enumerate(term):
                    others = [k for j, (k, _) in enumerate(parts) if j != i]
                    for key, part in parts[i][1](weights * _product(others) if others else weights).items():
                        gradient[places[key]] = variance * part
            return gradient

        return total, pull


def _product(matrices: list[Tensor]) -> Tensor:
    product = matrices[0]
    for matrix in matrices[1:]:
        product = product * matrix
    return product
