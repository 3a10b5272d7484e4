"""Whether one text follows from another, by attention between their words (Parikh et al., 2016; d2l 16.5).

Legend: b pairs, t tokens of both texts together, V tokens of the vocabulary, e width of the embedding, h hidden units,
q classes.
"""

import torch
from torch import Tensor, nn

from d2lcli.nn.checks import require_positive


def _network(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    """Two hidden layers with relu, each of which drops some of what it reads."""
    layers: list[nn.Module] = []
    for width in (inputs, hidden):
        layers += [nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU()]
    return nn.Sequential(*layers)


class DecomposableAttention(nn.Module):
    """Tokens (b, t), segments (b, t), which are 0 in the first text and 1 in the second, and lengths (b,) -> (b, q).

    Attend: e_ij = F(a_i)^T F(b_j); beta_i = sum_j softmax_j(e_ij) b_j, and alpha_j = sum_i softmax_i(e_ij) a_i.
    Compare: v_i = G([a_i; beta_i]) and w_j = G([b_j; alpha_j]).  Aggregate: H([sum_i v_i; sum_j w_j]) -> logits.
    As e_ij is symmetric in its arguments, all tokens attend at once: each to the tokens of the other text.

    Without segments both texts are all the tokens; without lengths nothing is padding.  A token of a pair whose other
    text is empty attends to zeros.

    Args:
        hidden: h, of all three networks.
        dropout: on the inputs of each of their layers.
    """

    pairs = True  # what it reads has two texts

    def __init__(self, vocab_size: int, embed_dim: int, hidden: int, dropout: float, q: int) -> None:
        super().__init__()
        # Of deviation 1: with small embeddings all e_ij begin alike, and equal words do not find each other.
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.attend = _network(embed_dim, hidden, dropout)
        self.compare = _network(2 * embed_dim, hidden, dropout)
        self.aggregate = _network(2 * hidden, hidden, dropout)
        self.head = nn.Linear(hidden, q)

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        valid = torch.ones_like(tokens, dtype=torch.bool)
        if lengths is not None:
            valid = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        first, second = (valid, valid) if segments is None else (valid & (segments == 0), valid & (segments == 1))
        x = self.embedding(tokens)  # (b, t, e)
        weights = self.attention(x, first, second)
        compared = self.compare(torch.cat([x, weights @ x], 2))  # (b, t, h)
        sums = [(compared * own[..., None]).sum(1) for own in (first, second)]
        logits: Tensor = self.head(self.aggregate(torch.cat(sums, 1)))
        return logits

    def attention(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """What each token attends to: embeddings (b, t, e) and which of them are of each text (b, t) -> (b, t, t)."""
        f: Tensor = self.attend(x)
        other = (first[:, :, None] & second[:, None]) | (second[:, :, None] & first[:, None])  # (b, t, t)
        scores = (f @ f.transpose(1, 2)).masked_fill(~other, torch.finfo(f.dtype).min)
        weights: Tensor = scores.softmax(2) * other  # a row with nothing to attend to is 0
        return weights


def decomposable_attention(
    *,
    vocab_size: int = 10_000,
    num_classes: int = 3,
    embed_dim: int = 100,
    hidden: int = 200,
    dropout: float = 0.2,
) -> DecomposableAttention:
    """A decomposable attention model; by default of the book's sizes.

    Args:
        vocab_size: V.
        num_classes: q; 1 to predict a number.
        embed_dim: e; that of the vectors, where some are loaded.
        hidden: h.
        dropout: probability on what each layer of the networks reads.

    Raises:
        ValueError: an option out of range.
    """
    require_positive(vocab_size=vocab_size, num_classes=num_classes, embed_dim=embed_dim, hidden=hidden)
    return DecomposableAttention(vocab_size, embed_dim, hidden, dropout, num_classes)
