"""The objectives of word2vec against sums written out word by word, and against gradients by autograd."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from d2lcli.nn.huffman import huffman
from d2lcli.tasks.word_losses import full_softmax, hierarchical_softmax, negative_sampling
from d2lcli.tasks.word_objectives import FullSoftmax, HierarchicalSoftmax, NegativeSampling, Targets, descend

V, D, C, T, W = 11, 4, 3, 5, 2
COUNTS = torch.tensor([0, 50, 40, 30, 20, 10, 9, 8, 7, 6, 5])
CPU = torch.device("cpu")


def problem(window: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Targets]:
    """Vectors of places (c, t, d), a table (V, d), and targets; the last place has none."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(C, T, D, generator=generator, dtype=dtype)
    table = torch.randn(V, D, generator=generator, dtype=dtype)
    words = torch.randint(1, V, (C, T + 2 * window), generator=generator)
    mask = torch.rand(C, T, 2 * window + 1, generator=generator) < 0.6
    if window:
        mask[:, :, window] = False
    mask[-1, -1] = False
    return hidden, table, Targets(words, mask, window)


def objective(name: str, pool: int | None = 7) -> Any:
    made: Any = {
        "negative_sampling": lambda: NegativeSampling(3, 0.75, pool),
        "hierarchical_softmax": HierarchicalSoftmax,
        "full_softmax": FullSoftmax,
    }[name]()
    made.bind(COUNTS, CPU)
    return made


def pairs(targets: Targets) -> list[tuple[int, int, list[int]]]:
    """For each place its piece, its number, and the words that it is to predict."""
    return [
        (c, i, [int(targets.words[c, i + j]) for j in range(2 * targets.window + 1) if targets.mask[c, i, j]])
        for c in range(C)
        for i in range(T)
    ]


windows = pytest.mark.parametrize("window", [0, W])
NAMES = ["negative_sampling", "hierarchical_softmax", "full_softmax"]


@windows
@pytest.mark.parametrize("pool", [None, 7])
def test_negative_sampling_word_by_word(window: int, pool: int | None) -> None:
    hidden, table, targets = problem(window)
    chosen = objective("negative_sampling", pool)
    torch.manual_seed(0)
    noise = chosen.draw(targets)
    assert noise.shape == ((1, 7) if pool else (C * T, 3 * max(2 * window, 1)))
    expected = torch.zeros(C, dtype=torch.float64)
    for c, i, right in pairs(targets):
        drawn = noise[0 if pool else c * T + i].tolist()
        wrong = [word for word in drawn if word not in right]
        scores = table @ hidden[c, i]
        expected[c] -= sum(logsigmoid(scores[word]) for word in right)
        if wrong:
            expected[c] -= 3 * len(right) * sum(logsigmoid(-scores[word]) for word in wrong) / len(wrong)
    torch.testing.assert_close(chosen.loss(hidden, table, targets, noise), expected, rtol=1e-12, atol=1e-12)


def test_without_a_pool_it_is_the_book_s_loss() -> None:
    """Places whose windows are full, and negatives that are no targets: K words for each target, each counted once."""
    hidden, table, _ = problem(1)
    words = torch.tensor([[1, 2, 3, 4, 5, 1, 2]] * C)
    mask = torch.tensor([True, False, True]).expand(C, T, 3)
    noise = torch.tensor([6, 7, 8, 9, 10, 6]).expand(C * T, 6)
    found = objective("negative_sampling", None).loss(hidden, table, Targets(words, mask, 1), noise)
    scores = hidden @ table.T
    expected = torch.zeros(C, dtype=torch.float64)
    for c in range(C):
        for i in range(T):
            for target, others in ((words[c, i], [6, 7, 8]), (words[c, i + 2], [9, 10, 6])):
                row = scores[c, i, [int(target), *others]][None]
                expected[c] += negative_sampling(row, torch.tensor([0]))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@windows
def test_hierarchical_softmax_node_by_node(window: int) -> None:
    hidden, table, targets = problem(window)
    tree = huffman(COUNTS)
    expected = torch.zeros(C, dtype=torch.float64)
    for c, i, right in pairs(targets):
        for word in right:
            scores = table[tree.nodes[word]] @ hidden[c, i]
            expected[c] += hierarchical_softmax(scores[None], tree.signs[word][None].double())
            left = [int(sign) for sign in tree.signs[word].tolist() if sign]
            path = math.prod(1 / (1 + math.exp(-s * score)) for s, score in zip(left, scores.tolist()))
            assert math.exp(-hierarchical_softmax(scores[None], tree.signs[word][None]).item()) == pytest.approx(path)
    torch.testing.assert_close(objective("hierarchical_softmax").loss(hidden, table, targets), expected)


