"""GPTs, decoder-only Transformers that model language or classify texts (Radford et al., 2018 and 2019; d2l 11.9).

Legend: b sequences, t tokens, V tokens of the vocabulary, d width, h heads, T the most tokens that are read.  A state
has for each block the keys and values (2, b, h, t, d / h) of the tokens so far, so that a search can pick its rows.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from d2lcli.nn.activations import Activation
from d2lcli.nn.checks import require_positive
from d2lcli.nn.key_values import KeyValues
from d2lcli.nn.positions import LearnedPositions, Positions, SinusoidalPositions
from d2lcli.nn.transformer import CausalBlock

State = tuple[KeyValues, ...]
Output = Literal["language_model", "sentence"]

STD = 0.02  # of GPT's initial weights


@dataclass(frozen=True)
class Trunk:
    """All of a model but its head."""

    embedding: nn.Embedding
    positions: LearnedPositions | SinusoidalPositions
    blocks: list[CausalBlock]
    norm: nn.Module  # of the last block's output
    scale: float  # which the embeddings are multiplied by
    dropout: float  # on the embeddings
    max_len: int
    checkpointing: bool


class Decoder(nn.Module):
    """What language models and classifiers share: no token sees a later one, nor in evaluation.

    With `checkpointing` only what goes into each block is kept for the backward pass, which computes the block again,
    with the same dropout: the gradients are the same (Chen et al., 2016).

    Attributes:
        max_len: T.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.embedding, self.positions = trunk.embedding, trunk.positions
        self.scale, self.max_len, self.checkpointing = trunk.scale, trunk.max_len, trunk.checkpointing
        self.dropout = nn.Dropout(trunk.dropout)
        self.blocks = nn.ModuleList(trunk.blocks)
        self.norm = trunk.norm

    def embed(self, tokens: Tensor, seen: int = 0) -> Tensor:
        """The input of the first block: tokens (b, t), `seen` more before them, -> (b, t, d).

        Raises:
            ValueError: there are more than `max_len` tokens in all.
        """
        if seen + tokens.shape[1] > self.max_len:
            raise ValueError(f"max_len is {self.max_len}, but there are {seen + tokens.shape[1]} tokens.")
        x: Tensor = self.dropout(self.positions(self.embedding(tokens) * self.scale, seen))
        return x

    def run_blocks(self, x: Tensor) -> Tensor:
        """All blocks: (b, t, d) -> (b, t, d)."""
        for block in self.blocks:
            again = self.checkpointing and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return x


class TransformerLanguageModel(Decoder):
    """Tokens (b, t) -> logits (b, t, V) of the token that follows each.

    Attributes:
        carries: no state goes on from batch to batch of a stream: it would grow beyond `max_len`.
    """

    carries = False

    def __init__(self, trunk: Trunk, head: nn.Linear) -> None:
        super().__init__(trunk)
        self.head = head

    def begin(self, batch_size: int) -> State:
        """The state before the first token."""
        return tuple(cast(CausalBlock, block).begin(batch_size) for block in self.blocks)

    def forward(self, tokens: Tensor, state: State | None = None) -> Tensor | tuple[Tensor, State]:
        """With a state, such as `begin` gives, also the state after the last token.

        Raises:
            ValueError: with those of the state there are more than `max_len` tokens.
        """
        if state is None:
            return self._logits(self.run_blocks(self.embed(tokens)))
        x = self.embed(tokens, state[0].shape[3])  # (b, t, d)
        after = []
        for block, past in zip(self.blocks, state, strict=True):
            x, past = cast(CausalBlock, block).step(x, past)
            after.append(past)
        return self._logits(x), tuple(after)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x))
        return logits


