"""Word vectors judged by people's ratings and by analogies, and what the tasks of word embeddings share."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.errors import DataError
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss

LEAST = 4  # pairs that say anything
ROWS = 256  # analogies that are looked up at a time
Z95 = 1.959963984540054


class RankCorrelation(Metric):
    """Spearman's correlation of the cosines of pairs of words with people's ratings; nan where few are known.

    The interval is Fisher's, with the standard error of Bonett and Wright (2000).

    Args:
        name: of the ratings.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, higher_is_better=True)
        self._pairs, self._ratings = torch.empty(0, 2, dtype=torch.int64), torch.empty(0)

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(2, dtype=torch.float64, device=device)  # sum of the correlations of processes, their number

    def bind_tests(self, tests: Any, device: torch.device) -> None:
        """Take the ratings of pairs that the vocabulary knows."""
        rated = tests.rated[self.name]
        self._pairs, self._ratings = rated.pairs.to(device), rated.ratings.to(device)

    def update(self, outputs: Tensor, targets: Tensor | None = None) -> None:
        """Measure vectors (V, d), the same in every batch: once is enough."""
        if self.state[1] == 0:
            a, b = outputs[self._pairs.T].double()
            self.state[0] += rank_correlation(functional.cosine_similarity(a, b, dim=1), self._ratings)
            self.state[1] += 1

    def compute(self) -> float:
        return float(self.state[0] / self.state[1])

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        value, pairs = self.compute(), len(self._pairs)
        if not (pairs >= LEAST and abs(value) < 1):
            return None
        z = Z95 if confidence == 0.95 else torch.special.ndtri(torch.tensor((1 + confidence) / 2)).item()
        half = z * math.sqrt((1 + value * value / 2) / (pairs - 3))
        return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)


def rank_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Spearman's rho, equal values having the mean of their ranks; nan for fewer than 4 values: (n,), (n,) -> ()."""
    if len(x) < LEAST:
        return torch.tensor(math.nan, dtype=torch.float64)
    a, b = (_ranks(each) for each in (x, y))
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


def _ranks(values: Tensor) -> Tensor:
    """Ranks minus their mean, float64."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = (counts.cumsum(0).double() - (counts - 1) / 2)[place]
    return ranks - ranks.mean()


def analogy_hits(vectors: Tensor, words: Tensor, answers: Tensor) -> Tensor:
    """Whether d is the answer of which cos(v, b - a + c) is largest, a, b and c themselves left out (d2l 15.7.3).

    Vectors have length 1 before they are added, as in Mikolov et al. (2013).

    Args:
        vectors: (V, d).
        words: (n, 4) a, b, c, d.
        answers: (m,) the words among which it is looked for.

    Returns:
        (n,) bool.
    """
    unit = functional.normalize(vectors.float(), dim=1)
    among, place = unit[answers], torch.full((len(unit),), -1, device=unit.device)
    place[answers] = torch.arange(len(answers), device=unit.device)
    hits = []
    for rows in torch.split(words, ROWS):
        a, b, c, d = rows.T
        scores = (unit[b] - unit[a] + unit[c]) @ among.T
        scores.scatter_(1, place[rows[:, :3]], -torch.inf)
        hits.append(answers[scores.argmax(1)] == d)
    return torch.cat(hits) if hits else torch.empty(0, dtype=torch.bool)


def wordsim353() -> RankCorrelation:
    """Spearman's correlation with WordSim-353 (Finkelstein et al., 2002): how related are two words?"""
    return RankCorrelation("wordsim353")


def simlex999() -> RankCorrelation:
    """Spearman's correlation with SimLex-999 (Hill et al., 2015): how similar are two words?"""
    return RankCorrelation("simlex999")


class WordTask:
    """What the tasks of word embeddings share: metrics of the vectors, and a thorough examination.

    The model has `vectors()`, the embedding of each word (V, d).

    Args:
        loss: of the registry.
        metrics: wordsim353 and simlex999.

    Attributes:
        full_precision: updates of single rows are lost in half precision.
        tests: what people think of the words, see `d2lcli.data.word_tests`; known after `bind`.

    Raises:
        ValueError: two metrics of one name, or one of predictions.
    """

    full_precision = True
    tests: Any = None

    def __init__(self, loss: Loss, metrics: Sequence[Metric]) -> None:
        self.loss = loss
        self.metrics: dict[str, Metric] = {}
        for metric in metrics:
            if not isinstance(metric, RankCorrelation):
                raise ValueError(f"metric '{metric.name}' is for predictions; for vectors are wordsim353, simlex999")
            if metric.name in self.metrics:
                raise ValueError(f"the name '{metric.name}' is taken: each metric of a task needs a name of its own")
            self.metrics[metric.name] = metric

    @property
    def monitor(self) -> str:
        """The loss decides which checkpoint is best: a text may know few of the words that people rated."""
        return "loss"

    @property
    def mode(self) -> Literal["max", "min"]:
        """The lowest is the best."""
        return "min"

    def update(self, metric: Metric, outputs: Any, targets: Any) -> None:
        """Show a metric the vectors that `eval_step` gave."""
        metric.update(outputs, targets)

    def prepare(self, targets: Tensor, num_outputs: int, device: torch.device) -> None:
        """There is nothing to take from the training targets alone; see `bind`."""

    def bind(self, dataset: Any, device: torch.device) -> None:
        """Take the tests of the vocabulary."""
        self.tests = dataset.word_tests
        for metric in self.metrics.values():
            metric.bind_tests(self.tests, device)  # type: ignore[attr-defined]

    def check(self, shape: Sequence[int], num_outputs: int, targets: Tensor) -> None:
        """Refuse data without examples.

        Raises:
            DataError: there are none.
        """
        if not len(targets):
            raise DataError("there are no examples")

    @torch.no_grad()
    def examine(self, model: nn.Module) -> dict[str, float]:
        """What takes too long for each evaluation: analogies, all and by kind; and how many tests the words allow."""
        found: dict[str, float] = {}
        for name, rated in self.tests.rated.items():
            found[f"{name}_pairs"] = len(rated.pairs)
        asked = self.tests.analogies
        vectors: Tensor = model.vectors()  # type: ignore[operator]
        hits = analogy_hits(vectors, asked.words.to(vectors.device), asked.answers.to(vectors.device)).cpu()
        for name, chosen in (("", hits >= 0), ("_semantic", ~asked.syntactic), ("_syntactic", asked.syntactic)):
            if chosen.any():
                found[f"analogies{name}"] = hits[chosen].double().mean().item()
        return found | {"analogies_known": len(hits)}
