"""What this machine's profile says about a run: before it (`d2l train --plan`), and after it beside what it took."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from d2lcli.commands.terminal import print_json, short_bytes, short_count
from d2lcli.errors import ConfigError, clean
from d2lcli.hardware.machine import machine
from d2lcli.hardware.operations import Operation, trace_step
from d2lcli.hardware.predict import Prediction, predict
from d2lcli.hardware.profile import bandwidth, bound, load_profile, peak, profile_path, share_of_peak
from d2lcli.hardware.rates import Rates
from d2lcli.registry import OPTIMIZERS
from d2lcli.training.build import Run, build
from d2lcli.training.description import describe
from d2lcli.training.memory import state_tensors

ALONE = {"name": "single"}
PARTS = ("step", "forward", "backward", "optimizer", "overhead")
LOADING = 0.2  # seconds for finding out how long a batch takes to come
MEASURE = "d2l bench launch layers compute memory"


def print_plan(values: Mapping[str, Any], json_output: bool) -> None:
    """Print the parameters, the memory, and the predicted time of a step and of the run.  Nothing is trained.

    Args:
        values: a checked config.
        json_output: one JSON object instead of sentences.
    """
    processes = max(1, values["hardware"]["devices"])
    run = build(_one_process(values, processes))
    found = _plan(run, values) | {"processes": processes}
    if json_output:
        print_json(found)
        return
    count = found["parameters"]
    print(f"{values['model']['name']} on {run.dataset.name}: {count:,} parameters, "
          f"batches of {run.train.batch_size}, {values['optim']['name']}, {run.precision}, {run.device}")  # fmt: skip
    if found["memory_bytes"] is not None:
        size = short_bytes(found["memory_bytes"])
        print(f"memory to train: {size}, an estimate without the batch and the kernels' own")
    for line in _sentences(found):
        print(line)
    if processes > 1:
        print(f"this is one of {processes} processes; what they send to each other is not predicted")


def _one_process(values: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """The config of one of the processes, which trains its share of each batch by itself."""
    if processes == 1:
        return dict(values)
    data = values["data"] | {"batch_size": -(-values["data"]["batch_size"] // processes)}
    return dict(values) | {"data": data, "strategy": ALONE, "hardware": values["hardware"] | {"devices": 1}}


def _plan(run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
    """All that `print_plan` prints, as plain values; what nobody has measured is None."""
    profile, path = _profile()
    plain: dict[str, Any] = {
        "model": values["model"]["name"],
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "memory_bytes": _memory(values),
        "updates": run.total_steps,
        "profile": str(path) if profile else None,
        "threads": torch.get_num_threads(),
        "step_seconds": None,
        "problem": "",
    }
    if profile is None:
        return plain | {"problem": f"no profile of this machine with {plain['threads']} threads: {MEASURE}"}
    try:
        operations = trace_run(run)
        found = predict_run(run, operations, profile)
    except ValueError as error:
        return plain | {"problem": clean(error)}
    limit, shares = _limit(run, operations, found, profile, found.seconds)
    return plain | {
        "step_seconds": found.seconds,
        "forward_seconds": found.forward,
        "backward_seconds": found.backward,
        "optimizer_seconds": found.optimizer,
        "overhead_seconds": found.overhead,
        "operations": found.operations,
        "run_seconds": found.seconds * run.total_steps,
        "share_of_peak": share_of_peak(found.flops / 2 / found.seconds, run.precision, str(run.device), profile),
        "bound": limit,
        "shares": shares,
        "longest": [list(pair) for pair in found.longest],
    }


def _sentences(found: Mapping[str, Any]) -> list[str]:
    """The prediction in words."""
    if found["step_seconds"] is None:
        return [f"time: unknown; {found['problem']}"]
    ms = {part: f"{found[f'{part}_seconds'] * 1e3:.3g}" for part in PARTS}
    share = "" if found["share_of_peak"] is None else f"{found['share_of_peak']:.0%} of the measured peak, "
    longest = ", ".join(f"{name} {seconds * 1e3:.3g} ms" for name, seconds in found["longest"])
    return [
        f"a step: {ms['step']} ms predicted (forward {ms['forward']}, backward {ms['backward']}, "
        f"optimizer {ms['optimizer']}); {short_count(found['operations'])} operations, {ms['overhead']} ms of calls",
        f"the run: {found['updates']:,} steps, {found['run_seconds']:,.3g} s without loading, evaluation and files",
        f"{share}bound by {found['bound']}; longest: {longest}",
        f"from {found['profile']}",
    ]


def appraise(run: Run, seconds: float) -> dict[str, Any] | None:
    """What a run took beside what was predicted, its share of the peak and what it is bound by; None without a profile.

    Args:
        run: after its training.
        seconds: of a step, measured.
    """
    profile, _ = _profile()
    if profile is None or seconds <= 0 or run.strategy.world_size > 1:
        return None
    try:
        operations = trace_run(run)
        found = predict_run(run, operations, profile)
        limit, shares = _limit(run, operations, found, profile, seconds)
    except Exception:  # of a plugin's model, say: a run that ended well is not to fail over a remark
        return None
    return {
        "step_seconds": seconds,
        "predicted_step_seconds": found.seconds,
        "share_of_peak": share_of_peak(found.flops / 2 / seconds, run.precision, str(run.device), profile),
        "bound": limit,
        "shares": shares,
    }


def appraisal_line(found: Mapping[str, Any]) -> str:
    """An appraisal in words."""
    share = found["share_of_peak"]
    return (
        f"a step took {found['step_seconds'] * 1e3:.3g} ms, predicted {found['predicted_step_seconds'] * 1e3:.3g}; "
        + ("" if share is None else f"{share:.0%} of the measured peak; ")
        + f"bound by {found['bound']}"
    )


def _profile() -> tuple[dict[str, Any] | None, Path]:
    path = profile_path(machine(torch.get_num_threads()))
    return load_profile(path), path


def trace_run(run: Run) -> list[Operation]:
    """The operations of one batch.

    Raises:
        ValueError: they cannot be told without computing.
    """
    if run.way != "loss":
        raise ValueError("the task does not follow the gradient of one loss")
    if hasattr(run.optimizer, "backward"):
        raise ValueError("the optimizer decides how often it computes the gradient")
    batch = next(iter(run.train.batches(0, 0)))
    return trace_step(run.model, batch, run.task.train_loss, run.autocast or nullcontext)


def predict_run(run: Run, operations: list[Operation], profile: Mapping[str, Any]) -> Prediction:
    """The time of an update.

    Args:
        run: live objects.
        operations: of one batch, see `trace_run`.
        profile: of this machine.

    Raises:
        ValueError: the profile lacks what everything is computed from.
    """
    trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    optim = run.values["optim"]
    options = {key: optim[key] for key in OPTIMIZERS.parameters(optim["name"]) if key in optim}
    return predict(
        operations,
        Rates(profile["rows"], str(run.device)),
        parameters=sum(parameter.numel() for parameter in trained),
        tensors=len(trained),
        state_tensors=state_tensors(lambda params: OPTIMIZERS.build(optim["name"], params=params, **options)),
        accumulate=run.accumulate,
    )


def _limit(
    run: Run, operations: list[Operation], found: Prediction, profile: Mapping[str, Any], seconds: float
) -> tuple[str, dict[str, float]]:
    device = str(run.device)
    moved = run.accumulate * sum(operation.bytes for operation in operations if not operation.view)
    return bound(
        seconds=seconds,
        flops=found.flops,
        bytes_moved=moved,
        peak=peak(profile, run.precision, device),
        bandwidth=bandwidth(profile, device),
        waiting=run.accumulate * _loading(run),
        overhead=found.overhead,
    )


def _loading(run: Run) -> float:
    """Seconds until the next batch of a pass is there, measured on its first ones."""
    start, count = time.perf_counter(), 0
    for _ in run.train.batches(0, 0):
        count += 1
        if time.perf_counter() - start > LOADING:
            break
    return (time.perf_counter() - start) / max(1, count)


def _memory(values: Mapping[str, Any]) -> int | None:
    """Bytes to train on one device; None for data whose shape only loading tells."""
    try:
        return int(describe(values)["memory"]["total"])
    except ConfigError:
        return None
