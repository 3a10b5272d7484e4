"""The Transformer for translation (Vaswani et al., 2017; d2l 11.7).

Legend: b pairs, S source tokens, T target tokens, d width, h heads, V tokens of a vocabulary.  A state is a tuple of
tensors whose dimension 1 is the batch, so that a search can pick its rows.
"""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from d2lcli.nn.activations import Activation
from d2lcli.nn.checks import require_positive
from d2lcli.nn.key_values import KeyValues
from d2lcli.nn.positions import LearnedPositions, Positions, SinusoidalPositions
from d2lcli.nn.transformer import DecoderBlock, EncoderBlock

State = tuple[Tensor | KeyValues, ...]
Tied = Literal["none", "target", "all"]


class TokenEmbedding(nn.Module):
    """dropout(sqrt(d) E + P): tokens (b, t), the first at position `start`, -> (b, t, d)."""

    def __init__(self, vocab_size: int, dim: int, dropout: float, positions: LearnedPositions | None) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, dim)
        nn.init.normal_(self.table.weight, std=dim**-0.5)
        self.positions = positions or SinusoidalPositions()
        self.dropout = nn.Dropout(dropout)
        self.scale = dim**0.5

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        out: Tensor = self.dropout(self.positions(self.table(tokens) * self.scale, start))
        return out


