"""Transfer: a model begins with weights that were trained elsewhere, and says what became of each tensor.

Tensors are matched by name and shape.  The head is taken as a whole or not at all; where it is for another number of
classes it stays as it was drawn.  Two kinds of tensors of another shape are adapted: the first convolution to another
number of channels, and position embeddings to another number of patches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.errors import CheckpointError, clean
from d2lcli.training.checkpoint import all_finite
from d2lcli.training.converters import convert
from d2lcli.training.heads import head_name, in_head
from d2lcli.training.weights import Weights

SHOWN = 5


@dataclass
class Report:
    """What became of the tensors of a model, and of a file of weights.

    Attributes:
        path, sha256: of the file.
        total: tensors of the model.
        taken: names of the model's tensors that come from the file.
        adapted: those of them that were fitted to another shape, with the change in words.
        new_head: names of the head's tensors, where it stays as drawn; `classes` is the change in words.
        skipped: names of the model's tensors whose counterpart does not fit, with the reason.
        missing: names of the model's tensors without a counterpart.
        unexpected: names of the file that the model has no place for.
        warning: what else a person should know.
    """

    path: str
    sha256: str
    total: int
    taken: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    new_head: list[str] = field(default_factory=list)
    classes: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    warning: str = ""

    def lines(self) -> list[str]:
        """The report in words."""
        head = f"; new head {shorten(self.new_head)}{self.classes}" if self.new_head else ""
        lines = [f"weights: {len(self.taken)} of {self.total} tensors from {clean(self.path)}{head}"]
        lines += [f"weights: {name} adapted, {change}" for name, change in self.adapted.items()]
        if self.skipped:
            reasons = [f"{name} {reason}" for name, reason in self.skipped.items()]
            lines.append(f"weights: {len(reasons)} skipped, left as drawn: {shorten(reasons)}")
        if self.missing:
            lines.append(f"weights: {len(self.missing)} not in the file, left as drawn: {shorten(self.missing)}")
        if self.unexpected:
            lines.append(f"weights: {len(self.unexpected)} that the model has no place for: {shorten(self.unexpected)}")
        if self.warning:
            lines.append(f"weights: {self.warning}")
        return lines

    def facts(self) -> dict[str, Any]:
        """The report as JSON values for meta.json; names from the file are outside text."""
        return {
            "path": str(Path(self.path).resolve()),
            "sha256": self.sha256,
            "tensors": self.total,
            "taken": len(self.taken),
            "adapted": self.adapted,
            "new_head": self.new_head,
            "skipped": self.skipped,
            "missing": self.missing,
            "unexpected": [clean(name, 100) for name in self.unexpected[:1000]],
        }


def shorten(words: list[str]) -> str:
    """The first five words, and how many more there are."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(clean(word, 100) for word in words[:SHOWN]) + more


def load(model: nn.Module, weights: Weights, *, new_head: bool = False) -> Report:
    """Copy into a model what fits of `weights`.

    Args:
        model: changed in place.
        weights: under the model's own names, or under those of a library that `converters` knows.
        new_head: leave the head as it was drawn, even where the file's fits.

    Raises:
        CheckpointError: no parameter fits, or one that does is not finite.
    """
    own: dict[str, Tensor] = model.state_dict()
    given = convert(weights.tensors, own)
    report = Report(str(weights.path), weights.sha256, len(own))
    taken = _match(model, own, given, report, new_head=new_head)
    if not taken.keys() & dict(model.named_parameters()).keys():
        raise CheckpointError(
            f"weights {clean(weights.path)}: nothing fits this model; the file holds {shorten(list(given))}; "
            f"the model {shorten(list(own))}",
            "the model must be of the family and size that the weights were trained in",
        )
    taken = {name: tensor.to(own[name].dtype) for name, tensor in taken.items()}
    if not all_finite(taken):
        bad = [name for name, tensor in taken.items() if not all_finite({name: tensor})]
        raise CheckpointError(f"weights {clean(weights.path)}: not finite: {shorten(bad)}")
    with torch.no_grad():
        for name, tensor in taken.items():
            own[name].copy_(tensor)
    report.taken = list(taken)
    return report


