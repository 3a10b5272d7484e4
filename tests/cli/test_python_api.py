"""The functions of `import d2lcli` do what the commands do."""

import subprocess
import sys

import pytest

import d2lcli
from d2lcli.errors import ConfigError


def test_config_of_is_what_the_command_composes() -> None:
    values = d2lcli.config_of(["model=lenet", "optim=sgd", "optim.lr=0.25"])
    assert (values["model"]["name"], values["optim"]["name"], values["optim"]["lr"]) == ("lenet", "sgd", 0.25)
    with pytest.raises(ConfigError, match="did you mean 'optim'"):
        d2lcli.config_of(["optm=sgd"])


def test_show_counts_the_published_parameters() -> None:
    assert d2lcli.show(["model=lenet"])["parameters"] == 61_706


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, d2lcli; print([m for m in ('torch', 'numpy', 'hydra', 'yaml', 'typer') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "[]"
