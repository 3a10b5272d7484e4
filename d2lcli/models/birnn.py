"""Recurrent networks that read a text in both directions and judge it (d2l 16.2).

Legend: b texts, t tokens of each, V tokens of the vocabulary, e width of the embedding, h hidden units, q classes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from d2lcli.nn.checks import require_positive
from d2lcli.nn.recurrent import Cell, Recurrent

Pool = Literal["final", "first_last"]
STD = 0.1  # of the first embeddings: with 1, torch's own, the gates begin saturated and texts are learnt by heart


class BiRnnClassifier(nn.Module):
    """Tokens (b, t), segments (not read) and lengths (b,) -> logits (b, q); no lengths are all t.

    What stands after the end of a text is never read, so that its outputs do not depend on how far it is padded.

    Args:
        recurrent: a fused one, bidirectional.
        pool: final, the last layer's state of each direction when it has read everything, 2 h numbers; or first_last,
            its outputs at the first and at the last token, 4 h, as in the book.
        dropout: on the embeddings and on what the head reads.
    """

    def __init__(
        self, vocab_size: int, embed_dim: int, recurrent: Recurrent, pool: Pool, dropout: float, q: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        nn.init.normal_(self.embedding.weight, std=STD)
        self.recurrent = recurrent
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear({"final": 2, "first_last": 4}[pool] * recurrent.hidden_size, q)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        outputs, state = self._read(self.dropout(self.embedding(tokens)), lengths)
        if self.pool == "final":
            x = torch.cat([state[-2], state[-1]], 1)  # forward and backward of the last layer: (b, 2 h)
        else:
            ends = outputs[:, -1] if lengths is None else outputs[torch.arange(len(outputs)), lengths - 1]
            x = torch.cat([outputs[:, 0], ends], 1)  # (b, 4 h)
        logits: Tensor = self.head(self.dropout(x))
        return logits

    def _read(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """The outputs (b, t, 2 h) and the hidden states at the end (2 l, b, h)."""
        if lengths is None:
            outputs, state = self.recurrent(x)
            return outputs, state[0]
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        assert self.recurrent.fused is not None
        read, after = self.recurrent.fused(packed)
        outputs, _ = pad_packed_sequence(read, batch_first=True, total_length=x.shape[1])
        return outputs, after[0] if isinstance(after, tuple) else after


def birnn_classifier(
    *,
    vocab_size: int = 10_000,
    num_classes: int = 2,
    cell: Cell = "lstm",
    embed_dim: int = 100,
    hidden_size: int = 100,
    num_layers: int = 2,
    pool: Pool = "final",
    dropout: float = 0.0,
) -> BiRnnClassifier:
    """A bidirectional recurrent network with a linear layer on top; by default of the book's sizes.

    Args:
        vocab_size: V.
        num_classes: q; 1 to predict a number.
        cell: lstm, gru or rnn.
        embed_dim: e; that of the vectors, where some are loaded.
        hidden_size: h, of each direction.
        num_layers: recurrent layers.
        pool: what the head reads, final or first_last; see `BiRnnClassifier`.
        dropout: probability on the embeddings, between the layers, and before the head.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, num_classes=num_classes, embed_dim=embed_dim)
    if pool not in ("final", "first_last"):
        raise ValueError(f"pool must be final or first_last, but it is {pool!r}.")
    recurrent = Recurrent(cell, embed_dim, hidden_size, num_layers, dropout=dropout, bidirectional=True)
    return BiRnnClassifier(vocab_size, embed_dim, recurrent, pool, dropout, num_classes)
