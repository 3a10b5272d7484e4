"""Word vectors judged: rank correlations against SciPy's, analogies against a plain loop."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch.nn.functional import cosine_similarity

from d2lcli.registry import METRICS
from d2lcli.tasks.word_similarity import WordTask, analogy_hits, rank_correlation


def test_rank_correlation_is_scipy_s_with_equal_values_too() -> None:
    generator = torch.Generator().manual_seed(0)
    for most in (3, 10, 1000):
        x, y = torch.randint(most, (2, 50), generator=generator).double()
        assert rank_correlation(x, y).item() == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert math.isnan(rank_correlation(x[:3], y[:3]).item())


def rated_as(pairs: list[list[int]], ratings: list[float]) -> Any:
    rated = SimpleNamespace(pairs=torch.tensor(pairs).view(-1, 2), ratings=torch.tensor(ratings, dtype=torch.float64))
    return SimpleNamespace(rated={"wordsim353": rated, "simlex999": rated})


@pytest.mark.parametrize("name", ["wordsim353", "simlex999"])
def test_a_metric_of_vectors(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(40, 6, generator=generator)
    pairs = torch.randint(40, (30, 2), generator=generator)
    ratings = torch.rand(30, generator=generator, dtype=torch.float64)
    metric = METRICS.build(name)
    metric.bind_tests(rated_as(pairs.tolist(), ratings.tolist()), torch.device("cpu"))
    metric.reset()
    for _ in range(3):  # batches of an evaluation, all with the same vectors
        metric.update(vectors, None)
    a, b = vectors[pairs.T]
    expected = spearmanr(cosine_similarity(a, b), ratings).statistic
    assert metric.name == name and metric.compute() == pytest.approx(expected, abs=1e-6)
    low, high = metric.interval()
    wider = metric.interval(0.99)
    assert wider[0] < low < expected < high < wider[1]
    half = 1.959964 * math.sqrt((1 + expected**2 / 2) / 27)
    assert high == pytest.approx(math.tanh(math.atanh(expected) + half), abs=1e-5)
    metric.state += metric.state  # two processes
    assert metric.compute() == pytest.approx(expected, abs=1e-6)


def test_too_few_pairs_say_nothing() -> None:
    metric = METRICS.build("wordsim353")
    metric.bind_tests(rated_as([[0, 1]], [3.0]), torch.device("cpu"))
    metric.update(torch.randn(2, 3), None)
    assert math.isnan(metric.compute()) and metric.interval() is None


def test_analogies_leave_the_words_of_the_question_out() -> None:
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(30, 4, generator=generator)
    answers = torch.tensor(sorted(torch.randperm(30, generator=generator)[:25].tolist()))
    words = answers[torch.randint(25, (600, 4), generator=generator)]
    hits = analogy_hits(vectors, words, answers)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    for (a, b, c, d), hit in zip(words.tolist(), hits.tolist()):
        query = unit[b] - unit[a] + unit[c]
        others = [word for word in answers.tolist() if word not in (a, b, c)]
        assert hit == (max(others, key=lambda word: float(query @ unit[word])) == d)
    assert 0 < hits.sum() < 600
    assert len(analogy_hits(vectors, words[:0], answers)) == 0


def test_a_parallelogram_is_found() -> None:
    king, man, woman, queen = [1.0, 0, 1], [1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 1]
    vectors = torch.tensor([king, man, woman, queen, [0.5, 0.5, -1]])
    assert analogy_hits(vectors, torch.tensor([[1, 0, 2, 3]]), torch.arange(5)).tolist() == [True]


def test_the_examination_counts_by_kind() -> None:
    vectors = torch.eye(6)
    analogies = SimpleNamespace(
        words=torch.tensor([[0, 1, 2, 5], [1, 2, 3, 0]]),
        syntactic=torch.tensor([False, True]),
        answers=torch.arange(6),
        total=9,
    )
    task = WordTask(lambda outputs, targets: outputs, [])
    task.tests = SimpleNamespace(rated=rated_as([[0, 1]], [1.0]).rated, analogies=analogies)
    found = task.examine(SimpleNamespace(vectors=lambda: vectors))  # type: ignore[arg-type]
    assert found["wordsim353_pairs"] == 1 and found["analogies_known"] == 2
    assert found["analogies"] == (found["analogies_semantic"] + found["analogies_syntactic"]) / 2
    analogies.words, analogies.syntactic = analogies.words[:0], analogies.syntactic[:0]
    assert "analogies" not in task.examine(SimpleNamespace(vectors=lambda: vectors))  # type: ignore[arg-type]
