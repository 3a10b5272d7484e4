"""Training steps of image models: d2l against a hand-written loop, and what hardware profiles gain, on one CPU thread.

    python benchmarks/vision.py [--rounds 5] [--models resnet18 vgg11 vit] [--profiles cpu_fast] [--json FILE]

One process, interleaved, CPU clock.  The hand-written loop trains the very module of the d2l loop in plain float32, on
the same images, with torch's fused AdamW.  The profiles are d2l loops of their own.

Figures are ratios of the time of a step: d2l / hand-written (1 is as fast), and plain float32 / profile (above 1 is a
gain), each the median over rounds of a few steps.  Compiling happens in a first round that does not count.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from d2lcli import config
from d2lcli.training.build import Run, build
from d2lcli.training.checkpoint import Checkpoints
from d2lcli.training.data import make_loader
from d2lcli.training.logbook import Logbook
from d2lcli.training.loop import Trainer
from d2lcli.training.progress import Quiet
from d2lcli.training.state import Position

LR = 1e-4
MODELS = ("resnet18", "vgg11", "vit")
PROFILES = {
    "channels_last": ["hardware=cpu", "hardware.channels_last=true"],
    "bf16": ["hardware=cpu", "hardware.precision=bf16"],
    "compile": ["hardware=cpu", "hardware.compile=true"],
    "cpu_fast": ["hardware=cpu_fast"],
}
DEFAULT_PROFILES = ("channels_last", "bf16", "cpu_fast")  # compiling takes minutes, and cpu_fast compiles already
Epoch = Callable[[], None]


def d2l_epoch(words: list[str], folder: Path) -> tuple[Epoch, Run]:
    """One pass of the product's loop as a function, and what it trains."""
    folder.mkdir()
    values = config.compose(words).values
    run = build(values)
    val = make_loader(values, run.dataset, "val", run.device, run.strategy)
    trainer = Trainer(run, val, folder, Checkpoints(folder / "checkpoints"), Logbook(folder), Quiet(1), Position())

    def epoch() -> None:
        trainer._train_epoch()
        trainer.at.epoch, trainer.at.batch = trainer.at.epoch + 1, 0

    return epoch, run


def hand_written_epoch(run: Run, batch: int) -> Epoch:
    """The loop that people write, over the model and the images of a run."""
    pairs = list(run.train.batches(0, 0))
    inputs, targets = (torch.cat([pair[i] for pair in pairs]) for i in (0, 1))
    model: nn.Module = run.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)

    def epoch() -> None:
        model.train()
        total = 0.0
        order = torch.randperm(len(inputs))
        for i in range(0, len(inputs), batch):
            index = order[i : i + batch]
            loss = F.cross_entropy(model(inputs[index]), targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)

    return epoch


def seconds(epoch: Epoch) -> float:
    """CPU time of one call."""
    start = time.process_time()
    epoch()
    return time.process_time() - start


def measure(model: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Milliseconds a step of every loop, and the ratios between them."""
    common = [
        f"model={model}",
        f"model.image_size={given.image_size}",
        f"data.batch_size={given.batch_size}",
        f"data.limit={given.batch_size * given.steps}",
        "optim=adamw",
        f"optim.lr={LR}",
        "scheduler=constant",
        "epochs=1000000",
    ]
    plain, run = d2l_epoch([*common, "hardware=cpu"], folder / "cpu")
    loops = {"d2l": plain, "hand": hand_written_epoch(run, given.batch_size)}
    for name in given.profiles:
        loops[name], _ = d2l_epoch([*common, *PROFILES[name]], folder / name)
    first = {name: seconds(loop) for name, loop in loops.items()}
    rounds = [{name: seconds(loop) for name, loop in loops.items()} for _ in range(given.rounds)]
    return {
        "model": model,
        "milliseconds": {name: median(row[name] for row in rounds) / given.steps * 1e3 for name in loops},
        "d2l_over_hand": median(row["d2l"] / row["hand"] for row in rounds),
        "gain": {name: median(row["d2l"] / row[name] for row in rounds) for name in given.profiles},
        "first_round_seconds": first,
    }


def main() -> None:
    """Measure every model and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="that count (5)")
    add("--models", nargs="+", default=MODELS, help="names of `d2l list model` (resnet18 vgg11 vit)")
    add("--profiles", nargs="*", choices=PROFILES, default=DEFAULT_PROFILES, help="all but compile if left out")
    add("--image-size", type=int, default=32, help="side of the images (32)")
    add("--batch-size", type=int, default=32, help="(32)")
    add("--steps", type=int, default=4, help="of each loop in a round (4)")
    add("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"batches of {given.batch_size} images of {given.image_size} x {given.image_size}, one thread; gains over d2l"
    )
    print(f"{'model':<12}{'d2l':>10}{'hand':>10}{'d2l/hand':>10}" + "".join(f"{name:>15}" for name in given.profiles))
    found = []
    for model in given.models:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(model, given, Path(folder))
        found.append(row)
        times = "".join(f"{row['milliseconds'][name]:>7.1f} ms" for name in ("d2l", "hand"))
        gains = "".join(f"{row['gain'][name]:>15.2f}" for name in given.profiles)
        print(f"{model:<12}{times}{row['d2l_over_hand']:>10.3f}{gains}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
