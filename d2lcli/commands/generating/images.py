"""Images, or points, that a GAN makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2lcli.commands.generating.asked import Asked
from d2lcli.commands.generating.decoders import naming_decoder, read_decoder
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError


def generate(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Write what a run's generator makes below the run's `samples/`, and print where it is.

    Raises:
        ConfigError: a wrong decoder, or prompts.
    """
    decoder = read_decoder(words, "images", "gan")
    if asked.texts() or asked.stop:
        name = values["model"]["name"].upper()
        raise ConfigError(
            f"--prompt, --file and --stop are for text, and a {name} makes its examples of noise",
            "choose other noise with decoder.seed=1",
        )
    from d2lcli.generation.images import open_pair
    from d2lcli.registry import DECODERS

    source = open_pair(run, values, asked.checkpoint)
    with naming_decoder(decoder["name"]):
        made = DECODERS.build(**decoder)(source.model, asked.num)
    facts = {"run": str(run), "checkpoint": str(source.checkpoint), "decoder": decoder["name"]}
    if made.examples.dim() == 2:
        _points(run / "samples" / f"{decoder['name']}.csv", made.examples, facts, asked)
    else:
        low = 0.0 if values["data"].get("normalize") is False else -1.0
        _images(run / "samples" / decoder["name"], made, low, facts, asked)


def _images(stem: Path, made: Any, low: float, facts: dict[str, Any], asked: Asked) -> None:
    """A grid, STEM.png, and each image by itself, STEM/0000.png, ..."""
    from d2lcli.generation.images import pictures
    from d2lcli.training.pictures import write_png

    together, each = pictures(made, low)
    grid = stem.with_suffix(".png")
    write_png(grid, together)
    files = [stem / f"{i:04d}.png" for i in range(len(each))]
    for file, image in zip(files, each):
        write_png(file, image)
    if asked.json_output:
        print_json(facts | {"grid": str(grid), "images": [str(file) for file in files]})
    else:
        print(grid)


def _points(file: Path, points: Any, facts: dict[str, Any], asked: Asked) -> None:
    """A table of the points, their mean, and where there are several their covariance."""
    from d2lcli.training.files import replace_file

    rows = points.double().tolist()
    file.parent.mkdir(parents=True, exist_ok=True)
    names = ",".join(f"x{i}" for i in range(1, points.shape[1] + 1))
    lines = [names, *(",".join(f"{value:.7g}" for value in row) for row in rows)]
    replace_file(file, "".join(f"{line}\n" for line in lines).encode())
    mean = points.double().mean(0)
    covariance = points.double().T.cov().reshape(len(mean), -1).tolist() if len(rows) > 1 else None
    if asked.json_output:
        print_json(facts | {"points": rows, "mean": mean.tolist(), "covariance": covariance, "table": str(file)})
        return
    for row in rows[:10]:
        print("  ".join(f"{value:9.4f}" for value in row))
    if len(rows) > 10:
        print(f"... {len(rows) - 10:,} more in the table")
    print("mean        " + "  ".join(f"{value:.4f}" for value in mean.tolist()))
    for i, row in enumerate(covariance or ()):
        print(("covariance  " if i == 0 else " " * 12) + "  ".join(f"{value:.4f}" for value in row))
    print(file)
