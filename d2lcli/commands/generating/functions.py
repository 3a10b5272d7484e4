"""Functions drawn from a Gaussian process."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from d2lcli.commands.generating.asked import Asked, note
from d2lcli.commands.generating.decoders import naming_decoder, read_decoder
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError


def draw(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Draw functions of a Gaussian process into a picture below the run, and print where it is."""
    decoder = read_decoder(words, "posterior", "marginal_likelihood")
    if asked.texts() or asked.stop:
        raise ConfigError("--prompt, --file and --stop are for text, and a Gaussian process draws functions")
    from d2lcli.generation.functions import open_function_model
    from d2lcli.registry import DECODERS

    source = open_function_model(run, values, asked.checkpoint)
    with naming_decoder(decoder["name"]):
        drawn = DECODERS.build(**decoder)(source.model, asked.num)
    along = f"_feature_{drawn.feature}" if decoder["feature"] is not None else ""
    path = run / "samples" / f"{decoder['name']}{along}.png"
    parameters = source.model.parameter_values()
    if asked.json_output:
        facts = {"run": str(run), "checkpoint": str(source.checkpoint), "decoder": decoder["name"], "plot": str(path)}
        print_json(facts | {"parameters": parameters} | asdict(drawn))
    else:
        for name, each in parameters.items():
            print(f"{name:<24}{'  '.join(f'{value:.4g}' for value in each)}")
    if drawn.jitter:
        note(f"to draw functions, {drawn.jitter:.1e} was added to their variance at each place (jitter)")
    from d2lcli.generation.plots import plot_functions

    # Last: without matplotlib the rest is there.
    shown = plot_functions(drawn, f"{decoder['name']}, {asked.num} drawn", path)
    if not asked.json_output:
        print(shown)
