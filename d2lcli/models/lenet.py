"""LeNet-5 (LeCun et al., 1998; d2l 7.6), as in the book by default, or modern with activation=relu and pool=max.

With batch_norm it is the book's network of d2l 8.5.

n examples, c channels, s the side of the square image.
"""

from typing import Literal

from torch import Tensor, nn

from d2lcli.nn.activations import Activation
from d2lcli.nn.activations import activation as make_activation
from d2lcli.nn.checks import require_positive

KERNEL = 5
Pool = Literal["avg", "max"]


class LeNet(nn.Module):
    """Two convolutions, each with an activation and a pooling that halves the side, then three linear layers.

    The arguments are those of `lenet`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        padding: int,
        activation: Activation,
        pool: Pool,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        side = _final_side(image_size, padding)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, KERNEL, padding=padding),  # (n, c, s, s) -> (n, 6, s + 2p - 4, s + 2p - 4)
            *([nn.BatchNorm2d(6)] if batch_norm else []),
            make_activation(activation),
            _pool(pool),  # -> half the side
            nn.Conv2d(6, 16, KERNEL),  # -> (n, 16, ., .), the side 4 less
            *([nn.BatchNorm2d(16)] if batch_norm else []),
            make_activation(activation),
            _pool(pool),  # -> (n, 16, side, side)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # -> (n, 16 side^2)
            nn.Linear(16 * side * side, 120),
            *([nn.BatchNorm1d(120)] if batch_norm else []),
            make_activation(activation),
            nn.Linear(120, 84),
            *([nn.BatchNorm1d(84)] if batch_norm else []),
            make_activation(activation),
            nn.Linear(84, num_classes),  # -> (n, num_classes)
        )
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images))
        return logits


def _pool(pool: Pool) -> nn.Module:
    return nn.AvgPool2d(2, 2) if pool == "avg" else nn.MaxPool2d(2, 2)


def _final_side(image_size: int, padding: int) -> int:
    """The side of the maps after the second pooling, or an error where nothing is left of the image."""
    side = ((image_size + 2 * padding - KERNEL + 1) // 2 - KERNEL + 1) // 2
    if side < 1:
        smallest = max(1, 4 * KERNEL - 4 - 2 * padding)
        raise ValueError(
            f"image_size must be at least {smallest} for LeNet with padding {padding}, but it is {image_size}."
        )
    return side


def _initialise(module: nn.Module) -> None:
    # The book's choice.  With sigmoids and torch's own initial weights the network stays at chance for many epochs.
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)


def lenet(
    *,
    in_channels: int = 1,
    num_classes: int = 10,
    image_size: int = 28,
    padding: int = 2,
    activation: Activation = "sigmoid",
    pool: Pool = "avg",
    batch_norm: bool = False,
) -> nn.Module:
    """LeNet-5, with 61,706 parameters by default and Xavier uniform initial weights.

    Args:
        in_channels: c.
        num_classes: the number of logits.
        image_size: s.
        padding: zeros on each side of the image before the first convolution; 0 gives 44,426 parameters.
        activation: after each layer but the last.
        pool: averages, as in 1998, or maxima.
        batch_norm: before each activation, with 452 more parameters.

    Raises:
        ValueError: a size is below 1, the padding is negative, or the image is too small: the minimum is named.
    """
    require_positive(in_channels=in_channels, num_classes=num_classes, image_size=image_size)
    if padding < 0:
        raise ValueError(f"padding must be at least 0, but it is {padding}.")
    return LeNet(in_channels, num_classes, image_size, padding, activation, pool, batch_norm)
