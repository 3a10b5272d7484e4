"""Multi-head attention (Vaswani et al., 2017; d2l 11.5).

b examples, m queries, n keys and as many values, d their width, h heads of width d / h.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.nn.checks import require_positive


class MultiHeadAttention(nn.Module):
    """W_o [head_1 ... head_h] + b_o with head_i = softmax(Q_i K_i^T / sqrt(d / h)) V_i.

    (b, m, d), (b, n, d), (b, n, d) -> (b, m, d).  Q_i, K_i and V_i are the i-th d / h columns of the projections of
    queries, keys and values.  The parameters have the names, shapes and initial weights of `nn.MultiheadAttention`:
    three projections lie in one matrix, so that self-attention, where all inputs are one tensor, needs one product.

    Args:
        dim: d.
        num_heads: h.
        bias: whether the four projections have biases.
        dropout: the probability that an attention weight is zeroed in training.

    Raises:
        ValueError: a size is below 1, the heads do not divide d, or the probability is outside [0, 1].
    """

    def __init__(self, dim: int, num_heads: int, *, bias: bool = True, dropout: float = 0.0) -> None:
        require_positive(dim=dim, num_heads=num_heads)
        if dim % num_heads:
            raise ValueError(f"num_heads must divide the width {dim} of the attention, but it is {num_heads}.")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, but it is {dropout}.")
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim)) if bias else None
        self.out_proj = nn.Linear(dim, dim, bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.num_heads) for part in self._project(queries, keys, values))
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout)  # (b, h, m, d / h)
        mixed: Tensor = self.out_proj(merge_heads(heads))
        return mixed

    def _project(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if queries is keys and keys is values:
            return functional.linear(queries, weight, bias).chunk(3, dim=-1)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return tuple(map(functional.linear, (queries, keys, values), weight.chunk(3), biases))


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(b, n, d) -> (b, h, n, d / h): head i takes the i-th d / h columns."""
    return x.view(*x.shape[:2], num_heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(b, h, n, d / h) -> (b, n, d): what `split_heads` did, undone."""
    return x.transpose(1, 2).flatten(2)
