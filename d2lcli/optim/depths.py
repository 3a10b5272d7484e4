"""How many layers lie between a parameter and the head of its model: what a decay of learning rates by layer needs."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList)
Part = tuple[str, nn.Module, str | None]  # its name, the part, and its stack: None outside of every container
Stack = list[list[str]]  # blocks in order, of each the names of its parts


def depths(model: nn.Module, head: str) -> dict[str, int]:
    """The name of each parameter -> 0 in the head, j in block L + 1 - j of L, L + 1 in the embeddings.

    Blocks are the members of nn.Sequential and nn.ModuleList, of nested ones the innermost: blocks.3 of a bert,
    layer2.0 of a resnet, features.6 of a vgg.  A member of another class is one block, whatever it holds.  Sequentials
    continue each other; each ModuleList is a stack of its own, whose blocks are counted from its end, as in an encoder
    and a decoder.  In a model that has no such containers, each of its layers is a block.

    What comes before or between stacks is an embedding, and so is a parameter that no layer holds; L is that of the
    longest stack.  What comes after the last block goes with it, and what has vectors alone, such as a norm, with
    whatever is before it.  The order is that of definition; a tied parameter counts once, under its first name.

    Args:
        model: all of its parameters must have shapes.
        head: the name of the layer that gives the outputs; empty for the whole model.
    """
    embedding, stacks = _arranged(list(_parts(model, head)))
    first = 1 + max(map(len, stacks), default=0)
    found = dict.fromkeys(embedding, first)
    for blocks in stacks:
        for j, block in enumerate(reversed(blocks), 1):
            found.update(dict.fromkeys(block, j))
    found[head] = 0
    return {name: _nearest(found, name, first) for name, _ in model.named_parameters()}


def _arranged(parts: list[Part]) -> tuple[list[str], list[Stack]]:
    """The names of the parts in the embeddings, and those of each block of each stack."""
    in_stacks = [place for place, (_, _, stack) in enumerate(parts) if stack is not None]
    last = in_stacks[-1] if in_stacks else len(parts)
    embedding: list[str] = []
    stacks: dict[str, Stack] = {}
    latest = embedding
    for place, (name, part, stack) in enumerate(parts):
        begins = place <= last and any(parameter.ndim > 1 for parameter in part.parameters())
        if begins and stack is None and in_stacks:
            latest = embedding
        elif begins:
            latest = []
            stacks.setdefault(stack or "", []).append(latest)
        latest.append(name)
    return embedding, list(stacks.values())


def _parts(module: nn.Module, head: str, path: str = "", stack: str | None = None) -> Iterator[Part]:
    """The parts that have parameters, in order, but for the head; containers and what is around them are opened."""
    if isinstance(module, CONTAINERS) and stack is None:
        stack = path if isinstance(module, nn.ModuleList) else ""
    children = [(key, child) for key, child in module.named_children() if any(True for _ in child.parameters())]
    kinds = Counter(type(child) for _, child in children)
    for key, child in children:
        name = f"{path}.{key}" if path else key
        if name == head:
            continue
        # The one encoder of a vit is opened; the inceptions of a googlenet, which hold containers too, are blocks.
        around = stack is None and kinds[type(child)] == 1 and _holds_container(child)
        if around or type(child) in CONTAINERS:
            yield from _parts(child, head, name, stack)
        else:
            yield name, child, stack


def _holds_container(module: nn.Module) -> bool:
    return any(type(each) in CONTAINERS for each in module.modules())


def _nearest(found: dict[str, int], name: str, default: int) -> int:
    """The value of the smallest part that holds the tensor `name`."""
    while name and name not in found:
        name = name.rpartition(".")[0]
    return found.get(name, default)
