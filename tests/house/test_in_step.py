"""Tables, conf/ and builders are in step: one word is the command-line name, the key, the file and the function."""

import ast
import re
from pathlib import Path

import pytest

from d2lcli.config.places import BUNDLES, conf_dir, conf_names
from d2lcli.config.schema import GROUPS, hardware_parameters, node_parameters, run_parameters
from d2lcli.config.yaml_text import load_yaml
from d2lcli.registry import DATASETS, REGISTRIES, TASKS
from d2lcli.registry.options import check_value

NODES = [(group, name) for group, registry in GROUPS.items() for name in registry.names()]
ENTRIES = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]


@pytest.mark.parametrize("group", GROUPS)
def test_one_file_for_each_entry(group: str) -> None:
    assert list(conf_names(group)) == GROUPS[group].names()


def test_every_folder_of_conf_is_known() -> None:
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders <= {*GROUPS, *BUNDLES, *REGISTRIES, "hpo"}


@pytest.mark.parametrize(("group", "name"), NODES)
def test_a_file_has_the_keys_of_its_builder(group: str, name: str) -> None:
    values = load_yaml(conf_dir() / group / f"{name}.yaml")
    assert values.pop("name") == name
    parameters = node_parameters(group, name)
    assert set(values) == set(parameters)
    assert {key: check_value(value, parameters[key]) for key, value in values.items()} == dict.fromkeys(values, "")


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_the_builder_has_the_entry_s_name(kind: str, name: str) -> None:
    entry = REGISTRIES[kind].describe(name)
    module, _, attribute = str(entry.target).partition(":")
    assert attribute == name
    assert module.startswith("d2lcli.")
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name)


@pytest.mark.parametrize("path", sorted(conf_dir().rglob("*.yaml")), ids=lambda path: str(path.relative_to(conf_dir())))
def test_a_file_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = lines[1:] if lines[0].startswith("# @package") else lines
    assert first[0].startswith("# ") and len(first[0]) > 10
    assert "_target_" not in path.read_text()


def test_the_table_of_contents_has_every_key() -> None:
    values = load_yaml(conf_dir() / "train.yaml")
    groups = {key for line in values.pop("defaults") if isinstance(line, dict) for key in line}
    assert groups == {*GROUPS, *BUNDLES}
    assert values == {name: parameter.default for name, parameter in run_parameters().items()}
    for line in (conf_dir() / "train.yaml").read_text().splitlines():
        assert not re.match(r"\s*(- )?\w+:", line) or "#" in line or line.startswith("defaults")


@pytest.mark.parametrize("name", conf_names("hardware"))
def test_hardware_bundles_hold_known_keys(name: str) -> None:
    values = load_yaml(conf_dir() / "hardware" / f"{name}.yaml")
    assert set(values) <= {"defaults", "hardware"}
    assert set(values["hardware"]) <= set(hardware_parameters())


def test_models_name_data_and_tasks_that_exist() -> None:
    for row in REGISTRIES["model"].rows():
        assert row["data"] in DATASETS and row["task"] in TASKS


def test_no_table_line_is_built_at_run_time() -> None:
    """Tables hold text: a target is a literal in the source."""
    for path in (Path(__file__).parents[2] / "d2lcli" / "registry").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Entry" and path.name != "core.py":
                assert isinstance(node.args[0], ast.Constant) and isinstance(node.args[1], ast.Constant)
