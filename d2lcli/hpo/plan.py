"""Decides what a `d2l hpo` command is to do: which study, over which space, searched how.  Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2lcli import config as configs
from d2lcli.config.search import GROUPS, Wanted, read_search
from d2lcli.config.sweeps import Sweep, part_sweeps, read_file_overrides, read_sweep, write_override
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.hpo.asha import Promotion
from d2lcli.hpo.search import Search
from d2lcli.hpo.space import Choice, Configuration, Dimension, Float, Int, Space
from d2lcli.registry import METRICS, SEARCHERS

DEFAULT = "lenet"  # the bundle of a command that names neither a model nor values to search
TRIALS = 20  # of a sampler that could go on for ever
SPREAD = 30  # the default space goes from lr / SPREAD to lr SPREAD
CHECKED = 50  # values of a choice that are checked one by one


@dataclass(frozen=True)
class Spec:
    """All that decides the course of a search; it is stored with the study.

    Args:
        train: the overrides of all trials.
        space: key -> the sweep's fields.
        search: the node of the search.
        metric: the validation value that decides.
        mode: min or max.
        resource: epochs, steps or seconds.
        length: what a whole run has of it.
        trials: how many; None for as many as there are.
        seed: of trial 0; each trial has the next one.
        max_failures, max_attempts: see `d2lcli.config.search.Study`.
        plugins: modules that a worker imports first.
    """

    train: list[str]
    space: dict[str, dict[str, Any]]
    search: dict[str, Any]
    metric: str
    mode: str
    resource: str
    length: float
    trials: int | None
    seed: int
    max_failures: int
    max_attempts: int
    plugins: list[str]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The space as the search sees it."""
        sweeps = [Sweep(**fields | {"values": tuple(fields["values"])}) for fields in self.space.values()]
        return {sweep.key: _dimension(sweep) for sweep in sweeps}

    def overrides(self, trial: int, config: Configuration) -> list[str]:
        """The words with which `d2l train` trains a trial."""
        words = [*self.train, *(write_override(key, value) for key, value in config.items())]
        return words if "seed" in config else [*words, f"seed={self.seed + trial}"]

    @property
    def sign(self) -> float:
        """What a value is multiplied by so that smaller is better."""
        return 1.0 if self.mode == "min" else -1.0


def make_spec(
    words: Sequence[str],
    *,
    search: str = "asha",
    trials: int | None = None,
    config_file: Path | None = None,
    plugins: Sequence[str] = (),
) -> Spec:
    """Compose and check everything that can be checked without torch.

    Args:
        words: KEY=VALUE, of the trials, of the space and of the search.
        search: its name, where no word gives one.
        trials: how many; None for the search's own number.
        config_file: YAML beneath the overrides of the trials.
        plugins: modules that register entries of their own.

    Raises:
        ConfigError: a wrong config, an empty space, or values that `d2l train` would refuse.
    """
    about = [word for word in words if word.lstrip("+~").partition("=")[0].partition(".")[0] in GROUPS]
    sweeps, plain = part_sweeps([word for word in words if word not in about])
    bare = not sweeps and config_file is None and not any(word.startswith("model=") for word in plain)
    wanted = read_search(about, search, DEFAULT if bare else None)
    sweeps += [_ready_sweep(key, text) for key, text in wanted.space.items() if not _has(sweeps, plain, key)]
    train = _without_repeats([*_file_words(config_file), *wanted.train, *plain])
    base = configs.compose([*train, *(write_override(sweep.key, _first(sweep)) for sweep in sweeps)]).values
    if not sweeps:
        sweeps = [sweep for sweep in _default_space(base) if not _has([], train, sweep.key)]
    if not sweeps:
        raise ConfigError(
            "the search space is empty: no key has several values",
            "give one: d2l hpo 'optim.lr=tag(log,interval(1e-4,1))' model=lenet,mlp",
        )
    dimensions = {sweep.key: _dimension(sweep) for sweep in sweeps}
    _check_each(train, sweeps)
    _refuse_processes(base)
    metric = wanted.study["metric"] or base["monitor"] or _own_metric(base)
    resource = wanted.study["resource"] or ("steps" if base["steps"] else "epochs")
    spec = Spec(
        train=train,
        space={sweep.key: asdict(sweep) | {"values": list(sweep.values)} for sweep in sweeps},
        search=wanted.search,
        metric=metric,
        mode=wanted.study["mode"] or _mode(metric, base),
        resource=resource,
        length=_length(base, resource, wanted, dimensions),
        trials=trials or wanted.trials,
        seed=base["seed"],
        max_failures=wanted.study["max_failures"],
        max_attempts=wanted.study["max_attempts"],
        plugins=list(plugins),
    )
    first = build_search(spec).levels[0]
    if spec.search.get("budget") and resource != "seconds" and first < 1:
        raise ConfigError(
            f"search.budget: {spec.search['budget']:g} leaves {first:g} {resource} of the first rung for each trial",
            "give a larger budget, or fewer --trials",
        )
    return spec


def build_search(spec: Spec) -> Search:
    """The search, before any event.

    Raises:
        ConfigError: it refuses its options.
    """
    space, node = spec.dimensions, dict(spec.search)
    name = node.pop("name")
    if not SEARCHERS.describe(name).schedules:
        suggest = _build(name, node | {"space": space})
        trials = spec.trials if spec.trials or name == "grid" else TRIALS
        return Search(suggest, [spec.length], lambda trial: 0, lambda number: Promotion(1, 2), trials)
    sampler = node.pop("sampler")
    options = {key: value for key, value in sampler.items() if key != "name"}
    suggest = _build(sampler["name"], options | {"space": space})
    node["r_max"] = node["r_max"] or spec.length
    trials = spec.trials if spec.trials or name != "asha" or sampler["name"] == "grid" else 3 * TRIALS
    found: Search = _build(name, node | {"suggest": suggest, "trials": trials})
    return found


