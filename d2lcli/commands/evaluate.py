"""`d2l evaluate RUN`: rebuild a run from its folder, evaluate, print."""

import json
from pathlib import Path
from typing import Any


def evaluate(
    run: Path,
    overrides: list[str],
    *,
    checkpoint: str = "best",
    split: str = "val",
    question: str = "",
    json_output: bool = False,
) -> None:
    """Evaluate a run's checkpoint on a split and print its metrics with 95 % confidence intervals."""
    from d2lcli.training.files import finite
    from d2lcli.training.plan import changed_config

    values = changed_config(run, overrides)  # a mistake in it costs no import of torch

    if question:
        body = _label_shift if question == "label_shift" else _drift
        body(run, values, checkpoint, split, json_output)
        return

    from d2lcli.training import judge

    found, facts = judge.evaluate(run, values, checkpoint=checkpoint, split=split)
    if json_output:
        print(json.dumps(finite(facts | {"metrics": found.values, "intervals": found.intervals})))
        return
    print(f"{facts['checkpoint']} (step {facts['step']}) on {facts['examples']:,} {split} examples")
    for name, value in found.values.items():
        if isinstance(value, (int, float)):
            print(f"  {name:<18} {value:.5g}{_interval(found.intervals.get(name))}")
        else:
            _print_matrix(name, value)


def _label_shift(run: Path, values: dict[str, Any], checkpoint: str, split: str, json_output: bool) -> None:
    """How often each class seems to occur in the data, and the accuracy when the predictions take that into account."""
    from d2lcli.commands.terminal import print_table
    from d2lcli.training.label_shift import assess_label_shift
    from d2lcli.training.plan import changed_config

    report = assess_label_shift(run, changed_config(run, []), values, checkpoint=checkpoint, split=split)
    if json_output:
        print(json.dumps(report))
        return
    print(f"{report['checkpoint']} on {report['examples']:,} {split} examples of {values['data']['name']}\n")
    names = report["classes"] or range(len(report["shares"]))
    rows = [
        [str(name), f"{share:.3f}", f"{weight:.3f}"]
        for name, share, weight in zip(names, report["shares"], report["weights"], strict=True)
    ]
    print_table(["class", "share here", "over validation"], rows, right=["share here", "over validation"])
    print(
        f"\naccuracy {report['accuracy']:.4f}, with predictions corrected by these {report['corrected_accuracy']:.4f}"
    )
    print(f"to train for them: task.class_weights=[{','.join(row[2] for row in rows)}]")


def _drift(run: Path, values: dict[str, Any], checkpoint: str, split: str, json_output: bool) -> None:
    """Where in the data, read as a stream, the loss rises above what it was in validation."""
    from d2lcli.training.drift import watch
    from d2lcli.training.plan import changed_config

    report = watch(run, changed_config(run, []), values, checkpoint=checkpoint, split=split)
    if json_output:
        print(json.dumps(report))
        return
    print(f"{report['checkpoint']} on {report['examples']:,} {split} examples of {values['data']['name']}, as a stream")
    print(f"  loss {report['loss']:.5g}, in validation {report['reference']:.5g}")
    alarms = report["alarms"]
    shown = ", ".join(f"{place:,}" for place in alarms[:10]) + (", ..." if len(alarms) > 10 else "")
    said = f"drift alarms: {len(alarms)}, at example {shown}" if alarms else "no drift alarm: the loss has not risen"
    print(f"  {said}")


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"   95% interval {bounds[0]:.5g} .. {bounds[1]:.5g}" if bounds else ""


def _print_matrix(name: str, rows: list[list[Any]]) -> None:
    """Counts by true class (row) and predicted class (column), or other rows of numbers."""
    width = max(len(f"{value:g}") for row in rows for value in row) + 1
    print(f"  {name}" + (" (row: true class, column: predicted)" if name == "confusion_matrix" else ""))
    for row in rows:
        print("    " + "".join(f"{value:>{width}g}" for value in row))
