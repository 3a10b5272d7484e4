"""Products with copies of weights that lie in memory as a CPU reads them fastest.

A product with the few rows of a decoding step takes as long as its weights take to be read.  oneDNN reads them from
blocks of its own: on a CPU with AVX-512 in two fifths of the time for the 4 rows of a beam, in two thirds for 1 row.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

ROWS = 4  # of x, that oneDNN chooses the blocks for; of those that it chooses for 1, it reads 1 row more slowly too


class Packed:
    """x W^T + b as `functional.linear`, which it calls for all but float32 on a CPU without gradients.

    The copy of a weight is made at the first call with it, and again when its values have changed.  A deep copy of this
    object, or one that was pickled, begins without any.
    """

    def __init__(self) -> None:
        # From address and rows of W (o, i): W itself, so that the address stays its own; its version; and the copy.
        self._copies: dict[tuple[int, int], tuple[Tensor, int, Tensor]] = {}

    def __reduce__(self) -> tuple[type["Packed"], tuple[()]]:
        return Packed, ()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if torch.is_grad_enabled() or not x.is_cpu or x.dtype != torch.float32 or weight.dtype != torch.float32:
            return functional.linear(x, weight, bias)
        place = (weight.data_ptr(), weight.shape[0])
        found = self._copies.get(place)
        if found is None or found[1] != weight._version:
            copy = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
            found = self._copies[place] = (weight.detach(), weight._version, copy)
        out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, found[2], bias, "none", [], "")
        return out


class PackedLinear(nn.Linear):
    """A linear layer that has the parameters of another one, by `Packed`."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.product = Packed()

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.weight, self.bias)
