"""The config of a search: `search=NAME`, `search.KEY=VALUE`, `study.KEY=VALUE` and `hpo=NAME`, checked.  No Hydra."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from d2lcli.config.overrides import Setting, read_overrides
from d2lcli.config.places import conf_dir, conf_names
from d2lcli.config.problems import Problems
from d2lcli.config.yaml_text import load_yaml
from d2lcli.errors import clean, nearest
from d2lcli.registry import SEARCHERS
from d2lcli.registry.options import check_options, check_value, show
from d2lcli.registry.signatures import Parameter, read_signature

GROUPS = ("search", "study", "hpo")
_SUPPLIED = ("trials",)  # an option of the command


@dataclass(frozen=True)
class Study:
    """The keys of the node `study`: what is searched for.

    Args:
        metric: the validation value that is to be as good as possible; null is what the run monitors.
        mode: whether that is small (min) or large (max); null is what the metric says.
        resource: what a rung counts: epochs, steps or seconds; null is what the run's length counts.
        max_failures: the search ends when so many trials in a row have failed.
        max_attempts: a trial is given up when so many of its workers died one after the other at the same place.
    """

    metric: str | None = None
    mode: Literal["min", "max"] | None = None
    resource: Literal["epochs", "steps", "seconds"] | None = None
    max_failures: int = 10
    max_attempts: int = 3


@dataclass(frozen=True)
class SamplerKeys:
    """Who draws the trials of a schedule: a sampler's name, or a mapping of its name and its options."""

    sampler: str | Mapping[str, str | bool | int | float] = "random"


@dataclass(frozen=True)
class Wanted:
    """What the words of a command say about its search.

    Args:
        search: the node: its `name` and all options, `sampler` a mapping with a `name` where there is one.
        study: the node.
        space: key -> values in sweep grammar, of the bundle `hpo=NAME`.
        train: overrides of the trials, of the same bundle.
        trials: how many, of the same bundle; None where it does not say.
    """

    search: dict[str, Any]
    study: dict[str, Any]
    space: dict[str, str]
    train: list[str]
    trials: int | None = None


@cache
def search_parameters(name: str) -> dict[str, Parameter]:
    """The keys of a search's node, but for `name`: the builder's options and, of a schedule, its sampler."""
    found = {key: value for key, value in SEARCHERS.parameters(name).items() if not value.live and key not in _SUPPLIED}
    if SEARCHERS.describe(name).schedules:
        found |= read_signature(SamplerKeys)
        found["r_max"] = replace(found["r_max"].or_none(), default=None, required=False)
    return found


def read_search(words: Sequence[str], default: str, bundle: str | None = None) -> Wanted:
    """What the words say; those that are not about the search are not among them.

    Args:
        words: KEY=VALUE of the groups search, study and hpo.
        default: the search where no word names one.
        bundle: the choice of `hpo` where no word makes one.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    problems = Problems()
    settings = read_overrides(words, problems)
    name, bundle = _choice(settings, "search", default), _choice(settings, "hpo", bundle)
    ready = _bundle(bundle, problems)
    study = load_yaml(conf_dir() / "hpo.yaml")["study"] | ready.get("study", {})
    node = ready.get("search", {})
    if name == default and "name" in node and not _is_chosen(settings, "search"):
        name = node["name"]
    if not isinstance(name, str) or name not in SEARCHERS:
        known = ", ".join(SEARCHERS.names())
        problems.add(f"search: unknown name {show(name)}{nearest(str(name), SEARCHERS.names())} (known: {known})")
        problems.raise_any()
    search = load_yaml(conf_dir() / "search" / f"{name}.yaml")
    search |= {key: value for key, value in node.items() if node.get("name", name) == name}
    for setting in settings:
        if len(setting.key) == 2 and setting.key[1] != "name":
            (search if setting.key[0] == "search" else study)[setting.key[1]] = setting.value
    _check_node("search", search, search_parameters(name), problems, extra=("name",))
    _check_node("study", study, read_signature(Study), problems)
    if "sampler" in search:
        search["sampler"] = _sampler(search["sampler"], problems)
    problems.raise_any()
    return Wanted(search, study, ready.get("space", {}), ready.get("train", []), ready.get("trials"))


def _is_chosen(settings: Sequence[Setting], group: str) -> bool:
    return any(setting.key in ((group,), (group, "name")) for setting in settings)


def _choice(settings: Sequence[Setting], group: str, default: Any) -> Any:
    """The last choice of a group."""
    chosen = [setting.value for setting in settings if setting.key in ((group,), (group, "name"))]
    return chosen[-1] if chosen else default


def _bundle(name: Any, problems: Problems) -> dict[str, Any]:
    """`conf/hpo/NAME.yaml`."""
    names = conf_names("hpo")
    if name is None:
        return {}
    if name not in names:
        problems.add(f"hpo: unknown name '{clean(name, 80)}'{nearest(str(name), names)} (known: {', '.join(names)})")
        return {}
    return load_yaml(conf_dir() / "hpo" / f"{name}.yaml")


def _check_node(
    group: str,
    node: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    problems: Problems,
    extra: Sequence[str] = (),
) -> None:
    for key, value in node.items():
        if key in parameters:
            if reason := check_value(value, parameters[key]):
                problems.add(f"{group}.{clean(key, 80)}: {reason}")
        elif key not in extra:
            problems.add(f"{group}.{clean(key, 80)}: unknown key{nearest(str(key), list(parameters))}")


def _sampler(item: Any, problems: Problems) -> dict[str, Any]:
    """A sampler's node: its shipped options and those given."""
    options = dict(item) if isinstance(item, Mapping) else {"name": item}
    name = options.get("name")
    names = [each for each in SEARCHERS.names() if not SEARCHERS.describe(each).schedules]
    if name not in names:
        known = ", ".join(names)
        problems.add(f"search.sampler: {show(name)} is no sampler{nearest(str(name), names)} (known: {known})")
        return options
    given = {key: value for key, value in options.items() if key != "name"}
    for reason in check_options(given, search_parameters(str(name)), f"search.sampler '{name}'"):
        problems.add(reason)
    shipped: dict[str, Any] = load_yaml(conf_dir() / "search" / f"{name}.yaml")
    return shipped | given
