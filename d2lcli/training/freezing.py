"""Freezing: tensors that training leaves as they are, to the bit, the running statistics of batch norm included."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from d2lcli.errors import clean, nearest
from d2lcli.training.heads import head_name, in_head


def freeze(model: nn.Module, what: str | Sequence[str] | None) -> list[nn.Module]:
    """Take the gradient from parameters.

    Args:
        model: changed in place.
        what: "backbone" for everything but the head, or patterns of tensor names (`*` any text); None for nothing.

    Returns:
        The layers that must stay in evaluation mode while the model trains: all they hold is frozen, and they would
        change buffers of their own, as batch norm does.

    Raises:
        ValueError: nothing would be frozen, or nothing left to train, or a pattern matches no tensor.
    """
    if what is None:
        return []
    frozen = _backbone(model) if what == "backbone" else _matching(model, what)
    parameters = dict(model.named_parameters())
    if not any(name in frozen for name in parameters):
        why = "all of this model is head" if what == "backbone" else "no parameter matches"
        raise ValueError(f"nothing would be frozen: {why}")
    if all(name in frozen for name in parameters):
        raise ValueError("nothing would be left to train")
    for name in frozen & parameters.keys():
        parameters[name].requires_grad_(False)
    return [layer for path, layer in model.named_modules() if _keeps_still(path, layer, frozen)]


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in (*model.named_parameters(), *model.named_buffers())]


def _backbone(model: nn.Module) -> set[str]:
    head = head_name(model)
    return {name for name in _names(model) if not in_head(name, head)}


def _matching(model: nn.Module, patterns: str | Sequence[str]) -> set[str]:
    names = _names(model)
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matching = {name for name in names if fnmatchcase(name, pattern)}
        if not matching:
            hint = nearest(pattern, [*names, *(f"{name}.*" for name, _ in model.named_modules() if name)])
            first = ", ".join(names[:5])
            raise ValueError(f"'{clean(pattern, 80)}' matches no tensor of the model (first: {first}){hint}")
        found |= matching
    return found


def _keeps_still(path: str, layer: nn.Module, frozen: set[str]) -> bool:
    """Whether a layer without parts has buffers, and nothing of it is trained."""
    if next(layer.children(), None) is not None or next(layer.buffers(), None) is None:
        return False
    return all(f"{path}.{name}" in frozen for name in _names(layer))
