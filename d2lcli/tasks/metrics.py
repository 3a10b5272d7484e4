"""Metrics: sums that add up over batches and processes, and the number that they give.

The state of a metric is a float64 tensor of sums; the sum of two shards' states is the state of both.  Updates stay on
the device: nothing is read until `compute`.
"""

from collections.abc import Callable
from math import exp, isfinite, log, sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from d2lcli.tasks.losses import align, cross_entropy, per_example


class Metric:
    """A quantity measured over a split.

    Args:
        name: what it is called in logs.
        higher_is_better: the direction of improvement.
        scalar: whether `compute` gives one number, so that it can decide which checkpoint is best.
        state: the sums.
    """

    scalar = True

    def __init__(self, name: str, higher_is_better: bool) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self.state = self.zeros("cpu")

    def zeros(self, device: torch.device | str) -> Tensor:
        """The state before any example."""
        raise NotImplementedError

    def bind(self, num_outputs: int) -> None:
        """Learn how many outputs the model has.

        Raises:
            ValueError: the metric does not fit them.
        """

    def bind_tokens(self, sizes: Tensor | None) -> None:
        """Learn how many bytes of text each token stands for, (V,); None where there are no tokens.

        Raises:
            ValueError: the metric needs to know it, and cannot.
        """

    def reset(self, device: torch.device | str = "cpu") -> None:
        """Forget all examples; the state lives on `device` from now on."""
        self.state = self.zeros(device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch."""
        raise NotImplementedError

    def compute(self) -> float | list[list[int]]:
        """The metric over all examples so far.

        Raises:
            ValueError: there were none.
        """
        raise NotImplementedError

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """A confidence interval of the metric, or None where there is none."""
        return None


class Mean(Metric):
    """A mean over examples, or a monotone function of it.

    The interval is mean +- z s / sqrt(n), with s the sample standard deviation (d2l 22.7),
    carried through the function.

    Args:
        values: (outputs, targets) -> one number for each example (n,).
        transform: what to make of the mean; increasing.
        low: smallest possible mean.
        high: largest possible mean.
        at_least: outputs that the metric needs.
    """

    def __init__(
        self,
        name: str,
        values: Callable[[Tensor, Tensor], Tensor],
        *,
        higher_is_better: bool,
        transform: Callable[[float], float] = float,
        low: float = 0.0,
        high: float = float("inf"),
        at_least: int = 1,
    ) -> None:
        super().__init__(name, higher_is_better)
        self.values = values
        self.transform = transform
        self.low = low
        self.high = high
        self.at_least = at_least

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(3, dtype=torch.float64, device=device)  # n, sum, sum of squares

    def bind(self, num_outputs: int) -> None:
        if num_outputs < self.at_least:
            raise ValueError(
                f"metric '{self.name}' needs at least {self.at_least} outputs, and there are {num_outputs}"
            )

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        values = self.values(outputs, targets).double()
        self.state[0] += values.numel()
        self.state[1] += values.sum()
        self.state[2] += values.square().sum()

    def _moments(self) -> tuple[float, float, float]:
        n, total, squares = self.state.tolist()
        if n == 0:
            raise ValueError(f"metric '{self.name}' has seen no examples")
        return n, total / n, squares / n

    def compute(self) -> float:
        return self.transform(self._moments()[1])

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """See the class; None for fewer than two examples, or a mean that is not finite.

        Raises:
            ValueError: a confidence outside (0, 1), or no examples.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r} must be between 0 and 1")
        n, mean, square = self._moments()
        if n < 2 or not (isfinite(mean) and isfinite(square)):
            return None
        deviation = sqrt(max(0.0, square - mean * mean) * n / (n - 1))
        half = NormalDist().inv_cdf((1 + confidence) / 2) * deviation / sqrt(n)
        return self.transform(max(self.low, mean - half)), self.transform(min(self.high, mean + half))


