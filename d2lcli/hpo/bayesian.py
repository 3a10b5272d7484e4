"""Bayesian optimisation with a Gaussian process (Mockus, 1974; Jones et al., 1998; d2l 18, 19.1).

Legend: n results, m candidates, d coordinates of a configuration, and one more for the rung where there are several.
"""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Literal

from d2lcli.hpo.random import random
from d2lcli.hpo.search import Suggest, Trial
from d2lcli.hpo.space import Configuration, Space, check_space, check_trial
from d2lcli.hpo.unit_cube import UnitCube

if TYPE_CHECKING:
    from torch import Tensor

    from d2lcli.hpo.acquisition import Acquisition
    from d2lcli.nn.gaussian_process import Posterior

MOST_RESULTS = 300  # the fit takes n^3; the highest rungs and the latest trials are kept
CANDIDATES = 1024  # drawn from the whole space
AROUND = 256  # candidates near the best ones, in each round
SCALES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.004, 0.0015, 0.0005)  # how near, round by round
KEPT = 8  # candidates that the next round looks around
BAD = 20.0  # a value further above the best than so many times the median's distance is told as that


def bayesian(
    space: Space,
    acquisition: Literal["log_ei", "ei", "lcb", "pi"] = "log_ei",
    num_initial: int = 5,
    kappa: float = 2.0,
    kernel: Literal["matern52", "matern32", "rbf"] = "matern52",
    seed: int = 0,
) -> Suggest:
    """The point with the largest acquisition under a Gaussian process of all results so far.

    Results of several rungs are told apart by one more coordinate, and the acquisition looks at the last rung.  Trials
    that are still running count as if they had given what is expected of them, so that workers try different points.  A
    trial that failed counts as the worst one.

    Args:
        space: the dimensions by name.
        acquisition: ei is E[max(f - y, 0)] and log_ei its logarithm, pi P(y < f), lcb kappa sigma - mu.
        num_initial: trials that are drawn at random before.
        kappa: of lcb, at least 0.
        kernel: of the Gaussian process, with a lengthscale for each coordinate.
        seed: at least 0.

    Raises:
        ValueError: the space is empty, or a number is out of range.
    """
    check_space(space)
    if num_initial < 1:
        raise ValueError(f"num_initial={num_initial!r} must be at least 1")
    if not 0 <= kappa < float("inf"):
        raise ValueError(f"kappa={kappa!r} must be at least 0")
    drawn, cube = random(space, seed), UnitCube(space)

    def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
        check_trial(trial)
        ended = sum(bool(each.values) for each in trials)
        if trial < num_initial or ended < 2:
            return drawn(trial, trials)
        from d2lcli.hpo import acquisition as acquisitions

        chosen: Acquisition = acquisitions.lcb(kappa) if acquisition == "lcb" else getattr(acquisitions, acquisition)
        return _suggest(cube, trials, chosen, kernel, Random(f"{seed}/{trial}/bayesian"))

    return suggest


def _suggest(
    cube: UnitCube, trials: Sequence[Trial], acquisition: "Acquisition", kernel: str, rng: Random
) -> Configuration:
    """Fit, and climb the acquisition."""
    import torch

    from d2lcli.nn.gaussian_process import condition, fit, moments

    x, y, top = _results(cube, trials)
    fitted = fit(x, y, kernel, restarts=2, candidates=4, log_prior=_log_prior, seed=rng.randrange(2**31))
    posterior = fitted.posterior
    waiting = [cube.point(trial.config) for trial in trials if trial.running is not None and not trial.failed]
    if waiting:
        pending = _at(waiting, top)
        believed = posterior.predict(pending)[0][:, 0]
        shift, scale = moments(y[:, None])
        more = torch.cat([y, believed])[:, None]
        posterior = condition(posterior.kernel, fitted.raw, torch.cat([x, pending]), more, shift, scale)
    known = _at([cube.point(trial.config) for trial in trials if trial.values], top)
    best = float(posterior.predict(known)[0].min())
    return _climb(cube, posterior, acquisition, best, top, known, rng)


