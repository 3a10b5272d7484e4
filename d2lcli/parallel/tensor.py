"""Tensor parallel: the matrices of wide layers are split over processes, which all see the same examples (d2l 13.5).

A thin adapter on torch's DTensor and parallelize_module.  Of two matrices in a row the first is split by columns and
the second by rows, so that one sum over the processes is enough for both; an attention is split by heads (Shoeybi et
al., 2019).  With fewer than all processes in a row of `tensor_size`, each row has its own part of the batch.
"""

from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard
from torch.nn import functional
from torch.nn.parameter import Parameter

from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.key_values import KeyValues
from d2lcli.nn.transformer import FeedForward
from d2lcli.parallel.shards import Sharded

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Identity, nn.Dropout)


class TensorParallel(Sharded):
    """Arguments: see `tensor`."""

    name = "tensor"

    def __init__(self, timeout: float, device: torch.device | None, tensor_size: int | None) -> None:
        super().__init__(timeout, device)
        self.tensor_size = tensor_size or self.world_size
        if self.world_size % self.tensor_size:
            raise ValueError(f"tensor_size={self.tensor_size} does not divide the {self.world_size} processes")
        self.data_size = self.world_size // self.tensor_size
        self.data_rank = self.rank // self.tensor_size
        mesh = init_device_mesh(self.device.type, (self.data_size, self.tensor_size), mesh_dim_names=("data", "tensor"))
        self.mesh, self.data_group = mesh["tensor"], mesh["data"].get_group()

    def _distribute(self, model: nn.Module) -> None:
        split_layers(model, self.mesh)

    def collect(self) -> None:
        """Hand the local gradients over, and average them over the parts of the data."""
        super().collect()
        if self.data_size == 1:
            return
        for part in self._parts.values():
            if part.grad is not None:
                dist.all_reduce(part.grad, group=self.data_group)
                part.grad /= self.data_size


def split_layers(model: nn.Module, mesh: DeviceMesh) -> None:
    """Split every attention, and every pair of linear layers with nothing but element-wise functions in between.

    Args:
        model: changed in place; the names of its tensors stay.
        mesh: the processes, in one dimension.

    Raises:
        ValueError: there is no such layer, or a width does not divide.
    """
    plan: dict[str, ParallelStyle] = {}
    heads = 0
    for name, layer in model.named_modules():
        if isinstance(layer, MultiHeadAttention):
            if name.endswith("cross_attention"):
                raise ValueError("there is no plan for a model with attention to a memory; use strategy=fsdp")
            split_heads(layer, mesh)
            plan[f"{name}.out_proj"] = RowwiseParallel()
            heads += 1
        for first, second in pairs(layer):
            width = cast(nn.Linear, layer.get_submodule(first)).out_features
            if width % mesh.size():
                raise ValueError(f"{mesh.size()} processes cannot share the {width} units of layer '{name}.{first}'")
            plan[f"{name}.{first}".strip(".")] = ColwiseParallel()
            plan[f"{name}.{second}".strip(".")] = RowwiseParallel()
    if not plan:
        raise ValueError(
            "there is no plan for this model, which has neither attention nor two linear layers in a row; "
            "use strategy=fsdp"
        )
    parallelize_module(model, mesh, plan)


def pairs(layer: nn.Module) -> list[tuple[str, str]]:
    """The names of linear layers of a sequence, or of a feed-forward network, that follow each other, two by two."""
    if isinstance(layer, FeedForward):
        return [("linear1", "linear2")]
    if not isinstance(layer, nn.Sequential):
        return []
    found: list[tuple[str, str]] = []
    waiting = None
    for name, each in layer.named_children():
        if isinstance(each, nn.Linear):
            if waiting is None:
                waiting = name
            else:
                found.append((waiting, name))
                waiting = None
        elif not isinstance(each, ELEMENTWISE):
            waiting = None
    return found


class SplitAttention(MultiHeadAttention):
    """The heads of one process: its rows of the three projections, its columns of the last one.

    Rows i of queries, keys and values lie far apart in one matrix: that is what the strided placement is for.
    """

    mesh: DeviceMesh
    head_size: int

    def _project(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        weight = _own_rows(self.in_proj_weight)
        biases = [None] * 3 if self.in_proj_bias is None else _own_rows(self.in_proj_bias).chunk(3)
        if queries is keys and keys is values:
            queries = keys = values = self._entering(queries)
        else:
            queries, keys, values = (self._entering(each) for each in (queries, keys, values))
        return tuple(map(functional.linear, (queries, keys, values), weight.chunk(3), biases))

    def _entering(self, x: Tensor) -> Tensor:
        """x, whose gradient is the sum of what all heads make of it."""
        whole = DTensor.from_local(x, self.mesh, [Replicate()], run_check=False)
        return whole.to_local(grad_placements=[Partial()])

    def begin(self, batch_size: int) -> KeyValues:
        """The keys and values of no token."""
        weight = cast(DTensor, self.in_proj_weight).to_local()
        return KeyValues(weight.new_empty(2, batch_size, self.num_heads, 0, self.head_size), 0)


def _own_rows(parameter: Tensor) -> Tensor:
    return cast(DTensor, parameter).to_local()


def split_heads(attention: MultiHeadAttention, mesh: DeviceMesh) -> None:
    """Make an attention one over the heads of this process, of the same tensors.

    Raises:
        ValueError: the processes do not divide the heads.
    """
    if attention.num_heads % mesh.size():
        raise ValueError(f"{mesh.size()} processes cannot share {attention.num_heads} heads")
    attention.__class__ = SplitAttention  # as torch's own fully_shard does it: the tensors and their names stay
    split = cast(SplitAttention, attention)
    split.mesh = mesh
    split.head_size = attention.in_proj_weight.shape[1] // attention.num_heads
    split.num_heads //= mesh.size()
    rows = [_StridedShard(0, split_factor=3)]
    for name in ("in_proj_weight", "in_proj_bias"):
        whole = getattr(attention, name)
        if whole is not None:
            spread = distribute_tensor(whole.detach(), mesh, rows, src_data_rank=None)
            setattr(attention, name, Parameter(spread, requires_grad=whole.requires_grad))


def tensor(
    timeout: float = 300.0, tensor_size: int | None = None, device: torch.device | None = None
) -> TensorParallel:
    """The matrices of wide layers split over processes, alone or together with data parallelism.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        tensor_size: processes that share a model; those of several such rows have parts of each batch.  None: all.
        device: this process's device.

    Raises:
        ValueError: this process belongs to no group, or `tensor_size` does not divide it.
    """
    return TensorParallel(timeout, device, tensor_size)
