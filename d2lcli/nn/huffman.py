"""Huffman's tree: a binary tree whose frequent leaves are near the root (Huffman, 1952; d2l 15.2)."""

import heapq
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """The paths from the leaves to the root.

    Args:
        nodes: (V, L) the inner nodes of each leaf's path, numbers from 0 to V - 2; 0 where the path is shorter.
        signs: (V, L) float32, 1 where the path goes left at that node, -1 where it goes right, 0 beyond its end.
    """

    nodes: Tensor
    signs: Tensor


def huffman(counts: Tensor) -> Tree:
    """The tree with the shortest paths on average: sum of counts times lengths is the least that there is.

    The two rarest subtrees are joined again and again, the rarer one on the left.  Of equal counts the one with the
    smaller number is the rarer: leaves come before inner nodes, in their order.

    Args:
        counts: (V,) how often each leaf occurs, at least 0.

    Raises:
        ValueError: no leaf, or a negative count.
    """
    size = len(counts)
    if size == 0 or bool((counts < 0).any()):
        raise ValueError("a Huffman tree needs at least one leaf, and counts of at least 0")
    heap = [(count, leaf) for leaf, count in enumerate(counts.tolist())]
    heapq.heapify(heap)
    above, side = torch.zeros(2 * size - 1, dtype=torch.int64), torch.zeros(2 * size - 1)
    for node in range(size, 2 * size - 1):
        (rarer, left), (other, right) = heapq.heappop(heap), heapq.heappop(heap)
        above[left], above[right], side[left], side[right] = node, node, 1.0, -1.0
        heapq.heappush(heap, (rarer + other, node))
    return _paths(above, side, size)


def _paths(above: Tensor, side: Tensor, size: int) -> Tree:
    """Climb from all leaves at once; the root, which has no side, is its own parent from there on."""
    root = 2 * size - 2
    above[root] = root
    at = torch.arange(size)
    nodes: list[Tensor] = []
    signs: list[Tensor] = []
    while bool((at != root).any()) or not nodes:
        signs.append(side[at])
        at = above[at]
        nodes.append((at - size).clamp(min=0))
    steps = torch.stack(signs, 1)
    return Tree(torch.stack(nodes, 1) * (steps != 0), steps)
