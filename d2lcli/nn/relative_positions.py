"""Learned numbers for the distance of a key from a query, in buckets (Raffel et al., 2020; d2l 11.9).

Legend: h heads, m queries, n keys.
"""

import math

import torch
from torch import Tensor, nn


def bucket_starts(buckets: int, max_distance: int) -> list[int]:
    """The smallest distances of the buckets 1, 2, ..., `buckets` - 1 of one direction; that of bucket 0 is 0.

    The first e = buckets // 2 have one distance each.  Bucket e + k starts at e (max_distance / e)^(k / (buckets - e)),
    so ever later, and the last one has no end (Raffel et al., 2020, section 2.1, and its code).
    """
    e = buckets // 2
    later = [e * (max_distance / e) ** (k / (buckets - e)) for k in range(1, buckets - e)]
    return [*range(1, e + 1), *(math.ceil(round(start, 6)) for start in later)]  # 5 * 32 ** (4 / 5) is 80, no more


class RelativePositions(nn.Module):
    """B_ij = t(bucket of j - i) with a learned t for each head, to be added to the scores of query i and key j.

    Args:
        num_heads: h.
        std: of the initial t.
        buckets: how many numbers t has.  All are for keys before the query where that sees no later ones; else half of
            them, and the other half are for those after it.
        max_distance: from here on all distances are in one bucket.
        causal: no query sees a later key: there B_ij is as low as a number can be.
    """

    starts: Tensor

    def __init__(self, num_heads: int, std: float, buckets: int, max_distance: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.after = 0 if causal else buckets // 2  # the first bucket of the keys after the query
        self.table = nn.Embedding(buckets, num_heads)
        nn.init.normal_(self.table.weight, std=std)
        starts = bucket_starts(buckets if causal else buckets // 2, max_distance)
        self.register_buffer("starts", torch.tensor(starts), persistent=False)

    def forward(self, seen: int, m: int) -> Tensor:
        """For queries at the positions seen ... seen + m - 1 and keys from 0 on: (1, h, m, seen + m)."""
        keys = torch.arange(seen + m, device=self.starts.device)
        offsets = keys - keys[seen:, None]  # (m, n)
        bias: Tensor = self.table(self.bucket(offsets)).permute(2, 0, 1)[None].contiguous()
        return bias.masked_fill(offsets > 0, lowest(bias)) if self.causal else bias

    def bucket(self, offsets: Tensor) -> Tensor:
        """The bucket of each offset j - i of a key from its query."""
        if self.causal:
            return torch.bucketize(-offsets, self.starts, right=True)
        return torch.bucketize(offsets.abs(), self.starts, right=True) + self.after * (offsets > 0)


def lowest(like: Tensor) -> float:
    """The lowest number of the type of `like`: e to it is 0, but a softmax over nothing else is no NaN."""
    return torch.finfo(like.dtype).min
