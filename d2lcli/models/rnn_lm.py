"""Recurrent language models (d2l 9.5, 9.6, 10.1-10.3).

Legend: b sequences, t tokens, V tokens of the vocabulary, e width of the embedding, h hidden units.
"""

from torch import Tensor, nn
from torch.nn import functional

from d2lcli.nn.checks import require_positive
from d2lcli.nn.recurrent import Cell, Recurrent, Reset, State


class RecurrentLanguageModel(nn.Module):
    """Tokens (b, t) -> logits (b, t, V) of the token that follows each."""

    def __init__(
        self, vocab_size: int, embed_dim: int | None, recurrent: Recurrent, dropout: float, tied: bool
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, embed_dim) if embed_dim else None
        self.recurrent = recurrent
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(recurrent.hidden_size, vocab_size)
        if tied and self.embedding is not None:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)  # small enough for logits
            self.head.weight = self.embedding.weight

    def begin(self, batch_size: int) -> State:
        """The state before the first token."""
        return self.recurrent.begin(batch_size)

    def forward(self, tokens: Tensor, state: State | None = None) -> Tensor | tuple[Tensor, State]:
        """With a state, such as `begin` gives, also the state after the last token."""
        outputs, after = self.recurrent(self._embed(tokens), state)
        logits: Tensor = self.head(self.dropout(outputs))
        return logits if state is None else (logits, after)

    def _embed(self, tokens: Tensor) -> Tensor:
        if self.embedding is None:
            return functional.one_hot(tokens, self.vocab_size).to(self.head.weight.dtype)  # (b, t, V)
        embedded: Tensor = self.dropout(self.embedding(tokens))  # (b, t, e)
        return embedded


def rnn_lm(
    *,
    vocab_size: int = 28,
    cell: Cell = "gru",
    hidden_size: int = 256,
    num_layers: int = 1,
    embed_dim: int | None = None,
    dropout: float = 0.0,
    tied: bool = False,
    bidirectional: bool = False,
    scratch: bool = False,
    reset: Reset | None = None,
) -> RecurrentLanguageModel:
    """A recurrent language model.

    Args:
        vocab_size: V.
        cell: rnn, lstm or gru.
        hidden_size: h.
        num_layers: recurrent layers.
        embed_dim: e; None feeds the tokens as one-hot vectors, as the book does.
        dropout: probability on the embeddings, between the layers, and before the head.
        tied: the head's weights are those of the embedding, which needs embed_dim = hidden_size.
        bidirectional: refused: the layer that reads from the end would see the token that it is to predict.
        scratch: layers written out step by step, as in the book, instead of torch's fused ones.
        reset: of a gru, before (the book's, scratch only) or after (torch's) the product with the state.

    Raises:
        ValueError: an option out of range, or options that do not go together.
    """
    require_positive(vocab_size=vocab_size, hidden_size=hidden_size)
    if bidirectional:
        raise ValueError("bidirectional=true reads the future, so it cannot model what comes next; use it to encode.")
    if tied and embed_dim != hidden_size:
        raise ValueError(f"tied=true needs embed_dim = hidden_size = {hidden_size}, but embed_dim is {embed_dim}.")
    recurrent = Recurrent(
        cell, embed_dim or vocab_size, hidden_size, num_layers, dropout=dropout, scratch=scratch, reset=reset
    )
    return RecurrentLanguageModel(vocab_size, embed_dim, recurrent, dropout, tied)
