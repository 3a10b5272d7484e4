"""What the shipped files say for a set of choices, composed by Hydra.  The only file that composes with it."""

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from d2lcli.config.layers import Config, choice_document, own_choices, root_document
from d2lcli.config.places import BUNDLES, conf_dir, conf_file
from d2lcli.config.schema import GROUPS
from d2lcli.config.yaml_text import Document
from d2lcli.registry import DATASETS, MODELS


def shipped_config(command: str, chosen: Mapping[str, str | None]) -> Config:
    """What the shipped files say for these choices."""
    filed = {group: name for group, name in chosen.items() if name and conf_file(group, name)}
    composed, found = _hydra(command, tuple(sorted(filed.items())))
    values, choices = copy.deepcopy(composed), {**found, **chosen}
    options: dict[str, dict[str, Any]] = {}
    for group, own in brought(choices).items():
        if own and not choices[group]:
            choices[group] = own
            options |= _options(str(choices["model"]), group, own)
    documents = {group: choice_document(group, name) for group, name in choices.items() if name}
    for group in GROUPS:
        name = choices[group]
        node = {} if group in chosen and group not in filed else values.get(group) or {}
        shipped = documents[group].values | options.get(group, {}) if name else {}
        values[group] = {"name": name} | shipped | node | {"name": name} if name else None
    bundles = [documents[bundle] for bundle in BUNDLES if bundle in documents]
    for bundle in bundles:
        _restore(values, bundle, choices, documents)
    groups = [documents[group] for group in GROUPS if group in documents]
    model = Document(f"model/{choices['model']}", options)
    return Config(values, choices, layers=[root_document(command), *groups, model, *bundles])


def brought(choices: Mapping[str, str | None]) -> dict[str, str]:
    """What the model brings in other groups; the task is the data's own where the model can do that, too.

    A model that brings classification can do regression where the data has no classes.
    """
    model = choices["model"]
    if not model:
        return {}
    entry = MODELS.describe(model)
    data = DATASETS.describe(choices["data"] or entry.data)
    regressing = bool(data.task) and entry.task == "classification" and entry.task not in data.tasks
    return entry.brings | {"task": data.task} if data.task in entry.also or regressing else entry.brings


def _options(model: str, group: str, own: str) -> dict[str, dict[str, Any]]:
    """What a model sets in a group whose choice is its own."""
    entry = MODELS.describe(model)
    chosen = entry.options.get(group, {}) if entry.brings[group] == own else {}
    return {group: copy.deepcopy(dict(chosen))} if chosen else {}


def _restore(
    values: dict[str, Any], bundle: Document, choices: Mapping[str, str | None], documents: Mapping[str, Document]
) -> None:
    """Undo what a bundle set in the node of an entry of its own choice, where another entry was chosen since."""
    for group, own in own_choices(bundle).items():
        if group in GROUPS and choices[group] != own and choices[group]:
            for key in bundle.values.get(group) or {}:
                shipped = documents[group].values
                values[group].pop(key, None)
                values[group] |= {key: copy.deepcopy(shipped[key])} if key in shipped else {}


@lru_cache(maxsize=64)
def _hydra(command: str, chosen: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Hydra's composition of the shipped files: plain values, and the choice of every group."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    words = [f"{group}={name}" for group, name in chosen]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = hydra_compose(command, words, return_hydra_config=True)
    runtime: Any = OmegaConf.to_container(composed.hydra.runtime.choices)
    values: Any = OmegaConf.to_container(composed, resolve=False)
    values.pop("hydra")
    return values, {group: runtime.get(group) for group in (*GROUPS, *BUNDLES)}
