"""The multilayer perceptron of any depth, with dropout (d2l 5).

n examples, d input features, h hidden units, q outputs.
"""

from collections.abc import Sequence

from torch import nn

from d2lcli.nn.activations import Activation
from d2lcli.nn.activations import activation as make_activation
from d2lcli.nn.checks import require_positive


def mlp(
    *,
    in_features: int | None = 784,
    num_outputs: int = 10,
    hidden: Sequence[int] = (256,),
    activation: Activation = "relu",
    dropout: float | Sequence[float] = 0.0,
) -> nn.Module:
    """H_l = dropout(phi(H_{l-1} W_l + b_l)) for each hidden layer l, then O = H W + b, from the flattened input.

    Args:
        in_features: d, the number of values in one example; None leaves it open until the first batch.
        num_outputs: q, classes (the outputs are logits) or regression targets.
        hidden: the width h of each hidden layer; an empty list leaves one linear layer.
        activation: phi.
        dropout: the probability that a hidden unit is zeroed in training, one for all hidden layers or one for each.

    Raises:
        ValueError: a size is below 1, a probability is outside [0, 1], or there are more or fewer than hidden layers.
    """
    require_positive(
        in_features=in_features, num_outputs=num_outputs, **{f"hidden[{i}]": h for i, h in enumerate(hidden)}
    )
    probabilities = _one_per_layer(dropout, len(hidden))

    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())  # (n, ...) -> (n, d)
    width = in_features
    for layer, (units, probability) in enumerate(zip(hidden, probabilities, strict=True), start=1):
        net.add_module(f"hidden{layer}", _linear(width, units))  # (n, width) -> (n, units)
        net.add_module(f"activation{layer}", make_activation(activation))
        if probability > 0:
            net.add_module(f"dropout{layer}", nn.Dropout(probability))
        width = units
    net.add_module("output", _linear(width, num_outputs))  # (n, width) -> (n, q)
    return net


def _linear(in_features: int | None, out_features: int) -> nn.Linear:
    return nn.LazyLinear(out_features) if in_features is None else nn.Linear(in_features, out_features)


def _one_per_layer(dropout: float | Sequence[float], layers: int) -> list[float]:
    probabilities = list(dropout) if isinstance(dropout, Sequence) else [dropout] * layers
    for probability in probabilities:
        if not 0 <= probability <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, but a value is {probability}.")
    if len(probabilities) != layers:
        raise ValueError(
            f"dropout must be one number, or one for each of {layers} hidden layers, but it has {len(probabilities)}."
        )
    return probabilities
