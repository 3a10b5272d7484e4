"""Blocks of a Transformer (Vaswani et al., 2017; d2l 11.7): of the encoder, of the decoder, and of a language model.

Legend: b examples, t tokens, s tokens of the memory (what the encoder made of the source), d their width, h heads.
"""

from typing import TypeAlias

from torch import Tensor, nn

from d2lcli.nn import activations
from d2lcli.nn.activations import Activation
from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.key_values import KeyValues

DecoderCache: TypeAlias = tuple[KeyValues, Tensor]
"""Keys and values of the tokens so far (2, b, h, t, d / h), and of the memory (2, b, h, s, d / h)."""


class FeedForward(nn.Module):
    """W_2 f(W_1 x + b_1) + b_2 of each token alone.  (b, t, d) -> (b, t, d).

    Args:
        dim: d.
        hidden: the number of hidden units.
        activation: f.
        dropout: the probability that a hidden unit is zeroed in training.
    """

    def __init__(self, dim: int, hidden: int, activation: Activation = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.activation = activations.activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return out


class AddNorm(nn.Module):
    """A residual connection around a layer f, and a layer norm.

    The norm stands last, norm(x + dropout(f(x))), as in the paper and the book, or first, x + dropout(f(norm(x))).  f
    is called in between, since it may have more to say than its output: `add(x, f(add.inputs(x)))`.

    Args:
        dim: d.
        dropout: the probability that an output of f is zeroed in training.
        norm_first: where the norm stands.
        eps: what the norm adds to the variance.
    """

    def __init__(self, dim: int, dropout: float, norm_first: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def inputs(self, x: Tensor) -> Tensor:
        """What f is to be given."""
        normed: Tensor = self.norm(x) if self.norm_first else x
        return normed

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        total = x + self.dropout(branch)
        out: Tensor = total if self.norm_first else self.norm(total)
        return out


class EncoderBlock(nn.Module):
    """Self-attention, then the two-layer network, each with its residual connection and norm.  (b, t, d) -> (b, t, d).

    Args:
        dim: d.
        num_heads: h, which divides d.
        hidden: hidden units of the two-layer network.
        dropout: the probability for attention weights, hidden units, and the outputs of both layers.
        norm_first: whether the norms stand before the layers or after the sums.
        activation: of the hidden units.
        bias: whether the projections of the attention have biases; the book's have none, torch's do.
        eps: what the norms add to the variance.
        hidden_dropout: the probability for hidden units, where it is not `dropout`; in BERT it is 0.

    Raises:
        ValueError: the heads do not divide d, or a value is out of range.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden: int,
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: Activation = "relu",
        bias: bool = True,
        eps: float = 1e-5,
        hidden_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, num_heads, bias=bias, dropout=dropout)
        self.add_attention = AddNorm(dim, dropout, norm_first, eps)
        self.feed_forward = FeedForward(dim, hidden, activation, dropout if hidden_dropout is None else hidden_dropout)
        self.add_feed_forward = AddNorm(dim, dropout, norm_first, eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` (b, t) is True for the tokens that may be attended to."""
        inputs = self.add_attention.inputs(x)
        return self._finish(x, self.attention(inputs, inputs, inputs, mask))

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.add_attention(x, attended)
        out: Tensor = self.add_feed_forward(x, self.feed_forward(self.add_feed_forward.inputs(x)))
        return out


class CausalBlock(EncoderBlock):
    """An encoder block in which no token sees a later one, in training and in evaluation.  (b, t, d) -> (b, t, d)."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        inputs = self.add_attention.inputs(x)
        return self._finish(x, self.attention(inputs, inputs, inputs, mask, causal=True))

    def begin(self, batch_size: int) -> KeyValues:
        """The keys and values of no token, for `step`."""
        return self.attention.begin(batch_size)

    def step(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Further tokens (b, m, d), and keys and values (2, b, h, t, d / h) of those before: the same as in `forward`.

        Returns:
            (b, m, d), and the keys and values of all t + m.
        """
        attended, past = self.attention.extend(self.add_attention.inputs(x), past)
        return self._finish(x, attended), past


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the memory, then the two-layer network.  (b, t, d), (b, s, d) -> (b, t, d).

    Args:
        dim, num_heads, hidden, dropout, norm_first, activation, bias: as in `EncoderBlock`.

    Raises:
        ValueError: the heads do not divide d, or a value is out of range.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden: int,
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: Activation = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, num_heads, bias=bias, dropout=dropout)
        self.add_attention = AddNorm(dim, dropout, norm_first)
        self.cross_attention = MultiHeadAttention(dim, num_heads, bias=bias, dropout=dropout)
        self.add_cross_attention = AddNorm(dim, dropout, norm_first)
        self.feed_forward = FeedForward(dim, hidden, activation, dropout)
        self.add_feed_forward = AddNorm(dim, dropout, norm_first)

    def begin(self, memory: Tensor) -> DecoderCache:
        """The cache before the first token: no tokens, and the memory (b, s, d) projected once for all of them."""
        return self.attention.begin(len(memory)), self.cross_attention.project_memory(memory)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None,
        memory_mask: Tensor | None = None,
        cache: DecoderCache | None = None,
    ) -> Tensor | tuple[Tensor, DecoderCache]:
        """All tokens (b, t, d); or with a cache, such as `begin` gives, further ones, and then also the cache after.

        Args:
            x: (b, t, d).
            memory: (b, s, d); not read where there is a cache, which holds it.
            memory_mask: (b, s), True for the tokens of the memory that may be attended to.
            cache: see `DecoderCache`.
        """
        inputs = self.add_attention.inputs(x)
        if cache is None:
            attended = self.attention(inputs, inputs, inputs, causal=True)
        else:
            attended, past = self.attention.extend(inputs, cache[0])
        x = self.add_attention(x, attended)
        queries = self.add_cross_attention.inputs(x)
        if cache is None:
            found = self.cross_attention(queries, memory, memory, memory_mask)
        else:
            found = self.cross_attention.look_up(queries, cache[1], memory_mask)
        x = self.add_cross_attention(x, found)
        out: Tensor = self.add_feed_forward(x, self.feed_forward(self.add_feed_forward.inputs(x)))
        return out if cache is None else (out, (past, cache[1]))

    def cross_weights(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """The weights with which each token (b, t, d) looks at the memory in `forward`: (b, h, t, s)."""
        inputs = self.add_attention.inputs(x)
        x = self.add_attention(x, self.attention(inputs, inputs, inputs, causal=True))
        return self.cross_attention.weights(self.add_cross_attention.inputs(x), memory, memory_mask)
