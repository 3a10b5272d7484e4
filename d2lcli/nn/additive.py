"""Additive attention (Bahdanau et al., 2015; d2l 11.3).

Legend: b examples, m queries, n keys, h width of the hidden layer.
"""

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """softmax over the keys of w_v^T tanh(W_q q + W_k k), as weights of the values; no biases, as in the book.

    (b, m, q), (b, n, k), (b, n, v) -> (b, m, v) and the weights (b, m, n).

    Args:
        query_size: width of a query.
        key_size: width of a key.
        hidden_size: h.
        dropout: the probability that a weight is zeroed in training.
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, hidden_size, bias=False)
        self.key = nn.Linear(key_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`mask` (b, n) is True for the keys that count."""
        return self.attend(queries, self.key(keys), values, mask)

    def attend(
        self, queries: Tensor, projected: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same from keys that went through W_k already (b, n, h): for one query after the other."""
        hidden = torch.tanh(self.query(queries)[:, :, None] + projected[:, None])  # (b, m, n, h)
        weights = masked_softmax(self.score(hidden)[..., 0], mask)
        return torch.bmm(self.dropout(weights), values), weights


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax of (b, m, n) over the keys that `mask` (b, n) or (b, m, n) lets in; without any, all have weight 0."""
    if mask is None:
        return scores.softmax(-1)
    mask = mask[:, None] if mask.ndim == 2 else mask
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return weights.masked_fill(~mask, 0.0)  # NaN where no key was let in
