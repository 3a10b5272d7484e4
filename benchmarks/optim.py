"""The time of one update of every optimizer beside torch's, on 160 tensors of about 10 million parameters.

    python benchmarks/optim.py [--rounds 15] [--threads 1] [--json FILE]

The tensors are 32 layers of 512 x 512, 512, 256 x 256, 256 and 128 x 8 numbers.  Figures are medians over interleaved
rounds, in milliseconds, and the ratios of ours to torch's loop over tensors ("default" on a CPU), its foreach form and
its fused form, where they exist.  Methods that need a Hessian are not for such sizes.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2lcli.registry import OPTIMIZERS

SHAPES = [(512, 512), (512,), (256, 256), (256,), (128, 8)] * 32
FORMS = ("default", "foreach", "fused")
LR = 1e-4

Build = Callable[..., torch.optim.Optimizer]
# Ours: options; torch's: the class with the same method, and the forms that it has on this device.
CASES: dict[str, tuple[dict[str, Any], Build | None, tuple[str, ...]]] = {
    "sgd": ({}, torch.optim.SGD, FORMS),
    "momentum": ({"momentum": 0.9}, partial(torch.optim.SGD, momentum=0.9), FORMS),
    "nesterov": ({"momentum": 0.9}, partial(torch.optim.SGD, momentum=0.9, nesterov=True), FORMS),
    "adagrad": ({}, torch.optim.Adagrad, FORMS),
    "adagrad, eps outside": ({"eps_mode": "outside"}, torch.optim.Adagrad, FORMS),
    "rmsprop": ({}, torch.optim.RMSprop, FORMS[:2]),
    "rmsprop, eps outside": ({"eps_mode": "outside"}, torch.optim.RMSprop, FORMS[:2]),
    "adadelta": ({}, torch.optim.Adadelta, FORMS[:2]),
    "adam": ({}, torch.optim.Adam, FORMS),
    "adam_l2": ({"l2": 0.01}, partial(torch.optim.Adam, weight_decay=0.01), FORMS),
    "adamw": ({"weight_decay": 0.01}, torch.optim.AdamW, FORMS),
    "yogi": ({}, None, ()),
}


def parameters() -> list[nn.Parameter]:
    """Equal parameters with equal gradients."""
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    for param in made:
        param.grad = torch.randn(param.shape, generator=generator)
    return made


def optimizers(name: str) -> dict[str, torch.optim.Optimizer]:
    """Ours, and torch's in each form."""
    options, reference, forms = CASES[name]
    found = {"ours": OPTIMIZERS.build(name.partition(",")[0], params=parameters(), lr=LR, **options)}
    for form in forms:
        chosen = {"foreach": form == "foreach", "fused": form == "fused"} if "fused" in forms else {}
        chosen = chosen or {"foreach": form == "foreach"}
        assert reference is not None
        found[form] = reference(parameters(), lr=LR, **chosen)
    return found


def measure(name: str, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step, interleaved, after two steps that do not count."""
    steps = {form: optimizer.step for form, optimizer in optimizers(name).items()}
    times: dict[str, list[float]] = {form: [] for form in steps}
    for count in range(rounds + 2):
        for form, step in steps.items():
            start = time.perf_counter()
            step()
            if count >= 2:
                times[form].append(1000 * (time.perf_counter() - start))
    return {form: statistics.median(values) for form, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{len(SHAPES)} tensors, {sum(param.numel() for param in parameters()):,} parameters")
    print(f"{'':22}{'ours, ms':>10}" + "".join(f"{'/ ' + form:>12}" for form in FORMS))
    results = {}
    for name in CASES:
        results[name] = found = measure(name, arguments.rounds)
        ratios = (f"{found['ours'] / found[form]:>12.2f}" if form in found else f"{'':>12}" for form in FORMS)
        print(f"{name:22}{found['ours']:>10.2f}" + "".join(ratios), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
