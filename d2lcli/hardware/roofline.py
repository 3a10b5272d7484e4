"""The roofline (Williams et al., 2009): at an intensity of I operations a byte at most min(peak, I x bandwidth)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lcli.errors import D2LError
from d2lcli.hardware.bench import GIGA, Bench, Row
from d2lcli.hardware.compute import GPU_LARGE, product, registers
from d2lcli.hardware.measure import Spread, exactly
from d2lcli.hardware.memory import array_bytes, kernels

TOPIC = "roofline"
SIDES = (16, 64, 256, 1024)
TRIAD = 2 / 12  # operations a byte: a multiplication and an addition for three numbers


@dataclass(frozen=True)
class Roof:
    """What a machine can do.

    Args:
        peak: operations a second.
        bandwidth: bytes a second.
    """

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """The intensity, in operations a byte, from which on computing is the limit."""
        return self.peak / self.bandwidth

    def attainable(self, intensity: float) -> float:
        """Operations a second at most."""
        return min(self.peak, intensity * self.bandwidth)


def product_intensity(m: int, k: int, n: int, size: int = 4) -> float:
    """Operations a byte of a product of m x k and k x n numbers of `size` bytes, each read or written once."""
    return 2 * m * k * n / (size * (m * k + k * n + m * n))


def rows(bench: Bench) -> Iterator[Row | str]:
    """The roof of float32, and the triad and products beneath it."""
    size = array_bytes(bench.on_gpu)
    triad, moved = kernels(size, bench.device)["triad"]
    bandwidth = bench.time(triad).rate(moved / GIGA)
    sides = (*SIDES, GPU_LARGE) if bench.on_gpu else SIDES
    products = {n: bench.time(product(bench, n, "fp32")).rate(2 * n**3 / GIGA) for n in sides}
    peaks = [(max(figure.best for figure in products.values()), "matrix product")]
    peaks += [(row.figure.best, row.what) for row in registers(bench) if isinstance(row, Row)]
    peak, name = max(peaks)
    roof = Roof(peak * GIGA, bandwidth.best * GIGA)
    facts: dict[str, float | str] = {"kind": "roof", "peak": roof.peak, "bandwidth": roof.bandwidth}
    yield bench.row(TOPIC, f"peak: the best of {name}", exactly(peak), "GFLOP/s", facts=facts)
    yield bench.row(TOPIC, "bandwidth: the best triad", bandwidth, "GB/s", sizes=f"{size >> 20} MiB arrays")
    yield bench.row(TOPIC, "ridge: above it computing is the limit", exactly(roof.ridge), "FLOP/byte")
    yield _point(bench, roof, "triad", TRIAD, bandwidth.scaled(TRIAD), f"{size >> 20} MiB arrays")
    for n, figure in products.items():
        yield _point(bench, roof, "matrix product", product_intensity(n, n, n), figure, f"{n} x {n}")


def _point(bench: Bench, roof: Roof, what: str, intensity: float, figure: Spread, sizes: str) -> Row:
    most = roof.attainable(intensity)
    limit = "computing" if intensity >= roof.ridge else "memory"
    note = f"{intensity:.3g} FLOP/byte, {figure.median * GIGA / most:.0%} of what {limit} allows"
    facts: dict[str, float | str] = {"kind": "point", "intensity": intensity, "attainable": most}
    return bench.row(TOPIC, what, figure, "GFLOP/s", sizes=sizes, note=note, facts=facts)


def plot_roofline(found: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the roof and the points of rows of this topic into a PNG file.

    Args:
        found: rows as `Row.plain` gives them.
        path: of the picture.

    Raises:
        D2LError: matplotlib is not installed, or there is no roof among the rows.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise D2LError("matplotlib is not installed: no plot", "pip install 'd2lcli[plot]'") from error
    facts = next((row["facts"] for row in found if row["facts"].get("kind") == "roof"), None)
    if facts is None:
        raise D2LError("there is no roofline to plot", "d2l bench roofline --plot")
    roof = Roof(facts["peak"], facts["bandwidth"])
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    ends = [roof.ridge / 256, roof.ridge, roof.ridge * 64]
    axes.loglog(ends, [roof.attainable(end) / 1e9 for end in ends], color="black", label="roof")
    for row in found:
        if row["facts"].get("kind") == "point":
            axes.scatter(row["facts"]["intensity"], row["median"], label=f"{row['what']} {row['sizes']}")
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("GFLOP/s")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120)
    return path
