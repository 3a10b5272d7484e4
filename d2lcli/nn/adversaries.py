"""The two networks of a generative adversarial network (Goodfellow et al., 2014; d2l 20.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Adversaries(nn.Module):
    """A generator, which makes examples out of noise, and a discriminator, which tells them from real ones.

    Args:
        generator: noise (n, *latent_shape) -> examples (n, *shape).
        discriminator: examples -> scores (n, 1), the logits of being real.
        latent_shape: of the noise of one example.
        shape: of one example; kept with the weights, so that a checkpoint tells what its generator makes.
    """

    shape: Tensor

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent_shape: Sequence[int], shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.latent_shape = tuple(latent_shape)
        self.register_buffer("shape", torch.tensor(shape))

    def forward(self, noise: Tensor) -> Tensor:
        """What the generator makes of noise."""
        made: Tensor = self.generator(noise)
        return made
