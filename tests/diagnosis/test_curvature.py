"""Curvature against closed forms and exact eigenvalues."""

import pytest
import torch
from torch import Tensor, nn

from d2lcli.diagnosis.curvature import curvature, gershgorin, lanczos


@pytest.mark.parametrize(
    ("signs", "kind"), [((1, 1), "minimum"), ((1, -1), "saddle"), ((-1, -1), "maximum"), ((0, 0), "flat")]
)
def test_the_kind_of_a_critical_point(signs: tuple[int, int], kind: str) -> None:
    """a x^2 + b y^2 at the origin has eigenvalues 2a and 2b (d2l 12.1)."""
    point = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    found = curvature(lambda: signs[0] * point[0] ** 2 + signs[1] * point[1] ** 2, [point])
    assert found.kind == kind
    assert (found.smallest, found.largest) == pytest.approx((2 * min(signs), 2 * max(signs)))


def test_elsewhere_there_is_no_critical_point() -> None:
    point = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert curvature(lambda: (point**2).sum(), [point]).kind == "not critical"


def test_lanczos_finds_the_extremes_of_a_large_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(600, 600, generator=generator, dtype=torch.float64)
    matrix = (raw + raw.T) / 2
    matrix += 60 * torch.outer(raw[0], raw[0]) / raw[0].square().sum()
    exact = torch.linalg.eigvalsh(matrix)
    found = lanczos(lambda v: matrix @ v, 600, steps=120)
    assert found[-1].item() == pytest.approx(exact[-1].item(), rel=1e-6)
    assert found[0].item() == pytest.approx(exact[0].item(), rel=1e-3)


def test_lanczos_of_a_network_equals_the_exact_hessian() -> None:
    """561 parameters, so that no whole matrix is made; the exact one from torch.func."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 20), nn.Tanh(), nn.Linear(20, 18), nn.Tanh(), nn.Linear(18, 1)).double()
    inputs, targets = torch.randn(64, 8, dtype=torch.float64), torch.randn(64, 1, dtype=torch.float64)
    names = [name for name, _ in net.named_parameters()]
    params = list(net.parameters())
    sizes = [param.numel() for param in params]
    assert sum(sizes) > 500

    def objective(flat: Tensor) -> Tensor:
        parts = {name: part.view_as(param) for name, part, param in zip(names, flat.split(sizes), params, strict=True)}
        return ((torch.func.functional_call(net, parts, (inputs,)) - targets) ** 2).mean()

    flat = torch.cat([param.detach().flatten() for param in params])
    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(objective, flat))
    found = curvature(lambda: ((net(inputs) - targets) ** 2).mean(), params, steps=150)
    assert not found.exact and found.gershgorin is None
    assert found.largest == pytest.approx(exact[-1].item(), rel=1e-6)
    assert found.smallest == pytest.approx(exact[0].item(), rel=1e-4)


def test_gershgorin_discs_hold_all_eigenvalues() -> None:
    """By hand: rows with centres 4, 1, -2 and radii 1, 1.5, .5."""
    matrix = torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 0.5, -2.0]])
    assert gershgorin(matrix) == pytest.approx((-2.5, 5.0))
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] >= -2.5 and values[-1] <= 5.0
