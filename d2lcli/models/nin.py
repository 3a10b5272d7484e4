"""Network in network (Lin et al., 2013; d2l 8.3).

n examples, c channels, s the side of the square image.
"""

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive


def nin_block(
    in_channels: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 0, final_relu: bool = True
) -> nn.Sequential:
    """A convolution, then two 1 x 1 convolutions: a small perceptron at each place.  ReLU after each.

    (n, in_channels, h, w) -> (n, channels, ., .), where (h + 2 padding - kernel) // stride + 1 is left of h.

    Args:
        in_channels: channels of the input.
        channels: channels of the three convolutions.
        kernel: the side of the first convolution's kernel.
        stride: of the first convolution.
        padding: zeros on each side of the input.
        final_relu: whether a ReLU follows the last convolution too.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if final_relu else nn.Sequential(*layers)


class NiN(nn.Module):
    """Four blocks with max pooling between them; the last gives one map for each class, whose mean is the logit.

    The arguments are those of `nin`.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float, final_relu: bool) -> None:
        super().__init__()
        self.block1 = nin_block(in_channels, 96, 11, stride=4)
        self.block2 = nin_block(96, 256, 5, padding=2)
        self.block3 = nin_block(256, 384, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.dropout = nn.Dropout(dropout)
        self.block4 = nin_block(384, num_classes, 3, padding=1, final_relu=final_relu)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)  # the book's choice

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.block1(images))  # sides at 224 x 224: 54, then 26
        x = self.pool(self.block2(x))  # (n, 256, 12, 12)
        x = self.pool(self.block3(x))  # (n, 384, 5, 5)
        x = self.block4(self.dropout(x))  # (n, num_classes, 5, 5)
        logits: Tensor = self.avgpool(x).flatten(1)  # (n, num_classes)
        return logits


def nin(*, in_channels: int = 3, num_classes: int = 1000, dropout: float = 0.5, final_relu: bool = True) -> nn.Module:
    """NiN: 7,439,608 parameters, 1,992,166 with one channel and ten classes.  Images of at least 67 x 67.

    Args:
        in_channels: c.
        num_classes: the number of logits.
        dropout: the probability of a zero before the last block.
        final_relu: whether the last block ends in a ReLU, as published and in the book; no logit is below 0 then.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_channels=in_channels, num_classes=num_classes)
    return NiN(in_channels, num_classes, dropout, final_relu)
