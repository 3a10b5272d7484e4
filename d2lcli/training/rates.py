"""The learning rate of a config over a whole run, without training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from d2lcli.parallel.single import Single
from d2lcli.training.build import build_schedule, count_updates
from d2lcli.training.data import build_data, make_loader
from d2lcli.training.figures import new_figure


@dataclass(frozen=True)
class Rates:
    """Rates by step.

    Args:
        scheduler: its name.
        interval: "epoch" or "step": what `steps` counts.
        steps: 0, 1, ... of the whole run.
        rates: the learning rate in use at each.
    """

    scheduler: str
    interval: str
    steps: list[int]
    rates: list[float]

    def landmarks(self, most: int = 12) -> list[tuple[int, float]]:
        """A few steps and their rates, from the first to the last, evenly spaced; the highest rate among them."""
        last = len(self.steps) - 1
        chosen = {round(i * last / (most - 1)) for i in range(most)} if last else {0}
        chosen.add(self.rates.index(max(self.rates)))
        return [(self.steps[i], self.rates[i]) for i in sorted(chosen)]


def learning_rates(values: Mapping[str, Any]) -> Rates:
    """The rates of a checked config.  The data is loaded where its size decides how many updates there are.

    Raises:
        ConfigError: the schedule refuses its options.
        DataError: the data is missing or damaged.
    """
    interval = values["scheduler"]["interval"]
    if interval == "epoch" and values["steps"] is None:
        per_epoch, total = 1, values["epochs"]
    else:
        per_epoch, total = _updates(values)
    schedule = build_schedule(values, total, per_epoch)
    count = total if interval == "step" else -(-total // per_epoch)
    steps = list(range(count))
    return Rates(values["scheduler"]["name"], interval, steps, [schedule(step) for step in steps])


def _updates(values: Mapping[str, Any]) -> tuple[int, int]:
    """Updates of one pass over the data, and of the run."""
    device = torch.device("cpu")
    loader = make_loader(values, build_data(values), "train", device, Single(), training=True)
    return count_updates(values, len(loader))


def plot_rates(found: Rates, path: Path) -> Path:
    """Draw the rates into a PNG file.

    Raises:
        D2LError: matplotlib is not installed.
    """
    figure = new_figure()
    unit = "epoch" if found.interval == "epoch" else "update"
    axes = figure.add_subplot(xlabel=unit, ylabel="learning rate", title=found.scheduler)
    if found.interval == "epoch":
        ends = [*found.steps, found.steps[-1] + 1]
        axes.step(ends, [*found.rates, found.rates[-1]], where="post")
    else:
        axes.plot(found.steps, found.rates)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)
    return path
