"""What every topic is given, and the rows that it gives back."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from d2lcli.hardware.measure import Clock, Spread, time_calls

GIGA = 1e9
TYPES = {
    "fp64": torch.float64, "fp32": torch.float32, "tf32": torch.float32,
    "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        topic: of `topics.TOPICS`.
        what: was measured.
        figure: in `unit`.
        unit: "GFLOP/s", "us", ...
        workers: "2 threads", "4 ranks".
        dtype: of the numbers.
        sizes: of what was computed with.
        device: "cpu", "cuda:0".
        source: the figure of the book for this, on its machine; empty where it has none.
        note: what else there is to know.
        model: the figure is computed by a formula, not measured.
        detail: one of many of its kind: it goes into the profile, but not into a table.
        facts: the sizes and the figure's parts as numbers, for those who compute with the row.
    """

    topic: str
    what: str
    figure: Spread
    unit: str
    workers: str = ""
    dtype: str = "fp32"
    sizes: str = ""
    device: str = "cpu"
    source: str = ""
    note: str = ""
    model: bool = False
    detail: bool = False
    facts: Mapping[str, float | str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON, the figure's parts beside the rest."""
        fields: dict[str, Any] = asdict(self)
        figure: dict[str, Any] = fields.pop("figure")
        del figure["samples"]
        return fields | figure


@dataclass(frozen=True)
class Bench:
    """How to measure.

    Args:
        device: what is measured.
        threads: of the CPU, in each process.
        processes: how many compute together in the topics about several.
        cores: that this process may use.
        quick: fewer sizes and repeats.
        seconds: for the samples of one row.
        share: of them and of the repeats, that is spent now; a row is measured in several passes.
        clock: of the CPU.
        load: gives a function that reads a pass of training examples with the product's own loader, and how many they
            are; None where nobody can.
        peak: operations a second, by type, that are known so far: filled by the topics that measure them.
        affordable: sides of the largest matrices, by type, that are known to fit into the time of a row.
    """

    device: torch.device
    threads: int = 1
    processes: int = 1
    cores: int = 1
    quick: bool = True
    seconds: float = 0.1
    share: float = 1.0
    clock: Clock = time.perf_counter
    load: Callable[[], tuple[Callable[[], object], int]] | None = None
    peak: dict[str, float] = field(default_factory=dict)
    affordable: dict[str, int] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def workers(self) -> str:
        """In words, for a row of one process."""
        if self.on_gpu:
            return "1 GPU"
        return f"{self.threads} thread{'s' if self.threads != 1 else ''}"

    @property
    def oversubscribed(self) -> bool:
        """More processes than there is hardware for: their times say nothing about scaling."""
        return self.processes > (torch.cuda.device_count() if self.on_gpu else self.cores)

    def time(
        self,
        function: Callable[[], object],
        before: Callable[[], object] | None = None,
        *,
        seconds: float = 0.0,
        most: int = 0,
    ) -> Spread:
        """Seconds of a call, of at least five samples in all passes together, or ten where there is time.

        Args:
            function: what is timed.
            before: called before each sample, and not timed.
            seconds, most: for all samples, and how many there are at most, where they are not those of other rows.
        """
        least = 5 if self.quick else 10
        return time_calls(
            function, device=self.device, seconds=(seconds or self.seconds) * self.share,
            least=max(2, math.ceil(least * self.share)), most=math.ceil((most or 40 * least) * self.share),
            clock=self.clock, before=before,
        )  # fmt: skip

    def row(
        self,
        topic: str,
        what: str,
        figure: Spread,
        unit: str,
        *,
        dtype: str = "fp32",
        sizes: str = "",
        workers: str = "",
        source: str = "",
        note: str = "",
        detail: bool = False,
        facts: Mapping[str, float | str] | None = None,
    ) -> Row:
        """A row of this device, by default of one process."""
        return Row(
            topic, what, figure, unit, workers or self.workers, dtype, sizes, str(self.device), source, note,
            detail=detail, facts=facts or {},
        )  # fmt: skip

    def random(self, *shape: int, dtype: str = "fp32") -> torch.Tensor:
        """Numbers to compute with: never zeros, with which some hardware is faster."""
        kind = TYPES[dtype]
        if kind == torch.int8:
            return torch.randint(-127, 128, shape, dtype=kind, device=self.device)
        return torch.randn(*shape, device=self.device).to(kind)

    def refused(self, function: Callable[[], object]) -> str:
        """Why torch cannot compute this here; empty where it can."""
        try:
            function()
        except (RuntimeError, NotImplementedError, TypeError) as error:
            return str(error).strip().partition("\n")[0][:100] or type(error).__name__
        return ""


def geometric(first: float, last: float, count: int) -> list[float]:
    """So many sizes from the first to the last, each the same multiple of the one before."""
    step = (last / first) ** (1 / max(1, count - 1))
    return [first * math.pow(step, index) for index in range(count)]
