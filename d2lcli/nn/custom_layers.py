"""Layers written by hand, one without parameters and one with (d2l 6.5).

n examples, d input features, q outputs.
"""

import torch
from torch import Tensor, nn


class Centered(nn.Module):
    """y = x - mean(x) over the last axis, so that the mean of the output is 0; no parameters.

    The book takes the mean over the whole batch.  Here each example is centred by itself: then the mean of the whole is
    0 as well, and what a model says of an example does not depend on the others in its batch.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(dim=-1, keepdim=True)


class MyLinear(nn.Module):
    """Y = relu(X W + b), with W (d, q) and b (q) from N(0, 1).

    The parameters themselves take part in the product: with `weight.data`, as the book has it, no gradient would reach
    them.

    Args:
        in_features: d.
        out_features: q.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, out_features))
        self.bias = nn.Parameter(torch.randn(out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs @ self.weight + self.bias)  # (n, d) -> (n, q)
