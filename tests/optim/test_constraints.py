"""Penalties and projections against closed forms."""

import pytest
import torch
from torch import nn

from d2lcli.optim.constraints import add_penalties, project_ball


def test_projection_onto_a_ball() -> None:
    """[3, 4] is projected to [.6, .8] on the unit ball (d2l 12.2); what lies within stays as it is."""
    w = torch.tensor([3.0, 4.0], dtype=torch.float64)
    project_ball([w], 1.0)
    torch.testing.assert_close(w, torch.tensor([0.6, 0.8], dtype=torch.float64))
    inside = torch.tensor([0.3, -0.4])
    project_ball([inside], 1.0)
    assert torch.equal(inside, torch.tensor([0.3, -0.4]))


def test_the_ball_holds_all_weights_together_and_takes_zeros() -> None:
    parts = [torch.tensor([3.0]), torch.tensor([[4.0]])]
    project_ball(parts, 1.0)
    torch.testing.assert_close(torch.cat([part.flatten() for part in parts]), torch.tensor([0.6, 0.8]))
    zero = [torch.zeros(2)]
    project_ball(zero, 1.0)
    assert torch.equal(zero[0], torch.zeros(2))


def test_penalties_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    w, without = nn.Parameter(torch.randn(5, dtype=torch.float64)), nn.Parameter(torch.ones(2))
    objective = (w**3).sum() + 0.1 * w.abs().sum() + 0.3 / 2 * (w**2).sum()
    (expected,) = torch.autograd.grad(objective, w)
    (w**3).sum().backward()
    add_penalties([w, without], l1=0.1, l2=0.3)
    torch.testing.assert_close(w.grad, expected)
    assert without.grad is None


def test_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="dense"):
        add_penalties([table.weight], l1=0.0, l2=0.1)
