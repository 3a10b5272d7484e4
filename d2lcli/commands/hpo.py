"""`d2l hpo`: search for the best values of keys; many runs, none of them ever lost."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from signal import Signals
from typing import Any

from d2lcli.errors import CheckpointError, ConfigError, D2LError, clean

RUNS = Path("runs")
DATABASE = "study.db"


def hpo(
    words: list[str],
    *,
    search: str | None = None,
    trials: int | None = None,
    workers: int | None = None,
    minutes: float | None = None,
    study: str | None = None,
    storage: str | None = None,
    run_dir: Path | None = None,
    resume: bool = False,
    retrain: bool = False,
    config_file: Path | None = None,
    json_output: bool = False,
) -> int:
    """Begin a study, join it or go on with it, and print its folder.

    Args:
        words: KEY=VALUE; those with several values are the space.
        search: chosen by an option such as --asha.

    Returns:
        The exit code.

    Raises:
        ConfigError: a wrong key, an empty space, or a study that is another one.
        CheckpointError: there is no study to resume.
        D2LError: the storage cannot be used, or all trials have failed.
    """
    from d2lcli.hpo.plan import make_spec
    from d2lcli.registry.plugins import imported

    if search and (named := [word for word in words if word.startswith(("search=", "search.name="))]):
        raise ConfigError(f"--{search} and {clean(named[0], 60)} both choose the search", "leave one of them out")
    if resume and (words or search or config_file):
        raise ConfigError(
            "--resume goes on with a study as it was begun: it takes no keys and no search",
            "to change something, begin another study; --trials N adds trials",
        )
    spec = None
    if not resume:
        spec = make_spec(words, search=search or "asha", trials=trials, config_file=config_file, plugins=imported)
    folder = run_dir or RUNS / (study or (_newest() if resume else _new_name(spec)))
    name = study or folder.name
    url = storage or f"sqlite:///{folder.resolve() / DATABASE}"
    _check_folder(folder, resume=resume and storage is None)
    return _search(spec, folder, name, url, trials, workers, minutes, retrain, json_output)


def _search(
    spec: Any,
    folder: Path,
    name: str,
    url: str,
    trials: int | None,
    workers: int | None,
    minutes: float | None,
    retrain: bool,
    json_output: bool,
) -> int:
    """Open the study, let workers do it, tell what was found."""
    from d2lcli import config as configs
    from d2lcli.hpo import controller, results
    from d2lcli.hpo.live import make_live
    from d2lcli.hpo.storage import open_storage
    from d2lcli.hpo.study import open_study
    from d2lcli.training.runfolder import make_folder

    live = make_live()
    try:
        make_folder(folder)
        found = open_study(open_storage(url, say=live.say), name, folder, spec, trials=trials)
        values = configs.compose(found.spec.overrides(0, _first_config(found))).values
        environments = controller.environments(workers, values["hardware"])
        _introduce(found, name, len(environments), live.say)
        status = "done"
        if not _finished(found, live):
            status = controller.run(found, url, name, environments, minutes=minutes, show=live.show, say=live.say)
        if status == "done":
            found.settle()
    finally:
        live.close()
    result = results.write(found, status)
    _draw(found, live.say)
    _tell(found, result, name, live.say)
    if retrain and status == "done" and result["best"]:
        result["retrained"] = _retrain(found, live.say)
    _print(result, json_output)
    return _exit_code(found, status)


def _new_name(spec: Any) -> str:
    model = next((word[6:] for word in reversed(spec.train) if word.startswith("model=")), "search")
    stem = f"hpo-{datetime.now():%Y%m%d-%H%M%S}-{''.join(char for char in model if char.isalnum() or char == '_')[:40]}"
    name, count = stem, 1
    while (RUNS / name).exists():
        count += 1
        name = f"{stem}-{count}"
    return name


def _newest() -> str:
    """The name of the study in runs/ that was written to last."""
    found = sorted(RUNS.glob(f"*/{DATABASE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CheckpointError("there is no study in runs/ to go on with", "name one: --study NAME, or --run-dir DIR")
    return found[-1].parent.name


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something else; nothing is written.

    Raises:
        CheckpointError: there is no study to resume.
        ConfigError: the folder is no study's.
    """
    from d2lcli.training.runfolder import check_folder

    check_folder(folder)
    if resume and not (folder / DATABASE).exists():
        raise CheckpointError(
            f"no study in {clean(folder)} (there is no {DATABASE})", "leave --resume out to begin one"
        )
    ours = {"trials", "workers", "plots", "retrained", "result.json", "events.jsonl"}
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in names if name not in ours and not name.startswith(DATABASE)]
    if foreign and not (folder / DATABASE).exists():
        raise ConfigError(
            f"study folder {clean(folder)}: is not empty ('{clean(foreign[0], 60)}')", "choose another --run-dir"
        )


