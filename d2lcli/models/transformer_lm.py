"""Decoder-only Transformers that model language (Vaswani et al., 2017; Radford et al., 2018; d2l 11.9).

Legend: b sequences, t tokens, V tokens of the vocabulary, d width, h heads, T the most tokens that are read.  A state
has for each block the keys and values (2, b, h, t, d / h) of the tokens so far, so that a search can pick its rows.
"""

from typing import Literal, cast

from torch import Tensor, nn

from d2lcli.nn.activations import Activation
from d2lcli.nn.checks import require_positive
from d2lcli.nn.key_values import KeyValues
from d2lcli.nn.positions import LearnedPositions, SinusoidalPositions
from d2lcli.nn.transformer import CausalBlock

State = tuple[KeyValues, ...]
Positions = Literal["learned", "sinusoidal"]


class TransformerLanguageModel(nn.Module):
    """Tokens (b, t) -> logits (b, t, V) of the token that follows each; none sees a later one, nor in evaluation.

    Attributes:
        carries: no state goes on from batch to batch of a stream: it would grow beyond `max_len`.
        max_len: T.
    """

    carries = False

    def __init__(
        self,
        embedding: nn.Embedding,
        positions: LearnedPositions | SinusoidalPositions,
        blocks: list[CausalBlock],
        norm: nn.Module,
        head: nn.Linear,
        *,
        scale: float,
        dropout: float,
        max_len: int,
    ) -> None:
        super().__init__()
        self.embedding, self.positions = embedding, positions
        self.scale, self.max_len = scale, max_len
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = head

    def begin(self, batch_size: int) -> State:
        """The state before the first token."""
        return tuple(cast(CausalBlock, block).begin(batch_size) for block in self.blocks)

    def forward(self, tokens: Tensor, state: State | None = None) -> Tensor | tuple[Tensor, State]:
        """With a state, such as `begin` gives, also the state after the last token.

        Raises:
            ValueError: with those of the state there are more than `max_len` tokens.
        """
        seen = 0 if state is None else state[0].shape[3]
        if seen + tokens.shape[1] > self.max_len:
            raise ValueError(f"max_len is {self.max_len}, but there are {seen + tokens.shape[1]} tokens.")
        x = self.dropout(self.positions(self.embedding(tokens) * self.scale, seen))  # (b, t, d)
        if state is None:
            for block in self.blocks:
                x = block(x)
            return self._logits(x)
        after = []
        for block, past in zip(self.blocks, state, strict=True):
            x, past = cast(CausalBlock, block).step(x, past)
            after.append(past)
        return self._logits(x), tuple(after)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x))
        return logits


def transformer_lm(
    *,
    vocab_size: int = 28,
    dim: int = 128,
    num_heads: int = 4,
    num_layers: int = 4,
    hidden: int = 512,
    max_len: int = 256,
    dropout: float = 0.1,
    positions: Positions = "learned",
    norm_first: bool = True,
    activation: Activation = "gelu",
    tied: bool = True,
    bias: bool = True,
) -> TransformerLanguageModel:
    """A decoder-only Transformer.  829,696 parameters by default.

    Args:
        vocab_size: V.
        dim: d.
        num_heads: h, which divides d.
        num_layers: blocks.
        hidden: hidden units of the blocks' two-layer networks.
        max_len: T.
        dropout: on embeddings, attention weights, hidden units and the outputs of layers.
        positions: learned, or sinusoidal, to which embeddings times sqrt(d) are added.
        norm_first: norms before the layers, with one more at the end, or after the sums.
        activation: of the hidden units.
        tied: the head's weights are those of the embedding.
        bias: whether the projections of the attention have biases.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, dim=dim, num_layers=num_layers, hidden=hidden, max_len=max_len)
    learned = positions == "learned"
    embedding = nn.Embedding(vocab_size, dim)
    nn.init.normal_(embedding.weight, std=0.02 if learned else dim**-0.5)  # 0.02 is GPT's
    head = nn.Linear(dim, vocab_size, bias=False)
    if tied:
        head.weight = embedding.weight
    return TransformerLanguageModel(
        embedding,
        LearnedPositions(max_len, dim) if learned else SinusoidalPositions(),
        [CausalBlock(dim, num_heads, hidden, dropout, norm_first, activation, bias) for _ in range(num_layers)],
        nn.LayerNorm(dim) if norm_first else nn.Identity(),
        head,
        scale=1.0 if learned else dim**0.5,
        dropout=dropout,
        max_len=max_len,
    )