class Transformer(nn.Module):
    """Source (b, S), lengths (b,) and target input (b, T) -> logits (b, T, V); no target token sees a later one.

    Attributes:
        max_len: the most tokens of a sentence, its end token included; None for any number.
    """

    def __init__(
        self,
        source: TokenEmbedding,
        target: TokenEmbedding,
        encoder: list[EncoderBlock],
        decoder: list[DecoderBlock],
        head: nn.Linear,
        norm_first: bool,
        max_len: int | None,
    ) -> None:
        super().__init__()
        self.max_len = max_len
        self.source, self.target = source, target
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        dim = head.in_features
        self.encoder_norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        self.decoder_norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        self.head = head

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        memory, mask = self._encode(source, lengths)
        x = self.target(inputs)
        for block in self.decoder:
            x = block(x, memory, mask)
        logits: Tensor = self.head(self.decoder_norm(x))
        return logits

    def _encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The memory (b, S, d), and which of its tokens count (b, S)."""
        mask = torch.arange(source.shape[1], device=source.device) < lengths.to(source.device)[:, None]
        x = self.source(source)
        for block in self.encoder:
            x = block(x, mask)
        return self.encoder_norm(x), mask

    def begin(self, source: Tensor, lengths: Tensor) -> State:
        """The state before <bos>: which source tokens count (1, b, S), or (1, b, 0) where all do, so that no step looks
        for gaps; then keys and values of each decoder block."""
        memory, mask = self._encode(source, lengths)
        caches = [part for block in self.decoder for part in block.begin(memory)]  # type: ignore[operator]
        return (mask[None, :, :0] if bool(mask.all()) else mask[None], *caches)

    def widen(self, state: State, k: int) -> State:
        """The state for k rows of each source, side by side; what is about the source alone, they share."""
        counts = cast(Tensor, state[0])
        rows = torch.arange(counts.shape[1], device=counts.device).repeat_interleave(k)
        return tuple(part.index_select(1, rows) if isinstance(part, KeyValues) else part for part in state)

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Target input (b, t) -> logits (b, t, V) and the state after; what was read before is not read again."""
        counts, *caches = cast(tuple[Any, ...], state)
        mask = counts[0] if counts.shape[2] else None
        x = self.target(inputs, start=caches[0].shape[3])
        after: list[Tensor | KeyValues] = []
        for i, block in enumerate(self.decoder):
            x, cache = block(x, None, mask, (caches[2 * i], caches[2 * i + 1]))
            after += cache
        return self.head(self.decoder_norm(x)), (counts, *after)

    def attention_weights(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """How much each target token looked at each source token in the last block, mean over the heads: (b, T, S)."""
        memory, mask = self._encode(source, lengths)
        x = self.target(inputs)
        *first, last = self.decoder
        for block in first:
            x = block(x, memory, mask)
        return last.cross_weights(x, memory, mask).mean(1)  # type: ignore[operator, no-any-return]


def transformer(
    *,
    vocab_size: int = 200,
    source_vocab_size: int = 200,
    dim: int = 256,
    num_heads: int = 4,
    num_layers: int = 3,
    hidden: int = 512,
    dropout: float = 0.1,
    norm_first: bool = True,
    activation: Activation = "relu",
    bias: bool = True,
    tied: Tied = "none",
    positions: Positions = "sinusoidal",
    max_len: int = 256,
) -> Transformer:
    """An encoder-decoder of attention alone.

    Args:
        vocab_size: of the target language.
        source_vocab_size: of the source language.
        dim: d.
        num_heads: h.
        num_layers: blocks of the encoder, and of the decoder.
        hidden: hidden units of the blocks' two-layer networks.
        dropout: on embeddings, attention weights, hidden units and the outputs of layers.
        norm_first: norms before the layers (pre-norm), with one more at the end of each stack, or after the sums as
            in the paper (post-norm).
        activation: of the hidden units.
        bias: whether the projections of the attention have biases; the book's have none.
        tied: target: the head's weights are those of the target embedding; all: and of the source's, which needs one
            vocabulary.
        positions: sinusoidal, which go on without end, or learned.
        max_len: learned positions; a longer sentence is refused.

    Raises:
        ValueError: an option out of range, or options that do not go together.
    """
    require_positive(vocab_size=vocab_size, source_vocab_size=source_vocab_size, num_layers=num_layers, max_len=max_len)
    if tied == "all" and vocab_size != source_vocab_size:
        raise ValueError(f"tied=all needs one vocabulary, but they have {source_vocab_size} and {vocab_size} tokens.")
    learned = positions == "learned"
    source, target = (
        TokenEmbedding(size, dim, dropout, LearnedPositions(max_len, dim) if learned else None)
        for size in (source_vocab_size, vocab_size)
    )
    head = nn.Linear(dim, vocab_size, bias=tied == "none")
    if tied != "none":
        head.weight = target.table.weight
    if tied == "all":
        source.table.weight = target.table.weight
    options = (dim, num_heads, hidden, dropout, norm_first, activation, bias)
    encoder = [EncoderBlock(*options) for _ in range(num_layers)]
    decoder = [DecoderBlock(*options) for _ in range(num_layers)]
    return Transformer(source, target, encoder, decoder, head, norm_first, max_len if learned else None)


def transformer_d2l(*, vocab_size: int = 200, source_vocab_size: int = 200, dropout: float = 0.2) -> Transformer:
    """The book's: d 256, 64 hidden units, 4 heads, 2 blocks, post-norm, projections without biases (d2l 11.7).

    Args:
        vocab_size, source_vocab_size, dropout: see `transformer`.
    """
    return transformer(
        vocab_size=vocab_size, source_vocab_size=source_vocab_size, dropout=dropout,
        dim=256, hidden=64, num_heads=4, num_layers=2, norm_first=False, bias=False,
    )  # fmt: skip


def transformer_base(
    *, vocab_size: int = 37_000, source_vocab_size: int = 37_000, dropout: float = 0.1, tied: Tied = "none"
) -> Transformer:
    """The paper's base model: d 512, 2,048 hidden units, 8 heads, 6 blocks, post-norm (Vaswani et al., 2017).

    Args:
        vocab_size, source_vocab_size, dropout, tied: see `transformer`.
    """
    return transformer(
        vocab_size=vocab_size, source_vocab_size=source_vocab_size, dropout=dropout, tied=tied,
        dim=512, hidden=2048, num_heads=8, num_layers=6, norm_first=False,
    )  # fmt: skip
