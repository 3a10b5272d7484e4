"""What a module of one's own may do (d2l 6.1, 6.2, 6.5): fixed weights, control flow, tied and hand-made layers.

n examples, d input features, h hidden units, q outputs.
"""

import torch
from torch import Tensor, nn

from d2lcli.nn.checks import require_positive
from d2lcli.nn.custom_layers import Centered, MyLinear


class FixedHiddenMLP(nn.Module):
    """A shared layer, a fixed random layer, the shared layer again, then each row halved until it is small.

    The book's module takes d = h inputs, halves the whole batch at once, and returns the sum of everything.  Here a
    layer before makes h features of d, rows are halved one by one, and a layer behind makes q outputs of each.

    Args:
        in_features: d.
        num_outputs: q.
        hidden: h.
    """

    rand_weight: Tensor

    def __init__(self, in_features: int, num_outputs: int, hidden: int) -> None:
        super().__init__()
        self.input = nn.Linear(in_features, hidden)
        self.shared = nn.Linear(hidden, hidden)
        # A buffer: saved, moved and converted with the model, but no parameter that an optimizer would change.
        self.register_buffer("rand_weight", torch.rand(hidden, hidden))
        self.output = nn.Linear(hidden, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.shared(self.input(inputs.flatten(1)))  # (n, ...) -> (n, h)
        x = torch.relu(x @ self.rand_weight + 1)
        x = halve_until_small(self.shared(x))
        outputs: Tensor = self.output(x)  # -> (n, q)
        return outputs


def halve_until_small(x: Tensor) -> Tensor:
    """Halve each row of (n, h) as often as it takes for sum |x_i| <= 1; a row that is not finite stays as it is."""
    if x.is_meta:  # a tensor of the meta device has a shape, but no values to look at
        return x
    while (large := _is_large(x)).any():  # on a GPU each round waits for the device
        x = torch.where(large, x / 2, x)
    return x


def _is_large(x: Tensor) -> Tensor:
    size = x.detach().abs().sum(dim=1, keepdim=True)  # (n, 1)
    return (size > 1) & size.isfinite()


def fixed_hidden_mlp(*, in_features: int = 2, num_outputs: int = 1, hidden: int = 20) -> nn.Module:
    """A network with a layer that is used twice, one that is never trained, and a loop in its forward pass.

    Args:
        in_features: d, the number of values in one example.
        num_outputs: q.
        hidden: h.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_features=in_features, num_outputs=num_outputs, hidden=hidden)
    return FixedHiddenMLP(in_features, num_outputs, hidden)


def tied_mlp(*, in_features: int = 2, num_outputs: int = 1, hidden: int = 8, tie: bool = True) -> nn.Module:
    """A perceptron whose second and third hidden layers are one: the gradients of both uses add up.

    Args:
        in_features: d, the number of values in one example.
        num_outputs: q.
        hidden: h, the width of all three hidden layers.
        tie: False for a third layer with weights of its own.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_features=in_features, num_outputs=num_outputs, hidden=hidden)
    second = nn.Linear(hidden, hidden)
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())  # (n, ...) -> (n, d)
    net.add_module("hidden1", nn.Linear(in_features, hidden))  # -> (n, h)
    net.add_module("activation1", nn.ReLU())
    net.add_module("hidden2", second)
    net.add_module("activation2", nn.ReLU())
    net.add_module("hidden3", second if tie else nn.Linear(hidden, hidden))
    net.add_module("activation3", nn.ReLU())
    net.add_module("output", nn.Linear(hidden, num_outputs))  # -> (n, q)
    return net


def centered_mlp(*, in_features: int = 2, num_outputs: int = 1, hidden: int = 128) -> nn.Module:
    """A perceptron of hand-made layers: a linear one with its relu, then one that takes the mean away.

    Args:
        in_features: d, the number of values in one example.
        num_outputs: q.
        hidden: h.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_features=in_features, num_outputs=num_outputs, hidden=hidden)
    return nn.Sequential(
        nn.Flatten(),  # (n, ...) -> (n, d)
        MyLinear(in_features, hidden),  # -> (n, h)
        Centered(),
        nn.Linear(hidden, num_outputs),  # -> (n, q)
    )
