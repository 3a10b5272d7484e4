"""Exploration: the formulas with NumPy, and choices that follow their probabilities."""

import numpy as np
import pytest
import torch

from d2lcli.nn.exploration import (
    choose,
    choose_one,
    cumulative,
    epsilon_greedy,
    epsilon_greedy_row,
    softmax_policy,
    softmax_row,
)

Q = torch.tensor([[0.0, 1.0, 0.5, -2.0], [1.0, 1.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0]], dtype=torch.float64)


def test_epsilon_greedy_is_one_minus_epsilon_plus_its_share() -> None:
    found = epsilon_greedy(Q, 0.2)
    assert found[0].tolist() == pytest.approx([0.05, 0.85, 0.05, 0.05])  # 1 - .2 + .2 / 4
    assert found[1].tolist() == pytest.approx([0.45, 0.45, 0.05, 0.05])  # equally good ones share
    assert found[2].tolist() == pytest.approx([0.25] * 4)
    assert epsilon_greedy(Q, 0.0)[0].tolist() == [0, 1, 0, 0]
    assert epsilon_greedy(Q, 1.0)[0].tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("tau", [0.1, 1.0, 50.0])
def test_softmax_is_exp_q_over_tau(tau: float) -> None:
    scores = np.exp(Q.numpy() / tau)
    np.testing.assert_allclose(softmax_policy(Q, tau).numpy(), scores / scores.sum(1, keepdims=True), rtol=1e-12)


def test_a_row_is_a_row_of_the_table() -> None:
    for index, row in enumerate(Q.tolist()):
        assert epsilon_greedy_row(row, 0.3) == pytest.approx(epsilon_greedy(Q, 0.3)[index].tolist())
        assert softmax_row(row, 0.7) == pytest.approx(softmax_policy(Q, 0.7)[index].tolist())


def test_choices_follow_the_probabilities() -> None:
    probabilities = torch.tensor([[0.5, 0.0, 0.3, 0.2], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    n = 200_000
    rows = torch.arange(n) % 2
    uniforms = torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chosen = choose(cumulative(probabilities), rows, uniforms)
    shares = torch.bincount(chosen[rows == 0], minlength=4) / (n / 2)
    spread = (probabilities[0] * (1 - probabilities[0]) / (n / 2)).sqrt()
    assert ((shares - probabilities[0]).abs() <= 5 * spread).all()
    assert (chosen[rows == 1] == 3).all()


def test_one_agent_chooses_as_many_do() -> None:
    probabilities = epsilon_greedy(Q, 0.4)
    uniforms = torch.rand(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for row, shares in enumerate(probabilities.tolist()):
        found = choose(cumulative(probabilities), torch.full((500,), row), uniforms)
        assert found.tolist() == [choose_one(shares, uniform) for uniform in uniforms.tolist()]
