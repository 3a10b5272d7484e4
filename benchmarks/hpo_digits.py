"""Trains 1,000 small networks and writes down all their learning curves: a table of real curves for benchmarks/hpo.py.

    python benchmarks/hpo_digits.py FILE.npz [--networks 1000] [--epochs 81] [--seed 0]

Each is a perceptron with one hidden layer on scikit-learn's digits, 400 images to train on and 1,397 to validate on, by
SGD; learning rate, momentum, width, weight decay and batch size are drawn independently.  The networks of a batch size
are trained side by side by batched products, padded to the largest width among them.  It takes some minutes on one core.

FILE.npz holds `names`, `configs` (networks, 5), `errors` (networks, epochs) of validation, and `costs` (networks,), the
multiply-adds of an epoch divided by their mean.
"""

# ruff: noqa: E501

import argparse
import time
from math import log
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import one_hot

from d2lcli.hpo.random import random
from d2lcli.hpo.space import Choice, Float, Int, Space

SPACE: Space = {
    "lr": Float(1e-3, 1, log=True),
    "momentum": Float(0, 0.95),
    "width": Int(4, 64, log=True),
    "decay": Float(1e-6, 1e-1, log=True),
    "batch_size": Choice((20, 50)),
}
SIDE_BY_SIDE = 200
TRAINING = 400


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (n, 64) in [0, 1] and labels (n,): to train on, then to validate on."""
    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    x, y = torch.tensor(data.data[order] / 16).float(), torch.tensor(data.target[order])
    return x[:TRAINING], y[:TRAINING], x[TRAINING:], y[TRAINING:]


class Networks:
    """G perceptrons side by side.

    Args:
        lr, momentum, decay: (G,).
        width: (G,), units that are in use; the others are held at zero.
    """

    def __init__(self, lr: Tensor, momentum: Tensor, width: Tensor, decay: Tensor, generator: torch.Generator) -> None:
        self._lr, self._momentum, self._decay = (each[:, None, None] for each in (lr, momentum, decay))
        size = int(width.max())
        used = (torch.arange(size) < width[:, None]).float()  # (G, H)
        count = len(lr)
        first = torch.randn(count, 64, size, generator=generator) * (2 / 64) ** 0.5 * used[:, None, :]
        last = torch.randn(count, size, 10, generator=generator) / width[:, None, None] ** 0.5 * used[:, :, None]
        self._parameters = [first, torch.zeros(count, 1, size), last, torch.zeros(count, 1, 10)]
        self._velocities = [torch.zeros_like(each) for each in self._parameters]

    def train(self, x: Tensor, y: Tensor) -> None:
        """One step of SGD on a batch (G, B, 64) and its labels (G, B)."""
        w, b, v, c = self._parameters
        hidden = torch.baddbmm(b, x, w).relu_()  # (G, B, H); of units out of use all weights stay zero
        scores = torch.baddbmm(c, hidden, v)  # (G, B, 10)
        wrong = (scores.softmax(-1) - one_hot(y, 10)) / x.shape[1]
        back = torch.bmm(wrong, v.mT) * (hidden > 0)
        gradients = [
            torch.bmm(x.mT, back), back.sum(1, keepdim=True), torch.bmm(hidden.mT, wrong), wrong.sum(1, keepdim=True),
        ]  # fmt: skip
        for parameter, velocity, gradient in zip(self._parameters, self._velocities, gradients):
            velocity.mul_(self._momentum).add_(gradient + self._decay * parameter)
            parameter.sub_(self._lr * velocity)

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """(G,): the share of wrong answers; 1 where a network has diverged."""
        w, b, v, c = self._parameters
        scores = torch.baddbmm(c, torch.baddbmm(b, x.expand(len(w), -1, -1), w).relu_(), v)
        wrong = (scores.argmax(-1) != y).float().mean(1)
        return torch.where(scores.isfinite().all(-1).all(-1), wrong, torch.ones(()))


def curves(configs: list[dict[str, float]], epochs: int, seed: int) -> Tensor:
    """(G, epochs): validation errors of configurations with one batch size."""
    generator = torch.Generator().manual_seed(seed)
    x, y, x_valid, y_valid = digits(0)
    columns = [
        torch.tensor([float(config[name]) for config in configs]) for name in ("lr", "momentum", "width", "decay")
    ]
    networks = Networks(*columns, generator)
    size, found = int(configs[0]["batch_size"]), []
    for _ in range(epochs):
        order = torch.rand(len(configs), len(x), generator=generator).argsort(1)
        for rows in order.split(size, 1):
            networks.train(x[rows], y[rows])
        found.append(networks.errors(x_valid, y_valid))
    return torch.stack(found, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=81)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw, begun = random(SPACE, options.seed), time.time()
    configs = [config for number in range(options.networks) if (config := draw(number))]
    errors = torch.ones(len(configs), options.epochs)
    for size in (20, 50):
        of_size = sorted(
            (i for i, config in enumerate(configs) if config["batch_size"] == size), key=lambda i: configs[i]["width"]
        )
        for place in range(0, len(of_size), SIDE_BY_SIDE):
            rows = of_size[place : place + SIDE_BY_SIDE]
            errors[rows] = curves([configs[i] for i in rows], options.epochs, options.seed + rows[0])
            print(f"batch size {size}: {place + len(rows)} of {len(of_size)}, {time.time() - begun:.0f} s", flush=True)
    names = list(SPACE)
    costs = np.array([log(1 + config["width"] / 8) for config in configs])
    np.savez_compressed(
        options.file,
        names=np.array(names),
        configs=np.array([[config[name] for name in names] for config in configs]),
        errors=errors.numpy(),
        costs=costs / costs.mean(),
    )


if __name__ == "__main__":
    main()
