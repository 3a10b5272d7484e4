"""Recurrent encoder-decoders for translation: plain (d2l 10.7) and with attention (Bahdanau et al., 2015; d2l 11.4).

Legend: b pairs, S source tokens, T target tokens, V tokens of a vocabulary, e width of embeddings, h hidden units,
l layers.  A state is a tuple of tensors (l, b, ...), so that a search can pick its rows.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from d2lcli.nn.additive import AdditiveAttention
from d2lcli.nn.checks import require_positive
from d2lcli.nn.recurrent import Cell, Recurrent

Context = Literal["last_valid", "last_step"]
State = tuple[Tensor, ...]


class Encoder(nn.Module):
    """Source (b, S) and lengths (b,) -> outputs (b, S, h) and the state after the last token, each (l, b, h)."""

    def __init__(
        self, cell: Cell, vocab_size: int, embed_dim: int, hidden_size: int, num_layers: int, dropout: float,
        context: Context,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.recurrent = Recurrent(cell, embed_dim, hidden_size, num_layers, dropout=dropout)
        self.context = context

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        x = self.embedding(source)
        if self.context == "last_step" or source.is_meta:  # the book's: the state has read the padding too
            outputs, state = self.recurrent(x)
            return outputs, state
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        assert self.recurrent.fused is not None
        outputs, after = self.recurrent.fused(packed)
        padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])
        return padded, after if isinstance(after, tuple) else (after,)


class Seq2Seq(nn.Module):
    """Source, lengths and target input (b, T) -> logits (b, T, V); the context, the encoder's last output, is read at
    every step."""

    def __init__(
        self, encoder: Encoder, cell: Cell, vocab_size: int, embed_dim: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        h = encoder.recurrent.hidden_size
        self.encoder = encoder
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.recurrent = Recurrent(cell, embed_dim + h, h, num_layers, dropout=dropout)
        self.head = nn.Linear(h, vocab_size)

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        return self.step(inputs, self.begin(source, lengths))[0]

    def begin(self, source: Tensor, lengths: Tensor) -> State:
        """The state before <bos>: the encoder's, and at the end the context (1, b, h)."""
        _, state = self.encoder(source, lengths)
        return (*state, state[0][-1:])

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Target input (b, t) -> logits (b, t, V) and the state after."""
        *hidden, context = state
        repeated = context[0][:, None].expand(-1, inputs.shape[1], -1)
        x = torch.cat([self.embedding(inputs), repeated], 2)
        outputs, after = self.recurrent(x, tuple(part.contiguous() for part in hidden))
        return self.head(outputs), (*after, context)


class Seq2SeqAttention(nn.Module):
    """Source, lengths and target input (b, T) -> logits (b, T, V); at every step the last layer's state asks for the
    context: an attention-weighted mean of the encoder's outputs."""

    def __init__(
        self, encoder: Encoder, cell: Cell, vocab_size: int, embed_dim: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        h = encoder.recurrent.hidden_size
        self.encoder = encoder
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.attention = AdditiveAttention(h, h, h, dropout)
        self.recurrent = Recurrent(cell, embed_dim + h, h, num_layers, dropout=dropout)
        self.head = nn.Linear(h, vocab_size)

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        return self.step(inputs, self.begin(source, lengths))[0]

    def begin(self, source: Tensor, lengths: Tensor) -> State:
        """The encoder's state; then its outputs, these through W_k (1, b, S, h), and which count (1, b, S)."""
        outputs, state = self.encoder(source, lengths)
        mask = torch.arange(source.shape[1], device=source.device) < lengths.to(source.device)[:, None]
        return (*state, outputs[None], self.attention.key(outputs)[None], mask[None])

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Target input (b, t) -> logits (b, t, V) and the state after."""
        logits, after, _ = self._decode(inputs, state)
        return logits, after

    def attention_weights(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """How much each target token looked at each source token: (b, T, S)."""
        return self._decode(inputs, self.begin(source, lengths))[2]

    def _decode(self, inputs: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        *hidden, values, keys, mask = state
        hidden = [part.contiguous() for part in hidden]
        outputs, weights = [], []
        for x in self.embedding(inputs).unbind(1):
            context, weight = self.attention.attend(hidden[0][-1][:, None], keys[0], values[0], mask[0])
            output, after = self.recurrent(torch.cat([x[:, None], context], 2), tuple(hidden))
            hidden = list(after)
            outputs.append(output)
            weights.append(weight)
        return self.head(torch.cat(outputs, 1)), (*hidden, values, keys, mask), torch.cat(weights, 1)


def seq2seq(
    *,
    vocab_size: int = 200,
    source_vocab_size: int = 200,
    cell: Cell = "gru",
    embed_dim: int = 256,
    hidden_size: int = 256,
    num_layers: int = 2,
    dropout: float = 0.2,
    context: Context = "last_valid",
) -> Seq2Seq:
    """A recurrent encoder-decoder.

    Args:
        vocab_size: of the target language.
        source_vocab_size: of the source language.
        cell: rnn, lstm or gru.
        embed_dim: e.
        hidden_size: h.
        num_layers: of the encoder, and of the decoder.
        dropout: between the layers.
        context: last_valid: the encoder's state after the last source token; last_step: after the padding, as the book
            has it.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, source_vocab_size=source_vocab_size, embed_dim=embed_dim)
    encoder = Encoder(cell, source_vocab_size, embed_dim, hidden_size, num_layers, dropout, context)
    return Seq2Seq(encoder, cell, vocab_size, embed_dim, num_layers, dropout)


def seq2seq_attention(
    *,
    vocab_size: int = 200,
    source_vocab_size: int = 200,
    cell: Cell = "gru",
    embed_dim: int = 256,
    hidden_size: int = 256,
    num_layers: int = 2,
    dropout: float = 0.2,
    context: Context = "last_valid",
) -> Seq2SeqAttention:
    """A recurrent encoder-decoder with additive attention.

    Args:
        vocab_size, source_vocab_size, cell, embed_dim, hidden_size, num_layers, context: see `seq2seq`.
        dropout: between the layers, and on the attention weights.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, source_vocab_size=source_vocab_size, embed_dim=embed_dim)
    encoder = Encoder(cell, source_vocab_size, embed_dim, hidden_size, num_layers, dropout, context)
    return Seq2SeqAttention(encoder, cell, vocab_size, embed_dim, num_layers, dropout)
