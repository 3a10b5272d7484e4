"""How far `d2l bench` agrees with other ways to measure the same, and `--plan` with the steps that it predicts.

    python benchmarks/hardware.py [--rounds 5] [--threads 1] [--seconds 0.3]

(a) GFLOP/s of a matrix product beside `torch.utils.benchmark`, told the number of threads; to be within 5 %.
(b) the triad's GB/s beside STREAM's own in C where there is a compiler and one thread, else in numpy; within 15 %.
(c) predicted against measured step times of four models, from a profile measured just before; within 25 %.

All by interleaved rounds, and of each the median: what disturbs one side disturbs the other.  With one thread the CPU's
clock is read on both sides, so that other programs count less; figures of a busy machine are worth little even so.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch.utils.benchmark import Timer

from d2lcli import config
from d2lcli.commands.planning import predict_run, trace_run
from d2lcli.hardware import launch, layers
from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.compute import product
from d2lcli.hardware.memory import array_bytes, kernels
from d2lcli.hardware.native import probes
from d2lcli.training.build import build

MODELS = ("lenet", "resnet18", "gpt_tiny", "rnn_lm")
SIDES = (256, 512, 1024)


def ratio(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """The medians of both and of ours / theirs."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[0] / pair[1] for pair in pairs),
    )


def products(bench: Bench, rounds: int) -> None:
    """(a)"""
    for n in SIDES:
        function = product(bench, n, "fp32")
        timer = Timer("function()", globals={"function": function}, num_threads=bench.threads, timer=bench.clock)

        def theirs(timer: Timer = timer, n: int = n) -> float:
            return 2 * n**3 / timer.blocked_autorange(min_run_time=bench.seconds).median / 1e9

        def ours(function: Callable[[], object] = function, n: int = n) -> float:
            return bench.time(function).rate(2 * n**3 / 1e9).median

        print(line(f"product {n} x {n}", *ratio(ours, theirs, rounds), "GFLOP/s", "torch.utils.benchmark"))


def triads(bench: Bench, rounds: int) -> None:
    """(b)"""
    size = array_bytes(on_gpu=False)
    triad, moved = kernels(size, bench.device)["triad"]
    a, b, c = (np.random.default_rng(seed).random(size // 4, np.float32) for seed in range(3))
    native = probes() if bench.threads == 1 else None

    def by_numpy() -> None:
        np.multiply(c, np.float32(3), out=a)
        np.add(a, b, out=a)

    other = (lambda: native.triad(a, b, c)) if native else by_numpy
    carried = moved if native else 5 * size  # numpy goes over memory twice

    def rate(function: Callable[[], object], amount: int) -> float:
        return bench.time(function).rate(amount / 1e9).best  # as STREAM reports

    name = "STREAM in C" if native else "numpy"
    found = ratio(lambda: rate(triad, moved), lambda: rate(other, carried), rounds)
    print(line(f"triad, {size >> 20} MiB arrays", *found, "GB/s", name))


def steps(bench: Bench, rounds: int) -> None:
    """(c)"""
    rows = [found.plain() for topic in (launch, layers) for found in topic.rows(bench) if isinstance(found, Row)]
    for name in MODELS:
        run = build(config.compose([f"model={name}", "hardware=cpu", f"hardware.threads={bench.threads}"]).values)
        predicted = predict_run(run, trace_run(run), {"rows": rows}).seconds * 1e3
        batch = next(iter(run.train.batches(0, 0)))
        run.model.train()

        def step(run=run, batch=batch) -> None:  # type: ignore[no-untyped-def]
            with run.autocast() if run.autocast else nullcontext():
                loss = run.task.train_loss(run.model, batch)
            loss.backward()
            run.optimizer.step()
            run.optimizer.zero_grad()

        torch.set_flush_denormal(True)
        measured = [bench.time(step).median * 1e3 for _ in range(rounds)]
        median = statistics.median(measured)
        print(line(f"{name}, {run.precision}", predicted, median, predicted / median, "ms", "measured"))


def line(what: str, ours: float, theirs: float, share: float, unit: str, other: str) -> str:
    return f"{what:28}{ours:>10.4g}{theirs:>10.4g} {unit:8}{share:>7.3f}   ours / {other}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock = time.process_time if given.threads == 1 else time.perf_counter
    bench = Bench(torch.device("cpu"), given.threads, quick=True, seconds=given.seconds, clock=clock)
    print(f"{'':28}{'ours':>10}{'other':>10}{'':9}{'ratio':>7}")
    products(bench, given.rounds)
    triads(bench, given.rounds)
    steps(bench, given.rounds)


if __name__ == "__main__":
    main()
