"""How weights lie in memory while text is made."""

import torch
from torch import Tensor, nn

from d2lcli.nn.attention import MultiHeadAttention


def lay_out(model: nn.Module) -> nn.Module:
    """Let the inputs of a linear layer be the rows of its weights in memory: the values and shapes stay as they are.

    Decoding multiplies a few rows by each matrix.  On a CPU that takes about a quarter less time in this order for the
    4 rows of a beam; training prefers the other one.  On a GPU nothing is done.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            _turn(module.weight)
        elif isinstance(module, MultiHeadAttention):
            _turn(module.in_proj_weight)
    return model


def _turn(weight: Tensor) -> None:
    if weight.device.type == "cpu" and weight.is_contiguous():
        weight.data = (
            torch.empty_like(weight.data.t(), memory_format=torch.contiguous_format).copy_(weight.data.t()).t()
        )
