"""Functions drawn from a Gaussian process, with its mean and error bars along one feature (d2l 18.1, 18.3).

Legend: m places, n training points, d features, q outputs, k functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from d2lcli.errors import ConfigError, clean
from d2lcli.generation.opening import open_run
from d2lcli.models.gp import GaussianProcess


@dataclass(frozen=True)
class FunctionModel:
    """A Gaussian process that can be asked.

    Attributes:
        checkpoint: the folder that the parameters came from.
    """

    model: GaussianProcess
    device: torch.device
    checkpoint: Path


@dataclass(frozen=True)
class Drawn:
    """Functions along one feature; lists of numbers in the order of `x`.

    Args:
        feature: which one `x` is; all others are held at their means.
        x: the places, m.
        mean: of the function.
        variance: of the function, the latent one.
        observed_variance: of an observation: the noise is added.
        samples: k functions of m values.
        data: pairs (x, y) that are part of the picture; none of the prior.
        jitter: what had to be added to the diagonal of the covariance to draw from it.
        width: of the bands, in standard deviations to both sides.
    """

    feature: int
    x: list[float]
    mean: list[float]
    variance: list[float]
    observed_variance: list[float]
    samples: list[list[float]]
    data: list[tuple[float, float]]
    jitter: float
    width: float


Draw: TypeAlias = Callable[[GaussianProcess, int], Drawn]
"""From a model and the number of functions."""


def posterior(
    *,
    num_points: int = 200,
    margin: float = 0.1,
    width: float = 2.0,
    feature: int | None = None,
    output: int = 0,
    seed: int = 0,
) -> Draw:
    """Draw functions that agree with the data as far as the noise lets them.

    Args:
        num_points: m, at even distances.
        margin: how far the places go beyond the data, over their range.
        width: of the credible bands, in standard deviations to both sides; 2 is about 95 %.
        feature: the one along which functions are drawn, from 0 on; it must be given where there are several.
        output: the one of several outputs.
        seed: decides the functions.

    Raises:
        ValueError: a number out of range.
    """
    return _drawing(True, num_points, margin, width, feature, output, seed)


def prior(
    *,
    num_points: int = 200,
    margin: float = 0.1,
    width: float = 2.0,
    feature: int | None = None,
    output: int = 0,
    seed: int = 0,
) -> Draw:
    """Draw functions as if no data had been seen, with the fitted parameters and over the range of the data.

    Args and errors are those of `posterior`.
    """
    return _drawing(False, num_points, margin, width, feature, output, seed)


def _drawing(
    informed: bool, num_points: int, margin: float, width: float, feature: int | None, output: int, seed: int
) -> Draw:
    if num_points < 2:
        raise ValueError(f"num_points={num_points!r} must be at least 2")
    if not (0 <= margin <= 100 and 0 < width <= 100):
        raise ValueError(f"margin={margin!r} must be from 0 to 100, and width={width!r} above 0 and at most 100")

    @torch.no_grad()
    def draw(model: GaussianProcess, count: int) -> Drawn:
        along = chosen_feature(feature, model.inputs.shape[1])
        if not 0 <= output < model.targets.shape[1]:
            raise ValueError(f"output={output} is none of the {model.targets.shape[1]} outputs, from 0 on")
        known = model.inputs[:, along]
        low, high = known.min(), known.max()
        beyond = margin * (high - low if high > low else torch.ones_like(low))
        queries = model.inputs.mean(0).repeat(num_points, 1)  # (m, d)
        queries[:, along] = torch.linspace(float(low - beyond), float(high + beyond), num_points).to(queries)
        found = model.posterior() if informed else model.prior()
        mean, variance = found.predict(queries)  # (m, q) each
        samples, jitter = found.sample(queries, count, torch.Generator().manual_seed(seed))  # (k, m, q)
        pairs = torch.stack([known, model.targets[:, output]], 1).tolist() if informed else []
        return Drawn(
            along,
            queries[:, along].tolist(),
            mean[:, output].tolist(),
            variance[:, output].tolist(),
            (variance + found.noise)[:, output].tolist(),
            samples[:, :, output].tolist(),
            [(x, y) for x, y in pairs],
            jitter,
            width,
        )

    return draw


def chosen_feature(feature: int | None, count: int) -> int:
    """The feature to draw along, of `count`.

    Raises:
        ValueError: there is no such feature, or several and none is chosen.
    """
    if feature is None and count > 1:
        raise ValueError(
            f"the model has {count} features: choose one with feature=0 .. {count - 1}; the others stay at their means"
        )
    if not 0 <= (feature or 0) < count:
        raise ValueError(f"feature={feature} is none of the {count} features, from 0 on")
    return feature or 0


def open_function_model(path: Path, values: dict[str, Any], checkpoint: str = "best") -> FunctionModel:
    """A run's Gaussian process from its folder alone: its data are in the checkpoint.

    Raises:
        ConfigError: the run's model is another one.
        CheckpointError: no run, no such checkpoint, or a damaged one.
    """
    run = open_run(path, values, checkpoint)
    shapes = [run.weights[name].shape[-1] if name in run.weights else 1 for name in GaussianProcess.remembered]
    model = run.model((shapes[0],), shapes[1])
    if not isinstance(model, GaussianProcess):
        raise ConfigError(f"{clean(path)}: functions are drawn from a Gaussian process, not {type(model).__name__}")
    return FunctionModel(model, run.device, run.checkpoint)