def _match(
    model: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Tensor], report: Report, *, new_head: bool
) -> dict[str, Tensor]:
    """The tensors to copy by the model's names; what happens to the others goes to the report."""
    head = _head_of(model)
    heads = [name for name in own if head is not None and in_head(name, head)]
    stem = next((name for name, tensor in own.items() if tensor.ndim == 4), "")
    taken: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if name in heads:
            continue
        if name not in given:
            report.missing.append(name)
        elif reason := _misfit(tensor, given[name]):
            adapted = _adapt(name, tensor, given[name], stem)
            if adapted is None:
                report.skipped[name] = reason
            else:
                taken[name], report.adapted[name] = adapted
        else:
            taken[name] = given[name]
    for name in [name for name in report.skipped if name.endswith(".weight")]:  # a bias without its weight is no use
        bias = name.removesuffix("weight") + "bias"
        if taken.pop(bias, None) is not None:
            report.skipped[bias] = "goes with its weight"
    if new_head or not all(name in given and not _misfit(own[name], given[name]) for name in heads):
        report.new_head, report.classes = heads, _classes(own, given, head)
    else:
        taken |= {name: given[name] for name in heads}
    tied = {own[name].data_ptr() for name in taken}
    report.missing = [name for name in report.missing if own[name].data_ptr() not in tied]
    report.unexpected = [name for name in given if name not in own and not (head and in_head(name, head))]
    return taken


def _head_of(model: nn.Module) -> str | None:
    try:
        return head_name(model)
    except ValueError:
        return None


def _classes(own: Mapping[str, Tensor], given: Mapping[str, Tensor], head: str | None) -> str:
    """ " (1000 -> 10 classes)" where both numbers are known."""
    counts = []
    for tensors in (given, own):
        sizes = [
            tensor.shape[0]
            for name, tensor in tensors.items()
            if head is not None and in_head(name, head) and name.endswith("weight") and tensor.ndim > 1
        ]
        counts += sizes[-1:]
    return f" ({counts[0]} -> {counts[1]} classes)" if len(counts) == 2 else ""


def _misfit(own: Tensor, given: Tensor) -> str:
    """Why a tensor cannot be copied as it is; empty where it can."""
    if own.is_floating_point() != given.is_floating_point() or given.is_complex():
        return f"is of type {given.dtype}, not {own.dtype}".replace("torch.", "")
    return "" if own.shape == given.shape else f"has shape {tuple(given.shape)} instead of {tuple(own.shape)}"


def _adapt(name: str, own: Tensor, given: Tensor, stem: str) -> tuple[Tensor, str] | None:
    """A tensor of another shape fitted to the model's, and the change in words; None where there is no way."""
    if not given.is_floating_point() or not given.numel():
        return None
    if name == stem and given.ndim == 4 and own.shape[0] == given.shape[0] and own.shape[2:] == given.shape[2:]:
        return adapt_channels(given, own.shape[1]), f"{given.shape[1]} -> {own.shape[1]} channels"
    if "pos_emb" in name and own.ndim == given.ndim == 3 and own.shape[::2] == given.shape[::2]:
        grids = _grids(own.shape[1], given.shape[1])
        if grids is not None:
            new, old = grids
            return adapt_positions(given, new), f"grid {old} x {old} -> {new} x {new}"
    return None


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """The weight of a convolution for images of another number of channels.

    To one channel: the sum over the c old ones, so that a gray image gives what it gave with its value in all of them.
    To more than one: the old ones in turn, times c / channels, so that an image of equal channels gives the same; from
    1 to 3 that is a third of the weight three times.

    Args:
        weight: (out, c, k, k).
        channels: of the new images.

    Returns:
        (out, channels, k, k).
    """
    old = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(channels) % old] * (old / channels)


def _grids(own: int, given: int) -> tuple[int, int] | None:
    """The sides of two square grids that have as many positions, with one more for a class token or without."""
    for extra in (1, 0):
        new, old = math.isqrt(own - extra), math.isqrt(given - extra)
        if new and old and new * new == own - extra and old * old == given - extra:
            return new, old
    return None


def adapt_positions(embedding: Tensor, side: int) -> Tensor:
    """Position embeddings of a square grid at another size, by bicubic interpolation with antialiasing.

    Args:
        embedding: (1, g g, d), or (1, 1 + g g, d) with a class token first, which stays as it is.
        side: s, of the new grid.

    Returns:
        (1, s s, d), or (1, 1 + s s, d).
    """
    old = math.isqrt(embedding.shape[1])
    extra = embedding.shape[1] - old * old  # 0 or 1: g g + 1 is no square for g above 0
    token, grid = embedding[:, :extra], embedding[:, extra:]
    image = grid.transpose(1, 2).reshape(1, -1, old, old).float()  # (1, d, g, g)
    image = functional.interpolate(image, size=(side, side), mode="bicubic", antialias=True)
    return torch.cat([token.float(), image.flatten(2).transpose(1, 2)], dim=1)  # (1, extra + s s, d)
