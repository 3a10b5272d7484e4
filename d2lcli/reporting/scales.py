"""Axes: round numbers for their ticks, short labels, and where a value lies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A range of values on a stretch of pixels.

    Args:
        low, high: of the values; low < high, and above 0 where the scale is logarithmic.
        start, end: pixels of the two.
        log: whether equal ratios are equally long.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        share = ((math.log10(value) if self.log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the range, about five."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def fit(values: Sequence[float], start: float, end: float, log: bool = False) -> Scale:
    """A scale on which all values lie, with a little air; they must be finite, and above 0 where it is logarithmic."""
    low, high = min(values), max(values)
    if log:
        air = (high / low) ** 0.04
        return Scale(low / air, high * air, start, end, True)
    air = 0.05 * (high - low) if high - low > 1e-9 * max(abs(low), abs(high)) else abs(high) or 1.0
    return Scale(low - air, high + air, start, end)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high]: as many as possible, `most` at most."""
    exponent = math.floor(math.log10((high - low) / most))
    for digit, power in ((1, 0), (2, 0), (5, 0), (1, 1), (2, 1)):
        step = float(f"{digit}e{exponent + power}")
        first, last = math.ceil(low / step), math.floor(high / step)
        if 0 <= last - first < most:
            return [float(f"{number * digit}e{exponent + power}") for number in range(first, last + 1)]
    return [low, high]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten within [low, high], with 2 and 5 times them where they are few."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / most))
    powers = [float(f"1e{power}") for power in range(first, last + 1, stride)]
    if len(powers) > 2:
        return powers
    exponents = range(first - 1, last + 1)
    fine = [float(f"{digit}e{power}") for power in exponents for digit in (1, 2, 5)]
    return [value for value in fine if low <= value <= high]


def labels(values: Sequence[float]) -> list[str]:
    """Short numbers for ticks: 0.05, 200, 15k, 2M, 1e-5; those below 0.001 are written as the others are."""
    sizes = [abs(value) for value in values if value]
    plain = bool(sizes) and max(sizes) >= 1e-3 and min(sizes) >= 1e-5
    return [_label(value, plain) for value in values]


def _label(value: float, plain: bool) -> str:
    if plain and abs(value) < 1e-3:
        return f"{value:.5f}".rstrip("0").rstrip(".")
    if value and (abs(value) < 1e-3 or abs(value) >= 1e12):
        mantissa, _, exponent = f"{value:e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:g}"


def figure(value: object) -> str:
    """A measured number for people: five digits; what is no number as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.5g}"


def duration(seconds: float) -> str:
    """A time for people: 0.26 s, 41 s, 3:05 min, 2:10:00 h."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"
