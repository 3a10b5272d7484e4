"""Fully sharded data parallel: every process holds a part of each parameter, and of its gradient and optimizer state.

A thin adapter on torch's fully_shard (Zhao et al., 2023; stage 3 of ZeRO, Rajbhandari et al., 2020).  A layer's
parameters are gathered when it computes, and freed after it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from d2lcli.parallel.shards import Sharded
from d2lcli.parallel.single import Piece, local

Gathered = Literal["fp32", "bf16", "fp16"]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class FullySharded(Sharded):
    """Arguments: see `fsdp`."""

    name = "fsdp"
    in_step = True

    def __init__(
        self,
        timeout: float,
        device: torch.device | None,
        *,
        gather: Gathered,
        reshard: bool,
        cpu_offload: bool,
        split_checkpoints: bool,
        sync_batch_norm: bool,
    ) -> None:
        super().__init__(timeout, device, sync_batch_norm)
        if cpu_offload and not self.on_gpu:
            raise ValueError("cpu_offload=true keeps the parameters of GPUs in the memory of the CPU; this is a CPU")
        self.gathered, self.reshard, self.splits_checkpoints = gather, reshard, split_checkpoints
        self.offload: OffloadPolicy = CPUOffloadPolicy() if cpu_offload else OffloadPolicy()

    def _distribute(self, model: nn.Module) -> None:
        mesh = init_device_mesh(self.device.type, (self.world_size,))
        shard(model, mesh, TYPES.get(self.gathered), self.reshard, self.offload)

    def pieces(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Piece], dict[str, str]]:
        """The rows of each tensor that this process holds."""
        found = {}
        for name, tensor in tensors.items():
            owner = self._owner(self._tied.get(name, name))
            part = local(tensor)
            if owner is None or part.shape != local(owner).shape:  # a buffer, a count of steps
                continue
            rows, rest = owner.shape[0], owner.shape[1:]
            start = min(self.rank * -(-rows // self.world_size), rows)
            found[name] = Piece(part, (rows, *rest), (start, *[0] * len(rest)))
        return {name: each for name, each in found.items() if name not in self._tied}, {
            name: self._tied[name] for name in found if name in self._tied
        }

    @contextmanager
    def hold(self, module: nn.Module) -> Iterator[None]:
        """A context in which gradients are added up whole, in each process for itself."""
        held = cast(FSDPModule, module)
        held.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            held.set_requires_gradient_sync(True)

    @contextmanager
    def evaluating(self, model: nn.Module) -> Iterator[None]:
        """A context in which a model that generates step by step is whole: only a forward pass gathers parameters."""
        sharded = [each for each in model.modules() if isinstance(each, FSDPModule)] if hasattr(model, "step") else []
        for module in sharded:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
        try:
            yield
        finally:
            for module in sharded:
                module.set_reshard_after_forward(self.reshard, recurse=False)
                module.reshard()


def shard(
    model: nn.Module,
    mesh: DeviceMesh,
    gathered: torch.dtype | None = None,
    reshard: bool = True,
    offload: OffloadPolicy | None = None,
) -> None:
    """Shard a model over a one-dimensional mesh: each of its blocks by itself, so that one is whole at a time.

    Args:
        model: changed in place.
        mesh: the processes.
        gathered: the type in which parameters are gathered and computed with; gradients are reduced in the type that
            the parameters have.
        reshard: free a block's parameters after its forward pass, and gather them again for backward.
        offload: where the parts are kept.
    """
    dtype = next(model.parameters()).dtype
    offload = offload or OffloadPolicy()
    policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=dtype if gathered else None)
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard, offload_policy=offload)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard, offload_policy=offload)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The layers of a model's sequences that have parameters of their own, with which no other layer shares."""
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    found: list[nn.Module] = []
    inside: set[int] = set()
    for sequence in model.modules():
        if sequence is model and isinstance(model, nn.Sequential) and len(model) < 2:
            continue
        if id(sequence) in inside or not isinstance(sequence, nn.Sequential | nn.ModuleList):
            continue
        for block in sequence:
            inside |= {id(each) for each in block.modules()}
            own = list(block.parameters())
            if own and all(uses[id(parameter)] == 1 for parameter in own) and not isinstance(block, nn.ModuleList):
                found.append(block)
    return found


def fsdp(
    timeout: float = 300.0,
    gather: Gathered = "fp32",
    reshard: bool = True,
    cpu_offload: bool = False,
    split_checkpoints: bool = True,
    sync_batch_norm: bool = False,
    device: torch.device | None = None,
) -> FullySharded:
    """Parameters, gradients and optimizer state spread over the processes.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        gather: fp32 leaves parameters as they are; bf16 and fp16 gather them, and compute, in half precision.
        reshard: free a block's parameters after its forward pass: less memory, one more gathering.
        cpu_offload: keep the parts of a GPU in the CPU's memory while they are not used.
        split_checkpoints: each process writes its parts, to a folder that all share; else the first one writes all.
        sync_batch_norm: let batch norm see the examples of all processes.
        device: this process's device.

    Raises:
        ValueError: this process belongs to no group, or an option does not fit the device.
    """
    return FullySharded(
        timeout,
        device,
        gather=gather,
        reshard=reshard,
        cpu_offload=cpu_offload,
        split_checkpoints=split_checkpoints,
        sync_batch_norm=sync_batch_norm,
    )
