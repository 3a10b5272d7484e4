"""Encoder-only Transformers, pre-trained on masked tokens and next sentences (Devlin et al., 2019; d2l 15.8).

Legend: b sequences, t tokens of each, p positions whose tokens are predicted, V tokens of the vocabulary, d width, h
heads, T the most tokens that are read, q classes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from d2lcli.nn.activations import Activation, activation
from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.checks import require_positive
from d2lcli.nn.positions import LearnedPositions
from d2lcli.nn.transformer import EncoderBlock

Output = Literal["pretraining", "sentence", "tokens", "span"]
Pool = Literal["first", "mean"]
STD = 0.02  # of all weights at first


class BertEmbedding(nn.Module):
    """dropout(norm(E + S + P)) of tokens, segments and positions; without `normed`, E + S + P.  (b, t) -> (b, t, d)."""

    def __init__(self, vocab_size: int, dim: int, max_len: int, dropout: float, normed: bool, eps: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, dim)
        self.segments = nn.Embedding(2, dim)
        self.positions = LearnedPositions(max_len, dim)
        self.norm = nn.LayerNorm(dim, eps) if normed else nn.Identity()
        self.dropout = nn.Dropout(dropout) if normed else nn.Identity()

    def forward(self, tokens: Tensor, segments: Tensor | None) -> Tensor:
        segments = torch.zeros_like(tokens) if segments is None else segments
        out: Tensor = self.dropout(self.norm(self.positions(self.tokens(tokens) + self.segments(segments))))
        return out


class MaskedTokenHead(nn.Module):
    """W_2 norm(f(W_1 x + b_1)) + b_2, the logits of tokens from their states.  (b, p, d) -> (b, p, V).

    Args:
        table: of the token embeddings.
        activation_name: f.
        tied: W_2 is the table itself.
        eps: what the norm adds to the variance.
    """

    def __init__(self, table: nn.Embedding, activation_name: Activation, tied: bool, eps: float) -> None:
        super().__init__()
        dim = table.embedding_dim
        self.transform = nn.Linear(dim, dim)
        self.activation = activation(activation_name)
        self.norm = nn.LayerNorm(dim, eps)
        self.decoder = nn.Linear(dim, table.num_embeddings)
        if tied:
            self.decoder.weight = table.weight

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.norm(self.activation(self.transform(x))))
        return logits


class Bert(nn.Module):
    """The encoder, whose tensors have the same names whatever is made of its hidden states.

    Everywhere tokens and segments are (b, t) and lengths (b,); no segments are all 0, no lengths all t.  A token after
    the end of its sequence is seen by no other.

    Attributes:
        max_len: T.
    """

    def __init__(self, embedding: BertEmbedding, blocks: list[EncoderBlock], checkpointing: bool) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.checkpointing = checkpointing
        self.dim = embedding.tokens.embedding_dim
        self.max_len = embedding.positions.weight.shape[1]

    def encode(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """The hidden states (b, t, d).

        Raises:
            ValueError: there are more than `max_len` tokens.
        """
        mask = _valid(tokens, lengths)
        x: Tensor = self.embedding(tokens, segments)
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)
        return x

    def embed(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """Sentence embeddings (b, d): means of hidden states, scaled to length 1 (Reimers and Gurevych, 2019)."""
        return functional.normalize(_mean(self.encode(tokens, segments, lengths), _valid(tokens, lengths)), dim=1)


class BertForPretraining(Bert):
    """Which token stood at each of the positions (b, p), and whether the second sentence follows the first.

    tokens, segments, lengths, positions -> logits (b, p, V) and (b, 2); no positions are all t.
    """

    def __init__(
        self, embedding: BertEmbedding, blocks: list[EncoderBlock], checkpointing: bool, head: MaskedTokenHead
    ) -> None:
        super().__init__(embedding, blocks, checkpointing)
        self.pooler = nn.Linear(self.dim, self.dim)
        self.masked = head
        self.next_sentence = nn.Linear(self.dim, 2)

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor | None = None,
        lengths: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        x = self.encode(tokens, segments, lengths)
        next_sentence = self.next_sentence(self.pooler(x[:, 0]).tanh())
        if positions is not None:
            x = x[torch.arange(len(x), device=x.device)[:, None], positions]  # (b, p, d)
        return self.masked(x), next_sentence


class BertForSentences(Bert):
    """Logits, or predicted numbers, of each sequence from its first token's state, or from the mean of all states.

    tokens, segments, lengths -> (b, q).
    """

    def __init__(
        self,
        embedding: BertEmbedding,
        blocks: list[EncoderBlock],
        checkpointing: bool,
        dropout: float,
        num_classes: int,
        pool: Pool,
    ) -> None:
        super().__init__(embedding, blocks, checkpointing)
        self.pool = pool
        self.pooler = nn.Linear(self.dim, self.dim)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.dim, num_classes)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        x = self.encode(tokens, segments, lengths)
        x = x[:, 0] if self.pool == "first" else _mean(x, _valid(tokens, lengths))  # (b, d)
        logits: Tensor = self.head(self.dropout(self.pooler(x).tanh()))
        return logits


class BertForTokens(Bert):
    """Logits of each token, to tag it.  tokens, segments, lengths -> (b, t, q)."""

    def __init__(
        self,
        embedding: BertEmbedding,
        blocks: list[EncoderBlock],
        checkpointing: bool,
        dropout: float,
        num_classes: int,
    ) -> None:
        super().__init__(embedding, blocks, checkpointing)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.dim, num_classes)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.encode(tokens, segments, lengths)))
        return logits


class BertForSpans(Bert):
    """Logits of each token to be the first and the last one of an answer.  tokens, segments, lengths -> (b, t, 2).

    They are -inf after the end of a sequence; which tokens before may not be in the answer, the task must know.
    """

    def __init__(self, embedding: BertEmbedding, blocks: list[EncoderBlock], checkpointing: bool) -> None:
        super().__init__(embedding, blocks, checkpointing)
        self.head = nn.Linear(self.dim, 2)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.encode(tokens, segments, lengths))
        mask = _valid(tokens, lengths)
        return logits if mask is None else logits.masked_fill(~mask[..., None], -torch.inf)


def _valid(tokens: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Which tokens (b, t) are not padding; None where all are valid."""
    if lengths is None:
        return None
    return torch.arange(tokens.shape[1], device=tokens.device) < lengths.to(tokens.device)[:, None]


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The means (b, d) of states (b, t, d), padding left out."""
    return x.mean(1) if mask is None else x.masked_fill(~mask[..., None], 0.0).sum(1) / mask.sum(1, keepdim=True)


def _draw(module: nn.Module) -> None:
    """N(0, 0.02^2) for all weights and 0 for biases, as in the paper; norms have 1 and 0 already."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, MultiHeadAttention):
        nn.init.normal_(module.in_proj_weight, std=STD)


