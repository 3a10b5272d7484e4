"""BLEU: how many n-grams of a translation stand in the reference (Papineni et al., 2002; d2l 10.7)."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from d2lcli.tasks.metrics import Metric

ORDER = 4


def counts(predicted: Sequence[Hashable], reference: Sequence[Hashable], order: int) -> tuple[list[int], list[int]]:
    """For n = 1 .. order: the n-grams of the prediction that the reference has, each as often at most; and all."""
    matched, total = [], []
    for n in range(1, order + 1):
        own, other = _grams(predicted, n), _grams(reference, n)
        matched.append(sum(min(count, other[gram]) for gram, count in own.items()))
        total.append(sum(own.values()))
    return matched, total


def _grams(text: Sequence[Hashable], n: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))


def sentence_bleu(predicted: Sequence[Hashable], reference: Sequence[Hashable], k: int = 2) -> float:
    """exp(min(0, 1 - len(reference) / len(predicted))) prod_(n <= k) p_n^(1 / 2^n): the book's (d2l 10.7.6).

    n-grams longer than the prediction are left out; an empty prediction has 0.
    """
    if not predicted:
        return 0.0
    matched, total = counts(predicted, reference, min(k, len(predicted)))
    score = math.exp(min(0.0, 1 - len(reference) / len(predicted)))
    for n, (hits, all_of_them) in enumerate(zip(matched, total), 1):
        score *= (hits / all_of_them) ** (0.5**n)
    return score


class TextMetric(Metric):
    """A metric of texts: `update` takes predictions (n, m) and references (n, T), -1 beyond the end of each."""

    texts = True

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        for predicted, reference in zip(outputs.tolist(), targets.tolist()):
            self.add([token for token in predicted if token >= 0], [token for token in reference if token >= 0])

    def add(self, predicted: list[int], reference: list[int]) -> None:
        """Count one pair."""
        raise NotImplementedError


class SentenceBleu(TextMetric):
    """The mean of `sentence_bleu`."""

    def __init__(self, k: int) -> None:
        self.k = k
        super().__init__("bleu", higher_is_better=True)

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(2, dtype=torch.float64, device=device)  # n, sum

    def add(self, predicted: list[int], reference: list[int]) -> None:
        score = sentence_bleu(predicted, reference, self.k)
        self.state += torch.tensor([1.0, score], dtype=torch.float64, device=self.state.device)

    def compute(self) -> float:
        n, total = self.state.tolist()
        if n == 0:
            raise ValueError("metric 'bleu' has seen no examples")
        return float(total / n)


class CorpusBleu(TextMetric):
    """min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4) of all texts together."""

    def __init__(self) -> None:
        super().__init__("bleu4", higher_is_better=True)

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(2 * ORDER + 2, dtype=torch.float64, device=device)  # matched, total, lengths

    def add(self, predicted: list[int], reference: list[int]) -> None:
        matched, total = counts(predicted, reference, ORDER)
        found = [*matched, *total, len(predicted), len(reference)]
        self.state += torch.tensor(found, dtype=torch.float64, device=self.state.device)

    def compute(self) -> float:
        values = self.state.tolist()
        matched, total, (own, other) = values[:ORDER], values[ORDER : 2 * ORDER], values[-2:]
        if other == 0:
            raise ValueError("metric 'bleu4' has seen no examples")
        if not all(matched):
            return 0.0
        logs = sum(math.log(hits / count) for hits, count in zip(matched, total)) / ORDER
        return math.exp(min(0.0, 1 - other / own) + logs)


def bleu(k: int = 2) -> Metric:
    """The book's BLEU, the mean over sentences, see `sentence_bleu`; k is the length of the longest n-grams.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    return SentenceBleu(k)


def bleu4() -> Metric:
    """Standard corpus BLEU of n-grams up to 4, from 0 to 1, without smoothing."""
    return CorpusBleu()
