"""Packs: the parameters of a group as the lists that kernels take, and the choice of the kernels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

Implementation = Literal["auto", "fused", "foreach", "plain"]
Group: TypeAlias = dict[str, Any]

FUSED_DEVICES = ("cpu", "cuda")
BLOCK = 2**16  # elements: with gradient, state and what is in between, about a megabyte of float32
FUSED_TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass
class Pack:
    """The parameters of one group that share a device and a type, with their state, as the lists that kernels take.

    Args:
        group: the param group; its options are read at each step.
        params: n parameters.
        state: state name -> n tensors, each of its parameter's shape and layout.
        steps: n updates so far, each a float32 scalar; empty for a method that does not count.
        counter: the vector (n,) of which `steps` are views, so that one addition advances
            all; None in a part of a pack.
        implementation: "fused", "foreach" or "plain".
    """

    group: Group
    params: list[Tensor]
    state: dict[str, list[Tensor]]
    steps: list[Tensor] = field(default_factory=list)
    counter: Tensor | None = None
    implementation: str = "plain"

    def __post_init__(self) -> None:
        self.renew()
        # Adding a tensor costs a quarter of adding a Python number.
        self.one = torch.ones_like(self.counter) if self.counter is not None else None

    def renew(self) -> None:
        """Look again at parameters and state that were laid out anew."""
        self.strides = [param.stride() for param in self.params]
        self._blocks: list[tuple[Pack, int, int]] = []

    def blocks(self) -> "list[tuple[Pack, int, int]]":
        """The pack cut into runs of tensors, [start, stop), that a processor's cache holds through a whole step.

        A step of k operations over one list of tensors reads all of them k times from memory; over blocks, once.
        """
        if not self._blocks:
            for start, stop in _runs([param.numel() for param in self.params], self.params[0].is_cpu):
                block = self if stop - start == len(self.params) else self.part(range(start, stop))
                self._blocks.append((block, start, stop))
        return self._blocks

    def advance(self) -> None:
        """Count one more update."""
        if self.counter is not None and self.one is not None:
            self.counter.add_(self.one)
        elif self.steps:
            torch._foreach_add_(self.steps, 1.0)

    def part(self, indices: Sequence[int]) -> "Pack":
        """The pack of some of the parameters, on the same storage."""
        state = {name: [tensors[i] for i in indices] for name, tensors in self.state.items()}
        steps = [self.steps[i] for i in indices] if self.steps else []
        return Pack(self.group, [self.params[i] for i in indices], state, steps, None, self.implementation)


def _runs(sizes: Sequence[int], on_cpu: bool) -> list[tuple[int, int]]:
    """Neighbours that together have at most BLOCK elements, or one tensor alone; on a GPU all of them."""
    if not on_cpu:
        return [(0, len(sizes))]
    runs, start, total = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and total + size > BLOCK:
            runs.append((start, i))
            start, total = i, 0
        total += size
    return [*runs, (start, len(sizes))]


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one block of memory without gaps or overlaps, in any order of the axes."""
    return torch.empty_like(tensor, device="meta").stride() == tensor.stride()


def choose(implementation: Implementation, params: Sequence[Tensor], has_kernel: bool = True) -> str:
    """The path that updates `params`, all of one device and type: fused where a kernel exists, else foreach.

    Raises:
        ValueError: "fused" is asked for and does not fit.
    """
    if not has_kernel:
        if implementation == "fused":
            raise ValueError("implementation='fused': there is no fused kernel for this; use 'auto' or 'foreach'")
        return "foreach" if implementation == "auto" else implementation
    fits = (
        params[0].device.type in FUSED_DEVICES
        and params[0].dtype in FUSED_TYPES
        and all(param.layout is torch.strided and _is_dense(param) for param in params)
    )
    if implementation == "fused" and not fits:
        kind = f"{params[0].dtype} parameters on {params[0].device}"
        raise ValueError(
            f"implementation='fused' needs dense floating-point parameters on a CPU or CUDA device, not {kind}"
        )
    if implementation == "auto":
        return "fused" if fits else "foreach"
    return implementation
