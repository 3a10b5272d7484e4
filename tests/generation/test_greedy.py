"""Greedy search on the book's example (d2l 10.8) and on ties."""

import pytest
import torch
from torch import Tensor

from d2lcli.generation.greedy import greedy

# Figure 10.8.1: the probabilities of A, B, C and <eos> at four steps.
FIGURE = torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.4, 0.2, 0.3], [0.2, 0.2, 0.4, 0.2], [0.0, 0.2, 0.2, 0.6]])
EOS = 3


def test_the_book_s_example_has_probability_0_048() -> None:
    def by_step(tokens: Tensor) -> Tensor:
        return FIGURE[tokens.shape[1] - 1].log().expand(len(tokens), 4)

    made = greedy(max_tokens=10)(by_step, torch.tensor([[EOS]]), EOS)
    assert made.tokens.tolist() == [[EOS, 0, 1, 2, EOS]]
    assert made.lengths.tolist() == [4]
    assert made.log_probs.exp().prod().item() == pytest.approx(0.5 * 0.4 * 0.4 * 0.6)
    assert made.log_probs.sum().exp().item() == pytest.approx(0.048)


def test_greedy_is_not_the_most_probable_sequence() -> None:
    """Figure 10.8.2: C at the second step, not B, leads to .5 x .3 x .6 x .6 = .054; greedy does not look ahead."""
    other = torch.tensor([[0.1, 0.6, 0.2, 0.1], [0.1, 0.2, 0.1, 0.6]])

    def by_prefix(tokens: Tensor) -> Tensor:
        t = tokens.shape[1] - 1
        if t >= 2 and tokens[0, 2] == 2:
            return other[t - 2][None].log()
        probs = FIGURE[t].clone()
        if t == 1:
            probs = torch.tensor([0.1, 0.4, 0.3, 0.2])
        return probs[None].log()

    made = greedy(max_tokens=4)(by_prefix, torch.tensor([[EOS]]), EOS)
    assert made.log_probs.sum().exp().item() == pytest.approx(0.048)
    assert made.log_probs.sum().exp().item() < 0.5 * 0.3 * 0.6 * 0.6


def test_of_equal_tokens_the_first_is_taken() -> None:
    made = greedy(max_tokens=3)(lambda tokens: torch.tensor([[0.0, 1.0, 1.0, 1.0]]), torch.tensor([[0]]))
    assert made.tokens.tolist() == [[0, 1, 1, 1]]


def test_low_precision_logits_and_small_integers_are_taken() -> None:
    logits = torch.tensor([[0.0, 2.0], [3.0, 1.0]], dtype=torch.bfloat16)
    made = greedy(max_tokens=1)(lambda tokens: logits, torch.tensor([[0], [0]], dtype=torch.int32))
    assert made.tokens.tolist() == [[0, 1], [0, 0]]
    assert made.log_probs[0, 0].item() == pytest.approx(-torch.tensor(-2.0).exp().log1p().item())


def test_without_an_end_token_the_length_is_given() -> None:
    made = greedy(max_tokens=6)(lambda tokens: torch.eye(4)[tokens[:, -1].add(1) % 4], torch.tensor([[0], [2]]))
    assert made.tokens.tolist() == [[0, 1, 2, 3, 0, 1, 2], [2, 3, 0, 1, 2, 3, 0]]
