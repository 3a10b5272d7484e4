"""`d2l show KEY=VALUE...`: a model's layers, shapes, parameters, multiply-adds and memory, without data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2lcli.commands.terminal import print_json, print_table


def show(overrides: list[str], json_output: bool, config_file: Path | None) -> None:
    """Print the model of a config.  No data set is loaded and no weight is drawn.

    Args:
        overrides: KEY=VALUE words of the command line.
        json_output: one JSON object instead of tables.
        config_file: a user's config.

    Raises:
        ConfigError: the config is wrong, or the model refuses its options.
    """
    from d2lcli.config import compose

    values = compose(overrides, config_file=config_file).values

    from d2lcli.training.description import describe  # imports torch: after the config is known to be right

    report = describe(values)
    if json_output:
        print_json(report)
    else:
        _print_tables(report)


def _print_tables(report: Mapping[str, Any]) -> None:
    print(f"{report['model']} on {report['data']}, input {' x '.join(map(str, report['input_shape']))}\n")
    columns = ("name", "type", "output_shape", "parameters", "multiply_adds")
    rows = [[layer[column] for column in columns] for layer in report["layers"]]
    rows.append(["(all)", "", "", report["parameters"], report["multiply_adds"]])
    print_table(["layer", "type", "output shape", "parameters", "multiply-adds"], rows)
    needs = report["memory"]
    print(f"\nMemory to train: batch {needs['batch_size']:,}, {needs['optimizer_name']}, {needs['precision']}\n")
    parts = ("parameters", "casts", "gradients", "optimizer", "activations", "total")
    print_table(["what", "bytes", "MiB"], [[part, needs[part], round(needs[part] / 2**20, 2)] for part in parts])
    if report["note"]:
        print(f"\nnote: {report['note']}")
