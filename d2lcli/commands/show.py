"""`d2l show KEY=VALUE...`: a model's layers, shapes, parameters, multiply-adds and memory, without data."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from d2lcli.commands.terminal import print_json, print_table, short_bytes

COLUMNS = {
    "name": "layer", "type": "type", "output_shape": "output shape", "parameters": "parameters",
    "multiply_adds": "multiply-adds", "activation_bytes": "activations", "receptive_field": "field",
    "stride": "stride",
}  # fmt: skip


def show(overrides: list[str], json_output: bool, config_file: Path | None, plot: bool = False) -> None:
    """Print the model of a config.  No data set is loaded and no weight is drawn.

    Args:
        overrides: KEY=VALUE words of the command line.
        json_output: one JSON object instead of tables.
        config_file: a user's config.
        plot: print and draw the learning rate instead; here data may be loaded, to know how long the run is.

    Raises:
        ConfigError: the config is wrong, or the model refuses its options.
    """
    from d2lcli.config import compose

    values = compose(overrides, config_file=config_file).values
    if plot:
        _show_rates(values, json_output)
        return

    from d2lcli.training.description import describe  # imports torch: after the config is known to be right

    report = describe(values)
    if json_output:
        print_json(report)
    else:
        _print_tables(report)


def _show_rates(values: dict[str, Any], json_output: bool) -> None:
    from d2lcli.training.rates import learning_rates, plot_rates

    found = learning_rates(values)
    if json_output:
        print_json(asdict(found))
        plot_rates(found, Path("learning_rate.png"))
        return
    print(f"{found.scheduler}, {len(found.steps):,} {found.interval}s\n")
    rows = [[step, f"{rate:.6g}"] for step, rate in found.landmarks()]
    print_table([found.interval, "learning rate"], rows, right=["learning rate"])
    print(f"\n{plot_rates(found, Path('learning_rate.png'))}")  # last: without matplotlib the table is there


def _print_tables(report: Mapping[str, Any]) -> None:
    print(f"{report['model']} on {report['data']}, input {' x '.join(map(str, report['input_shape']))}\n")
    layers = [{**layer, "activation_bytes": short_bytes(layer["activation_bytes"])} for layer in report["layers"]]
    rows = [["" if layer[key] is None else layer[key] for key in COLUMNS] for layer in layers]
    totals = [report["parameters"], report["multiply_adds"], short_bytes(report["activation_bytes"])]
    rows.append(["(all)", "", "", *totals, "", ""])
    fields = any(layer["receptive_field"] is not None for layer in layers)
    shown = list(COLUMNS.values()) if fields else list(COLUMNS.values())[:-2]
    print_table(shown, [row[: len(shown)] for row in rows], right=["activations", "field", "stride"], cut="layer")
    print("\nactivations: what one example keeps for the backward pass" + ("." if not fields else ";"))
    if fields:
        print("field: how much of the input's side one output sees; stride: how far in the input its neighbours lie.")
    _print_memory(report)
    if report["note"]:
        print(f"\nnote: {report['note']}")


def _print_memory(report: Mapping[str, Any]) -> None:
    needs = report["memory"]
    print(f"\nMemory to train: batch {needs['batch_size']:,}, {needs['optimizer_name']}, {needs['precision']}\n")
    parts = ("parameters", "casts", "gradients", "optimizer", "ema", "activations", "total")
    print_table(
        ["what", "bytes", "size"], [[part, needs[part], short_bytes(needs[part])] for part in parts], right=["size"]
    )
    print("\nIn total, by optimizer and precision (* this config)\n")
    table = {(entry["optimizer"], entry["precision"]): entry for entry in report["memory_table"]}
    rows = []
    for name in dict.fromkeys(name for name, _ in table):
        full, *halves = (table[name, precision] for precision in ("fp32", "bf16", "fp16"))
        rows.append([name, short_bytes(full["state"]), _total(full), _total(*halves)])
    print_table(
        ["optimizer", "its state", "fp32  ", "bf16, fp16  "], rows, right=["its state", "fp32  ", "bf16, fp16  "]
    )


def _total(*entries: Mapping[str, Any]) -> str:
    """The total of precisions that need the same, marked where one of them is the config's."""
    return short_bytes(entries[0]["total"]) + (" *" if any(entry["chosen"] for entry in entries) else "  ")