def _build(name: str, options: Mapping[str, Any]) -> Any:
    try:
        return SEARCHERS.build(name, **options)
    except ValueError as error:
        raise ConfigError(f"search '{name}': {error}") from None


def _dimension(sweep: Sweep) -> Dimension:
    """As the search sees it.

    Raises:
        ConfigError: there is nothing to choose, or its ends are wrong.
    """
    try:
        if sweep.values:
            return Choice(sweep.values)
        if sweep.integer:
            return Int(int(sweep.low), int(sweep.high), sweep.log)
        return Float(sweep.low, sweep.high, sweep.log)
    except ValueError as error:
        raise ConfigError(f"{clean(sweep.key, 80)}: {error}") from None


def _ready_sweep(key: str, text: str) -> Sweep:
    """A dimension of a bundle."""
    found = read_sweep(f"{key}={text}")
    assert found is not None, f"conf/hpo: {key} has one value"
    return found


def _has(sweeps: Sequence[Sweep], plain: Sequence[str], key: str) -> bool:
    """Whether the command itself says what a key of the bundle's space is to be."""
    return any(sweep.key == key for sweep in sweeps) or any(word.lstrip("+").startswith(f"{key}=") for word in plain)


def _first(sweep: Sweep) -> Any:
    return sweep.values[0] if sweep.values else sweep.low


def _file_words(path: Path | None) -> list[str]:
    """A config file as overrides, so that the study does not depend on the file any more."""
    return [] if path is None else read_file_overrides(path)


def _without_repeats(words: Sequence[str]) -> list[str]:
    """Of several words KEY=VALUE with the same key, the last one."""
    last = {word.partition("=")[0]: index for index, word in enumerate(words)}
    return [word for index, word in enumerate(words) if last[word.partition("=")[0]] == index]


def _default_space(values: Mapping[str, Any]) -> list[Sweep]:
    """The learning rate around the config's own, and the batch size."""
    lr, size = values["optim"].get("lr"), values["data"].get("batch_size")
    found = [Sweep("optim.lr", (), lr / SPREAD, lr * SPREAD, log=True)] if lr else []
    if size and size >= 4:
        found.append(Sweep("data.batch_size", (size // 4, size // 2, size, 2 * size)))
    return found


def _check_each(train: Sequence[str], sweeps: Sequence[Sweep]) -> None:
    """Let every value be composed once, beside the first values of the others.

    Raises:
        ConfigError: `d2l train` would refuse one.
    """
    firsts = {sweep.key: _first(sweep) for sweep in sweeps}
    for sweep in sweeps:
        for value in sweep.values[1:CHECKED] or (sweep.high,):
            chosen = firsts | {sweep.key: value}
            configs.compose([*train, *(write_override(key, each) for key, each in chosen.items())])


def _refuse_processes(values: Mapping[str, Any]) -> None:
    if values["strategy"]["name"] != "single" or values["hardware"]["devices"] > 1:
        raise ConfigError(
            "hardware.devices: each trial of a search has one device",
            "leave hardware=ddp out; --workers N trains N trials side by side, one on each GPU",
        )


def _own_metric(values: Mapping[str, Any]) -> str:
    """What the task monitors: its first metric that is one number, else the loss."""
    names = [item if isinstance(item, str) else item["name"] for item in values["task"]["metrics"]]
    return next((name for name in names if METRICS.describe(name).comparable), "loss")


def _mode(metric: str, values: Mapping[str, Any]) -> str:
    """Raises: ConfigError: the task has no such value."""
    names = [item if isinstance(item, str) else item["name"] for item in values["task"]["metrics"]]
    known = ["loss", *(name for name in names if METRICS.describe(name).comparable)]
    if metric not in known:
        raise ConfigError(
            f"study.metric: '{clean(metric, 80)}' is no value of this task{nearest(metric, known)} "
            f"(known: {', '.join(known)})",
            f"to have it: task.metrics=[{','.join([*names, metric])}]" if metric in METRICS else "",
        )
    return "max" if metric != "loss" and METRICS.describe(metric).higher_is_better else "min"


def _length(values: Mapping[str, Any], resource: str, wanted: Wanted, space: Space) -> float:
    """What a whole run has of the resource.

    Raises:
        ConfigError: it cannot be told, or a key that decides it is searched by a schedule.
    """
    r_max = wanted.search.get("r_max")
    schedules = SEARCHERS.describe(wanted.search["name"]).schedules
    if schedules and (found := [key for key in ("epochs", "steps") if key in space]):
        raise ConfigError(
            f"{found[0]}: how long a trial trains is what search={wanted.search['name']} decides",
            f"set {found[0]} to the longest run, or use search=random",
        )
    if resource == "seconds":
        if schedules and not r_max:
            raise ConfigError("study.resource: of seconds a run has no length of its own", "set search.r_max")
        return float(r_max or 0)
    whole = values[resource]
    if whole is None:
        raise ConfigError(f"study.resource: the run counts {'epochs' if resource == 'steps' else 'steps'}")
    if r_max and r_max > whole:
        raise ConfigError(
            f"search.r_max: {r_max:g} is beyond the end of a run, {whole} {resource}", f"set {resource}={r_max:g}"
        )
    if schedules and resource == "epochs" and values["steps"]:
        raise ConfigError("study.resource: the length of the run is in steps", "set study.resource=steps")
    return float(whole)
