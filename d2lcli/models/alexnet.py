"""AlexNet: as in the book (d2l 8.1), as published (Krizhevsky et al., 2012), and as in torchvision.

n examples, c channels, s the side of the square image.  A convolution or pooling with kernel k, stride t and padding p
leaves (s + 2p - k) // t + 1 of s.
"""

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive

HIDDEN = 4096


class AlexNet(nn.Module):
    """Five convolutions, three max poolings, three linear layers.

    Args:
        features: the convolutions and poolings, (n, c, s, s) -> (n, 256, ., .).
        avgpool: what fixes the side of the last maps, or the identity.
        classifier: the linear layers, (n, 256 side^2) -> (n, num_classes).
    """

    def __init__(self, features: nn.Sequential, avgpool: nn.Module, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.avgpool = avgpool
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        x = self.avgpool(self.features(images)).flatten(1)  # (n, 256 side^2)
        logits: Tensor = self.classifier(x)  # (n, num_classes)
        return logits


def _final_side(name: str, image_size: int, padding: int) -> int:
    """The side of the maps after the last pooling, or an error where nothing is left of the image."""
    side = (image_size + 2 * padding - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    if side < 1:
        # From the end: a side of 3 before the third pooling, 7 before the second, 15 before the first.
        smallest = 11 + 4 * 14 - 2 * padding
        raise ValueError(f"{name} needs images of at least {smallest} x {smallest}, but image_size is {image_size}.")
    return side


def _classifier(side: int, num_classes: int, dropout: float) -> nn.Sequential:
    """(n, 256 side^2) -> (n, num_classes)."""
    return nn.Sequential(
        nn.Linear(256 * side * side, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, num_classes),
    )


def alexnet(*, in_channels: int = 3, num_classes: int = 1000, image_size: int = 224, dropout: float = 0.5) -> nn.Module:
    """The book's AlexNet: 50,844,008 parameters, 46,764,746 with one channel and ten classes.  Xavier uniform weights.

    Args:
        in_channels: c.
        num_classes: the number of logits.
        image_size: s; the first linear layer grows with it.
        dropout: the probability of a zero after each hidden linear layer.

    Raises:
        ValueError: a size is below 1, or the image smaller than 65 x 65.
    """
    require_positive(in_channels=in_channels, num_classes=num_classes, image_size=image_size)
    side = _final_side("alexnet", image_size, padding=1)
    features = nn.Sequential(  # sides at 224 x 224
        nn.Conv2d(in_channels, 96, 11, stride=4, padding=1),  # 54
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 26
        nn.Conv2d(96, 256, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 12
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 5
    )
    model = AlexNet(features, nn.Identity(), _classifier(side, num_classes, dropout))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return model


def alexnet_2012(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    grouped: bool = True,
    dropout: float = 0.5,
) -> nn.Module:
    """The published AlexNet: 60,965,224 parameters, with local response normalisation after the first two convolutions.

    The first convolution is padded by 2, which makes the published 55 x 55 maps of 224 x 224 images.  Weights are drawn
    from N(0, 0.01^2); biases are 1 in convolutions 2, 4, 5 and the hidden linear layers, so that their units start
    alive, and 0 elsewhere.

    Args:
        in_channels: c.
        num_classes: the number of logits.
        image_size: s; the first linear layer grows with it.
        grouped: convolutions 2, 4 and 5 see half of the channels each, the halves that lay on the paper's two GPUs;
            without it there are 62,378,344 parameters.
        dropout: the probability of a zero after each hidden linear layer.

    Raises:
        ValueError: a size is below 1, or the image smaller than 63 x 63.
    """
    require_positive(in_channels=in_channels, num_classes=num_classes, image_size=image_size)
    side = _final_side("alexnet_2012", image_size, padding=2)
    groups = 2 if grouped else 1
    features = nn.Sequential(  # sides at 224 x 224
        nn.Conv2d(in_channels, 96, 11, stride=4, padding=2),  # 55
        nn.ReLU(inplace=True),
        _response_norm(),
        nn.MaxPool2d(3, stride=2),  # 27
        nn.Conv2d(96, 256, 5, padding=2, groups=groups),
        nn.ReLU(inplace=True),
        _response_norm(),
        nn.MaxPool2d(3, stride=2),  # 13
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, padding=1, groups=groups),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1, groups=groups),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 6
    )
    model = AlexNet(features, nn.Identity(), _classifier(side, num_classes, dropout))
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, bias in zip(layers, (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(layer.get_parameter("bias"), bias)
    return model


def _response_norm() -> nn.Module:
    """x / (2 + 1e-4 sum of x^2 over 5 neighbouring channels)^0.75; torch divides its alpha by the 5, the paper not."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def alexnet_tv(*, in_channels: int = 3, num_classes: int = 1000, dropout: float = 0.5) -> nn.Module:
    """torchvision's AlexNet (Krizhevsky, 2014): 61,100,840 parameters, 0.714 billion multiply-adds at 224 x 224.

    The layout, the names and shapes of all tensors and the initial weights are torchvision's.  The last maps are
    averaged to 6 x 6, so that images of any size from 63 x 63 fit.

    Args:
        in_channels: c.
        num_classes: the number of logits.
        dropout: the probability of a zero before each hidden linear layer.

    Raises:
        ValueError: a size is below 1.
    """
    require_positive(in_channels=in_channels, num_classes=num_classes)
    features = nn.Sequential(  # sides at 224 x 224
        nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),  # 55
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 27
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 13
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),  # 6
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(256 * 6 * 6, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, num_classes),
    )
    return AlexNet(features, nn.AdaptiveAvgPool2d(6), classifier)
