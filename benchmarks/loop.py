"""The whole d2l loop, logging on, against two hand-written loops: one process, interleaved, CPU clock, one thread.

    python benchmarks/loop.py [--rounds 7] [--json FILE]

(a) plain: the loop that people write, with `X[perm[i:i+b]]`, torch's SGD and `loss.item()` for the running loss;
(b) fastest: the fastest loop that we can write: one gather per epoch, views as batches, raw functional calls,
    gradients by `torch.autograd.grad`, the fused update called directly, the loss never read.

Figures are ratios d2l / (a) and d2l / (b): the median over rounds of one epoch each.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lcli import config
from d2lcli.training.build import build
from d2lcli.training.checkpoint import Checkpoints
from d2lcli.training.data import make_loader
from d2lcli.training.logbook import Logbook
from d2lcli.training.loop import Trainer
from d2lcli.training.progress import Quiet
from d2lcli.training.state import Position

LR = 0.1
CASES = {
    "softmax regression, batch 256": (["model=softmax_regression"], 256, 10_000),
    "MLP 784-256-10, batch 256": (["model=mlp"], 256, 10_000),
    "LeNet, batch 256": (["model=lenet"], 256, 5_120),
    "softmax regression, batch 8": (["model=softmax_regression"], 8, 4_000),
    "MLP 784-256-10, batch 8": (["model=mlp"], 8, 4_000),
}


def d2l_epoch(
    words: list[str], batch: int, limit: int, folder: Path
) -> tuple[Callable[[], None], nn.Module, Tensor, Tensor]:
    """One epoch of the product's loop as a function, with the model and the data that it trains on."""
    fixed = [
        f"data.batch_size={batch}",
        f"data.limit={limit}",
        "optim=sgd",
        f"optim.lr={LR}",
        "scheduler=constant",
        "hardware=cpu",
        "epochs=1000000",
    ]
    values = config.compose([*words, *fixed]).values
    run = build(values)
    val = make_loader(values, run.dataset, "val", run.device, run.strategy)
    trainer = Trainer(run, val, folder, Checkpoints(folder / "checkpoints"), Logbook(folder), Quiet(1), Position())

    def epoch() -> None:
        trainer._train_epoch()
        trainer.at.epoch, trainer.at.batch = trainer.at.epoch + 1, 0

    split = run.dataset.train
    assert isinstance(split.inputs, Tensor)
    inputs = split.prepare(split.inputs) if split.prepare else split.inputs
    return epoch, run.model, inputs.clone(), split.targets


def plain_epoch(model: nn.Module, inputs: Tensor, targets: Tensor, batch: int) -> Callable[[], None]:
    """(a) The loop that people write."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)

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


def fastest_epoch(model: nn.Module, inputs: Tensor, targets: Tensor, batch: int) -> Callable[[], None]:
    """(b) The fastest loop that we can write for this model."""
    forward = raw_forward(model)
    params = list(model.parameters())
    shuffled, labels = torch.empty_like(inputs), torch.empty_like(targets)

    def epoch() -> None:
        order = torch.randperm(len(inputs))
        torch.index_select(inputs, 0, order, out=shuffled)
        torch.index_select(targets, 0, order, out=labels)
        for x, y in zip(shuffled.split(batch), labels.split(batch), strict=True):
            loss = F.cross_entropy(forward(x), y)
            grads = torch.autograd.grad(loss, params)
            with torch.no_grad():
                torch._fused_sgd_(
                    params, grads, [], weight_decay=0.0, momentum=0.0, lr=LR, dampening=0.0,
                    nesterov=False, maximize=False, is_first_step=False,
                )  # fmt: skip

    return epoch


def raw_forward(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model's forward as plain functional calls, without the cost of modules."""
    p = list(model.parameters())
    if len(p) == 2:
        return lambda x: F.linear(x.flatten(1), p[0], p[1])
    if len(p) == 4:
        return lambda x: F.linear(F.relu(F.linear(x.flatten(1), p[0], p[1])), p[2], p[3])

    def lenet(x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.conv2d(x, p[0], p[1], padding=2).sigmoid(), 2)
        x = F.avg_pool2d(F.conv2d(x, p[2], p[3]).sigmoid(), 2)
        x = F.linear(x.flatten(1), p[4], p[5]).sigmoid()
        return F.linear(F.linear(x, p[6], p[7]).sigmoid(), p[8], p[9])

    return lenet


def seconds(epoch: Callable[[], None]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    epoch()
    return time.process_time() - start


def measure(name: str, rounds: int) -> dict[str, float | str]:
    """Median ratios of one case over interleaved rounds, after one that does not count."""
    words, batch, limit = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        ours, model, inputs, targets = d2l_epoch(words, batch, limit, Path(folder))
        loops = (ours, plain_epoch(model, inputs, targets, batch), fastest_epoch(model, inputs, targets, batch))
        rows = [[seconds(loop) for loop in loops] for _ in range(rounds + 1)][1:]
    ratio = [statistics.median(row[0] / row[other] for row in rows) for other in (1, 2)]
    steps = -(-limit // batch)
    micro = [statistics.median(row[loop] for row in rows) / steps * 1e6 for loop in range(3)]
    return {
        "case": name,
        "d2l_us": micro[0],
        "plain_us": micro[1],
        "fastest_us": micro[2],
        "vs_plain": ratio[0],
        "vs_fastest": ratio[1],
    }


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':<34}{'d2l':>9}{'plain':>9}{'fastest':>9}   microseconds a step;   d2l/plain  d2l/fastest")
    found = []
    for name in CASES:
        if given.only in name:
            row = measure(name, given.rounds)
            found.append(row)
            times = "".join(f"{row[key]:>9.1f}" for key in ("d2l_us", "plain_us", "fastest_us"))
            print(f"{name:<34}{times}{row['vs_plain']:>36.3f}{row['vs_fastest']:>13.3f}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