@windows
def test_the_whole_softmax_target_by_target(window: int) -> None:
    hidden, table, targets = problem(window)
    expected = torch.zeros(C, dtype=torch.float64)
    for c, i, right in pairs(targets):
        for word in right:
            expected[c] += full_softmax((table @ hidden[c, i])[None], torch.tensor([word]))
    torch.testing.assert_close(objective("full_softmax").loss(hidden, table, targets), expected)


@windows
@pytest.mark.parametrize("pool", [None, 7])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_gradients_written_out_are_those_of_autograd(
    name: str, pool: int | None, window: int, dtype: torch.dtype, tolerance: float
) -> None:
    hidden, table, targets = problem(window, dtype)
    chosen = objective(name, pool)
    leaves = hidden.clone().requires_grad_(), table.clone().requires_grad_()
    torch.manual_seed(5)
    loss = chosen.loss(*leaves, targets).sum()
    loss.backward()
    torch.manual_seed(5)
    total, by_hidden = chosen.step(hidden, table, targets, 0.1)
    wanted = leaves[1].detach() - 0.1 * leaves[1].grad  # type: ignore[operator]
    for found, expected in ((total, loss.detach()), (by_hidden, leaves[0].grad), (table, wanted)):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_probabilities_of_the_leaves_add_up_to_one() -> None:
    hidden, table, _ = problem(0)
    found = objective("hierarchical_softmax").log_probabilities(hidden.flatten(0, 1), table)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(C * T, dtype=torch.float64), rtol=1e-12, atol=0)


@windows
@pytest.mark.parametrize("pool", [None, 40])
def test_negatives_never_equal_a_target(window: int, pool: int | None) -> None:
    _, _, targets = problem(window)
    chosen = objective("negative_sampling", pool)
    noise = chosen.draw(targets)
    weights = chosen.weights(noise, targets, torch.float64).reshape(C * T, -1)
    hits = 0
    for place, (_, _, right) in enumerate(pairs(targets)):
        drawn = noise[0 if pool else place].tolist()
        for word, weight in zip(drawn, weights[place].tolist()):
            assert (weight == 0) == (word in right or not right)
            hits += word in right
        assert weights[place].sum().item() in (pytest.approx(3 * len(right)), 0)
    assert hits > 0


def test_noise_is_the_power_of_the_frequencies() -> None:
    chosen = objective("negative_sampling", 200_000)
    torch.manual_seed(1)
    drawn = torch.bincount(chosen.draw(problem(1)[2])[0], minlength=V)
    wanted = COUNTS.double() ** 0.75 / (COUNTS.double() ** 0.75).sum()
    spread = (200_000 * wanted * (1 - wanted)).sqrt()
    assert drawn[0] == 0 and ((drawn - 200_000 * wanted).abs() <= 5 * spread).all()


def test_a_pool_and_own_negatives_expect_the_same_loss() -> None:
    """Both estimate -K n E log s(-u_k . h) over the noise that is no target: means of many draws, within 5 errors."""
    hidden, table, targets = problem(W)
    noise, exact = COUNTS.double() ** 0.75, torch.zeros(C, dtype=torch.float64)
    for c, i, right in pairs(targets):
        scores, free = table @ hidden[c, i], noise.clone()
        free[right] = 0
        exact[c] -= logsigmoid(scores[right]).sum() + 3 * len(right) * (free / free.sum() * logsigmoid(-scores)).sum()
    for pool in (None, 30):
        chosen = objective("negative_sampling", pool)
        torch.manual_seed(2)
        draws = torch.stack([chosen.loss(hidden, table, targets) for _ in range(2000)])
        assert ((draws.mean(0) - exact).abs() <= 5 * draws.std(0) / math.sqrt(2000)).all()


def test_the_noise_of_an_evaluation_is_the_same_for_every_run() -> None:
    one, two = objective("negative_sampling"), objective("negative_sampling")
    assert torch.equal(one.evaluated, two.evaluated) and len(one.evaluated) == NegativeSampling.EVALUATED


def test_rows_that_come_twice_add_up() -> None:
    table = torch.zeros(4, 2)
    descend(table, torch.tensor([1, 3, 1]), torch.tensor([[1.0, 2.0], [4.0, 4.0], [10.0, 20.0]]), 0.5)
    assert table.tolist() == [[0, 0], [-5.5, -11], [0, 0], [-2, -2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [((0, 0.75, 64), "num_negatives is 0"), ((5, -1.0, 64), "noise_power is -1"), ((5, 0.75, 0), "pool 0")],
)
def test_options_out_of_range(options: tuple[int, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NegativeSampling(*options)
