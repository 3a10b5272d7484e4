"""g / sqrt(s), with eps inside the root (the book) or outside (torch): what AdaGrad and RMSProp share."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from d2lcli.optim.packs import Group, Pack

EpsMode: TypeAlias = Literal["inside", "outside"]
EPS_MODES = ("inside", "outside")


def divide_plain(group: Group, g: Tensor, s: Tensor) -> Tensor:
    """g / sqrt(s + eps), or g / (sqrt(s) + eps)."""
    root: Tensor = (s + group["eps"]).sqrt() if group["eps_mode"] == "inside" else s.sqrt() + group["eps"]
    return g / root


def divide_foreach(pack: Pack, grads: list[Tensor], squares: list[Tensor]) -> None:
    """w <- w - lr g / root for all parameters of a pack."""
    group = pack.group
    if group["eps_mode"] == "inside":
        roots = torch._foreach_add(squares, group["eps"])
        torch._foreach_sqrt_(roots)
    else:
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
    torch._foreach_addcdiv_(pack.params, grads, roots, -group["lr"])
