"""Registries: tables from a name to `module:attribute`.  Listing imports nothing; building imports one file."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.registry.options import check_options
from d2lcli.registry.signatures import Parameter, read_signature

BUILT_IN = "d2lcli"


@dataclass(frozen=True)
class Entry:
    """One line of a registry table.

    Args:
        target: where the builder is, `module:attribute`.  The tables hold text; a plugin may hold the callable.
        description: one sentence for people.
        task: models: the task that the model is trained on by default; data: the one that its targets are made for,
            where a model that brings classification would fail on them; decoders: the one whose models it is for, empty
            for those of tokens.
        also: models and data: further tasks that they can be used for.
        data: models only: the data set that it is trained on by default.
        optim: models only: the optimizer that it is trained with by default; empty is sgd.
        scheduler: models only: its learning-rate schedule by default; empty is constant.
        options: models only: values of these choices, {group: {key: value}}; they hold where the choice is the model's.
        min_image_size: models only: the smallest image side that it can take; 0 for a model that takes no images.
        full_batch: optimizers: an update needs the gradient of all training examples; tasks: a batch is all of them.
        shape: data only: the shape of one example where it does not depend on the options, else empty.
        num_outputs: data only: classes or regression targets, 0 where it depends on the options.
        comparable: metrics only: its value is one number, so that it can decide which checkpoint is best.
        higher_is_better: metrics only: the direction of improvement.
        schedules: searches only: it says how long each trial trains, and a sampler draws the trials.
        year, depth, idea: models only: of the publication, of layers with weights on the longest path, in few words.
        parameters, multiply_adds: models only: with the builder's defaults (3 channels, 1,000 classes) at 224 x 224, or
            at the size that the builder's `image_size` defaults to, or of as many tokens as its `max_len` says; 0 where
            no source publishes the figure.
        source: paper or chapter.
        plugin: the distribution or module that registered it; empty for the product's own.
    """

    target: str | Callable[..., Any]
    description: str
    task: str = ""
    data: str = ""
    optim: str = ""
    scheduler: str = ""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    min_image_size: int = 0
    full_batch: bool = False
    shape: tuple[int, ...] = ()
    num_outputs: int = 0
    comparable: bool = True
    higher_is_better: bool = False
    schedules: bool = False
    year: int = 0
    depth: int = 0
    idea: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    source: str = ""
    plugin: str = ""
    also: tuple[str, ...] = ()

    @property
    def tasks(self) -> set[str]:
        """All tasks of a model or of data; data that states none has classes for targets."""
        return {self.task or "classification", *self.also}

    @property
    def brings(self) -> dict[str, str]:
        """What a model chooses in other groups where nobody else does."""
        optim, scheduler = self.optim or "sgd", self.scheduler or "constant"
        return {"data": self.data, "task": self.task, "optim": optim, "scheduler": scheduler}


class Registry:
    """A table of entries of one kind."""

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def describe(self, name: str) -> Entry:
        """The entry of `name`; a plugin's entry point of this name joins the registry.

        Raises:
            ConfigError: the name is unknown; the nearest one is offered.
        """
        if name not in self._entries and not self._find_outside(name):
            hint = nearest(name, self._entries)
            known = f" (known: {', '.join(self.names())})" if not hint else ""
            raise ConfigError(
                f"{self.kind}: unknown name '{clean(name, 80)}'{hint}{known}", f"see: d2l list {self.kind}"
            )
        return self._entries[name]

    def _find_outside(self, name: str) -> bool:
        from d2lcli.registry.plugins import load_named  # reads what is installed: only for names that nobody knows

        return load_named(self, name)

    def get(self, name: str) -> Callable[..., Any]:
        """The callable behind `name`; this imports its file."""
        target = self.describe(name).target
        if callable(target):
            return target
        module, _, attribute = target.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found

    def parameters(self, name: str) -> dict[str, Parameter]:
        """The parameters of the builder, read from its source text: nothing is imported."""
        return read_signature(self.describe(name).target)

    def build(self, name: str, **options: Any) -> Any:
        """Call the builder with `options`, each checked against its signature first.

        Raises:
            ConfigError: an unknown name or option, a wrong type, a value out of range.
        """
        problems = check_options(options, self.parameters(name), where=f"{self.kind} '{name}'")
        if problems:
            raise ConfigError(problems)
        return self.get(name)(**options)

    def register(
        self, name: str, target: str | Callable[..., Any], description: str, *, plugin: str = "", **fields: Any
    ) -> None:
        """Add an entry from outside.  The fields are those of `Entry`.

        Raises:
            ConfigError: the name is taken.
        """
        if name in self._entries:
            raise ConfigError(f"{self.kind}: '{clean(name, 80)}' is registered already; a plugin may not replace it")
        self._entries[name] = Entry(target, description, plugin=plugin or "plugin", **fields)

    def rows(self) -> list[dict[str, Any]]:
        """Every entry as a plain dictionary, for tables and JSON."""
        rows = []
        for name in self.names():
            row = {"name": name} | asdict(self._entries[name])
            row["target"] = row["target"] if isinstance(row["target"], str) else repr(row["target"])
            rows.append(row)
        return rows
