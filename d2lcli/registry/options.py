"""Checks options against a builder's signature: names, types and ranges."""

import math
from collections.abc import Mapping
from typing import Any

from d2lcli.errors import clean, nearest
from d2lcli.registry.ranges import LARGEST_FLOAT, LARGEST_INT, range_of
from d2lcli.registry.signatures import Form, Parameter

_WORDS = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "text", "mapping": "a mapping"}
_PLURALS = {
    "int": "integers",
    "float": "numbers",
    "bool": "booleans",
    "str": "texts",
    "choice": "names",
    "list": "lists",
}


def check_options(options: Mapping[str, Any], parameters: Mapping[str, Parameter], where: str) -> list[str]:
    """What is wrong with `options`, one line for each problem.

    Args:
        options: values by name.  Those of live parameters are taken as they are.
        parameters: the builder's, from `read_signature`.
        where: what the options are for; each line starts with it.
    """
    problems = []
    for name, value in options.items():
        if name not in parameters:
            problems.append(f"{where}: unknown option '{clean(name, 80)}'{nearest(str(name), parameters)}")
        elif reason := check_value(value, parameters[name]):
            problems.append(f"{where}: {name}: {reason}")
    missing = [name for name, parameter in parameters.items() if parameter.required and name not in options]
    return problems + [f"{where}: option '{name}' is missing" for name in missing]


def check_value(value: Any, parameter: Parameter) -> str:
    """Why `parameter` may not have this value: what was given and what is wanted; empty where all is well."""
    return "" if parameter.live else _check(value, parameter.form, parameter.name)


def show(value: Any) -> str:
    """A value as a config spells it, safe for a terminal, cut to 100 characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return "'" + clean(value, 100) + "'"
    try:
        return clean(value, 100)
    except (ValueError, RecursionError):  # an integer of thousands of digits inside a list; a list that holds itself
        return f"a {type(value).__name__}"


def wanted(form: Form) -> str:
    """The form in words: `a number`, `one of book, modern`, `a list of integers or null`."""
    if form.kind == "choice":
        words = "one of " + ", ".join(str(choice) for choice in form.choices)
    elif form.kind == "union":
        words = " or ".join(wanted(part) for part in form.parts)
    elif form.kind == "list" and form.fixed:
        words = f"a list of {len(form.parts)} {_PLURALS.get(form.parts[0].kind, 'values')}"
    elif form.kind == "list":
        words = f"a list of {_PLURALS.get(form.parts[0].kind, 'values')}"
    else:
        words = _WORDS[form.kind]
    return words + (" or null" if form.optional else "")


def _check(value: Any, form: Form, name: str) -> str:
    if value is None:
        return "" if form.optional else f"null is not {wanted(form)}"
    if form.kind == "union":
        return _check_union(value, form, name)
    if form.kind == "choice":
        if any(value == choice and type(value) is type(choice) for choice in form.choices):
            return ""
        known = [choice for choice in form.choices if isinstance(choice, str)]
        hint = nearest(value, known) if isinstance(value, str) else ""
        return f"{show(value)} is not {wanted(form)}{hint}"
    if not _fits(value, form):
        return f"{show(value)} is not {wanted(form)}"
    if form.kind == "list":
        forms = form.parts if form.fixed else form.parts * len(value)
        return next((reason for item, part in zip(value, forms) if (reason := _check(item, part, name))), "")
    if form.kind == "mapping":
        return next((reason for item in value.values() if (reason := _check(item, form.parts[0], name))), "")
    return _check_number(value, name) if form.kind in ("int", "float") else ""


def _check_union(value: Any, form: Form, name: str) -> str:
    """The first alternative of the value's own type decides; a value of no alternative's type is told all of them."""
    reasons = [(part, _check(value, part, name)) for part in form.parts]
    if any(not reason for _, reason in reasons):
        return ""
    own = [reason for part, reason in reasons if _fits(value, part) and part.kind != "choice"]
    return own[0] if own else f"{show(value)} is not {wanted(form)}"


def _fits(value: Any, form: Form) -> bool:
    """Whether the type is right, whatever the value: true is no integer, 1 is a number, 1.0 is no integer."""
    if form.kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if form.kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if form.kind == "list":
        return isinstance(value, list | tuple) and (not form.fixed or len(value) == len(form.parts))
    if form.kind == "mapping":
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if form.kind == "choice":
        return any(type(value) is type(choice) for choice in form.choices)
    return isinstance(value, bool if form.kind == "bool" else str)


def _check_number(value: float, name: str) -> str:
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        return f"{show(value)} is out of range: integers end at {LARGEST_INT:,}"
    if not math.isfinite(value):
        return f"{show(value)} is not a finite number"
    if abs(value) > LARGEST_FLOAT:
        return f"{show(value)} is out of range: numbers end at {LARGEST_FLOAT}"
    allowed = range_of(name)
    return "" if allowed is None or allowed.holds(value) else f"{show(value)} is out of range: want {allowed}"
