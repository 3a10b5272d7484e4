"""`d2l config`: the composed config, and which layer set a value."""

from collections.abc import Sequence
from pathlib import Path

from d2lcli.commands.terminal import print_json
from d2lcli.registry.options import show


def print_config(overrides: Sequence[str], config_file: Path | None, json_output: bool = False) -> None:
    """Print a config that has passed every check that needs no data.

    Raises:
        ConfigError: all that is wrong with it.
    """
    from d2lcli.config import compose, dump_yaml

    values = compose(overrides, config_file=config_file).values
    if json_output:
        print_json(values)
    else:
        print(dump_yaml(values), end="")


def explain_key(key: str, overrides: Sequence[str], config_file: Path | None, json_output: bool = False) -> None:
    """Print every layer that gives a key a value, lowest first; the last one wins.

    Raises:
        ConfigError: the key is unknown, or the config is wrong.
    """
    from d2lcli.config import explain

    layers = explain(key, overrides, config_file)
    if json_output:
        print_json([{"place": layer.place, "value": layer.value} for layer in layers])
        return
    width = max(len(layer.place) for layer in layers)
    for number, layer in enumerate(layers, 1):
        print(f"{layer.place.ljust(width)}  {show(layer.value)}" + ("  <- wins" if number == len(layers) else ""))
