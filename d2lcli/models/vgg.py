"""VGG (Simonyan and Zisserman, 2014; d2l 8.2): blocks of 3 x 3 convolutions, then three linear layers.

The names and shapes of all tensors and the initial weights are torchvision's.

n examples, c channels, s the side of the square image.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive

CHANNELS = (64, 128, 256, 512, 512)  # of the five blocks
HIDDEN = 4096
SMALLEST = 2 ** len(CHANNELS)  # each block halves the side


class VGG(nn.Module):
    """Five blocks, each of which halves the side; three linear layers on the flattened maps.

    Args:
        depths: the number of convolutions in each block.
        in_channels: c.
        num_classes: the number of logits.
        image_size: s; the first linear layer grows with it.
        batch_norm: whether batch norm follows each convolution.
        width: multiplies the channels of all convolutions; the linear layers keep their 4,096 units.
        adaptive_pool: average the last maps to 7 x 7, as torchvision does.  At 224 x 224 they are 7 x 7 anyway;
            at other sizes this keeps the shape of the first linear layer, so that weights of one size fit another.
        dropout: the probability of a zero after each hidden linear layer.

    Raises:
        ValueError: a size is below 1, the width not above 0, or the image smaller than 32 x 32.
    """

    def __init__(
        self,
        depths: Sequence[int],
        in_channels: int,
        num_classes: int,
        image_size: int,
        batch_norm: bool,
        width: float,
        adaptive_pool: bool,
        dropout: float,
    ) -> None:
        require_positive(in_channels=in_channels, num_classes=num_classes, image_size=image_size)
        if not 0 < width <= 64:
            raise ValueError(f"width must be above 0 and at most 64, but it is {width}.")
        if image_size < SMALLEST:
            raise ValueError(f"VGG needs images of at least {SMALLEST} x {SMALLEST}, but image_size is {image_size}.")
        super().__init__()
        channels = [max(1, round(width * full)) for full in CHANNELS]
        layers: list[nn.Module] = []
        for depth, before, after in zip(depths, [in_channels, *channels], channels, strict=False):
            layers += _block(depth, before, after, batch_norm)
        side = 7 if adaptive_pool else image_size // SMALLEST
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(side) if adaptive_pool else nn.Identity()
        self.classifier = nn.Sequential(
            nn.Linear(channels[-1] * side * side, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(HIDDEN, num_classes),
        )
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)  # (n, 512 width, s/32, s/32)
        x = self.avgpool(x).flatten(1)  # (n, 512 width side^2)
        logits: Tensor = self.classifier(x)  # (n, num_classes)
        return logits


def _block(depth: int, in_channels: int, channels: int, batch_norm: bool) -> list[nn.Module]:
    """`depth` convolutions with ReLU, then max pooling: (n, in_channels, h, w) -> (n, channels, h/2, w/2)."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Conv2d(channels if index else in_channels, channels, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU(inplace=True))
    return [*layers, nn.MaxPool2d(2, stride=2)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.get_parameter("bias"))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def vgg11(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    batch_norm: bool = False,
    width: float = 1.0,
    adaptive_pool: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """VGG-11: 132,863,336 parameters, 7.609 billion multiply-adds.  Arguments and errors: see `VGG`."""
    return VGG((1, 1, 2, 2, 2), in_channels, num_classes, image_size, batch_norm, width, adaptive_pool, dropout)


def vgg13(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    batch_norm: bool = False,
    width: float = 1.0,
    adaptive_pool: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """VGG-13: 133,047,848 parameters, 11.308 billion multiply-adds.  Arguments and errors: see `VGG`."""
    return VGG((2, 2, 2, 2, 2), in_channels, num_classes, image_size, batch_norm, width, adaptive_pool, dropout)


def vgg16(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    batch_norm: bool = False,
    width: float = 1.0,
    adaptive_pool: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """VGG-16: 138,357,544 parameters, 15.470 billion multiply-adds.  Arguments and errors: see `VGG`."""
    return VGG((2, 2, 3, 3, 3), in_channels, num_classes, image_size, batch_norm, width, adaptive_pool, dropout)


def vgg19(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    batch_norm: bool = False,
    width: float = 1.0,
    adaptive_pool: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """VGG-19: 143,667,240 parameters, 19.632 billion multiply-adds.  Arguments and errors: see `VGG`."""
    return VGG((2, 2, 4, 4, 4), in_channels, num_classes, image_size, batch_norm, width, adaptive_pool, dropout)
