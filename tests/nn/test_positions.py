"""Positions against the formula, one entry at a time, and the property for which the paper chose it."""

import math

import pytest
import torch

from d2lcli.nn.positions import LearnedPositions, SinusoidalPositions, sinusoidal

LIKE = torch.zeros(0, dtype=torch.float64)


@pytest.mark.parametrize("dim", [8, 7, 1])
def test_every_entry_follows_the_formula(dim: int) -> None:
    table = sinusoidal(0, 60, dim, LIKE)
    assert table.shape == (60, dim)
    for i in range(60):
        for column in range(dim):
            angle = i / 10_000 ** (column // 2 * 2 / dim)
            assert table[i, column].item() == pytest.approx(math.cos(angle) if column % 2 else math.sin(angle))


def test_a_shift_is_a_rotation_that_depends_on_its_size_alone() -> None:
    """d2l 11.6: (P_(i+s, 2j), P_(i+s, 2j+1)) is (P_(i, 2j), P_(i, 2j+1)) turned by s / 10000^(2j / d)."""
    dim, shift = 10, 17
    table = sinusoidal(0, 100, dim, LIKE)
    for j in range(dim // 2):
        angle = torch.tensor(shift / 10_000 ** (2 * j / dim), dtype=torch.float64)
        turn = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
        pair = table[:, 2 * j : 2 * j + 2]
        torch.testing.assert_close(pair[shift:], pair[:-shift] @ turn.T)


def test_far_positions_are_exact_in_single_precision() -> None:
    found = sinusoidal(100_000, 100_004, 64, torch.zeros(0))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), sinusoidal(100_000, 100_004, 64, LIKE), rtol=1e-6, atol=1e-7)


def test_pieces_have_the_positions_of_the_whole() -> None:
    torch.manual_seed(0)
    learned = LearnedPositions(9, 6)
    assert learned.weight.shape == (1, 9, 6)
    x = torch.randn(2, 9, 6)
    assert torch.equal(learned(x), x + learned.weight)
    for positions in (learned, SinusoidalPositions()):
        assert torch.equal(torch.cat([positions(x[:, :4]), positions(x[:, 4:], 4)], 1), positions(x))
