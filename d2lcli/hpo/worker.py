"""A worker: a process that takes jobs of a study until there are none, and trains each in the run folder of its trial.

It stays alive between jobs, so that to go on with a trial costs what a resume costs, not an import of torch.
"""

import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from d2lcli.errors import D2LError, DataError, clean
from d2lcli.hpo.events import Event
from d2lcli.hpo.storage import open_storage
from d2lcli.hpo.study import Study, open_study
from d2lcli.registry import SEARCHERS
from d2lcli.registry.plugins import import_plugin
from d2lcli.training import signals
from d2lcli.training.launch import die_with_parent
from d2lcli.training.plan import Plan, Rest, already_finished, fold_plans, make_plan
from d2lcli.training.runfolder import InUseError, RunFolder

COMMAND = "--hpo-worker"  # `d2l --hpo-worker`, for the controller alone
ORDER = "D2L_HPO_WORKER"  # the variable with the worker's order: not on the command line, which all users can read
POLL = 0.2  # seconds between looks at a study that has no job now
LOOK = 2.0  # seconds after which a study without news is asked again, whether a worker was lost
BEAT = 10.0  # seconds between signs of life


def serve() -> int:
    """Take jobs until there are none.  The environment says of which study: storage, study, folder, worker, plugins.

    Returns:
        0, or 128 + the number of the signal that stopped it.

    Raises:
        D2LError: no job of this study can be done here.
    """
    order = json.loads(os.environ.pop(ORDER))
    die_with_parent()
    for module in order["plugins"]:
        import_plugin(module)
    storage = open_storage(order["storage"], say=_say)
    study = open_study(storage, order["study"], Path(order["folder"]), None)
    worker = order["worker"]
    with _alive(study, worker):
        while True:
            start = _next_job(study, worker)
            if start is None:
                return 0
            if stopped := _do(study, start):
                return stopped


def _next_job(study: Study, worker: str) -> Event | None:
    """The next job, waited for while others are still busy; None when the study is done."""
    asked = 0.0
    while True:
        if study.catch_up() or time.monotonic() - asked > LOOK:
            asked = time.monotonic()
            start = study.claim(worker)
            if start is not None or study.done:
                return start
        time.sleep(POLL)


def _do(study: Study, start: Event) -> int:
    """Do a job, and write down how it ended; 128 + the signal that stopped it, else 0."""
    begun = time.perf_counter()
    try:
        result = _train(study, start)
        value = _value(result, study.spec.metric)
    except signals.Stopped as stopped:
        study.release(start, "stopped")
        return stopped.exit_code
    except InUseError as error:  # its last worker was taken for dead, and is not
        study.release(start, error.message)
        time.sleep(LOOK)
        return 0
    except (DataError, OSError) as error:  # the next trial would meet the same
        study.release(start, clean(error))
        raise
    except D2LError as error:
        study.fail(start, error.message)
    except Exception as error:
        traceback.print_exc()
        study.fail(start, f"{type(error).__name__}: {clean(error)}")
    else:
        study.report(start, value, _used(result, study.spec.resource))
        took = time.perf_counter() - begun
        _say(f"trial {start.trial} rung {start.rung}: {study.spec.metric} {value:.5g}, {took:.2f} s")
    gc.collect()
    return 0


def _train(study: Study, start: Event) -> dict[str, Any]:
    """Train a trial as far as its rung says; the content of result.json."""
    from d2lcli.training import cross_validation, session

    plan = _plan(study, start)
    finished = already_finished(plan)
    if finished is not None:
        return finished
    return cross_validation.train(plan, quiet=True) if fold_plans(plan) else session.train(plan, quiet=True)


def _plan(study: Study, start: Event) -> Plan:
    """A new run, or the trial's own."""
    spec, folder = study.spec, study.run_folder(start.trial)
    begun = RunFolder(folder).exists
    words = [] if begun else spec.overrides(start.trial, study.trials[start.trial].config)
    plan = make_plan(words, resume=folder)
    if not SEARCHERS.describe(spec.search["name"]).schedules:
        return plan
    return replace(plan, rest=Rest(spec.resource, start.resource))  # type: ignore[arg-type]


def _value(result: Mapping[str, Any], metric: str) -> float:
    """Raises: D2LError: the metric is not there, or is not a finite number."""
    found = result["metrics"].get(metric)
    try:
        value = float(found)
    except (TypeError, ValueError):
        raise D2LError(f"the run has no number {metric}, but {clean(found, 40)}") from None
    if not isfinite(value):
        raise D2LError(f"{metric} is {value}")
    return value


def _used(result: Mapping[str, Any], resource: str) -> float:
    """What the run has had of a resource in all."""
    return float(result[resource])


@contextmanager
def _alive(study: Study, worker: str) -> Iterator[None]:
    """Be known as alive within this block."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                study.log.beat(worker)
            except Exception as error:  # the database is away for a moment: the next beat may reach it
                _say(f"warning: no sign of life could be given: {clean(error)}")

    study.log.enter(worker)
    thread = threading.Thread(target=beat, name="d2l-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        study.give_back(worker)
        study.log.leave(worker)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