class ConfusionMatrix(Metric):
    """Counts (C, C) by true class (row) and predicted class (column).

    Args:
        num_classes: C; None takes it from the data or from the first outputs.
    """

    scalar = False

    def __init__(self, num_classes: int | None = None) -> None:
        self.num_classes = num_classes
        super().__init__("confusion_matrix", higher_is_better=True)

    def zeros(self, device: torch.device | str) -> Tensor:
        size = self.num_classes or 0
        return torch.zeros(size, size, dtype=torch.float64, device=device)

    def bind(self, num_outputs: int) -> None:
        if self.num_classes is None:
            self.num_classes = num_outputs
            self.reset(self.state.device)
        if self.num_classes != num_outputs:
            raise ValueError(
                f"num_classes={self.num_classes} of the confusion matrix must be the {num_outputs} of the data"
            )

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        if self.num_classes is None:
            with torch.inference_mode(False):  # the state outlives the evaluation
                self.bind(outputs.shape[1])
                self.state = self.state.to(outputs.device)
        cells = targets * self.state.shape[1] + outputs.argmax(1)
        ones = torch.ones_like(cells, dtype=self.state.dtype)
        # Not bincount: it has to read its largest value to know the size of its result.
        self.state.view(-1).index_add_(0, cells.flatten(), ones.flatten())

    def compute(self) -> list[list[int]]:
        return [[int(count) for count in row] for row in self.state.tolist()]


def accuracy() -> Metric:
    """The share of examples whose largest logit is the right class; logits (n, C), labels (n,)."""

    def hits(outputs: Tensor, targets: Tensor) -> Tensor:
        return per_example((outputs.argmax(1) == targets).double())

    return Mean("accuracy", hits, higher_is_better=True, high=1.0)


def top_k(k: int = 5) -> Metric:
    """The share of examples whose right class is among the k largest logits; logits (n, C), labels (n,).

    Raises:
        ValueError: k is below 1; later, when the number of classes is known, k exceeds it.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")

    def hits(outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.shape[1] < k:
            raise ValueError(f"k={k} must not exceed the {outputs.shape[1]} classes")
        return per_example((outputs.topk(k, dim=1).indices == targets.unsqueeze(1)).any(1).double())

    return Mean("top_k", hits, higher_is_better=True, high=1.0, at_least=k)


def perplexity() -> Metric:
    """exp of the mean cross-entropy: how many equally likely choices leave one as unsure (d2l 9.3).

    Logits (n, C), labels (n,): 1 is perfect, C is no better than guessing.
    """
    return Mean("perplexity", _surprise, higher_is_better=False, transform=lambda mean: exp(min(mean, 700.0)))


def bits_per_character() -> Metric:
    """The mean cross-entropy in bits for each token, which is a character under tokenizer=char."""
    return Mean("bits_per_character", _surprise, higher_is_better=False, transform=lambda mean: mean / log(2))


def mse() -> Metric:
    """The mean squared error; outputs and targets (n,), (n, 1) or (n, d)."""
    return Mean("mse", _squares, higher_is_better=False)


def rmse() -> Metric:
    """The root of the mean squared error."""
    return Mean("rmse", _squares, higher_is_better=False, transform=sqrt)


def log_rmse() -> Metric:
    """The root mean squared difference of the logarithms: relative errors, for positive targets such as prices.

    As in the book's house prices (d2l 5.7), predictions below 1 count as 1, so that their logarithm exists.  The metric
    is for targets in their own unit: where the data set gives logarithms already, as `ames` does, `rmse` is the same
    measure.
    """

    def values(outputs: Tensor, targets: Tensor) -> Tensor:
        return _squares(outputs.double().clamp(min=1.0).log(), targets.double().log())

    return Mean("log_rmse", values, higher_is_better=False, transform=sqrt)


def confusion_matrix(num_classes: int | None = None) -> Metric:
    """Counts by true class (row) and predicted class (column); logits (n, C), labels (n,).

    Raises:
        ValueError: num_classes is below 1, or later, is not the number of classes in the data.
    """
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes={num_classes} must be at least 1")
    return ConfusionMatrix(num_classes)


def _surprise(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    outputs = outputs.double()
    return per_example((outputs - align(outputs, targets)).square())
