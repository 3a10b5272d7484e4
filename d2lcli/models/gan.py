"""The toy generative adversarial network: points of a Gaussian from a linear generator (d2l 20.1).

n examples, d features, k numbers of noise for each.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from d2lcli.nn.adversaries import Adversaries
from d2lcli.nn.checks import require_positive


def gan(*, in_features: int = 2, latent: int = 2, hidden: Sequence[int] = (5, 3), std: float = 0.02) -> Adversaries:
    """G(z) = z W + b, and a perceptron with tanh as D, every parameter from N(0, std^2).

    A linear generator of Gaussian noise makes a Gaussian: mean b and covariance W^T W.

    Args:
        in_features: d.
        latent: k; with fewer than d the points lie in a plane.
        hidden: the widths of the discriminator's hidden layers.
        std: of all parameters at the beginning, above 0.

    Raises:
        ValueError: a size is below 1, or std is not above 0.
    """
    require_positive(in_features=in_features, latent=latent, **{f"hidden[{i}]": h for i, h in enumerate(hidden)})
    if not 0 < std < float("inf"):
        raise ValueError(f"std must be above 0 and finite, but it is {std}.")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([in_features, *hidden]):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    discriminator = nn.Sequential(*layers, nn.Linear([in_features, *hidden][-1], 1))  # (n, d) -> (n, 1)
    model = Adversaries(nn.Linear(latent, in_features), discriminator, (latent,), (in_features,))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model
