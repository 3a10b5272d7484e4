"""Data parallel: every process holds the model and a part of each batch; gradients are averaged during backward.

A thin adapter on torch's DistributedDataParallel.  `data.batch_size` is the batch of all processes together, so a step
on k processes equals the step of one process on the whole batch.
"""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from d2lcli.parallel.single import Single


class DataParallel(Single):
    """The strategy of several processes, one device each."""

    name = "ddp"

    def __init__(self, timeout: float, bucket_megabytes: float, on_gpu: bool) -> None:
        self.rank = int(os.environ["RANK"])
        self.world_size = int(os.environ["WORLD_SIZE"])
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self.on_gpu = on_gpu
        self.bucket_megabytes = bucket_megabytes
        limit = timedelta(seconds=timeout)
        meeting = os.environ.get("D2L_MEETING")  # our own launcher: a file, so that no port is opened to the network
        if meeting:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(
            "nccl" if self.on_gpu else "gloo",
            init_method=f"file://{meeting}" if meeting else None,
            rank=self.rank,
            world_size=self.world_size,
            timeout=limit,
        )
        # Flags go through a group of their own: they may run beside the gradients' reductions.
        self.flags = dist.new_group(backend="gloo", timeout=limit)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model within torch's DDP."""
        ids = [self.local_rank] if self.on_gpu else None
        module = DistributedDataParallel(model, device_ids=ids, bucket_cap_mb=self.bucket_megabytes)
        if not self.on_gpu and self.world_size > 2:
            module.register_comm_hook(None, mean_by_tensor)
        return module

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes, in place."""
        dist.all_reduce(tensor)
        return tensor

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers."""
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)

    def agree(self, number: int) -> int:
        """The largest of the processes' numbers."""
        flag = torch.tensor([number], dtype=torch.int64)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self.flags)
        return int(flag.item())

    def gather(self, content: bytes) -> list[bytes]:
        """The bytes of every process, in the order of ranks."""
        longest = self.agree(len(content))
        padded = torch.frombuffer(bytearray(content.ljust(longest, b"\0")), dtype=torch.uint8)
        parts = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(parts, padded, group=self.flags)
        return [part.numpy().tobytes().rstrip(b"\0") for part in parts]

    @staticmethod
    def lost(error: BaseException) -> bool:
        """Whether `error` says that another process no longer answers: NCCL has a class for it, gloo a path."""
        return isinstance(error, dist.DistError) or (
            isinstance(error, RuntimeError) and "/gloo/transport/" in str(error)
        )

    def close(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()


def mean_by_tensor(state: object, bucket: Any) -> torch.futures.Future[Tensor]:
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


def ddp(timeout: float = 300.0, bucket_megabytes: float = 25.0, device: torch.device | None = None) -> DataParallel:
    """Data parallel over the processes of torchrun, SLURM or `hardware=ddp`.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        bucket_megabytes: size of the pieces in which gradients are reduced while backward goes on.
        device: this process's device; gloo carries the gradients of a CPU, NCCL those of a GPU.

    Raises:
        ValueError: this process belongs to no group.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        raise ValueError("strategy ddp: no process group; use hardware=ddp hardware.devices=N, or torchrun")
    return DataParallel(timeout, bucket_megabytes, device is not None and device.type == "cuda")
