"""T5, the text-to-text Transformer, as first published and as version 1.1 (Raffel et al., 2020; d2l 11.9).

Legend: b pairs, S source tokens, T target tokens, d width, h heads of width c, V tokens of the vocabulary, m queries, n
keys.  A state is a tuple whose parts have the batch in dimension 1, so that a search can pick its rows.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from d2lcli.nn.activations import Activation, activation
from d2lcli.nn.attention import merge_heads, split_heads
from d2lcli.nn.checks import require_positive
from d2lcli.nn.key_values import KeyValues
from d2lcli.nn.relative_positions import RelativePositions, lowest

State = tuple[Tensor | KeyValues, ...]

EPS = 1e-6  # what the norms add to the mean square


@dataclass(frozen=True)
class Sizes:
    """What all layers of a model share."""

    dim: int
    num_heads: int
    head_dim: int
    hidden: int
    dropout: float
    activation: Activation = "relu"
    gated: bool = False


class Attention(nn.Module):
    """W_o [head_1 ... head_h] with head_i = softmax(Q_i K_i^T + B_i) V_i, without biases.

    Scores are not divided by sqrt(c): the initial weights of the queries are smaller by that instead.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim, inner = sizes.dim, sizes.num_heads * sizes.head_dim
        self.num_heads, self.head_dim, self.dropout = sizes.num_heads, sizes.head_dim, sizes.dropout
        self.query, self.key, self.value = (nn.Linear(dim, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, dim, bias=False)
        nn.init.normal_(self.query.weight, std=(dim * sizes.head_dim) ** -0.5)
        nn.init.normal_(self.key.weight, std=dim**-0.5)
        nn.init.normal_(self.value.weight, std=dim**-0.5)
        nn.init.normal_(self.out.weight, std=inner**-0.5)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of a memory (b, n, d): (b, h, n, c) each."""
        return split_heads(self.key(memory), self.num_heads), split_heads(self.value(memory), self.num_heads)

    def begin(self, batch_size: int) -> KeyValues:
        """The keys and values of no token."""
        return KeyValues(self.key.weight.new_empty(2, batch_size, self.num_heads, 0, self.head_dim), 0)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Queries (b, m, d), what `project` gave, and B (b or 1, h or 1, m or 1, n) -> (b, m, d)."""
        heads = functional.scaled_dot_product_attention(  # (b, h, m, c)
            split_heads(self.query(x), self.num_heads), keys, values,
            attn_mask=bias, dropout_p=self.dropout if self.training else 0.0, scale=1.0,
        )  # fmt: skip
        mixed: Tensor = self.out(merge_heads(heads))
        return mixed

    def weights(self, x: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """The softmax of `forward`, without dropout: (b, h, m, n)."""
        return (split_heads(self.query(x), self.num_heads) @ keys.transpose(2, 3) + bias).softmax(-1)


class FeedForward(nn.Module):
    """W_2 f(W_1 x), or W_2 (f(W_g x) * W_1 x) with a gate (Shazeer, 2020), without biases.  (b, t, d) -> (b, t, d)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.gate = nn.Linear(sizes.dim, sizes.hidden, bias=False) if sizes.gated else None
        self.linear1 = nn.Linear(sizes.dim, sizes.hidden, bias=False)
        self.linear2 = nn.Linear(sizes.hidden, sizes.dim, bias=False)
        self.activation = activation(sizes.activation)
        self.dropout = nn.Dropout(sizes.dropout)
        for layer in (self.gate, self.linear1):
            if layer is not None:
                nn.init.normal_(layer.weight, std=sizes.dim**-0.5)
        nn.init.normal_(self.linear2.weight, std=sizes.hidden**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            hidden = self.activation(self.linear1(x))
        else:
            hidden = self.activation(self.gate(x)) * self.linear1(x)
        out: Tensor = self.linear2(self.dropout(hidden))
        return out


class EncoderBlock(nn.Module):
    """x + attention(norm x), then x + feed_forward(norm x).  (b, t, d) -> (b, t, d).

    A norm divides by the root of the mean square of a token's d values, and multiplies by a weight each; it has no mean
    and no bias.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.attention_norm = nn.RMSNorm(sizes.dim, EPS)
        self.feed_forward = FeedForward(sizes)
        self.feed_forward_norm = nn.RMSNorm(sizes.dim, EPS)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`bias` is B of the attention."""
        return self.transform(self.attend(x, bias))

    def attend(self, x: Tensor, bias: Tensor) -> Tensor:
        """The first of the two sums."""
        inputs = self.attention_norm(x)
        added: Tensor = self.dropout(self.attention(inputs, *self.attention.project(inputs), bias))
        return x + added

    def transform(self, x: Tensor) -> Tensor:
        """The last sum."""
        added: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x + added


class DecoderBlock(EncoderBlock):
    """An encoder block with attention to the memory in between.  (b, t, d), (b, s, d) -> (b, t, d)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cross_attention = Attention(sizes)
        self.cross_attention_norm = nn.RMSNorm(sizes.dim, EPS)

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """All tokens; `mask` is B of the attention to the memory."""
        x = self.attend(x, bias)
        return self.transform(self._look_up(x, *self.cross_attention.project(memory), mask))

    def begin(self, memory: Tensor) -> tuple[KeyValues, Tensor]:
        """Keys and values (2, b, h, n, c) of no target token, and of the memory, for all steps."""
        return self.attention.begin(len(memory)), torch.stack(self.cross_attention.project(memory))

    def step(self, x: Tensor, bias: Tensor, past: KeyValues, memory: Tensor, mask: Tensor) -> tuple[Tensor, KeyValues]:
        """`forward` of further tokens (b, m, d), given what `begin` or the last step gave; and the past with them."""
        inputs = self.attention_norm(x)
        past = past.append(*self.attention.project(inputs))
        x = x + self.dropout(self.attention(inputs, past.tensor[0], past.tensor[1], bias))
        return self.transform(self._look_up(x, memory[0], memory[1], mask)), past

    def cross_weights(self, x: Tensor, bias: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """The weights with which each token (b, t, d) looks at the memory in `forward`: (b, h, t, s)."""
        keys, _ = self.cross_attention.project(memory)
        return self.cross_attention.weights(self.cross_attention_norm(self.attend(x, bias)), keys, mask)

    def _look_up(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        added: Tensor = self.dropout(self.cross_attention(self.cross_attention_norm(x), keys, values, mask))
        return x + added


class T5(nn.Module):
    """Source (b, S), lengths (b,) and target input (b, T) -> logits (b, T, V); no target token sees a later one.

    Source and target have one table of embeddings E.  Tied, the logits of x are E x / sqrt(d), else W x.  All blocks of
    a stack share its relative positions; attention to the memory has none.
    """

    def __init__(
        self,
        vocab_size: int,
        sizes: Sizes,
        num_layers: tuple[int, int],
        buckets: int,
        max_distance: int,
        tied: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        std = sizes.dim**-0.5
        self.scale = std if tied else 1.0
        self.embedding = nn.Embedding(vocab_size, sizes.dim)  # N(0, 1)
        self.dropout = nn.Dropout(sizes.dropout)
        self.encoder_positions = RelativePositions(sizes.num_heads, std, buckets, max_distance, causal=False)
        self.encoder = nn.ModuleList(EncoderBlock(sizes) for _ in range(num_layers[0]))
        self.encoder_norm = nn.RMSNorm(sizes.dim, EPS)
        self.decoder_positions = RelativePositions(sizes.num_heads, std, buckets, max_distance, causal=True)
        self.decoder = nn.ModuleList(DecoderBlock(sizes) for _ in range(num_layers[1]))
        self.decoder_norm = nn.RMSNorm(sizes.dim, EPS)
        self.head = nn.Linear(sizes.dim, vocab_size, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        else:
            nn.init.normal_(self.head.weight, std=std)

    def forward(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        memory, mask = self._encode(source, lengths)
        x, bias = self._embed(inputs), self.decoder_positions(0, inputs.shape[1])
        for block in self.decoder:
            x = self._run(block, x, bias, memory, mask)
        return self._logits(x)

    def begin(self, source: Tensor, lengths: Tensor) -> State:
        """The state before <bos>: the mask of the source (1, b, 1, 1, S); then what `DecoderBlock.begin` gives."""
        memory, mask = self._encode(source, lengths)
        return (mask[None], *(part for block in self.decoder for part in cast(DecoderBlock, block).begin(memory)))

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Target input (b, t) -> logits (b, t, V) and the state after; what was read before is not read again."""
        mask, *caches = cast(tuple[Any, ...], state)
        x, bias = self._embed(inputs), self.decoder_positions(caches[0].shape[3], inputs.shape[1])
        after: list[Tensor | KeyValues] = []
        for block, past, memory in zip(self.decoder, caches[::2], caches[1::2], strict=True):
            x, past = cast(DecoderBlock, block).step(x, bias, past, memory, mask[0])
            after += (past, memory)
        return self._logits(x), (mask, *after)

    def attention_weights(self, source: Tensor, lengths: Tensor, inputs: Tensor) -> Tensor:
        """How much each target token looked at each source token in the last block, mean over the heads: (b, T, S)."""
        memory, mask = self._encode(source, lengths)
        x, bias = self._embed(inputs), self.decoder_positions(0, inputs.shape[1])
        *first, last = self.decoder
        for block in first:
            x = block(x, bias, memory, mask)
        return cast(DecoderBlock, last).cross_weights(x, bias, memory, mask).mean(1)

    def _encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The memory (b, S, d) and its mask (b, 1, 1, S), 0 for tokens that count and as low as can be for others."""
        padding = torch.arange(source.shape[1], device=source.device) >= lengths.to(source.device)[:, None]  # (b, S)
        x = self._embed(source)
        mask = x.new_zeros(len(source), 1, 1, source.shape[1]).masked_fill(padding[:, None, None], lowest(x))
        bias = self.encoder_positions(0, source.shape[1]) + mask  # (b, h, S, S)
        for block in self.encoder:
            x = self._run(block, x, bias)
        return self.dropout(self.encoder_norm(x)), mask

    def _embed(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.dropout(self.embedding(tokens))
        return x

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        again = self.checkpointing and torch.is_grad_enabled()
        x: Tensor = checkpoint(block, *inputs, use_reentrant=False) if again else block(*inputs)
        return x

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.decoder_norm(x)) * self.scale)
        return logits


def t5(
    *,
    vocab_size: int = 32_128,
    dim: int = 256,
    num_heads: int = 4,
    head_dim: int = 64,
    num_layers: int = 3,
    hidden: int = 1024,
    dropout: float = 0.1,
    buckets: int = 32,
    max_distance: int = 128,
    activation: Activation = "relu",
    gated: bool = False,
    tied: bool = True,
    decoder_layers: int | None = None,
    checkpointing: bool = False,
) -> T5:
    """A T5 of any size.  Version 1.1 and Flan-T5 have activation=gelu_tanh, gated=true and tied=false.

    Args:
        vocab_size: V, of source and target.
        dim: d.
        num_heads: h.
        head_dim: c; h c need not be d.
        num_layers: blocks of the encoder.
        hidden: hidden units of the blocks' two-layer networks.
        dropout: on embeddings, attention weights, hidden units, and the outputs of layers and of the last norms.
        buckets: of relative positions, an even number.
        max_distance: from here on all distances are in one bucket.
        activation: f of the two-layer networks.
        gated: multiply the hidden units by f of another layer, instead of applying f to them.
        tied: the head is the table of embeddings / sqrt(d), else a matrix of its own.
        decoder_layers: blocks of the decoder; None stands for as many as the encoder has.
        checkpointing: keep only what goes into each block for the backward pass, which computes the block again, with
            the same dropout: the gradients are the same (Chen et al., 2016).

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, dim=dim, num_heads=num_heads, head_dim=head_dim)
    require_positive(num_layers=num_layers, hidden=hidden, decoder_layers=decoder_layers)
    if buckets < 4 or buckets % 2:
        raise ValueError(f"buckets must be an even number of at least 4, but it is {buckets}.")
    if max_distance <= buckets // 2:
        raise ValueError(f"max_distance must be more than half of the {buckets} buckets, but it is {max_distance}.")
    sizes = Sizes(dim, num_heads, head_dim, hidden, dropout, activation, gated)
    blocks = (num_layers, num_layers if decoder_layers is None else decoder_layers)
    return T5(vocab_size, sizes, blocks, buckets, max_distance, tied, checkpointing)


def t5_tiny(*, vocab_size: int = 32_128, num_layers: int = 3, dropout: float = 0.1, checkpointing: bool = False) -> T5:
    """For a laptop and a novel: 1,378,688 parameters and the embeddings.  Arguments: see `t5`."""
    return t5(
        vocab_size=vocab_size, num_layers=num_layers, dropout=dropout, checkpointing=checkpointing,
        dim=128, num_heads=4, head_dim=32, hidden=512,
    )  # fmt: skip


def t5_small(*, vocab_size: int = 32_128, num_layers: int = 6, dropout: float = 0.1, checkpointing: bool = False) -> T5:
    """The paper's small model: 60,506,624 parameters.  Arguments: see `t5`."""
    return t5(
        vocab_size=vocab_size, num_layers=num_layers, dropout=dropout, checkpointing=checkpointing,
        dim=512, num_heads=8, hidden=2048,
    )  # fmt: skip


def t5_base(*, vocab_size: int = 32_128, num_layers: int = 12, dropout: float = 0.1, checkpointing: bool = False) -> T5:
    """The paper's base model: 222,903,552 parameters.  Arguments: see `t5`."""
    return t5(
        vocab_size=vocab_size, num_layers=num_layers, dropout=dropout, checkpointing=checkpointing,
        dim=768, num_heads=12, hidden=3072,
    )  # fmt: skip
