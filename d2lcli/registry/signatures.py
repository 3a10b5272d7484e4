"""A builder's parameters, read from its source text, so that checking a config imports nothing.

A type that YAML can spell (numbers, text, Literal, sequences and mappings of these, None) is an option; a parameter of
any other type (a tensor, a callable, the parameters of a model) is live: the engine supplies it and a config may not.
"""

import ast
import importlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

PACKAGE = "d2lcli"
_ROOT = Path(__file__).resolve().parent.parent
_BASIC = ("int", "float", "bool", "str")
_LISTS = ("Sequence", "list", "List", "tuple", "Tuple")
_MAPPINGS = ("Mapping", "dict", "Dict")
_DEEPEST = 20

MISSING: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Form:
    """The type of an option.

    Args:
        kind: int, float, bool, str, choice, list, mapping, union, or live.
        choices: of a choice: the values of the Literal.
        parts: of a list: the form of every element, or with `fixed` one for each; of a mapping: the form of the values;
            of a union: the alternatives.
        fixed: a list of exactly `len(parts)` elements.
        optional: None is allowed.
    """

    kind: str
    choices: tuple[Any, ...] = ()
    parts: tuple["Form", ...] = ()
    fixed: bool = False
    optional: bool = False


LIVE = Form("live")
_NONE = Form("none", optional=True)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a builder.  `default` is MISSING where there is none, or where its text is not a literal."""

    name: str
    form: Form
    default: Any = field(default=MISSING)
    required: bool = False

    @property
    def type(self) -> str:
        """int, float, bool, str, choice, list, mapping, union, or live."""
        return self.form.kind

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal."""
        return self.form.choices

    @property
    def optional(self) -> bool:
        """Whether None is allowed."""
        return self.form.optional

    @property
    def live(self) -> bool:
        """Whether the engine supplies it and a config may not."""
        return self.form.kind == "live"

    def or_none(self) -> "Parameter":
        """The same parameter, None allowed and not required: something else fills it."""
        return replace(self, form=replace(self.form, optional=True), required=False)