def bert(
    *,
    vocab_size: int = 30_522,
    dim: int = 256,
    num_heads: int = 4,
    num_layers: int = 4,
    hidden: int = 1024,
    max_len: int = 512,
    dropout: float = 0.1,
    activation: Activation = "gelu",
    embedding_norm: bool = True,
    eps: float = 1e-12,
    tied: bool = True,
    output: Output = "pretraining",
    num_classes: int = 2,
    pool: Pool = "first",
    checkpointing: bool = False,
) -> Bert:
    """A BERT of any size, with post-norm blocks; by default of the size that is called mini (Turc et al., 2019).

    Args:
        vocab_size: V.
        dim: d.
        num_heads: h, which divides d.
        num_layers: blocks.
        hidden: hidden units of the blocks' two-layer networks.
        max_len: T.
        dropout: on embeddings, attention weights, outputs of layers, and before the heads of sentence and tokens.
        activation: of the hidden units and of the head for masked tokens.
        embedding_norm: whether embeddings are normed and dropped out; the book does neither.
        eps: what the norms add to the variance.
        tied: the head for masked tokens has the embedding's weights.
        output: pretraining, logits of masked tokens and of the next sentence; sentence, logits of a sequence; tokens,
            logits of each token; span, logits of the ends of an answer.  Only what leads to it has weights.
        num_classes: q of sentence and tokens; 1 to predict a number.
        pool: what sentence reads: first, the state of the first token, as in the paper; or mean, the mean of all, which
            suits weights that were pre-trained without next sentences.
        checkpointing: keep only the blocks' inputs for the backward pass, which computes the rest again.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(
        vocab_size=vocab_size, dim=dim, num_layers=num_layers, hidden=hidden, max_len=max_len, num_classes=num_classes
    )
    if pool not in ("first", "mean"):
        raise ValueError(f"pool must be first or mean, but it is {pool!r}.")
    embedding = BertEmbedding(vocab_size, dim, max_len, dropout, embedding_norm, eps)
    blocks = [
        EncoderBlock(dim, num_heads, hidden, dropout, activation=activation, eps=eps, hidden_dropout=0.0)
        for _ in range(num_layers)
    ]
    model: Bert
    if output == "pretraining":
        head = MaskedTokenHead(embedding.tokens, activation, tied, eps)
        model = BertForPretraining(embedding, blocks, checkpointing, head)
    elif output == "sentence":
        model = BertForSentences(embedding, blocks, checkpointing, dropout, num_classes, pool)
    elif output == "tokens":
        model = BertForTokens(embedding, blocks, checkpointing, dropout, num_classes)
    elif output == "span":
        model = BertForSpans(embedding, blocks, checkpointing)
    else:
        raise ValueError(f"output must be one of pretraining, sentence, tokens, span, but it is {output!r}.")
    return model.apply(_draw)


def bert_d2l(
    *, vocab_size: int = 20_256, num_layers: int = 2, max_len: int = 1000, dropout: float = 0.2,
    output: Output = "pretraining", num_classes: int = 2, pool: Pool = "first", checkpointing: bool = False,
) -> Bert:  # fmt: skip
    """The book's: d 128, 256 hidden units, 2 heads, relu, embeddings as they are, an untied head (d2l 15.8).

    5,632,546 parameters by default.  Arguments: see `bert`.
    """
    return bert(
        vocab_size=vocab_size, num_layers=num_layers, max_len=max_len, dropout=dropout, output=output,
        num_classes=num_classes, pool=pool, checkpointing=checkpointing,
        dim=128, num_heads=2, hidden=256, activation="relu", embedding_norm=False, eps=1e-5, tied=False,
    )  # fmt: skip


def bert_tiny(
    *, vocab_size: int = 30_522, num_layers: int = 2, max_len: int = 128, dropout: float = 0.1,
    output: Output = "pretraining", num_classes: int = 2, pool: Pool = "first", checkpointing: bool = False,
) -> Bert:  # fmt: skip
    """d 128, 512 hidden units, 2 heads (Turc et al., 2019, with max_len 512).  Arguments: see `bert`."""
    return bert(
        vocab_size=vocab_size, num_layers=num_layers, max_len=max_len, dropout=dropout, output=output,
        num_classes=num_classes, pool=pool, checkpointing=checkpointing, dim=128, num_heads=2, hidden=512,
    )  # fmt: skip


def bert_base(
    *, vocab_size: int = 30_522, num_layers: int = 12, max_len: int = 512, dropout: float = 0.1,
    output: Output = "pretraining", num_classes: int = 2, pool: Pool = "first", checkpointing: bool = False,
) -> Bert:  # fmt: skip
    """The paper's base: d 768, 3,072 hidden units, 12 heads.  Arguments: see `bert`.

    109,482,240 parameters with the pooler and 110,106,428 with both heads.
    """
    return bert(
        vocab_size=vocab_size, num_layers=num_layers, max_len=max_len, dropout=dropout, output=output,
        num_classes=num_classes, pool=pool, checkpointing=checkpointing, dim=768, num_heads=12, hidden=3072,
    )  # fmt: skip


def bert_large(
    *, vocab_size: int = 30_522, num_layers: int = 24, max_len: int = 512, dropout: float = 0.1,
    output: Output = "pretraining", num_classes: int = 2, pool: Pool = "first", checkpointing: bool = False,
) -> Bert:  # fmt: skip
    """The paper's large: d 1,024, 4,096 hidden units, 16 heads.  Arguments: see `bert`.

    335,141,888 parameters with the pooler and 336,226,108 with both heads.
    """
    return bert(
        vocab_size=vocab_size, num_layers=num_layers, max_len=max_len, dropout=dropout, output=output,
        num_classes=num_classes, pool=pool, checkpointing=checkpointing, dim=1024, num_heads=16, hidden=4096,
    )  # fmt: skip


def minilm_l6(
    *, vocab_size: int = 30_522, num_layers: int = 6, max_len: int = 512, dropout: float = 0.1,
    output: Output = "pretraining", num_classes: int = 2, pool: Pool = "first", checkpointing: bool = False,
) -> Bert:  # fmt: skip
    """The shape of all-MiniLM-L6-v2: d 384, 1,536 hidden units, 12 heads (Wang et al., 2020).  Arguments: see `bert`.

    22,713,216 parameters with the pooler; `embed` gives the sentence embeddings of its published weights.
    """
    return bert(
        vocab_size=vocab_size, num_layers=num_layers, max_len=max_len, dropout=dropout, output=output,
        num_classes=num_classes, pool=pool, checkpointing=checkpointing, dim=384, num_heads=12, hidden=1536,
    )  # fmt: skip
