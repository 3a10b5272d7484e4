"""Which parameters decay: by default the weights, neither biases nor what normalisation layers learn."""

from typing import Any

from torch import nn

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
) -> list[dict[str, Any]]:
    """The trainable parameters of `model` in at most two groups: with decay, then without; in one where nothing decays.

    With a learning rate of its own the head has as many groups more, behind these.

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

    Returns:
        Groups {"params": tensors, key: the decay or 0.0, "names": names in the model}, those of a head with another
        rate also with "lr_mult"; an empty group is left out.

    Raises:
        ValueError: nothing is trainable.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for in_head in (False, True):
        rate = {"lr_mult": head_lr_mult} if in_head else {}
        for decays in (True, False):
            groups[in_head, decays] = {"params": [], key: weight_decay if decays else 0.0, "names": []} | rate
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        path, _, leaf = name.rpartition(".")
        if isinstance(model.get_submodule(path), NORMS):
            decays = decay_norm
        elif leaf.endswith("bias") or parameter.ndim <= 1:
            decays = decay_bias
        else:
            decays = True
        in_head = head_lr_mult != 1 and (not head or name.startswith(f"{head}."))
        group = groups[in_head, decays or not weight_decay]
        group["params"].append(parameter)
        group["names"].append(name)
    found = [group for group in groups.values() if group["params"]]
    if not found:
        raise ValueError("the model has no trainable parameters")
    return found
