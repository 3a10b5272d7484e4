"""How weights lie in memory while text is made."""

import psutil
import torch
from torch import Tensor, nn

from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.packed import Packed, PackedLinear

LEAST = 2**18  # numbers in a weight that is packed: a smaller one is read faster than oneDNN is called


def lay_out(model: nn.Module) -> nn.Module:
    """Prepare a model for decoding, which multiplies a few rows by each matrix: values, names and shapes stay.

    On a CPU, layers with large weights work with packed copies of these, see `d2lcli.nn.packed`, where memory has room
    for twice as many.  Of all other weights the inputs become the rows in memory: for the 4 rows of a beam that takes
    about a quarter less time, but training prefers the other order.  On a GPU nothing is done.
    """
    size = sum(parameter.nbytes for parameter in model.parameters())
    known: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    pack = known and 2 * size < psutil.virtual_memory().available
    for module in list(model.modules()):
        if isinstance(module, MultiHeadAttention):
            if pack and _large(module.in_proj_weight):
                module.product = Packed()
            else:
                _turn(module.in_proj_weight)
        for name, layer in module.named_children():
            if type(layer) is not nn.Linear:
                continue
            if pack and _large(layer.weight):
                setattr(module, name, PackedLinear(layer))
            else:
                _turn(layer.weight)
    return model


def _large(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= LEAST


def _turn(weight: Tensor) -> None:
    if weight.device.type == "cpu" and weight.is_contiguous():
        weight.data = (
            torch.empty_like(weight.data.t(), memory_format=torch.contiguous_format).copy_(weight.data.t()).t()
        )
