"""Covariance functions and their derivatives against scikit-learn, a random network, and finite differences."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, ExpSineSquared, Matern
from torch import Tensor

from d2lcli.nn.kernels import FACTORS, Kernel, parse_kernel

# A text, features, a lengthscale for each or one, scikit-learn's kernel, and what its parameters are to ours: theirs
# are logarithms of the numbers in `theta`, so d/d theta = power * value * d/d value.
CASES: list[tuple[str, int, bool, Any, dict[str, list[float]]]] = [
    ("rbf", 1, False, ConstantKernel(1.7) * RBF(0.6), {"rbf_variance": [1.7], "rbf_lengthscale": [0.6]}),
    ("rbf", 3, False, ConstantKernel(0.3) * RBF(1.6), {"rbf_variance": [0.3], "rbf_lengthscale": [1.6]}),
    ("rbf", 2, True, ConstantKernel(2.0) * RBF([0.6, 2.5]), {"rbf_variance": [2.0], "rbf_lengthscale": [0.6, 2.5]}),
    (
        "matern32",
        3,
        False,
        ConstantKernel(0.8) * Matern(0.9, nu=1.5),
        {"matern32_variance": [0.8], "matern32_lengthscale": [0.9]},
    ),
    (
        "matern52",
        2,
        True,
        ConstantKernel(1.2) * Matern([0.4, 1.9], nu=2.5),
        {"matern52_variance": [1.2], "matern52_lengthscale": [0.4, 1.9]},
    ),
    (
        "periodic",
        1,
        False,
        ConstantKernel(0.5) * ExpSineSquared(1.3, 2.1),
        {"periodic_variance": [0.5], "periodic_lengthscale": [1.3], "periodic_period": [2.1]},
    ),
    (
        "linear",
        3,
        False,
        ConstantKernel(0.7) * DotProduct(math.sqrt(0.4)),
        {"linear_variance": [0.7], "linear_bias": [0.4]},
    ),
    (
        "rbf + periodic * linear",
        1,
        False,
        ConstantKernel(1.1) * RBF(0.8) + ConstantKernel(0.2) * ExpSineSquared(0.9, 1.4) * DotProduct(math.sqrt(0.6)),
        {
            "rbf_variance": [1.1],
            "rbf_lengthscale": [0.8],
            "periodic_variance": [0.2],
            "periodic_lengthscale": [0.9],
            "periodic_period": [1.4],
            "linear_bias": [0.6],
        },
    ),
    (
        "rbf * rbf + matern32",
        2,
        False,
        ConstantKernel(1.1) * RBF(0.8) * RBF(2.0) + ConstantKernel(0.9) * Matern(1.5, nu=1.5),
        {
            "rbf_variance": [1.1],
            "rbf_lengthscale": [0.8],
            "rbf_2_lengthscale": [2.0],
            "matern32_variance": [0.9],
            "matern32_lengthscale": [1.5],
        },
    ),
]
every_case = pytest.mark.parametrize(
    ("text", "features", "ard", "reference", "values"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)


def points(features: int, count: int = 25, seed: int = 0) -> Tensor:
    return 3 * torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 5


def vector(kernel: Kernel, values: dict[str, list[float]]) -> Tensor:
    assert {name: len(numbers) for name, numbers in values.items()} == kernel.sizes
    return torch.tensor([number for name in kernel.sizes for number in values[name]], dtype=torch.float64)


@every_case
def test_the_covariance_is_scikit_learns(
    text: str, features: int, ard: bool, reference: Any, values: dict[str, list[float]]
) -> None:
    kernel, x, z = Kernel(text, features, ard), points(features), points(features, 7, seed=1)
    given = vector(kernel, values)
    a, b = x.numpy(), z.numpy()
    np.testing.assert_allclose(kernel.square(given, x)[0], reference(a), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kernel.cross(given, x, z), reference(a, b), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kernel.diagonal(given, x), reference.diag(a), rtol=1e-10)


@every_case
def test_the_derivatives_are_scikit_learns(
    text: str, features: int, ard: bool, reference: Any, values: dict[str, list[float]]
) -> None:
    kernel, x = Kernel(text, features, ard), points(features)
    given = vector(kernel, values)
    weights = torch.randn(25, 25, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = weights + weights.T
    slopes = reference(x.numpy(), eval_gradient=True)[1]  # (n, n, P), by the logarithms
    expected = np.einsum("ij,ijp->p", weights.numpy(), slopes)
    found = kernel.square(given, x)[1](weights) * given
    order = [name for name in kernel.sizes for _ in range(kernel.sizes[name])]
    # sigma_0 is the root of our bias.
    found = torch.stack([2 * each if "bias" in name else each for each, name in zip(found, order)])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("ard", [False, True])
@pytest.mark.parametrize("text", [*FACTORS, "nn_kernel * matern52 + linear"])
def test_the_derivatives_are_those_of_finite_differences(text: str, ard: bool) -> None:
    kernel, x = Kernel(text, 3, ard), points(3) / 3
    values = 0.5 + torch.rand(kernel.size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weights = torch.randn(25, 25, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = weights + weights.T
    found = kernel.square(values, x)[1](weights)
    for i in range(kernel.size):
        moved = torch.zeros_like(values)
        moved[i] = 1e-5
        up, down = (float((weights * kernel.square(values + sign * moved, x)[0]).sum()) for sign in (1, -1))
        assert float(found[i]) == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("text", [*FACTORS, "rbf + periodic * linear"])
def test_it_is_symmetric_and_positive_semidefinite(text: str) -> None:
    kernel, x = Kernel(text, 2), points(2, 60)
    covariance = kernel.square(torch.ones(kernel.size, dtype=torch.float64), x)[0]
    torch.testing.assert_close(covariance, covariance.T)
    assert float(torch.linalg.eigvalsh(covariance).min()) > -1e-12 * float(covariance.diagonal().sum())


def test_rbf_divides_by_twice_the_square_of_the_lengthscale() -> None:
    """Source 6.2.1; the book's code divides by 2 ls, with ls = l^2."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    found = Kernel("rbf").square(torch.tensor([4.0, 2.0], dtype=torch.float64), x)[0]
    assert found[0].tolist() == pytest.approx([4.0, 4 * math.exp(-1 / 8), 4 * math.exp(-9 / 8)])


