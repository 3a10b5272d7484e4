"""Squeeze-and-excitation (Hu et al., 2018).

n examples, c channels, h x w the size of a map.
"""

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """x * sigmoid(fc2(relu(fc1(mean of each channel)))): each channel is scaled by what all channels hold.

    (n, c, h, w) -> (n, c, h, w).  Names of tensors as in torchvision.

    Args:
        channels: c.
        squeezed: channels between the two 1 x 1 convolutions.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(self.relu(self.fc1(self.avgpool(x))))  # (n, c, 1, 1)
        scaled: Tensor = x * self.sigmoid(scale)
        return scaled
