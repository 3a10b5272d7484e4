"""Multi-head attention (Vaswani et al., 2017; d2l 11.5).

b examples, m queries, n keys and as many values, d their width, h heads of width d / h.  The keys and values of all
heads, as they are kept for tokens to come, are one tensor (2, b, h, n, d / h).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.nn.checks import require_positive
from d2lcli.nn.key_values import KeyValues


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

    Attributes:
        product: x, W and b -> x W^T + b for the first three projections; a layout for decoding may put another one.
    """

    product: Callable[[Tensor, Tensor, Tensor | None], Tensor] = staticmethod(functional.linear)

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

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """A query may attend to the keys that both arguments let in; one that is let to none gets zeros for V.

        Args:
            queries: (b, m, d).
            keys: (b, n, d).
            values: (b, n, d).
            mask: (b, n) or (b, m, n), True where a key may be attended to.
            causal: query i sees no key after i + n - m, that is, the queries are the last tokens of the keys.
        """
        q, k, v = (split_heads(part, self.num_heads) for part in self._project(queries, keys, values))
        return self._attend(q, k, v, mask, causal)

    def begin(self, batch_size: int) -> KeyValues:
        """The keys and values of no token."""
        weight = self.in_proj_weight
        return KeyValues(weight.new_empty(2, batch_size, self.num_heads, 0, weight.shape[1] // self.num_heads), 0)

    def extend(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Causal self-attention of further tokens.

        Args:
            x: (b, m, d).
            past: keys and values of the tokens before them.

        Returns:
            (b, m, d), and the keys and values of all tokens: `past` itself stays as it is.
        """
        parts = self.product(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = parts.view(*x.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # (b, h, m, d / h) each
        past = past.append(k, v)
        k, v = past.tensor
        return self._attend(q, k, v, None, causal=True), past

    def project_memory(self, memory: Tensor) -> Tensor:
        """The keys and values of a memory (b, n, d), for any number of `look_up`."""
        dim = memory.shape[2]
        bias = None if self.in_proj_bias is None else self.in_proj_bias[dim:]
        k, v = self.product(memory, self.in_proj_weight[dim:], bias).chunk(2, dim=-1)
        return torch.stack((split_heads(k, self.num_heads), split_heads(v, self.num_heads)))

    def look_up(self, queries: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward` of queries with what `project_memory` gave.

        Args:
            queries: (b k, m, d), k rows side by side for each of the memory.
            memory: (2, b, h, n, d / h).
            mask: (b, n), True where a key may be attended to.
        """
        dim = queries.shape[2]
        bias = None if self.in_proj_bias is None else self.in_proj_bias[:dim]
        q = self.product(queries, self.in_proj_weight[:dim], bias).view(memory.shape[1], -1, dim)  # (b, k m, d)
        k, v = memory
        return self._attend(split_heads(q, self.num_heads), k, v, mask, causal=False).view(queries.shape)

    def weights(self, queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """softmax(Q_i K_i^T / sqrt(d / h)) of queries (b, m, d) and keys (b, n, d): (b, h, m, n), without dropout."""
        q, k, _ = (split_heads(part, self.num_heads) for part in self._project(queries, keys, keys))
        scores: Tensor = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~(mask[:, None, None] if mask.ndim == 2 else mask[:, None]), -torch.inf)
        return scores.softmax(-1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        m, n = q.shape[2], k.shape[2]
        causal = causal and m > 1  # the last token sees all
        square = causal and mask is None and m == n  # which torch has a faster way for
        allowed = None if square else allowed_pairs(mask, causal, m, n, q.device)
        nothing = None if mask is None or allowed is None else ~allowed.any(-1, keepdim=True)  # (b, 1, 1 or m, 1)
        if allowed is not None and nothing is not None:
            allowed = allowed | nothing  # a softmax over nothing is NaN on some devices
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(  # (b, h, m, d / h)
            q, k, v, attn_mask=allowed, dropout_p=dropout, is_causal=square
        )
        if nothing is not None:
            heads = heads.masked_fill(nothing, 0.0)
        mixed: Tensor = self.out_proj(merge_heads(heads))
        return mixed

    def _project(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if queries is keys and keys is values:
            return self.product(queries, weight, bias).chunk(3, dim=-1)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return tuple(map(self.product, (queries, keys, values), weight.chunk(3), biases))


def allowed_pairs(mask: Tensor | None, causal: bool, m: int, n: int, device: torch.device) -> Tensor | None:
    """The pairs of a query and a key that may meet, as True, broadcastable to (b, h, m, n); None where all may.

    Args:
        mask: (b, n) or (b, m, n).
        causal: whether the queries are the last m of n tokens, and see none that follows them.
        m: queries.
        n: keys.
        device: where the causal pairs are made.
    """
    allowed = None
    if mask is not None:
        allowed = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
    if causal:
        past = torch.ones(m, n, dtype=torch.bool, device=device).tril(n - m)
        allowed = past if allowed is None else allowed & past
    return allowed


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(b, n, d) -> (b, h, n, d / h): head i takes the i-th d / h columns."""
    return x.view(*x.shape[:2], num_heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(b, h, n, d / h) -> (b, n, d): what `split_heads` did, undone."""
    return x.transpose(1, 2).flatten(2)
