"""Changes to the config of a run that stands on disk: what is not named stays as it was."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from d2lcli.config.assignment import apply_settings, complete
from d2lcli.config.base import shipped_config
from d2lcli.config.checks import check_values
from d2lcli.config.composition import choose, from_values
from d2lcli.config.interpolation import resolve
from d2lcli.config.layers import Config, choice_document, own_choices, read_config_file
from d2lcli.config.overrides import read_overrides
from d2lcli.config.places import BUNDLES
from d2lcli.config.problems import Problems
from d2lcli.config.schema import GROUPS
from d2lcli.config.yaml_text import Document


def amend(values: Mapping[str, Any], overrides: Sequence[str], *, config_file: Path | None = None) -> Config:
    """A saved config with overrides on top.

    Choosing the entry that a group has already changes nothing; choosing another one replaces the group's node by what
    is shipped for it.  So the command that began a run can be given again to go on with it.

    Args:
        values: the saved config.
        overrides: KEY=VALUE words.
        config_file: a user's YAML file; the command line wins over it.

    Raises:
        ConfigError: everything that is wrong with the outcome.
    """
    problems = Problems()
    config = from_values(values)
    settings = read_config_file(config_file, problems) if config_file is not None else []
    settings += read_overrides(overrides, problems)
    chosen, broken, rest = choose(settings, problems)
    config.settings = settings
    _switch(config, chosen)
    apply_settings(config, rest, broken, problems)
    bad = resolve(config.values, config.place, problems)
    complete(config)
    check_values(config.values, config.place, problems, skip=broken, bad=bad)
    problems.raise_any()
    return config


def _switch(config: Config, chosen: Mapping[str, str | None]) -> None:
    """Apply the choices of groups and bundles."""
    shipped = shipped_config("train", chosen) if chosen else None
    if shipped is None:
        return
    for bundle in BUNDLES:
        if name := chosen.get(bundle):
            document = choice_document(bundle, name)
            for group, own in own_choices(document).items():
                if group in GROUPS:
                    _replace(config, shipped, group)
                elif group not in chosen:  # a bundle that the bundle chooses, such as hardware
                    _merge_bundle(config, choice_document(group, own))
            _merge_bundle(config, document)
    for group in chosen:
        if group in GROUPS:
            _replace(config, shipped, group)


def _replace(config: Config, shipped: Config, group: str) -> None:
    if config.choices[group] != shipped.choices[group]:
        config.values[group] = copy.deepcopy(shipped.values[group])
        config.choices[group] = shipped.choices[group]


def _merge_bundle(config: Config, document: Document) -> None:
    _merge(config.values, {key: value for key, value in document.values.items() if key != "defaults"})


def _merge(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = copy.deepcopy(value)
