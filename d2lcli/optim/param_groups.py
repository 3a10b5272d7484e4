"""Which parameters decay: by default the weights, neither biases nor what normalisation layers learn."""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from d2lcli.optim.depths import depths

NORMS = (
    nn.modules.batchnorm._NormBase,  # BatchNorm, SyncBatchNorm, InstanceNorm
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


def param_groups(
    model: nn.Module,
    weight_decay: float,
    decay_bias: bool = False,
    decay_norm: bool = False,
    *,
    key: str = "weight_decay",
    head: str = "",
    head_lr_mult: float = 1.0,
    layer_lr_mult: Sequence[str] = (),
    layer_lr_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """The trainable parameters of `model` in at most two groups: with decay, then without; in one where nothing decays.

    Each other learning rate has as many groups more, behind these: those of layers, then those of the head.

    A parameter belongs to a norm if its module is a normalisation layer; it is a bias if its name ends in "bias" or if
    it has at most one axis.  The order is that of `model.named_parameters()`; a tied parameter counts once, under its
    first name.

    Args:
        model: all of its parameters must have shapes.
        weight_decay: the decay of the first group.
        decay_bias: let biases and other one-dimensional parameters decay too.
        decay_norm: let the parameters of normalisation layers decay too.
        key: the optimizer's word for the decay; "l2" for adam.
        head: the name of the layer that gives the outputs; empty for the whole model.
        head_lr_mult: how many times the learning rate its parameters have.
        layer_lr_mult: texts `PATTERN=FACTOR`: the same for the parameters whose names match (`*` any text, `?` one
            character); the last pattern that matches holds, and a head's own factor comes on top.
        layer_lr_decay: d in (0, 1]; all factors are multiplied by d^j, j being what `depths` says: by 1 in the head, by
            d^(L + 1 - k) in block k = 1..L, and by d^(L + 1) in the embeddings (Howard and Ruder, 2018; Clark et al.,
            2020).

    Returns:
        Groups {"params": tensors, key: the decay or 0.0, "names": names in the model}, those with another rate
        also with "lr_mult"; an empty group is left out.

    Raises:
        ValueError: nothing is trainable, a text is not of that form, a pattern matches no trainable parameter, or the
            decay is out of range.
    """
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    factors = layer_factors(layer_lr_mult, [name for name, _ in trainable])
    if not 0 < layer_lr_decay <= 1:
        raise ValueError(f"layer_lr_decay={layer_lr_decay!r} must be above 0 and at most 1")
    distances = depths(model, head) if layer_lr_decay != 1 else {}
    groups: dict[tuple[bool, float], dict[bool, dict[str, Any]]] = {(False, 1.0): {}}
    for name, parameter in trainable:
        path, _, leaf = name.rpartition(".")
        if isinstance(model.get_submodule(path), NORMS):
            decays = decay_norm
        elif leaf.endswith("bias") or parameter.ndim <= 1:
            decays = decay_bias
        else:
            decays = True
        in_head = head_lr_mult != 1 and (not head or name.startswith(f"{head}."))
        factor = factors.get(name, 1.0) * (head_lr_mult if in_head else 1.0) * layer_lr_decay ** distances.get(name, 0)
        decays = decays or not weight_decay
        rate = {"lr_mult": factor} if factor != 1 else {}
        empty = {"params": [], key: weight_decay if decays else 0.0, "names": []} | rate
        group = groups.setdefault((in_head, factor), {}).setdefault(decays, empty)
        group["params"].append(parameter)
        group["names"].append(name)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])  # stable: the head's last
    found = [group[decays] for _, group in ordered for decays in (True, False) if decays in group]
    if not found:
        raise ValueError("the model has no trainable parameters")
    return found


def layer_factors(rules: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """The factor of each name that a rule `PATTERN=FACTOR` matches; the last rule holds.

    Raises:
        ValueError: a rule is not of that form, its factor is negative or not finite, or it matches nothing.
    """
    factors: dict[str, float] = {}
    for rule in rules:
        pattern, _, text = rule.rpartition("=")
        try:
            factor = float(text)
        except ValueError:
            factor = -1.0
        if not pattern or not 0 <= factor < math.inf:
            raise ValueError(f"layer_lr_mult: {rule!r} must be PATTERN=FACTOR, such as 'layer1.*=0.1'")
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f"layer_lr_mult: {pattern!r} matches no trainable parameter (first: {', '.join(names[:6])})"
            )
        factors.update(dict.fromkeys(matched, factor))
    return factors
