"""Compare design spaces: train networks drawn from each, and plot the empirical distributions of their errors.

    python benchmarks/design_space.py --networks 32 --multiply-adds 1e6 epochs=3 data.limit=4000

Spaces are comparable at equal cost: give --multiply-adds.  Words with = go to `d2l train`.  Networks that stand in the
JSON file already are not trained again, so that the same command goes on where it was stopped, and more networks are
added with a larger --networks.  The plot needs matplotlib: pip install 'd2lcli[plot]'.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import d2lcli
from d2lcli.errors import D2LError
from d2lcli.hpo.design_space import DESIGN_SPACES, Limits, Network, multiply_adds, sample
from d2lcli.hpo.error_distribution import ErrorDistribution
from d2lcli.hpo.plots import plot_error_distributions


def network_of(space: Any, number: int, seed: int, limits: Limits) -> Network:
    """Network `number` of a space: a function of its arguments alone, whatever else was drawn."""
    return sample(space, Random(f"{seed}/{space}/{number}"), limits)


def train(network: Network, limits: Limits, overrides: Sequence[str]) -> dict[str, Any]:
    """Train one network in a folder that is thrown away."""
    words = ["model=anynet", f"model.image_size={limits.image_size}"]
    words += [f"model.{name}={value}" for name, value in network.items()]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = d2lcli.train([*words, *overrides], run_dir=Path(folder) / "run")
    return {
        "error": 1 - result["metrics"]["accuracy"],
        "parameters": result["parameters"],
        "multiply_adds": multiply_adds(network, limits.image_size, limits.in_channels, limits.num_classes),
        "seconds": round(time.perf_counter() - start, 1),
    }


def read(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """What was trained before, under the same settings."""
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    if found["settings"] != settings:
        raise SystemExit(f"{path} holds networks of other settings, {found['settings']}; choose another --json")
    return list(found["networks"])


def write(path: Path, settings: dict[str, Any], networks: list[dict[str, Any]]) -> None:
    """Replace the file as a whole: one that is read is never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"settings": settings, "networks": networks}, indent=1))
    os.replace(partial, path)


def run(given: argparse.Namespace, limits: Limits) -> dict[str, list[float]]:
    """Train what is missing, a network of each space in turn, and return all errors by space."""
    settings = {"seed": given.seed, "limits": vars(limits), "overrides": sorted(given.overrides)}
    networks = read(given.json, settings)
    done = {(row["space"], row["number"]) for row in networks}
    for number in range(given.networks):
        for space in given.spaces:
            if (space, number) in done:
                continue
            network = network_of(space, number, given.seed, limits)
            row = {"space": space, "number": number} | train(network, limits, given.overrides) | {"network": network}
            networks.append(row)
            write(given.json, settings, networks)
            cost, widths = row["multiply_adds"] / 1e6, network["widths"]
            print(
                f"{space:<14}{number:>4}{row['error']:>9.4f}{row['seconds']:>8.1f} s{cost:>9.2f} M  "
                f"depths {network['depths']} widths {widths}",
                flush=True,
            )
    chosen = [row for row in networks if row["space"] in given.spaces and row["number"] < given.networks]
    return {space: [row["error"] for row in chosen if row["space"] == space] for space in given.spaces}


def report(errors: dict[str, list[float]]) -> None:
    """Best, median and worst of each space, and which distributions lie above others."""
    print(f"{'space':<14}{'n':>4}{'best':>9}{'median':>9}{'worst':>9}")
    for space, values in errors.items():
        print(f"{space:<14}{len(values):>4}{min(values):>9.4f}{median(values):>9.4f}{max(values):>9.4f}")
    samples = {space: ErrorDistribution(values) for space, values in errors.items()}
    for first in samples:
        for second in samples:
            if first != second and samples[first].majorizes(samples[second]):
                print(f"{first} majorizes {second}: at every error it has at least the same share of networks")


def main() -> None:
    """Train, print a table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("overrides", nargs="*", metavar="KEY=VALUE", help="for d2l train: epochs=3 optim.lr=0.003 hardware=cpu")
    add("--spaces", nargs="+", choices=DESIGN_SPACES, default=["anynet_xa", "regnetx_space"])
    add("--networks", type=int, default=16, help="of each space (16)")
    add("--seed", type=int, default=0, help="of the networks (0)")
    add("--max-depth", type=int, default=3, help="blocks of a stage (3)")
    add("--max-width", type=int, default=128, help="channels of a stage (128)")
    add("--stem-width", type=int, default=8, help="channels before the first stage (8)")
    add("--multiply-adds", type=float, help="wanted in a forward pass, such as 1e6; any number if left out")
    add("--tolerance", type=float, default=0.1, help="how far from it a network may be, as a share of it (0.1)")
    add("--image-size", type=int, default=28, help="(28)")
    add("--json", type=Path, default=Path("design_space.json"), help="results, also of earlier runs")
    add("--plot", type=Path, help="PNG file; by default the name of the JSON file, ending in .png")
    given = parser.parse_intermixed_args()
    if given.networks < 1:
        parser.error("--networks must be at least 1")
    try:
        limits = Limits(
            max_depth=given.max_depth,
            max_width=given.max_width,
            multiply_adds=given.multiply_adds,
            tolerance=given.tolerance,
            image_size=given.image_size,
            in_channels=1,  # of Fashion-MNIST, on which an AnyNet is trained by default
            num_classes=10,
            stem_width=given.stem_width,
        )
        errors = run(given, limits)
        report(errors)
        print(plot_error_distributions(errors, given.plot or given.json.with_suffix(".png")))
    except (D2LError, ValueError) as error:
        raise SystemExit(f"error: {error}\n{getattr(error, 'hint', '')}".rstrip()) from error


if __name__ == "__main__":
    main()