def test_a_prior_of_lines_has_the_variance_one_plus_x_squared() -> None:
    x = torch.tensor([[0.0], [2.0], [-3.0]], dtype=torch.float64)
    assert Kernel("linear").diagonal(torch.ones(2, dtype=torch.float64), x).tolist() == [1.0, 5.0, 10.0]


def test_the_neural_network_kernel_is_that_of_a_wide_network_of_erf_units() -> None:
    """E[erf(u_0 + u . x) erf(u_0 + u . z)] over 2 million units, u_0 ~ N(0, 0.7) and u ~ N(0, 1.5 I)."""
    generator = np.random.default_rng(0)
    x = np.array([[0.0, 0.0], [1.0, -0.5], [-2.0, 1.5]])
    units = generator.standard_normal((2_000_000, 3)) * np.sqrt([0.7, 1.5, 1.5])
    hidden = torch.erf(torch.from_numpy(units @ np.hstack([np.ones((3, 1)), x]).T)).numpy()
    kernel = Kernel("nn_kernel", 2)
    values = vector(kernel, {"nn_kernel_variance": [1.0], "nn_kernel_bias": [0.7], "nn_kernel_weight": [1.5]})
    found = kernel.square(values, torch.from_numpy(x))[0]
    np.testing.assert_allclose(found, hidden.T @ hidden / len(hidden), atol=4 / np.sqrt(len(hidden)))


def test_a_period_in_several_features_is_a_product_of_one_in_each() -> None:
    kernel, x = Kernel("periodic", 2), points(2)
    values = {"periodic_variance": [1.0], "periodic_lengthscale": [1.3], "periodic_period": [2.1]}
    one = ExpSineSquared(1.3, 2.1)
    expected = one(x[:, :1].numpy()) * one(x[:, 1:].numpy())
    np.testing.assert_allclose(kernel.square(vector(kernel, values), x)[0], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rfb", "did you mean 'rbf'"),
        ("rbf + ", "unknown name ''"),
        ("rbf ** 2", "unknown name ''"),
        ("(rbf + linear) * periodic", r"unknown name '\(rbf'"),
        ("__import__('os')", "unknown name"),
        (" + ".join(["rbf"] * 17), "17 names, more than 16"),
    ],
)
def test_what_is_no_kernel_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_kernel(text)
