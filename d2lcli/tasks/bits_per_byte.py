"""How well a language model compresses its text, whatever tokens the text is cut into (Gao et al., 2020)."""

from math import isfinite, log, sqrt
from statistics import NormalDist

import torch
from torch import Tensor

from d2lcli.tasks.losses import cross_entropy
from d2lcli.tasks.metrics import Metric


class BitsPerByte(Metric):
    """r = sum x / (sum y log 2), over tokens whose cross-entropy is x nats and that stand for y bytes of text.

    The cost of a special token is in x, though it stands for no text; so is that of <unk>, whose text is not known: of
    tokenizers that know different shares of a text this is no fair comparison.

    The interval is r +- z s, with the ratio linearised (Cochran, 1977, section 6.3): s^2 = sum (x - r y)^2 n / ((n - 1)
    (sum y)^2), in nats.
    """

    def __init__(self) -> None:
        super().__init__("bits_per_byte", higher_is_better=False)
        self.num_outputs: int | None = None
        self.sizes: Tensor | None = None

    def zeros(self, device: torch.device | str) -> Tensor:
        return torch.zeros(6, dtype=torch.float64, device=device)  # n, sums of x, y, x x, x y, y y

    def bind(self, num_outputs: int) -> None:
        self.num_outputs = num_outputs

    def bind_tokens(self, sizes: Tensor | None) -> None:
        """See Metric.

        Raises:
            ValueError: there are no tokens, or the outputs are not about them.
        """
        if sizes is None:
            raise ValueError(f"metric '{self.name}' is about the tokens of a text, and this data has no tokenizer")
        if self.num_outputs not in (None, len(sizes)):
            raise ValueError(
                f"metric '{self.name}' needs one output for each of the {len(sizes)} tokens, and there are "
                f"{self.num_outputs}"
            )
        self.sizes = sizes

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: logits (n, V), tokens (n,).

        Raises:
            ValueError: no sizes have been bound.
        """
        if self.sizes is None:
            raise ValueError(f"metric '{self.name}' does not know the bytes of the tokens: call bind_tokens first")
        self.sizes = self.sizes.to(targets.device)
        x = cross_entropy(outputs, targets, reduction="none").double()
        y = self.sizes[targets].double()
        self.state += torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y]).sum(1)

    def compute(self) -> float:
        _, nats, size, *_ = self.state.tolist()
        if size == 0:
            raise ValueError(f"metric '{self.name}' has seen no text")
        return float(nats / size / log(2))

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """See the class; None for fewer than two tokens, or a value that is not finite.

        Raises:
            ValueError: a confidence outside (0, 1), or no text.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r} must be between 0 and 1")
        value = self.compute()
        n, nats, size, xx, xy, yy = self.state.tolist()
        ratio = nats / size
        squares = xx - 2 * ratio * xy + ratio * ratio * yy
        if n < 2 or not isfinite(squares):
            return None
        deviation = sqrt(max(0.0, squares) * n / (n - 1)) / size / log(2)
        half = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
        return max(0.0, value - half), value + half


def bits_per_byte() -> Metric:
    """The cross-entropy of all tokens in bits over the bytes of UTF-8 text that they stand for.

    Logits (n, V), tokens (n,).  Unlike a mean over tokens it compares models whose tokenizers differ.
    """
    return BitsPerByte()
