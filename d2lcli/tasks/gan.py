"""Generative adversarial networks: a discriminator and a generator take turns (Goodfellow et al., 2014; d2l 20).

n examples, x real ones, z noise, D(x) the probability that x is real, G(z) what the generator makes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from d2lcli.errors import ConfigError
from d2lcli.tasks.frechet import Moments
from d2lcli.tasks.losses import full_precision
from d2lcli.tasks.metrics import Mean, Metric
from d2lcli.tasks.pictures import image_grid, scatter, to_pixels
from d2lcli.tasks.supervised import Batch, Loss, Supervised

BLOCK = 256  # examples whose noise is drawn together
SHOWN = 64
POINTS = 1000


class Judged(NamedTuple):
    """What an evaluation finds of n examples: made ones, and the losses of both networks (n,)."""

    made: Tensor
    discriminator: Tensor
    generator: Tensor


class Gan(Supervised):
    """A batch is (real examples, whatever else the data has), and has two losses, each for one network's turn.

    The discriminator's: half of -log D(x) - log(1 - D(G(z))), with G(z) detached, so that the generator has no part in
    it.  Then the generator's, which does not saturate: -log D(G(z)), of the same G(z).  In the generator's turn the
    discriminator's parameters need no gradient, and its running statistics stay as they are.

    The model has `generator`, `discriminator` and `latent_shape`, see `d2lcli.nn.adversaries`.

    Attributes:
        noted: of the last update, before its steps: both losses, and the mean of D(x) and of D(G(z)).
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric], seed: int) -> None:
        super().__init__(loss, metrics)
        if getattr(loss, "func", loss).__name__ != "binary_cross_entropy":
            raise ValueError("loss must be binary_cross_entropy: a discriminator answers yes or no")
        for metric in metrics:
            if not isinstance(metric, Moments | LossOf):
                known = "frechet_distance, generated_moments, discriminator_loss, generator_loss"
                raise ValueError(f"metric '{metric.name}' compares outputs with targets; for a GAN are {known}")
        self.seed = seed
        self.noted: dict[str, float | Tensor] = {}
        self._range = (-1.0, 1.0)
        self._points: Tensor | None = None
        self._seen = 0

    def bind(self, dataset: Any, device: torch.device) -> None:
        """Learn in what range pixels lie, or what points to show beside those that are made."""
        prepare, inputs = dataset.train.prepare, dataset.train.inputs
        if len(dataset.shape) == 3 and prepare is not None:
            mean, std = prepare.mean[0], prepare.std[0]
            self._range = (-mean / std, (1 - mean) / std)
        elif len(dataset.shape) == 1:
            points = inputs[:POINTS] if prepare is None else prepare(inputs[:POINTS])
            self._points = points.to(device)

    # Training.

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[Tensor]:
        """The discriminator's loss, then, once that has had its step, the generator's."""
        real = batch[0]
        if len(batch) > 2:
            raise ConfigError("data.deployed weighs the examples, and a GAN has no place for weights")
        pair = _pair(model)
        made = self._make(pair, torch.randn(len(real), *pair.latent_shape, device=real.device, dtype=real.dtype), real)
        on_real, on_made = pair.discriminator(real), pair.discriminator(made.detach())
        loss_d = (self._loss(on_real, True) + self._loss(on_made, False)) / 2
        if loss_d.requires_grad:  # no turn for a network that is frozen
            yield loss_d
        with _left_alone(pair.discriminator):
            loss_g = self._loss(pair.discriminator(made), True)
        probabilities = torch.stack([on_real, on_made]).detach().float().sigmoid().flatten(1).mean(1)
        self.noted = {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}
        self.noted |= {"d_real": probabilities[0], "d_fake": probabilities[1]}
        if loss_g.requires_grad:
            yield loss_g

    def train_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """There is no such loss.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a GAN has two losses, one for each network's turn, and none of both together")

    def _loss(self, scores: Tensor, real: bool, reduction: str = "mean") -> Tensor:
        """-log D for what is to be called real, -log(1 - D) for what is not."""
        return self.loss(scores, torch.full_like(scores, float(real)), reduction=reduction)

    def _make(self, pair: Any, noise: Tensor, real: Tensor) -> Tensor:
        """G(z), in the shape of the real examples.

        Raises:
            ConfigError: the generator makes examples of another shape.
        """
        made: Tensor = pair.generator(noise)
        if made.shape[1:] != real.shape[1:]:
            sizes = (" x ".join(map(str, each.shape[1:])) for each in (made, real))
            raise ConfigError("the model makes examples of {}, and those of the data are {}".format(*sizes))
        return made

    # Evaluation.

    def begin_evaluation(self) -> None:
        """Count examples from the first one on."""
        self._seen = 0

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Any, Tensor]:
        """The sum of both losses for each example (n,), what was found (`Judged`), and the real examples.

        An example's noise is a function of the seed and of its number in the split: the same in every evaluation.
        """
        real, pair = batch[0], _pair(model)
        noise = latent_noise(self.seed, self._seen, len(real), pair.latent_shape).to(real)
        self._seen += len(real)
        made = full_precision(self._make(pair, noise, real))
        on_real, on_made = pair.discriminator(real), pair.discriminator(made)
        of_d = (self._loss(on_real, True, "none") + self._loss(on_made, False, "none")) / 2
        of_g = self._loss(on_made, True, "none")
        return of_d + of_g, Judged(made, of_d, of_g), real

    def update(self, metric: Metric, outputs: Any, targets: Any) -> None:
        """Show a metric what it is about: the losses of one network, or made and real examples."""
        if isinstance(metric, LossOf):
            metric.update(getattr(outputs, metric.network), targets)
        else:
            metric.update(outputs.made, targets)

    def picture(self, model: nn.Module) -> Tensor:
        """What the generator makes of noise that stays the same: 64 images, or points beside real ones."""
        count = SHOWN if self._points is None else POINTS
        made = generate(model, latent_noise(self.seed, 0, count, _pair(model).latent_shape))
        if self._points is None:
            return image_grid(to_pixels(made, *self._range))
        return scatter(self._points.cpu(), made)


class LossOf(Mean):
    """The mean loss of one network."""

    def __init__(self, name: str, network: str) -> None:
        super().__init__(name, self._losses, higher_is_better=False, at_least=0)
        self.network = network

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.ndim != 1:
            raise ConfigError(f"metric '{self.name}' is the loss of a network of a GAN: it is for task=gan")
        return outputs


def _pair(model: Any) -> Any:
    """The two networks, also where the whole is compiled."""
    return getattr(model, "_orig_mod", model)


@contextmanager
def _left_alone(network: nn.Module) -> Iterator[None]:
    """A block in which a network passes gradients on, but neither its parameters nor its buffers take part."""
    learning = [each for each in network.parameters() if each.requires_grad]
    tracking = [layer for layer in network.modules() if getattr(layer, "track_running_stats", False)]
    for parameter in learning:
        parameter.requires_grad_(False)
    for layer in tracking:
        layer.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for layer in tracking:
            layer.track_running_stats = True  # type: ignore[assignment]


def latent_noise(seed: int, start: int, count: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise (count, *shape) of examples `start`, `start` + 1, ...: each a function of its number."""
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    drawn = [
        torch.randn(BLOCK, *shape, generator=torch.Generator().manual_seed((seed << 24) + block))
        for block in range(first, last + 1)
    ]
    return torch.cat(drawn)[start - first * BLOCK :][:count]


