"""Linear regression and softmax regression (d2l 3 and 4): one linear layer.

n examples, d input features, q outputs.
"""

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive


class LinearModel(nn.Module):
    """O = X W + b on the flattened input.

    Args:
        in_features: d; None leaves it open until the first batch.
        num_outputs: q.
    """

    def __init__(self, in_features: int | None, num_outputs: int) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(num_outputs) if in_features is None else nn.Linear(in_features, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.linear(inputs.flatten(1))  # (n, ...) -> (n, d) -> (n, q)
        return output


def linear_regression(*, in_features: int | None = 2, num_outputs: int = 1) -> nn.Module:
    """Linear regression, y = X w + b, with d q + q parameters.

    Args:
        in_features: d; None leaves it open until the first batch.
        num_outputs: q, the number of targets.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_features=in_features, num_outputs=num_outputs)
    return LinearModel(in_features, num_outputs)


def softmax_regression(*, in_features: int | None = 784, num_classes: int = 10) -> nn.Module:
    """Softmax regression.  It returns the logits O = X W + b; the softmax itself is part of the loss.

    Args:
        in_features: d, the number of values in one example; None leaves it open until the first batch.
        num_classes: q.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_features=in_features, num_classes=num_classes)
    return LinearModel(in_features, num_classes)
