"""What a layer costs as sequences grow: k n d^2 (convolution), n d^2 (recurrence), n^2 d (attention) (d2l 11.6)."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.measure import exactly

TOPIC = "sequence"
WIDTH, KERNEL = 64, 3
LENGTHS = {True: (64, 256, 1024), False: (64, 128, 256, 512, 1024, 2048, 4096)}
SOURCE = {"convolution": ("k n d^2", 1), "recurrence": ("n d^2", 1), "attention": ("n^2 d", 2)}


def rows(bench: Bench) -> Iterator[Row | str]:
    """Times of a forward pass, and the power of the length that the last two of them show."""
    for name, layer in layers(bench).items():
        times = []
        lengths = LENGTHS[bench.quick]
        for n in lengths:
            with torch.no_grad():
                figure = bench.time(layer(n))
            times.append(figure.median)
            facts: dict[str, float | str] = {"kind": name, "n": n, "width": WIDTH}
            yield bench.row(TOPIC, name, figure.scaled(1000), "ms", sizes=f"length {n}, {WIDTH} wide",
                            source=f"O({SOURCE[name][0]})", facts=facts)  # fmt: skip
        slope = power(lengths[-2:], times[-2:])
        yield bench.row(TOPIC, f"{name}: power of the length", exactly(slope), "", workers="-",
                        sizes=f"{lengths[-2]} to {lengths[-1]}", source=str(SOURCE[name][1]))  # fmt: skip


def layers(bench: Bench) -> dict[str, Callable[[int], Callable[[], object]]]:
    """By name: a function from a length to the forward pass of 8 sequences of it."""
    convolution = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2).to(bench.device)
    recurrence = nn.RNN(WIDTH, WIDTH, batch_first=True).to(bench.device)

    def attend(n: int) -> Callable[[], object]:
        x = bench.random(8, 1, n, WIDTH)
        return lambda: torch.nn.functional.scaled_dot_product_attention(x, x, x)

    def convolve(n: int) -> Callable[[], object]:
        x = bench.random(8, WIDTH, n)
        return lambda: convolution(x)

    def recur(n: int) -> Callable[[], object]:
        x = bench.random(8, n, WIDTH)
        return lambda: recurrence(x)

    return {"convolution": convolve, "recurrence": recur, "attention": attend}


def power(lengths: Sequence[float], times: Sequence[float]) -> float:
    """p of time = c n^p through two points."""
    return math.log(times[1] / times[0]) / math.log(lengths[1] / lengths[0])
