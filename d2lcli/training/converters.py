"""Weights under the names of other libraries, renamed into the model's own.

A rule of `namings` is the beginning of a foreign name and what it becomes; the rest of the name stays.  {i} stands for
a number and {i+1} for the next one.  A rule that does not end in a dot is for a whole name.  A mark at its end says
more: #0, #1 and #2, that the foreign tensor is the first, second or third part of the model's; #T, that the model's is
its transpose; #B, that the model's has one more axis in front, of size 1 for the batch.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from d2lcli.training.namings import Naming, bert, gpt, t5, vision

PARTS = ("0", "1", "2")
SHAPED: dict[str, Callable[[Tensor], Tensor]] = {
    "T": lambda tensor: tensor.t() if tensor.ndim == 2 else tensor,
    "B": lambda tensor: tensor[None],
}
NAMINGS: dict[str, Naming] = {
    "own": ("", ()),
    **vision.NAMINGS,
    **gpt.NAMINGS,
    **bert.NAMINGS,
    **t5.NAMINGS,
}


def convert(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's own names; names that are not known pass through unchanged.

    No data is copied, except where several foreign tensors are one of the model's.  The weight of a convolution that
    covers the whole map becomes the matrix of a linear layer, where the model has one.  A tensor that the model has
    under several names, such as tied embeddings, is given under all of them if it is found under one.

    Args:
        tensors: what a weight file holds.
        own: the state of the model that takes them.
    """
    naming = recognise(tensors, own)
    converted: dict[str, Tensor] = {}
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    for name, tensor in tensors.items():
        new = rename(name, naming)
        whole, _, mark = new.rpartition("#")
        if new != name and mark in PARTS:
            parts[whole][mark] = name
        elif new != name and mark in SHAPED:
            converted[whole] = SHAPED[mark](tensor)
        else:
            flat = tensor.ndim == 4 and new in own and own[new].ndim == 2
            converted[new] = tensor.flatten(1) if flat else tensor
    for new, names in parts.items():
        found = [tensors[names[part]] for part in sorted(names)]
        if len(found) == len(PARTS) and found[0].ndim and len({part.shape for part in found}) == 1:
            converted[new] = torch.cat(found)
        else:
            converted |= {name: tensors[name] for name in names.values()}
    return converted | _tied(converted, own)


def _tied(converted: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is missing although the model has the same tensor under another name that is there."""

    def memory(tensor: Tensor) -> tuple[object, ...]:
        return tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape

    found = {memory(tensor): converted[name] for name, tensor in own.items() if name in converted}
    missing = {name: memory(tensor) for name, tensor in own.items() if name not in converted}
    return {name: found[key] for name, key in missing.items() if key in found}


def recognise(names: Iterable[str], own: Iterable[str]) -> str:
    """The naming of `NAMINGS` under which most names are the model's; "own" if no other does better.

    Args:
        names: of foreign tensors.
        own: of the model's tensors.
    """
    names, known = list(names), set(own)

    def fits(naming: str) -> int:
        return len({rename(name, naming).partition("#")[0] for name in names} & known)

    return max(NAMINGS, key=fits)  # the first of several


def rename(name: str, naming: str) -> str:
    """The model's own name for a tensor that has `name` in a naming of `NAMINGS`; `name` where no rule is for it."""
    prefix, rules = NAMINGS[naming]
    bare = name.removeprefix(prefix)
    for start, target in rules:
        if match := _pattern(start).match(bare):
            numbers = {key: int(digits) for key, digits in match.groupdict().items()}
            return _fill(target, numbers) + bare[match.end() :]
    return name


@cache
def _pattern(start: str) -> re.Pattern[str]:
    text = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>[0-9]{1,4})", re.escape(start))
    return re.compile(text if start.endswith(".") else text + r"\Z")


def _fill(target: str, numbers: Mapping[str, int]) -> str:
    return re.sub(r"\{(\w)([+-]1)?\}", lambda field: str(numbers[field[1]] + int(field[2] or 0)), target)
