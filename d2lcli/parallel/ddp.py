"""Data parallel: every process holds the model and a part of each batch; gradients are averaged during backward.

A thin adapter on torch's DistributedDataParallel.  `data.batch_size` is the batch of all processes together, so a step
on k processes equals the step of one process on the whole batch.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from d2lcli.parallel.collectives import Channel, naive_all_reduce, ring_all_reduce
from d2lcli.parallel.processes import Processes

Compression = Literal["none", "fp16", "bf16"]
AllReduce = Literal["torch", "ring", "naive"]
Reduction = Literal["mean", "sum"]
Hook = Callable[[object, Any], torch.futures.Future[Tensor]]

ALL = 1e9  # megabytes: one piece, whatever the size of the model


class DataParallel(Processes):
    """A model in each process.  Arguments: see `ddp`."""

    name = "ddp"

    def __init__(
        self,
        timeout: float,
        device: torch.device | None,
        *,
        bucket_megabytes: float,
        compression: Compression,
        all_reduce: AllReduce,
        reduction: Reduction,
        sync_batch_norm: bool,
    ) -> None:
        super().__init__(timeout, device, sync_batch_norm)
        if compression == "bf16" and not self.on_gpu:
            raise ValueError("compression=bf16 needs NCCL, that is, GPUs; gloo carries compression=fp16")
        if all_reduce != "torch" and (self.on_gpu or compression != "none"):
            raise ValueError(f"all_reduce={all_reduce} is for study: on CPUs, with compression=none")
        self.bucket_megabytes = bucket_megabytes
        self.compression, self.all_reduce = compression, all_reduce
        self.factor = float(self.world_size) if reduction == "sum" else 1.0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model within torch's DDP."""
        ids = [self.local_rank] if self.on_gpu else None
        module = DistributedDataParallel(model, device_ids=ids, bucket_cap_mb=self.bucket_megabytes)
        hook = self._hook()
        if hook is not None:
            module.register_comm_hook(None, cast(Any, hook))
        return module

    def _hook(self) -> Hook | None:
        """What reduces the gradients of a bucket; None leaves it to DDP."""
        if self.all_reduce != "torch":
            return written_out(ring_all_reduce if self.all_reduce == "ring" else naive_all_reduce)
        if self.on_gpu:
            hooks = {"fp16": default_hooks.fp16_compress_hook, "bf16": default_hooks.bf16_compress_hook}
            return cast("Hook | None", hooks.get(self.compression))
        if self.compression == "fp16":
            return half_mean_by_tensor
        return mean_by_tensor if self.world_size > 2 else None

    def hold(self, module: nn.Module) -> AbstractContextManager[Any]:
        """A context without reductions."""
        return cast(DistributedDataParallel, getattr(module, "_orig_mod", module)).no_sync()


def mean_by_tensor(state: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Average each gradient by itself instead of the bucket that it lies in.

    DDP lays its buckets out anew after the first backward, and where a number lies decides in which order gloo adds up
    three or more.  By tensor, that order is the same from the first step on: a resumed run is the same to the bit.

    Args:
        state: not used; part of the form of a hook.
        bucket: torch's GradBucket.
    """
    works = [dist.all_reduce(part, async_op=True) for part in bucket.gradients()]

    def average(_: object) -> Tensor:
        total: Tensor = bucket.buffer()
        return total.div_(dist.get_world_size())

    done: torch.futures.Future[Any] = torch.futures.collect_all([work.get_future() for work in works])
    return done.then(average)


def half_mean_by_tensor(state: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """`mean_by_tensor` with gradients that travel as float16, half the bytes of float32.

    They are divided before they are added up, so that the sum of many does not overflow.
    """
    parts = bucket.gradients()
    halves = [part.div(dist.get_world_size()).half() for part in parts]
    works = [dist.all_reduce(half, async_op=True) for half in halves]

    def restore(_: object) -> Tensor:
        for part, half in zip(parts, halves, strict=True):
            part.copy_(half)
        buffer: Tensor = bucket.buffer()
        return buffer

    done: torch.futures.Future[Any] = torch.futures.collect_all([work.get_future() for work in works])
    return done.then(restore)


def written_out(reduce: Callable[[Tensor, Channel], Tensor]) -> Hook:
    """A hook that averages each gradient with one of our own all-reduces, and waits for it."""
    channel = Channel()

    def hook(state: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        for part in bucket.gradients():
            reduce(part, channel).div_(channel.size)
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    return hook


def ddp(
    timeout: float = 300.0,
    bucket_megabytes: float = 25.0,
    overlap: bool = True,
    compression: Compression = "none",
    all_reduce: AllReduce = "torch",
    reduction: Reduction = "mean",
    sync_batch_norm: bool = False,
    device: torch.device | None = None,
) -> DataParallel:
    """Data parallel over the processes of torchrun, SLURM or `hardware=ddp`.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        bucket_megabytes: size of the pieces in which gradients are reduced while backward goes on.
        overlap: reduce while backward goes on; else all gradients at once after it, with the same result.
        compression: fp16 halves the bytes of the gradients on their way, and rounds them; bf16 does on NCCL alone.
        all_reduce: torch's own; or the ring or the naive one of `collectives`, for study.
        reduction: mean, the gradient of the whole batch; or sum, which is as many times larger as there are processes.
        sync_batch_norm: let batch norm see the examples of all processes; else each sees its own.
        device: this process's device; gloo carries the gradients of a CPU, NCCL those of a GPU.

    Raises:
        ValueError: this process belongs to no group, or an option does not fit the device.
    """
    return DataParallel(
        timeout,
        device,
        bucket_megabytes=bucket_megabytes if overlap else ALL,
        compression=compression,
        all_reduce=all_reduce,
        reduction=reduction,
        sync_batch_norm=sync_batch_norm,
    )
