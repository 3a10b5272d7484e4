"""What all strategies of several processes share: the process group, and words between its members."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from d2lcli.errors import WorkerLostError
from d2lcli.nn.sync_batch_norm import synchronise_batch_norms
from d2lcli.parallel.single import Single


class Processes(Single):
    """The strategy of several processes, one device each.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        device: of this process; gloo carries the tensors of a CPU, NCCL those of a GPU.
        sync_batch_norm: let batch norm see the examples of all processes.

    Raises:
        ValueError: this process belongs to no group.
    """

    grouped = True
    backend = ""  # what suits the device

    def __init__(self, timeout: float, device: torch.device | None, sync_batch_norm: bool = False) -> None:
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            raise ValueError(
                f"strategy {self.name}: no process group; use hardware={self.name} hardware.devices=N, or torchrun"
            )
        self.rank = self.data_rank = int(os.environ["RANK"])
        self.world_size = self.data_size = int(os.environ["WORLD_SIZE"])
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self.on_gpu = device is not None and device.type == "cuda"
        self.device = device or torch.device("cpu")
        self.sync_batch_norm = sync_batch_norm
        self.limit = timedelta(seconds=timeout)
        self.data_group: dist.ProcessGroup | None = None  # all processes
        self._join()

    def _join(self) -> None:
        meeting = os.environ.get("D2L_MEETING")  # our own launcher: a file, so that no port is opened to the network
        if meeting:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        try:
            dist.init_process_group(
                self.backend or ("nccl" if self.on_gpu else "gloo"),
                init_method=f"file://{meeting}" if meeting else None,
                rank=self.rank,
                world_size=self.world_size,
                timeout=self.limit,
            )
        except dist.DistNetworkError as error:
            place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            first = str(error).partition("\n")[0]
            raise ValueError(f"the processes cannot meet at {place} (MASTER_ADDR, MASTER_PORT): {first}") from None
        except dist.DistStoreError:
            raise WorkerLostError(
                f"rank {self.rank}: not all {self.world_size} processes came in {self.limit.total_seconds():g} s",
                "see whether all were started; under SLURM with srun",
            ) from None
        # Flags go through a group of their own: they may run beside the gradients' reductions.
        self.flags = dist.new_group(backend="gloo", timeout=self.limit)

    def adapt(self, model: nn.Module) -> nn.Module:
        """The model, with batch norms over all processes where that is asked for."""
        return synchronise_batch_norms(model, self.data_group) if self.sync_batch_norm else model

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over the parts of the data, in place."""
        dist.all_reduce(tensor, group=self.data_group)
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
        parts = [torch.empty_like(padded) for _ in range(dist.get_world_size(self.flags))]
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
