"""Signatures are read from text, and agree with what `inspect` says after the import."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest

from d2lcli.registry import MODELS, OPTIMIZERS, REGISTRIES
from d2lcli.registry.signatures import MISSING, Form, form_of, read_signature

ENTRIES = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_text_and_inspect_agree_on_names_and_defaults(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    read = registry.parameters(name)
    real = inspect.signature(registry.get(name)).parameters
    assert list(read) == list(real)
    for key, parameter in real.items():
        assert read[key].required == (parameter.default is inspect.Parameter.empty)
        if not read[key].live:
            assert read[key].default == parameter.default or read[key].default is MISSING


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_an_option_never_lacks_its_default(kind: str, name: str) -> None:
    for parameter in REGISTRIES[kind].parameters(name).values():
        assert parameter.live or parameter.required or parameter.default is not MISSING


def test_reading_imports_nothing() -> None:
    program = (
        "import sys\nfrom d2lcli.registry import REGISTRIES\n"
        "for registry in REGISTRIES.values():\n    [registry.parameters(name) for name in registry.names()]\n"
        "print([name for name in ('torch', 'numpy', 'd2lcli.models.mlp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_aliases_are_followed_through_imports() -> None:
    activation = MODELS.parameters("lenet")["activation"]
    assert activation.type == "choice"
    assert {"sigmoid", "relu"} <= set(activation.choices)


def test_live_parameters_are_known() -> None:
    parameters = OPTIMIZERS.parameters("adamw")
    assert parameters["params"].live
    assert parameters["params"].required
    assert parameters["betas"].form == Form("list", parts=(Form("float"),))


@pytest.mark.parametrize(
    ("hint", "form"),
    [
        (int, Form("int")),
        (float | None, Form("float", optional=True)),
        (Literal["a", "b"], Form("choice", choices=("a", "b"))),
        (Literal["a", None], Form("choice", choices=("a",), optional=True)),
        (Sequence[int], Form("list", parts=(Form("int"),))),
        (tuple[float, float], Form("list", parts=(Form("float"), Form("float")), fixed=True)),
        (tuple[int, ...], Form("list", parts=(Form("int"),))),
        (Mapping[str, float], Form("mapping", parts=(Form("float"),))),
        (int | str | None, Form("union", parts=(Form("int"), Form("str")), optional=True)),
        (Callable[[int], int], Form("live")),
        (Mapping[int, float], Form("live")),
        (int | bytes, Form("live")),
        (Any, Form("live")),
    ],
)
def test_forms_of_hints(hint: Any, form: Form) -> None:
    assert form_of(hint) == form


def test_a_callable_is_inspected() -> None:
    def builder(size: int, *rest: int, factor: float = 2.0, model: object = None, **more: int) -> None:
        """Not called."""

    read = read_signature(builder)
    assert list(read) == ["size", "factor", "model"]
    assert read["size"].required
    assert read["factor"].default == 2.0
    assert read["model"].live


@pytest.mark.parametrize("target", ["d2lcli.models.nosuch:x", "d2lcli.models.mlp:nosuch"])
def test_a_wrong_target_is_a_lookup_error(target: str) -> None:
    with pytest.raises(LookupError, match="nosuch"):
        read_signature(target)