class SentenceClassifier(Decoder):
    """softmax(W h + b) with h of the last token, which alone has seen the whole text: tokens (b, t) -> logits (b, C).

    In training h has the embeddings' dropout, as in the first GPT (Radford et al., 2018, section 3.2).

    Args:
        num_classes: C.
    """

    def __init__(self, trunk: Trunk, num_classes: int) -> None:
        super().__init__(trunk)
        self.classifier = nn.Linear(trunk.embedding.embedding_dim, num_classes)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """Logits (b, C) of whole texts.

        Args:
            tokens: (b, t).
            segments: (b, t), which sentence of a pair each token is of; not used.
            lengths: (b,), tokens of each text, at least 1; those behind them change nothing.  All t by default.

        Raises:
            ValueError: there are more than `max_len` tokens.
        """
        x = self.run_blocks(self.embed(tokens))  # (b, t, d)
        last = x[:, -1] if lengths is None else x[torch.arange(len(x), device=x.device), lengths - 1]  # (b, d)
        logits: Tensor = self.classifier(self.dropout(self.norm(last)))
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
    hidden_dropout: float | None = None,
    positions: Positions = "learned",
    norm_first: bool = True,
    activation: Activation = "gelu",
    tied: bool = True,
    bias: bool = True,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """A decoder-only Transformer of free sizes.  829,696 parameters by default.

    Args:
        vocab_size: V.
        dim: d.
        num_heads: h, which divides d.
        num_layers: blocks.
        hidden: hidden units of the blocks' two-layer networks.
        max_len: T.
        dropout: on embeddings, attention weights, hidden units and the outputs of layers.
        hidden_dropout: on hidden units, where it is not `dropout`.
        positions: learned, or sinusoidal, to which embeddings times sqrt(d) are added.
        norm_first: norms before the layers, with one more at the end, or after the sums.
        activation: of the hidden units.
        tied: the head's weights are those of the embedding.
        bias: whether the projections of the attention have biases.
        checkpointing: compute the blocks again in the backward pass instead of keeping all activations.
        output: language_model, logits of each next token; or sentence, logits of the classes of whole texts.
        num_classes: classes of texts.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, dim=dim, num_layers=num_layers, hidden=hidden, max_len=max_len)
    require_positive(num_classes=num_classes)
    learned = positions == "learned"
    embedding = nn.Embedding(vocab_size, dim)
    nn.init.normal_(embedding.weight, std=STD if learned else dim**-0.5)
    head = nn.Linear(dim, vocab_size, bias=False)
    if tied:
        head.weight = embedding.weight
    options = (dim, num_heads, hidden, dropout, norm_first, activation, bias)
    trunk = Trunk(
        embedding,
        LearnedPositions(max_len, dim) if learned else SinusoidalPositions(),
        [CausalBlock(*options, hidden_dropout=hidden_dropout) for _ in range(num_layers)],
        nn.LayerNorm(dim) if norm_first else nn.Identity(),
        scale=1.0 if learned else dim**0.5,
        dropout=dropout,
        max_len=max_len,
        checkpointing=checkpointing,
    )
    return SentenceClassifier(trunk, num_classes) if output == "sentence" else TransformerLanguageModel(trunk, head)


# Width and heads.  The two-layer networks have four times the width.
SIZES = {
    "gpt_tiny": (192, 6),
    "gpt1": (768, 12),
    "gpt2": (768, 12),
    "gpt2_medium": (1024, 16),
    "gpt2_large": (1280, 20),
    "gpt2_xl": (1600, 25),
}


def _gpt(
    size: str,
    vocab_size: int,
    num_layers: int,
    max_len: int,
    dropout: float,
    checkpointing: bool,
    output: Output,
    num_classes: int,
) -> Decoder:
    """A GPT of a size of `SIZES`.  Norms stand first but for the very first GPT, whose blocks do without a last norm.

    Args:
        vocab_size: V.
        num_layers: blocks.
        max_len: T.
        dropout: on embeddings, attention weights and the outputs of layers.
        checkpointing, output, num_classes: as in `transformer_lm`.

    Raises:
        ValueError: an option out of range.
    """
    dim, num_heads = SIZES[size]
    model = transformer_lm(
        vocab_size=vocab_size, dim=dim, num_heads=num_heads, num_layers=num_layers, hidden=4 * dim, max_len=max_len,
        dropout=dropout, hidden_dropout=0.0, norm_first=size != "gpt1", activation="gelu_tanh",
        checkpointing=checkpointing, output=output, num_classes=num_classes,
    )  # fmt: skip
    draw_weights(model, scaled=size != "gpt1")
    return model


def draw_weights(model: Decoder, *, scaled: bool) -> None:
    """N(0, 0.02) for all matrices, biases 0.

    With `scaled` the std is 0.02 / sqrt(2 L) for the last matrix of each layer that adds to the residual stream, 2 L of
    them in L blocks, so that their sum is no larger in a deeper model (Radford et al., 2019, section 2.3).
    """
    smaller = STD / (2 * len(model.blocks)) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1:
            adds = name.endswith(("attention.out_proj.weight", "feed_forward.linear2.weight"))
            nn.init.normal_(parameter, std=smaller if adds and scaled else STD)


def gpt_tiny(
    *,
    vocab_size: int = 28,
    num_layers: int = 4,
    max_len: int = 256,
    dropout: float = 0.1,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """GPT-2's form at a size for a laptop and a novel: 1,834,368 parameters.  Arguments: see `_gpt`."""
    return _gpt("gpt_tiny", vocab_size, num_layers, max_len, dropout, checkpointing, output, num_classes)


def gpt1(
    *,
    vocab_size: int = 40_478,
    num_layers: int = 12,
    max_len: int = 512,
    dropout: float = 0.1,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """The first GPT: 116,534,784 parameters.  Arguments: see `_gpt`."""
    return _gpt("gpt1", vocab_size, num_layers, max_len, dropout, checkpointing, output, num_classes)


def gpt2(
    *,
    vocab_size: int = 50_257,
    num_layers: int = 12,
    max_len: int = 1024,
    dropout: float = 0.1,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """GPT-2, the smallest of four: 124,439,808 parameters.  Arguments: see `_gpt`."""
    return _gpt("gpt2", vocab_size, num_layers, max_len, dropout, checkpointing, output, num_classes)


def gpt2_medium(
    *,
    vocab_size: int = 50_257,
    num_layers: int = 24,
    max_len: int = 1024,
    dropout: float = 0.1,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """GPT-2 medium: 354,823,168 parameters.  Arguments: see `_gpt`."""
    return _gpt("gpt2_medium", vocab_size, num_layers, max_len, dropout, checkpointing, output, num_classes)


def gpt2_large(
    *,
    vocab_size: int = 50_257,
    num_layers: int = 36,
    max_len: int = 1024,
    dropout: float = 0.1,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """GPT-2 large: 774,030,080 parameters.  Arguments: see `_gpt`."""
    return _gpt("gpt2_large", vocab_size, num_layers, max_len, dropout, checkpointing, output, num_classes)


def gpt2_xl(
    *,
    vocab_size: int = 50_257,
    num_layers: int = 48,
    max_len: int = 1024,
    dropout: float = 0.1,
    checkpointing: bool = False,
    output: Output = "language_model",
    num_classes: int = 2,
) -> Decoder:
    """GPT-2 XL: 1,557,611,200 parameters.  Arguments: see `_gpt`."""
    return _gpt("gpt2_xl", vocab_size, num_layers, max_len, dropout, checkpointing, output, num_classes)
