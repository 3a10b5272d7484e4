"""One process, one device.  Also the interface that every strategy has."""

from torch import Tensor, nn


class Single:
    """The strategy of one process.  Others override what several processes do differently.

    Attributes:
        rank: this process, from 0.
        world_size: the number of processes.
    """

    name = "single"
    rank = 0
    world_size = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in training; `model` itself stays the owner of the parameters."""
        return model

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes, in place."""
        return tensor

    def agree(self, number: int) -> int:
        """The largest of the numbers that the processes give."""
        return number

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers (running statistics), so that all evaluate the same model."""

    def gather(self, content: bytes) -> list[bytes]:
        """The bytes of every process, in the order of ranks, on every process."""
        return [content]

    @staticmethod
    def lost(error: BaseException) -> bool:
        """Whether `error` says that another process no longer answers."""
        return False

    def close(self) -> None:
        """Leave the group."""


def single() -> Single:
    """One process, one device."""
    return Single()
