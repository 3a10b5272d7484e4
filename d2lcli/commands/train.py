"""`d2l train`: compose, one call, print."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2lcli.errors import D2LError
from d2lcli.training.plan import Plan, already_finished, devices, fold_plans, is_first, make_plan

if TYPE_CHECKING:
    from d2lcli.training.build import Run


def train(
    overrides: list[str],
    *,
    config_file: Path | None = None,
    run_dir: Path | None = None,
    resume: Path | None = None,
    smoke: bool = False,
    json_output: bool = False,
    allow_drift: bool = False,
    plan_only: bool = False,
    arguments: list[str] | None = None,
) -> int:
    """Train a model and print the path of its run folder.

    Args:
        overrides: KEY=VALUE.
        plan_only: predict what the run takes, and train nothing.
        arguments: the whole command line, for the processes of a distributed run.

    Returns:
        The exit code.
    """
    plan = make_plan(
        overrides, config_file=config_file, run_dir=run_dir, resume=resume, smoke=smoke, allow_drift=allow_drift
    )
    if plan_only:
        from d2lcli.commands.planning import print_plan

        print_plan(plan.values, json_output)
        return 0
    finished = already_finished(plan)
    if finished is not None:
        print(f"{plan.folder.path}: finished already, nothing to do", file=sys.stderr)
        _show(finished, json_output)
        return 0
    processes = devices(plan.values)
    if processes:
        return _train_in_processes(plan, processes, arguments, has_folder=bool(run_dir or resume))
    from d2lcli.training import cross_validation, session, signals

    try:
        result = cross_validation.train(plan) if fold_plans(plan) else session.train(plan, appraise=_appraise)
    except signals.Stopped as stopped:
        if is_first() and json_output:
            _show(plan.folder.read_result(), json_output)
        return stopped.exit_code
    except D2LError:
        if json_output and plan.folder.exists and is_first():
            _show(plan.folder.read_result(), json_output)
        raise
    if is_first():
        _say_appraisal(result)
        _show(result, json_output)
    return 0


def _appraise(run: "Run", seconds: float) -> dict[str, Any] | None:
    """What this machine's profile says about the run, if there is one and the step can be told from it."""
    from d2lcli.commands.planning import appraise

    return appraise(run, seconds)


def _say_appraisal(result: dict[str, Any]) -> None:
    if result.get("machine"):
        from d2lcli.commands.planning import appraisal_line

        print(appraisal_line(result["machine"]), file=sys.stderr)


def _train_in_processes(plan: Plan, processes: int, arguments: list[str] | None, *, has_folder: bool) -> int:
    """Start this command once for each device; the first of them prints."""
    from d2lcli.training.launch import check_devices, launch

    check_devices(plan.values["hardware"], plan.values["strategy"]["name"])
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not has_folder:
        words += ["--run-dir", str(plan.folder.path)]
    restarts = plan.values["strategy"]["max_restarts"]
    if restarts and not plan.resume:
        words += ["--resume", str(plan.folder.path)]  # begins the run, or goes on with it
    return launch(words, processes, restarts)


def _show(result: dict[str, Any], json_output: bool) -> None:
    """The path of the run, or all of its result as one JSON object, as the last line on stdout."""
    if json_output:
        print(json.dumps(result, sort_keys=True), flush=True)
    elif result.get("run"):
        print(result["run"], flush=True)
