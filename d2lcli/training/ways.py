"""How an update is made: by the gradient of one loss, in turns, or by the task itself."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import nn

from d2lcli.errors import ConfigError

Way = Literal["loss", "turns", "advance"]


def choose_way(values: Mapping[str, Any], task: Any, *, precision: str, accumulate: int, grouped: bool) -> Way:
    """The way of a task under a config.

    A task that takes turns (`losses`) or makes its updates itself (`advance`) does so on one process, without
    accumulation.  One that knows `train_loss` beside `advance` uses its own update for plain SGD alone.

    Raises:
        ConfigError: the task knows no way that the config allows.
    """
    name = values["task"]["name"]
    if hasattr(task, "losses"):
        if problem := _shared(accumulate, grouped):
            raise ConfigError(f"task '{name}' takes turns, which needs {problem}")
        return "turns"
    if not hasattr(task, "advance"):
        return "loss"
    problem = _shared(accumulate, grouped) or _extras(values, precision)
    if problem is None:
        return "advance"
    if hasattr(task, "train_loss"):
        return "loss"
    raise ConfigError(f"task '{name}' makes its updates itself, which needs {problem}")


def compiled(module: nn.Module, way: Way) -> nn.Module:
    """A module that `torch.compile` has taken: where networks take turns each by itself, as they are called so.

    A task that makes its updates itself calls no module, and there is nothing to compile.
    """
    if way == "loss":
        return cast(nn.Module, torch.compile(module))
    if way == "turns":
        for part in module.children():  # `part.compile()` leaves torch's own layers as they are
            part.forward = torch.compile(part.forward)
    return module


def _shared(accumulate: int, grouped: bool) -> str | None:
    """What is in the way of an update that one process makes of one batch, in words."""
    if grouped:
        return "one process: strategy=single"
    return "accumulate=1" if accumulate > 1 else None


def _extras(values: Mapping[str, Any], precision: str) -> str | None:
    """What a config asks for beyond a plain step along a gradient, in words."""
    optim = values["optim"]
    if optim["name"] != "sgd":
        return "optim=sgd"
    for key in ("weight_decay", "l2"):
        if optim.get(key):
            return f"optim.{key}=0"
    for key, plain in (("head_lr_mult", 1), ("layer_lr_mult", []), ("layer_lr_decay", 1)):
        if optim.get(key, plain) != plain:
            return f"optim.{key}={plain}"
    for key in ("l1", "l2", "max_norm", "clip_norm", "clip_value"):
        if values[key]:
            return f"no {key}"
    if values["freeze"] is not None:
        return "freeze=null"
    return "hardware.precision=fp32" if precision != "fp32" else None