@torch.no_grad()
def generate(model: nn.Module, noise: Tensor) -> Tensor:
    """G(z) in evaluation mode for noise (n, ...), which may be on another device, in blocks."""
    pair = _pair(model)
    training, like = pair.training, next(pair.generator.parameters())
    pair.eval()
    try:
        return torch.cat([pair.generator(block.to(like)).cpu() for block in torch.split(noise, SHOWN)])
    finally:
        pair.train(training)


def discriminator_loss() -> Metric:
    """The mean of -log D(x) / 2 - log(1 - D(G(z))) / 2; ln 2 = .693 for one that can but guess."""
    return LossOf("discriminator_loss", "discriminator")


def generator_loss() -> Metric:
    """The mean of -log D(G(z)); ln 2 = .693 where the discriminator can but guess."""
    return LossOf("generator_loss", "generator")


def gan(loss: Loss, metrics: Sequence[Metric] = (), seed: int = 0) -> Gan:
    """The task of learning to make examples that a discriminator takes for real ones.

    Args:
        loss: of a score and whether it is of a real example, `d2lcli.tasks.losses.binary_cross_entropy`.
        metrics: such as `d2lcli.tasks.frechet.frechet_distance()`.
        seed: decides the noise of evaluations and pictures; that of training comes from the run's own seed.

    Raises:
        ValueError: another loss, two metrics of one name, or a negative seed.
    """
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"seed={seed!r} must be from 0 to 2^32 - 1")
    return Gan(loss, metrics, seed)
