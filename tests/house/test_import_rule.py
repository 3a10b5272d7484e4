"""Who may import whom (the rooms of the house), and what may not be written anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "d2lcli"
FILES = sorted(PACKAGE.rglob("*.py"))

PARTS = {"models", "optim", "data", "tasks", "parallel"}
ENGINES = {"training", "diagnosis", "generation", "hpo", "hardware", "reporting"}
GROUND = {"registry", "config"}
ALLOWED = {
    "errors": set(),
    "nn": {"errors"},
    **{part: {"errors", "nn"} for part in PARTS},
    "registry": {"errors"},
    "config": {"errors", "registry"},
    "training": {"errors", "registry", "config", "nn", *PARTS},
    "diagnosis": {"errors", "registry", "config", "training", "nn", *PARTS},
    "generation": {"errors", "registry", "config", "training", "nn", *PARTS},
    "hpo": {"errors", "registry", "config", "training", "nn", *PARTS},
    "hardware": {"errors", "registry", "config", "models", "nn"},
    "reporting": {"errors", "registry", "config", "training"},
    "commands": {"errors", *GROUND, *ENGINES, "data"},
    "__main__": {"errors", "commands", *GROUND, *ENGINES},
    "__init__": {*GROUND, *ENGINES},
}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path: Path) -> Iterator[str]:
    """The full names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_arrows(path: Path) -> None:
    own = room(path)
    for target in imported(path):
        words = target.split(".")
        if words[0] == "d2lcli":
            other = words[1] if len(words) > 1 else "__init__"
            known = other in ALLOWED or (PACKAGE / other).exists() or (PACKAGE / f"{other}.py").exists()
            other = other if known else "__init__"
            assert other == own or other in ALLOWED[own] | {"__init__"}, f"{own} may not import {target}"


@pytest.mark.parametrize("path", [file for file in FILES if room(file) != "config"], ids=name)
def test_only_config_knows_hydra(path: Path) -> None:
    assert not {target.split(".")[0] for target in imported(path)} & {"hydra", "omegaconf"}


@pytest.mark.parametrize("path", [file for file in FILES if room(file) == "registry"], ids=name)
def test_the_registry_needs_the_standard_library_alone(path: Path) -> None:
    import sys

    tops = {target.split(".")[0] for target in imported(path)}
    assert tops <= sys.stdlib_module_names | {"d2lcli"}


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {"instantiate", "extractall", "unsafe_load", "full_load"}
IMPORTERS = {"registry/core.py", "registry/signatures.py", "registry/plugins.py"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_that_runs_what_it_reads(path: Path) -> None:
    assert not {target.split(".")[0] for target in imported(path)} & FORBIDDEN_MODULES
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        where = f"{name(path)}:{node.lineno}: {called}"
        assert called not in FORBIDDEN_CALLS and last not in FORBIDDEN_METHODS, where
        assert last != "import_module" or name(path) in IMPORTERS, where
        assert (
            called not in ("torch.load", "load") or "torch" not in called or keywords.get("weights_only") == "True"
        ), where
        assert called not in ("yaml.load", "yaml.load_all", "os.system", "os.popen"), where
        assert keywords.get("shell") != "True", where
