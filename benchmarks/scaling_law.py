"""A scaling law: the loss of language models on Botchan over their size, after the same number of tokens.

    python benchmarks/scaling_law.py [KEY=VALUE ...] [--widths 8 16 32 64 128] [--folder runs/scaling_law]

Each rung is `experiment=scaling_law` of another width: 4 blocks, heads of 32, a learning rate of 0.128 / width, as in
Yang et al. (2022), but at most 0.008.  The size N counts the parameters without embeddings and positions, as in Kaplan
et al. (2020).  L(N) = (N_c / N)^a is fitted in logarithms, with and without an irreducible loss.

Every rung has a run folder, so that the same command goes on where it was stopped, and more rungs are added with more
--widths; words with = go to `d2l train`.  scaling_law.json and scaling_law.png are written beside the folders; the plot
needs matplotlib: pip install 'd2lcli[plot]'.  The default takes 10 minutes on one CPU thread.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import d2lcli
from d2lcli.errors import D2LError
from d2lcli.hpo.plots import plot_scaling_law
from d2lcli.hpo.scaling_law import PowerLaw, fit_power_law, fit_saturating_power_law

HEAD = 32  # width of an attention head, that of gpt_tiny
NOT_COUNTED = ("embedding", "positions", "head")


def words_of(width: int, overrides: Sequence[str]) -> list[str]:
    """The overrides of a rung."""
    sizes = {"dim": width, "num_heads": max(1, width // HEAD), "hidden": 4 * width}
    rate = min(0.008, 0.128 / width)  # one rate for all would be too small for the narrow or too large for the wide
    model = [f"model.{name}={value}" for name, value in sizes.items()]
    return ["experiment=scaling_law", *model, f"optim.lr={rate}", *overrides]


def count_parameters(words: Sequence[str]) -> int:
    """Those of the blocks and the last norm."""
    layers = d2lcli.show(words)["layers"]
    return sum(layer["parameters"] for layer in layers if layer["name"].partition(".")[0] not in NOT_COUNTED)


def train(width: int, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train a rung, or what is missing of it; one that has finished is only read."""
    words = words_of(width, overrides)
    result = d2lcli.train(words, resume=folder / f"width-{width}")
    return {
        "width": width,
        "parameters": count_parameters(words),
        "loss": result["metrics"]["loss"],
        "steps": result["steps"],
        "seconds": round(result["seconds"], 1),
    }


def report(rows: Sequence[dict[str, Any]], laws: Sequence[PowerLaw]) -> None:
    """The rungs beside what the first law says of them, then the laws."""
    print(f"{'width':>6}{'parameters':>12}{'loss':>9}{'law':>9}{'seconds':>9}")
    for row in rows:
        print(
            f"{row['width']:>6}{row['parameters']:>12,}{row['loss']:>9.4f}{laws[0].at(row['parameters']):>9.4f}", end=""
        )
        print(f"{row['seconds']:>9.1f}")
    for law in laws:
        worst = max(map(abs, law.residuals))
        print(
            f"L(N) = {law.irreducible:.4f} + ({law.scale:.4g} / N)^{law.exponent:.4f}   "
            f"worst residual {100 * worst:.2f} % of the loss"
        )


def main() -> None:
    """Train the rungs, fit, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("overrides", nargs="*", metavar="KEY=VALUE", help="for d2l train: steps=9600 seed=1")
    add("--widths", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="of the rungs (8 16 32 64 128)")
    add("--folder", type=Path, default=Path("runs/scaling_law"), help="of the runs and the results")
    given = parser.parse_intermixed_args()
    if len(set(given.widths)) < 3:
        parser.error("--widths: a fit needs at least 3 different ones")
    try:
        rows = []
        for width in sorted(set(given.widths)):
            rows.append(train(width, given.folder, given.overrides))
            print(f"width {width}: loss {rows[-1]['loss']:.4f}", flush=True)
        sizes, losses = [row["parameters"] for row in rows], [row["loss"] for row in rows]
        laws = [fit_power_law(sizes, losses), fit_saturating_power_law(sizes, losses)]
        report(rows, laws)
        found = {"rungs": rows, "laws": [asdict(law) | {"scale": law.scale} for law in laws]}
        (given.folder / "scaling_law.json").write_text(json.dumps(found, indent=1))
        name = "parameters without embeddings"
        print(plot_scaling_law(sizes, losses, laws, given.folder / "scaling_law.png", size_name=name))
    except (D2LError, ValueError) as error:
        raise SystemExit(f"error: {error}\n{getattr(error, 'hint', '')}".rstrip()) from error


if __name__ == "__main__":
    main()
