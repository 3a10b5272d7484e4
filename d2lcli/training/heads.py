"""The head of a model, the layer that gives the logits: where it is, and another in its place."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Head(nn.Sequential):
    """Linear layers with relu between them, in place of the one layer that a model was built with."""


def head_name(model: nn.Module) -> str:
    """The name of the head: a `Head`, or the last linear or convolutional layer in the order of definition.

    "fc" of a resnet, "classifier.6" of a vgg; empty where the model itself is this layer.  A convolutional layer stands
    for the block that it ends if all of that block has as many outputs, as the last block of a network in network.

    Raises:
        ValueError: the model has no such layer.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    layers = [name for name, layer in modules.items() if isinstance(layer, LAYERS)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear or convolutional layer that could be its head")
    heads = [name for name, layer in modules.items() if isinstance(layer, Head)]
    last = [*layers, *heads][-1]
    block = modules[last.rpartition(".")[0]]
    if isinstance(modules[last], nn.Conv2d) and isinstance(block, nn.Sequential):
        sizes = {part.out_channels for part in block.modules() if isinstance(part, nn.Conv2d)}
        return last.rpartition(".")[0] if len(sizes) == 1 else last
    return last


def in_head(name: str, head: str) -> bool:
    """Whether the tensor `name` belongs to the head."""
    return not head or name.startswith(f"{head}.")


def set_head(model: nn.Module, head: str | Sequence[int] | None) -> None:
    """Give the model the head that the config's key `head` asks for: another one only where that is a list of widths.

    Raises:
        ValueError: see `replace_head`.
    """
    if head is not None and head != "new":
        replace_head(model, [int(width) for width in head])


def replace_head(model: nn.Module, widths: Sequence[int]) -> None:
    """Put linear layers of these widths in place of the head, relu between them; 1 x 1 convolutions for a head of such.

    The outputs stay as many as they were.  Where the last width is their number, as in the book's [256, 120] for 120
    classes, it is the output layer itself; else the output layer follows.

    Raises:
        ValueError: the model has no head, or is itself the head, or the head is of another kind.
    """
    name = head_name(model)
    parts = [layer for layer in model.get_submodule(name).modules() if isinstance(layer, LAYERS)]
    first, last = parts[0], parts[-1]
    if not name:
        raise ValueError(f"{type(model).__name__} is itself the layer that another head would replace")
    if isinstance(first, nn.Linear) and isinstance(last, nn.Linear):
        sizes = _sizes(first.in_features, widths, last.out_features)
        layers: list[nn.Module] = [nn.Linear(*pair) for pair in sizes]
    elif isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d):
        layers = [nn.Conv2d(*pair, 1) for pair in _sizes(first.in_channels, widths, last.out_channels)]
    else:
        raise ValueError(f"the head '{name}' is neither linear nor made of convolutions of images")
    with_relu = [part for layer in layers for part in (layer, nn.ReLU())][:-1]
    above, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(above), leaf, Head(*with_relu))


def _sizes(inputs: int, widths: Sequence[int], outputs: int) -> list[tuple[int, int]]:
    """(in, out) of each layer."""
    ends = [inputs, *widths]
    if not widths or widths[-1] != outputs:
        ends.append(outputs)
    return list(pairwise(ends))
