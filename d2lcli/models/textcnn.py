"""Convolutions over the words of a text, each pooled over time (Kim, 2014; d2l 16.3).

Legend: b texts, t tokens of each, V tokens of the vocabulary, e width of an embedding, k width of a window, c channels
of one width, q classes.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.nn.checks import require_positive

Pool = Literal["max", "avg"]
BOUND = 0.25  # of the first embeddings, as the paper draws those of words that it has no vectors for


class TextCnn(nn.Module):
    """Tokens (b, t), segments (not read) and lengths (b,) -> logits (b, q); no lengths are all t.

    y_i = sum_j W_j x_(i+j) + b over windows of k words; relu(pool_i y_i) of every channel and width goes to the head.
    A window that reaches past the end of its text does not count; a width for which a text is too short gives 0.

    Args:
        kernel_sizes: the widths k.
        num_channels: c of each.
        pool: max over time, or avg, the mean, as in the book's code.
        dropout: of what the head reads.
        dual: two tables of embeddings side by side, of which the second is never trained.
    """

    def __init__(
        self, vocab_size: int, embed_dim: int, kernel_sizes: Sequence[int], num_channels: Sequence[int], pool: Pool,
        dropout: float, dual: bool, q: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        nn.init.uniform_(self.embedding.weight, -BOUND, BOUND)
        self.constant_embedding = nn.Embedding(vocab_size, embed_dim) if dual else None
        if self.constant_embedding is not None:
            nn.init.uniform_(self.constant_embedding.weight, -BOUND, BOUND)
            self.constant_embedding.weight.requires_grad_(False)
        width = embed_dim * (2 if dual else 1)
        sizes = zip(num_channels, kernel_sizes, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, channels, size) for channels, size in sizes)
        self.kernel_sizes, self.pool = tuple(kernel_sizes), pool
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sum(num_channels), q)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            lengths = torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
        x: Tensor = self.embedding(tokens)
        if self.constant_embedding is not None:
            x = torch.cat([x, self.constant_embedding(tokens)], 2)  # (b, t, 2 e)
        x = x.transpose(1, 2)
        pooled = [
            self._pool(conv(_at_least(x, size)), lengths - size + 1)
            for size, conv in zip(self.kernel_sizes, self.convolutions, strict=True)
        ]
        logits: Tensor = self.head(self.dropout(torch.relu(torch.cat(pooled, 1))))
        return logits

    def _pool(self, y: Tensor, counts: Tensor) -> Tensor:
        """(b, c, windows) -> (b, c), over the first `counts` (b,) windows, which lie within each text."""
        outside = (torch.arange(y.shape[2], device=y.device) >= counts[:, None])[:, None]  # (b, 1, windows)
        if self.pool == "max":
            return y.masked_fill(outside, -torch.inf).amax(2)  # of no window -inf, of which relu makes 0
        return y.masked_fill(outside, 0.0).sum(2) / counts.clamp(min=1)[:, None]


def _at_least(x: Tensor, size: int) -> Tensor:
    """(b, d, t) with zeros after the end, where there are fewer than `size` steps."""
    return functional.pad(x, (0, max(0, size - x.shape[2])))


def textcnn(
    *,
    vocab_size: int = 10_000,
    num_classes: int = 2,
    embed_dim: int = 100,
    kernel_sizes: Sequence[int] = (3, 4, 5),
    num_channels: Sequence[int] = (100, 100, 100),
    pool: Pool = "max",
    dropout: float = 0.5,
    dual_embedding: bool = False,
) -> TextCnn:
    """A TextCNN; by default of the book's sizes with the paper's pooling and one table of embeddings.

    Args:
        vocab_size: V.
        num_classes: q; 1 to predict a number.
        embed_dim: e; that of the vectors, where some are loaded.
        kernel_sizes: k of the convolutions.
        num_channels: c of each of them.
        pool: max or avg over time.
        dropout: probability before the head.
        dual_embedding: a second table beside the first, which stays as it was drawn or loaded.

    Raises:
        ValueError: an option out of range, or not as many channels as widths.
    """
    require_positive(vocab_size=vocab_size, num_classes=num_classes, embed_dim=embed_dim)
    if pool not in ("max", "avg"):
        raise ValueError(f"pool must be max or avg, but it is {pool!r}.")
    if not kernel_sizes or len(kernel_sizes) != len(num_channels) or min(*kernel_sizes, *num_channels) < 1:
        raise ValueError(
            f"kernel_sizes={list(kernel_sizes)} and num_channels={list(num_channels)} must be lists of one length, of "
            "numbers of at least 1."
        )
    return TextCnn(vocab_size, embed_dim, kernel_sizes, num_channels, pool, dropout, dual_embedding, num_classes)
