"""A training from its plan to its result: folder, live objects, checkpoint, loop, result.json."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from d2lcli.config import dump_yaml
from d2lcli.data.loader import Loader
from d2lcli.data.transforms import Prepare
from d2lcli.errors import CheckpointError, D2LError, MemoryFullError, WorkerLostError, clean
from d2lcli.training import signals
from d2lcli.training.build import Run, build
from d2lcli.training.checkpoint import Checkpoints, Snapshot, read_snapshot
from d2lcli.training.data import make_loader
from d2lcli.training.files import replace_file, sweep, to_json
from d2lcli.training.launch import die_with_parent
from d2lcli.training.logbook import Logbook
from d2lcli.training.loop import Trainer
from d2lcli.training.plan import Plan, is_first, length
from d2lcli.training.progress import Progress, make_progress
from d2lcli.training.runfolder import describe
from d2lcli.training.state import Position, restore
from d2lcli.training.tokens import SOURCE, TARGET
from d2lcli.training.transfer import shorten

Appraise = Callable[[Run, float], dict[str, Any] | None]


def train(plan: Plan, *, quiet: bool = False, appraise: Appraise | None = None) -> dict[str, Any]:
    """Train as planned.

    Args:
        plan: what to do.
        quiet: no progress on stderr.
        appraise: says of a run and the seconds of its steps what else `result.json` is to hold under `machine`.

    Returns:
        The content of result.json.

    Raises:
        Stopped: by a signal, after saving.
        D2LError: anything that the user can mend.
    """
    die_with_parent()
    first = is_first()
    folder = plan.folder
    if first and plan.resume:
        folder.lock()
        folder.sign()
    run: Run | None = None
    # Numbers below 1e-38 become 0 on the CPU.  An optimizer's running means of tokens that are rarely seen decay into
    # them, and arithmetic with such numbers is ten times slower.  Set here, before the thread pool exists.
    torch.set_flush_denormal(True)
    try:
        run = build(plan.values, fresh=plan.fresh, stored=folder.path if plan.resume else None)
        val = make_loader(plan.values, run.dataset, "val", run.device, run.strategy)
        if run.strategy.serves:
            _serve(run)
            return {}
        if first and not plan.resume:  # its data and options are known to be right by now
            folder.create(dump_yaml(plan.values), describe(sys.argv, plan.overrides, plan.config_file, plan.values))
            _save_tokenizers(run, folder.path)
        trainer = _trainer(plan, run, val, first, quiet=quiet)
        if first and plan.resume and (plan.overrides or plan.config_file):  # the checkpoint fits the changes
            replace_file(folder.path / "config.yaml", dump_yaml(plan.values).encode())
        return _fit(plan, run, trainer, first, appraise)
    except Exception as error:
        if first and folder.held and not isinstance(error, signals.Stopped):
            record_failure(plan, error)
        if run is not None and run.strategy.lost(error):
            raise WorkerLostError(
                f"rank {run.strategy.rank}: another process does not answer", "go on: d2l train --resume RUN"
            ) from error
        if _is_memory(error):
            raise MemoryFullError(
                f"out of memory: {clean(error, 120)}",
                f"use a smaller data.batch_size (now {plan.values['data']['batch_size']}) with accumulate=2",
            ) from error
        raise
    finally:
        torch.set_flush_denormal(False)  # for whatever else a program that calls this computes
        if run is not None and run.strategy.grouped and sys.exc_info()[0] is None:
            run.strategy.close()
        folder.release()


def _serve(run: Run) -> None:
    """Work for the processes that train; a signal is theirs to obey, and leaves a server without workers."""
    with signals.watching():
        try:
            run.strategy.serve()
        except RuntimeError as error:
            if signals.state.requested and run.strategy.lost(error):
                raise signals.Stopped(signals.state.requested) from None
            raise


def _trainer(plan: Plan, run: Run, val: Loader, first: bool, *, quiet: bool) -> Trainer:
    """Everything around the loop, at the position of the newest checkpoint."""
    folder, values = plan.folder.path, plan.values
    progress = make_progress(run.total_steps, 0, quiet=quiet or not first)
    checkpoints = Checkpoints(folder / "checkpoints", values["keep"], progress.say)
    if first:
        sweep(folder)
        checkpoints.sweep()
    snapshot = _newest(plan, run, checkpoints, first)
    position = restore(run, snapshot) if snapshot else Position()
    _introduce(run, val, progress)
    if first and snapshot and snapshot.path:
        checkpoints.settle(snapshot.path, position.best_step)
    if snapshot:
        progress.say(f"resumed at step {position.step} from {snapshot.path}")
    elif plan.resume:
        progress.say("no checkpoint was written yet: resumed at step 0")
    logbook = None
    if first:
        _record_facts(plan, run)
        logbook = Logbook(folder, snapshot.state["log"] if snapshot else None)
        if not logbook.complete:
            progress.say("warning: the logs end before the checkpoint: some rows are lost")
    progress.close()
    progress = make_progress(run.total_steps, position.step, quiet=quiet or not first)
    return Trainer(run, val, folder, checkpoints, logbook, progress, position, plan.rest)


def _save_tokenizers(run: Run, folder: Path) -> None:
    """Beside the config, so that the run folder alone is enough to generate."""
    for name, tokenizer in ((TARGET, run.dataset.tokenizer), (SOURCE, run.dataset.source_tokenizer)):
        if tokenizer is not None:
            tokenizer.save(folder / name)


def _newest(plan: Plan, run: Run, checkpoints: Checkpoints, first: bool) -> Snapshot | None:
    """The snapshot to go on from; with several processes the first one decides which."""
    snapshot = checkpoints.newest() if first and plan.resume else None
    if run.strategy.grouped:
        code = -1
        if snapshot is not None and snapshot.path is not None:
            code = 2 * snapshot.step + (not snapshot.path.name.endswith(".stop"))
        code = run.strategy.agree(code)
        if code >= 0 and not first:
            name = f"step-{code // 2:08d}{'' if code % 2 else '.stop'}"
            snapshot = read_snapshot(checkpoints.folder / name)
    if snapshot is not None and len(snapshot.state["ranks"]) != run.strategy.world_size and not plan.allow_drift:
        raise CheckpointError(
            f"checkpoint {clean(snapshot.path)}: written by {len(snapshot.state['ranks'])} processes, "
            f"not {run.strategy.world_size}; the run would not be the same",
            "resume with the same hardware.devices, or say --allow-drift",
        )
    return snapshot


def _introduce(run: Run, val: Loader, progress: Progress) -> None:
    names = run.values
    count = sum(parameter.numel() for parameter in run.model.parameters())
    where = f" on {run.strategy.world_size} processes" if run.strategy.world_size > 1 else ""
    progress.say(
        f"{names['model']['name']}: {count:,} parameters; {names['optim']['name']}, {names['scheduler']['name']}"
    )
    progress.say(
        f"{run.dataset.name} ({run.dataset.found}): {len(run.train.split):,} training examples, "
        f"{len(val.split):,} for validation"
    )
    progress.say(f"{run.device}, {run.precision}{where}; {run.total_steps} updates of {run.train.batch_size} examples")
    if run.strategy.note:
        progress.say(run.strategy.note)
    for line in run.transfer.lines() if run.transfer else ():
        progress.say(line)
    if names["freeze"] is not None:
        _introduce_frozen(run, count, progress)


def _introduce_frozen(run: Run, count: int, progress: Progress) -> None:
    frozen = [name for name, parameter in run.model.named_parameters() if not parameter.requires_grad]
    trained = sum(parameter.numel() for parameter in run.model.parameters() if parameter.requires_grad)
    progress.say(f"freeze: {len(frozen)} tensors stay as they are; {trained:,} of {count:,} parameters are trained")
    if run.transfer and (drawn := [name for name in frozen if name not in run.transfer.taken]):
        progress.say(f"warning: frozen, but not from the weights, so as drawn: {shorten(drawn)}")


def _fit(plan: Plan, run: Run, trainer: Trainer, first: bool, appraise: Appraise | None) -> dict[str, Any]:
    status = "failed"
    try:
        trainer.fit()
        status = "finished" if trainer.complete else "paused"
    except signals.Stopped as stopped:
        status = "stopped"
        trainer.progress.say(
            f"stopped by {stopped} at step {trainer.at.step}, saved; go on with: d2l train --resume {plan.folder.path}"
        )
        raise
    finally:
        trainer.progress.close()
        if trainer.meter.logbook is not None:
            trainer.meter.logbook.close()
        if first and status != "failed":
            result = summarise(plan, run, trainer, status)
            replace_file(plan.folder.path / "result.json", to_json(result))
    if not first:
        return {}
    speed = trainer.meter.speed()
    if appraise and speed and (found := appraise(run, run.train.batch_size * run.accumulate / speed)):
        result["machine"] = found
        replace_file(plan.folder.path / "result.json", to_json(result))
    return result


def summarise(plan: Plan, run: Run, trainer: Trainer, status: str) -> dict[str, Any]:
    """The content of result.json."""
    at = trainer.at
    monitor, _ = trainer.monitor()
    return {
        "run": str(plan.folder.path),
        "status": status,
        "metrics": at.last or {},
        "best": {"step": at.best_step, monitor: at.best},
        "steps": at.step,
        "epochs": round(trainer.meter.epochs(), 6),
        "length": length(plan.values),
        "seconds": round(at.seconds, 3),
        "examples_per_second": round(trainer.meter.speed(), 1),
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "device": str(run.device),
        "precision": run.precision,
    }


def _record_facts(plan: Plan, run: Run) -> None:
    """Complete meta.json with what is known only after building."""
    meta = plan.folder.read_meta()
    meta["device"] = str(run.device)
    meta["precision"] = run.precision
    if run.transfer:
        before = meta.get("weights")
        if isinstance(before, dict) and before.get("sha256") != run.transfer.sha256:
            raise CheckpointError(
                f"weights {clean(run.transfer.path)}: changed since this run began with them", "start a new run"
            )
        meta["weights"] = run.transfer.facts()
    meta["data"] = {"name": run.dataset.name, "found": run.dataset.found, "sha256": run.dataset.files}
    meta["data"] |= {"classes": list(run.dataset.classes), "pairs": run.dataset.pairs}
    if isinstance(seen := run.dataset.train.prepare, Prepare):
        shape = list(run.dataset.train.inputs.shape)[-3:]
        meta["data"]["pixels"] = {"shape": shape, "size": seen.size, "mean": seen.mean, "std": seen.std}
    replace_file(plan.folder.path / "meta.json", to_json(meta))


def record_failure(plan: Plan, error: Exception) -> None:
    """result.json of a run that failed; where even that cannot be written, the error itself says enough."""
    message = error.message if isinstance(error, D2LError) else f"{type(error).__name__}: {clean(error)}"
    try:
        content = to_json({"run": str(plan.folder.path), "status": "failed", "error": message, "metrics": {}})
        replace_file(plan.folder.path / "result.json", content)
    except OSError:
        pass


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