def _first_config(study: Any) -> dict[str, Any]:
    """Values of the space, so that the trials' config can be composed before there is a trial."""
    from d2lcli.hpo.space import Choice

    return {
        key: dimension.values[0] if isinstance(dimension, Choice) else dimension.low
        for key, dimension in study.spec.dimensions.items()
    }


def _introduce(study: Any, name: str, workers: int, say: Any) -> None:
    spec = study.spec
    levels = ", ".join(f"{level:g}" for level in study.search.levels)
    how = f"{spec.search['name']}" + (f" over {spec.search['sampler']['name']}" if "sampler" in spec.search else "")
    say(f"study {name}: {how}; {'smallest' if spec.mode == 'min' else 'largest'} {spec.metric}; {workers} workers")
    say(f"  rungs: {levels} {spec.resource}; trials: {spec.trials or study.search.most or 'all of the grid'}")
    for key, dimension in spec.dimensions.items():
        say(f"  {key}: {dimension}")


def _finished(study: Any, live: Any) -> bool:
    """Whether nothing is left to do; tells what was done before."""
    events = study.catch_up()
    if not events:
        return False
    live.say(f"  {len(study.trials)} trials and {len(events)} events are there already")
    for event in events:
        live.line(study, event)  # so that the best value so far is known
    if study.done:
        live.say("  the study is done already, nothing to do")
        return True
    return False


def _draw(study: Any, say: Any) -> None:
    """Plots, where matplotlib is installed."""
    from d2lcli.hpo.study_plots import draw_study

    try:
        for path in draw_study(study):
            say(f"plot: {path}")
    except D2LError as error:
        say(f"no plots: {error.message}")


def _tell(study: Any, result: Mapping[str, Any], name: str, say: Any) -> None:
    """What was found, for people."""
    from d2lcli.hpo import results

    states = ", ".join(f"{number} {state}" for state, number in result["trials"].items() if number)
    say(f"{states}; {result['seconds']:.0f} s")
    reasons: dict[str, int] = {}
    for reason in study.reasons.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, number in sorted(reasons.items(), key=lambda item: -item[1])[:3]:
        say(f"  {number} failed: {clean(reason)}")
    for line in results.broken_rules(study)[:3]:
        say(f"warning: the log breaks a rule of {result['search']}: {clean(line)}")
    best = result["best"]
    if best:
        say(
            f"best: trial {best['trial']}, {result['metric']} {best['value']:.5g} after "
            f"{best['resource']:g} {result['resource']}, in {best['run']}"
        )
        say(f"its whole run: {best['command']}")
    if result["status"] != "done":
        where = (
            f"--study {name}"
            if study.folder.parent == RUNS and study.folder.name == name
            else f"--run-dir {study.folder}"
        )
        say(f"stopped ({result['status']}), nothing is lost; go on with: d2l hpo --resume {where}")


def _retrain(study: Any, say: Any) -> str:
    """Train the best configuration from the beginning to the end; its run folder."""
    from d2lcli.training import cross_validation, session
    from d2lcli.training.plan import already_finished, fold_plans, make_plan
    from d2lcli.training.runfolder import RunFolder

    trial, _ = study.best()
    folder = study.folder / "retrained"
    words = [] if RunFolder(folder).exists else study.spec.overrides(trial.number, trial.config)
    plan = make_plan(words, resume=folder)
    if not already_finished(plan):
        say(f"training the best trial anew, to the end, in {folder}")
        cross_validation.train(plan) if fold_plans(plan) else session.train(plan)
    return str(folder)


def _print(result: Mapping[str, Any], json_output: bool) -> None:
    """The study's folder, or all of its result as one JSON object, as the last line on stdout."""
    from d2lcli.commands.terminal import print_json
    from d2lcli.training.files import finite

    if json_output:
        print_json(finite(result))
    else:
        print(result["run"], flush=True)
    sys.stdout.flush()


def _exit_code(study: Any, status: str) -> int:
    """Raises: D2LError: every trial has failed, or too many in a row."""
    if status not in ("done", "time"):
        return 128 + int(Signals[status])
    failed: Sequence[str] = list(study.reasons.values())
    if failed and (len(failed) == len(study.trials) or study.hopeless):
        which = (
            f"all {len(failed)} trials"
            if len(failed) == len(study.trials)
            else f"{study.spec.max_failures} trials in a row"
        )
        raise D2LError(f"{which} have failed, the last one: {clean(failed[-1])}", f"see {study.folder / 'workers'}")
    return 0
