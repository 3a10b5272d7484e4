"""Times of repeated calls: warm-up, many repeats, and the median, best and spread of what was measured."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

Clock = Callable[[], float]
SHORTEST = 2e-4  # seconds of a sample: shorter calls are timed several at once, as the clock itself takes a while
WARM_UP = 0.2  # of the measured seconds
# How to wait for everything that a kind of device was given; a CPU's call ends when its work is done.
SYNCHRONIZE: dict[str, Callable[[], None]] = {"cuda": torch.cuda.synchronize}


@dataclass(frozen=True)
class Spread:
    """What n samples of one figure were.

    Args:
        median: of the samples.
        best: the shortest time or the highest rate.
        low, high: the 10th and the 90th percentile; of several passes, the lowest and the highest of theirs.
        n: how many samples; 0 for a figure that was computed.
        samples: themselves in ascending order, where they are known.
    """

    median: float
    best: float
    low: float
    high: float
    n: int
    samples: tuple[float, ...] = field(default=(), compare=False, repr=False)

    def rate(self, work: float) -> "Spread":
        """Of times: work / time, in units of the work per second.  The longest time is the lowest rate."""
        samples = tuple(work / each for each in reversed(self.samples))
        return Spread(work / self.median, work / self.best, work / self.high, work / self.low, self.n, samples)

    def scaled(self, factor: float) -> "Spread":
        """The same samples in another unit, `factor` of which are one of this."""
        median, best, low, high = (each * factor for each in (self.median, self.best, self.low, self.high))
        return Spread(median, best, low, high, self.n, tuple(each * factor for each in self.samples))

    def joined(self, other: "Spread") -> "Spread":
        """Both passes as one: the median of all samples, and the lower 10th and the higher 90th percentile of the two.

        This one where the samples of either are not known.
        """
        if not self.samples or not other.samples:
            return self
        found = spread(self.samples + other.samples)
        best = min(self.best, other.best) if self.best <= self.median else max(self.best, other.best)
        return replace(found, best=best, low=min(self.low, other.low), high=max(self.high, other.high))


def exactly(value: float) -> Spread:
    """A figure that was computed or counted, not sampled."""
    return Spread(value, value, value, value, 0)


def spread(times: Sequence[float]) -> Spread:
    """Of at least one time.  Percentiles lie on the line between neighbouring samples, as numpy's do."""
    ordered = sorted(times)
    low, median, high = (percentile(ordered, percent) for percent in (10, 50, 90))
    return Spread(median, ordered[0], low, high, len(ordered), tuple(ordered))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the samples lie; they are in ascending order."""
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def time_calls(
    function: Callable[[], object],
    *,
    device: torch.device | None = None,
    seconds: float = 0.5,
    least: int = 10,
    most: int = 1000,
    clock: Clock = time.perf_counter,
    before: Callable[[], object] | None = None,
) -> Spread:
    """The seconds of one call of `function`, after a warm-up: first calls are up to ten times slower.

    Args:
        function: what is timed.
        device: where it computes; on a GPU its own clock is read, and all work is waited for.
        seconds: for all samples together; a call that is slower still is repeated `least` times.
        least, most: how many samples there are.
        clock: of a CPU.  `time.process_time` leaves out what other programs do meanwhile, but adds up all threads, so
            it is right for one thread only.
        before: called before each sample and not timed, to empty a cache.
    """
    on_gpu = device is not None and device.type == "cuda"
    once = _warm_up(function, device, WARM_UP * seconds)
    calls = 1 if before else max(1, math.ceil(SHORTEST / max(once, 1e-9)))
    count = max(least, min(most, int(seconds / max(once * calls, 1e-9))))
    sample = _gpu_sample if on_gpu else _cpu_sample
    times = []
    for _ in range(count):
        if before:
            before()
        times.append(sample(function, calls, clock) / calls)
    return spread(times)


def _warm_up(function: Callable[[], object], device: torch.device | None, seconds: float) -> float:
    """Call until the time has passed, at least twice; the shortest time of a call."""
    wait = SYNCHRONIZE.get(device.type if device else "cpu", lambda: None)
    begin, best, count = time.perf_counter(), math.inf, 0
    while count < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        function()
        wait()
        best, count = min(best, time.perf_counter() - start), count + 1
    return best


def _cpu_sample(function: Callable[[], object], calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        function()
    return clock() - start


def _gpu_sample(function: Callable[[], object], calls: int, clock: Clock) -> float:
    """Between two marks in the GPU's own queue, so that the time that Python takes to fill it does not count."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(calls):
        function()
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000
