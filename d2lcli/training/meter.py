"""What a run measures of itself while it trains: the running loss, the time, the speed; and the rows of its log."""

import time
from typing import Any

import torch

from d2lcli.training.build import Run
from d2lcli.training.logbook import Logbook
from d2lcli.training.state import Position


class Meter:
    """Sums of the logging interval that is under way, and the clock.

    Args:
        run: live objects.
        position: holds the seconds; the sums come from it and go back to it when a snapshot is taken.
        logbook: where rows go; None in all processes but the first.
    """

    def __init__(self, run: Run, position: Position, logbook: Logbook | None) -> None:
        self.run, self.at, self.logbook = run, position, logbook
        self.loss_sum: Any = position.loss_sum  # a number on the CPU, a tensor on a GPU: nobody waits for it
        self._shown: dict[str, Any] = {}
        self._clock = time.perf_counter()

    def start(self) -> None:
        """Begin to count time."""
        self._clock = time.perf_counter()

    def lap(self, *, training: bool) -> None:
        """Take the time since the last call into the position."""
        now = time.perf_counter()
        spent, self._clock = now - self._clock, now
        self.at.seconds += spent
        self.at.train_seconds += spent if training else 0.0

    def epochs(self) -> float:
        """Passes over the training data, with the fraction of the one that is under way."""
        return self.at.epoch + self.at.batch / len(self.run.train)

    def speed(self) -> float:
        """Training examples per second, over the whole run."""
        self.lap(training=True)
        at, loader = self.at, self.run.train
        seen = at.epoch * len(loader.split) + min(at.batch * loader.batch_size, len(loader.split))
        return seen / at.train_seconds if at.train_seconds else 0.0

    def recent(self) -> dict[str, Any]:
        """The mean loss of the interval that is under way, or else of the one before."""
        count = self.at.loss_count
        return {"loss": float(self.loss_sum) / count} if count else self._shown

    def close_interval(self) -> float:
        """The mean loss over all processes since the last call; the next interval begins."""
        at = self.at
        total, count = float(self.loss_sum), float(at.loss_count)
        if self.run.strategy.world_size > 1:
            sums = torch.tensor([total, count], dtype=torch.float64, device=self.run.device)
            total, count = self.run.strategy.sum(sums).tolist()
        self.loss_sum, at.loss_sum, at.loss_count = 0.0, 0.0, 0
        self._shown = {"loss": total / count}
        return total / count

    def row(self, split: str, values: dict[str, Any]) -> None:
        """Log numbers of this step."""
        speed = self.speed()
        if self.logbook is not None:
            self.logbook.row(self.at.step, self.epochs(), split, values, self.at.seconds)
            self.logbook.scalars(self.at.step, {"speed/examples_per_second": speed})

    def settle(self) -> dict[str, int]:
        """Put the sums into the position and make the log durable; the sizes of its files."""
        self.lap(training=True)
        self.at.loss_sum = float(self.loss_sum)
        return self.logbook.position() if self.logbook is not None else {}
