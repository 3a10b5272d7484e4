"""LeNet under the schedules of d2l 12.11: constant, square root, multistep, cosine, warm-up then cosine; one plot.

    python benchmarks/schedules.py [--data fashion_mnist] [--epochs 30] [--folder schedules]

Each is a run `d2l train experiment=lenet_schedules_d2l scheduler=...` in a folder of its own; started again, what is
finished is not trained again, and what was stopped goes on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import d2lcli
from d2lcli.training.figures import new_figure

SCHEDULES: dict[str, list[str]] = {
    "constant": [],
    "sqrt": [],
    "multistep": ["scheduler.milestones=[15,30]", "scheduler.factor=0.5"],
    "cosine": ["scheduler.interval=epoch", "scheduler.max_update=20", "scheduler.final_lr=0.01"],
    "warmup_cosine": [
        "scheduler.interval=epoch", "scheduler.max_update=20", "scheduler.final_lr=0.01", "scheduler.warmup_steps=5",
    ],
}  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    """The values of a run's evaluations."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row["values"] for row in map(json.loads, lines) if row["split"] == "val"]


def train(name: str, folder: Path, data: str, epochs: int) -> list[dict[str, Any]]:
    words = [
        "experiment=lenet_schedules_d2l",
        f"data={data}",
        f"epochs={epochs}",
        f"scheduler={name}",
        *SCHEDULES[name],
    ]
    if (folder / "config.yaml").exists():
        d2lcli.train([], resume=folder)
    else:
        d2lcli.train(words, run_dir=folder)
    return rows(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion_mnist_mini")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=Path("schedules"))
    arguments = parser.parse_args()
    found = {name: train(name, arguments.folder / name, arguments.data, arguments.epochs) for name in SCHEDULES}
    figure = new_figure(10, 4)
    losses, accuracies = figure.subplots(1, 2)
    for name, evaluations in found.items():
        epochs = range(1, len(evaluations) + 1)
        losses.plot(epochs, [row["loss"] for row in evaluations], label=name)
        accuracies.plot(epochs, [row["accuracy"] for row in evaluations], label=name)
        print(f"{name:16} loss {evaluations[-1]['loss']:.4f}  accuracy {evaluations[-1]['accuracy']:.4f}")
    for axes, title in ((losses, "validation loss"), (accuracies, "validation accuracy")):
        axes.set_xlabel("epoch")
        axes.set_title(title)
        axes.grid(alpha=0.3)
    accuracies.legend()
    path = arguments.folder / "schedules.png"
    figure.savefig(path, dpi=150)
    print(path)


if __name__ == "__main__":
    main()