def read_signature(target: str | Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters of a function or class, by name, in order.

    A target below this package is read as text.  A plugin's target is imported: naming it is the user's explicit act.

    Args:
        target: `module:attribute`, or the callable itself.

    Raises:
        LookupError: there is no such module or attribute.
    """
    if not isinstance(target, str):
        return _inspected(target)
    module, _, attribute = target.partition(":")
    if module == PACKAGE or module.startswith(PACKAGE + "."):
        return _read(module, attribute)
    return _inspected(getattr(importlib.import_module(module), attribute))


# From source text


@dataclass(frozen=True)
class _Source:
    """The top-level names of a module: what each was assigned, defined as, or imported from."""

    values: Mapping[str, ast.expr]
    definitions: Mapping[str, ast.FunctionDef | ast.ClassDef]
    imports: Mapping[str, tuple[str, str]]


@cache
def _source(module: str) -> _Source:
    path = _ROOT.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LookupError(f"there is no module {module}") from None
    values: dict[str, ast.expr] = {}
    definitions: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    imports: dict[str, tuple[str, str]] = {}
    for node in _statements(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            values |= {goal.id: node.value for goal in node.targets if isinstance(goal, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            values[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            imports |= {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
    return _Source(values, definitions, imports)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements(node.body)
        else:
            yield node


@cache
def _read(module: str, attribute: str, depth: int = 0) -> dict[str, Parameter]:
    source = _source(module)
    if attribute in source.imports and depth < _DEEPEST:
        return _read(*source.imports[attribute], depth + 1)
    node = source.definitions.get(attribute)
    if node is None:
        raise LookupError(f"{module} has no function or class '{attribute}'")
    if isinstance(node, ast.ClassDef):
        inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        if not inits:
            return {}
        return _arguments(inits[0].args, module, skip=1)
    return _arguments(node.args, module)


def _arguments(args: ast.arguments, module: str, skip: int = 0) -> dict[str, Parameter]:
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    pairs = [*zip(plain, defaults)][skip:] + [*zip(args.kwonlyargs, args.kw_defaults)]
    found = {}
    for arg, default in pairs:
        form = LIVE if arg.annotation is None else _form(arg.annotation, module)
        value = MISSING if default is None else _literal(default, module)
        found[arg.arg] = Parameter(arg.arg, form, value, required=default is None)
    return found


def _literal(node: ast.expr, module: str, depth: int = 0) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, ast.Name) and depth < _DEEPEST:
        source = _source(module)
        if node.id in source.values:
            return _literal(source.values[node.id], module, depth + 1)
        if node.id in source.imports:
            other, name = source.imports[node.id]
            values = _source(other).values
            return _literal(values[name], other, depth + 1) if name in values else MISSING
    return MISSING


def _form(node: ast.expr, module: str, depth: int = 0) -> Form:
    """The form that an annotation spells; names are looked up in its module, and through imports from this package."""
    if depth > _DEEPEST:
        return LIVE
    if isinstance(node, ast.Constant):
        if node.value is None:
            return _NONE
        return (
            _form(ast.parse(node.value, mode="eval").body, module, depth + 1) if isinstance(node.value, str) else LIVE
        )
    if isinstance(node, ast.Name):
        return Form(node.id) if node.id in _BASIC else _alias(node.id, module, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_form(node.left, module, depth + 1), _form(node.right, module, depth + 1)])
    if not isinstance(node, ast.Subscript):
        return LIVE
    base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if base == "Literal":
        return _choice([_literal(item, module) for item in items])
    if base == "Annotated":
        return _form(items[0], module, depth + 1)
    endless = isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis
    forms = [_form(item, module, depth + 1) for item in (items[:-1] if endless else items)]
    return _generic(base, forms, endless)


def _alias(name: str, module: str, depth: int) -> Form:
    source = _source(module)
    if name in source.values:
        return _form(source.values[name], module, depth + 1)
    if name in source.imports:
        other, original = source.imports[name]
        return _form(ast.Name(original), other, depth + 1)
    return LIVE


# Shared by both ways of reading


def _choice(values: Sequence[Any]) -> Form:
    return Form("choice", tuple(value for value in values if value is not None), optional=None in values)


def _generic(base: str, forms: Sequence[Form], endless: bool) -> Form:
    if any(form.kind == "live" for form in forms) or not forms:
        return LIVE
    if base == "Optional":
        return _union([*forms, _NONE])
    if base == "Union":
        return _union(forms)
    if base in _LISTS:
        return Form("list", parts=tuple(forms), fixed=base in ("tuple", "Tuple") and not endless)
    if base in _MAPPINGS and len(forms) == 2 and forms[0].kind == "str":
        return Form("mapping", parts=(forms[1],))
    return LIVE


def _union(forms: Sequence[Form]) -> Form:
    optional = any(form.optional for form in forms)
    parts: list[Form] = []
    for form in forms:
        parts += [] if form.kind == "none" else form.parts if form.kind == "union" else [replace(form, optional=False)]
    if any(part.kind == "live" for part in parts) or not parts:
        return LIVE
    if len(parts) == 1:
        return replace(parts[0], optional=optional)
    return Form("union", parts=tuple(parts), optional=optional)


# From live objects: plugins, and the tables of config/schema.py


def _inspected(builder: Callable[..., Any]) -> dict[str, Parameter]:
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):
        return {}
    try:
        hints = typing.get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    except Exception:  # an annotation that cannot be resolved makes the parameter live, whatever its reason
        hints = {}
    found = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            form = form_of(hints[name]) if name in hints else LIVE
            found[name] = Parameter(name, form, parameter.default, required=parameter.default is parameter.empty)
    return found


def form_of(hint: Any) -> Form:
    """The form of a type hint that is at hand as an object."""
    if hint is NoneType or hint is None:
        return _NONE
    if hint in (int, float, bool, str):
        return Form(hint.__name__)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _choice(args)
    if origin is typing.Annotated:
        return form_of(args[0])
    if origin in (typing.Union, UnionType):
        return _union([form_of(arg) for arg in args])
    endless = bool(args) and args[-1] is Ellipsis
    forms = [form_of(arg) for arg in (args[:-1] if endless else args)]
    return _generic(getattr(origin, "__name__", ""), forms, endless)