def _log_prior(values: "Tensor") -> "tuple[float, Tensor]":
    """Of a variance a, lengthscales l and the variance of the noise v: where ten results leave them open.

    log a - a + sum_j -0.1 (l_j^2 + l_j^-2) + 0.1 log v - 30 v, up to a constant; as in Optuna's GPSampler.
    """
    import torch

    a, lengths, v = values[0], values[1:-1], values[-1]
    squares = lengths.square()
    density = float(a.log() - a - 0.1 * (squares + 1 / squares).sum() + 0.1 * v.log() - 30 * v)
    slopes = -0.2 * (lengths - 1 / (lengths * squares))
    return density, torch.cat([(1 / a - 1)[None], slopes, (0.1 / v - 30)[None]])


def _results(cube: UnitCube, trials: Sequence[Trial]) -> "tuple[Tensor, Tensor, float | None]":
    """x (n, d), y (n,) and the coordinate of the last rung; None where all results are of one rung."""
    import torch

    rungs = sorted({rung for trial in trials for rung in trial.values})
    place = {rung: index / max(1, len(rungs) - 1) for index, rung in enumerate(rungs)}
    several = len(rungs) > 1
    rows = [
        (rung, trial.number, [*cube.point(trial.config), *([place[rung]] if several else [])], value)
        for trial in trials
        for rung, value in trial.values.items()
    ]
    rows = sorted(rows, key=lambda row: row[:2])[-MOST_RESULTS:]
    values = [row[3] for row in rows]
    best, middle = min(values), sorted(values)[len(values) // 2]
    limit = best + BAD * max(middle - best, 1e-12)
    points = [row[2] for row in rows]
    for trial in trials:
        if trial.failed:
            points.append([*cube.point(trial.config), *([1.0] if several else [])])
            values.append(max(values))
    x = torch.tensor(points, dtype=torch.float64)
    y = torch.tensor(values, dtype=torch.float64).clamp_max(limit)
    return x, y, 1.0 if several else None


def _at(points: Sequence[Sequence[float]], top: float | None) -> "Tensor":
    """Points (m, d) with the coordinate of the last rung behind."""
    import torch

    return torch.tensor([[*point, *([] if top is None else [top])] for point in points], dtype=torch.float64)


def _climb(
    cube: UnitCube,
    posterior: "Posterior",
    acquisition: "Acquisition",
    best: float,
    top: float | None,
    known: "Tensor",
    rng: Random,
) -> Configuration:
    """The best of candidates from everywhere, then of ever nearer ones around the best.

    Every candidate is the point of a real configuration, so that integers and choices need no rounding at the end.
    """
    import torch

    def value(points: list[list[float]]) -> list[tuple[float, list[float]]]:
        mean, variance = posterior.predict(_at(points, top))
        found = acquisition(mean[:, 0], variance[:, 0].clamp_min(1e-18).sqrt(), best)
        return sorted(zip(torch.nan_to_num(found, nan=-1e300).tolist(), points), reverse=True)

    def real(point: Sequence[float]) -> list[float]:
        return cube.point(cube.config(point))

    order = posterior.predict(known)[0][:, 0].argsort()[:KEPT].tolist()
    leading = [known[index].tolist()[: cube.size] for index in order]
    points = [real([rng.random() for _ in range(cube.size)]) for _ in range(CANDIDATES)]
    kept = value(points + leading)[:KEPT]
    for scale in SCALES:
        near = [
            real([each + rng.gauss(0, scale) * (rng.random() < max(0.3, 2 / cube.size)) for each in point])
            for _ in range(AROUND // KEPT)
            for _, point in kept
        ]
        kept = sorted(kept + value(near), reverse=True)[:KEPT]
    tried = {tuple(point) for point in known[:, : cube.size].tolist()}
    fresh = [point for _, point in kept if tuple(point) not in tried]
    return cube.config(fresh[0] if fresh else real([rng.random() for _ in range(cube.size)]))
