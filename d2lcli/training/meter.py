"""What a run measures of itself while it trains: the running loss, the time, the speed; and the rows of its log."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from d2lcli.training.build import Run
from d2lcli.training.logbook import Logbook
from d2lcli.training.state import Position


class Meter:
    """Sums of the logging interval that is under way, and the clock.

    Args:
        run: live objects.
        position: holds the seconds and the sums.
        logbook: where rows go; None in all processes but the first.
    """

    def __init__(self, run: Run, position: Position, logbook: Logbook | None) -> None:
        self.run, self.at, self.logbook = run, position, logbook
        self._deferred: list[tuple[Tensor, int, int, int]] = []  # losses on a device, their sizes, epochs and batches
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

    def defer(self, loss: Tensor, size: int, index: int) -> None:
        """Remember the loss of a batch of `size` examples that a device is still computing."""
        self._deferred.append((loss, size, self.at.epoch, index))

    def read_deferred(self) -> tuple[float, int, int] | None:
        """Wait for the device, and add the remembered losses to the sums, in their order.

        Returns:
            The first loss that is not finite, with the epoch and the number of its batch; None where all are.
        """
        if not self._deferred:
            return None
        deferred, self._deferred = self._deferred, []
        values = torch.stack([loss.double() for loss, *_ in deferred]).tolist()
        for value, (_, size, epoch, index) in zip(values, deferred):
            if not math.isfinite(value):
                return value, epoch, index
            self.at.loss_sum += value * size
            self.at.loss_count += size
        return None

    def recent(self) -> dict[str, Any]:
        """The mean loss of the interval that is under way, or else of the one before."""
        known = sum(float(loss) * size for loss, size, *_ in self._deferred)
        count = self.at.loss_count + sum(size for _, size, *_ in self._deferred)
        return {"loss": (self.at.loss_sum + known) / count} if count else self._shown

    def close_interval(self) -> float:
        """The mean loss over all processes since the last call; the next interval begins."""
        at = self.at
        total, count = at.loss_sum, float(at.loss_count)
        if self.run.strategy.grouped:
            sums = torch.tensor([total, count], dtype=torch.float64, device=self.run.device)
            total, count = self.run.strategy.sum(sums).tolist()
        at.loss_sum, at.loss_count = 0.0, 0
        self._shown = {"loss": total / count}
        return total / count

    def row(self, split: str, values: dict[str, Any]) -> None:
        """Log numbers of this step."""
        speed = self.speed()
        if self.logbook is not None:
            self.logbook.row(self.at.step, self.epochs(), split, values, self.at.seconds)
            self.logbook.scalars(self.at.step, {"speed/examples_per_second": speed})

    def settle(self) -> dict[str, int]:
        """Make the log durable; the sizes of its files."""
        self.lap(training=True)
        return self.logbook.position() if self.logbook is not None else {}
