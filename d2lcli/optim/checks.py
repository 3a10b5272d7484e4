"""What is refused before an optimizer changes anything, in sentences that name the value and the condition."""

from typing import Any

import torch
from torch import Tensor


def require(name: str, value: Any, ok: bool, condition: str) -> None:
    """Raise a ValueError that names the value and the condition unless `ok`."""
    if not ok:
        raise ValueError(f"{name}={value!r} must be {condition}")


def require_non_negative(group: dict[str, Any], *names: str) -> None:
    """Check options that are finite numbers from 0 on, such as a learning rate."""
    for name in names:
        value = group[name]
        require(
            name, value, isinstance(value, float | int) and 0 <= value < float("inf"), "a number, finite and at least 0"
        )


def require_fraction(name: str, value: Any) -> None:
    """Check the weight of a running average."""
    require(name, value, isinstance(value, float | int) and 0 <= value < 1, "a number in [0, 1)")


def check_parameter(param: Any, seen: set[int]) -> None:
    """Refuse what cannot be optimized, and a parameter whose id is in `seen`; remember its id."""
    if not isinstance(param, Tensor):
        raise TypeError(f"an optimizer takes tensors, not {type(param).__name__}")
    if torch.nn.parameter.is_lazy(param):
        raise ValueError("a parameter has no shape yet; run the model once on an example before building its optimizer")
    if not param.is_floating_point():
        raise ValueError(f"an optimizer takes floating-point parameters, not {param.dtype}")
    if id(param) in seen:
        raise ValueError(f"a parameter of shape {tuple(param.shape)} is given to the optimizer twice")
    seen.add(id(param))


def check_state(index: int, params: list[Tensor], own: Any, loaded: Any) -> None:
    """Compare names and shapes of the loaded state of one group with the state that exists."""
    for i, param in enumerate(params):
        # `.get` for both: the state is a defaultdict, which a plain look-up would fill.
        mine, saved = own.get(param, {}), loaded.get(param, {})
        if mine.keys() != saved.keys():
            names = f"{sorted(map(str, saved))} instead of {sorted(mine)}"
            raise ValueError(f"parameter {i} of group {index}: the loaded state has {names}")
        for name, tensor in mine.items():
            if torch.as_tensor(saved[name]).shape != tensor.shape:
                shapes = f"{tuple(torch.as_tensor(saved[name]).shape)} instead of {tuple(tensor.shape)}"
                raise ValueError(f"parameter {i} of group {index}: the loaded '{name}' has shape {shapes}")
