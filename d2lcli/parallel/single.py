"""One process, one device.  Also the interface that every strategy has."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn


class Piece(NamedTuple):
    """A part of a tensor.

    Args:
        tensor: the part.
        shape: of the whole.
        start: where the part begins in the whole, on each axis.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    start: tuple[int, ...]


class Single:
    """The strategy of one process.  Others override what several processes do differently.

    A run calls `adapt` when the model is built, `split` when it is frozen where it is to be, `parts` for the optimizer
    `bind` with it, and `wrap` at last.

    Attributes:
        rank: this process, from 0.
        world_size: the number of processes.
        data_rank: which part of each batch this process has.
        data_size: the number of parts.
        noise_rank: processes with the same one draw the same dropout masks; None is `data_rank`.
        grouped: whether there may be other processes to talk to.
        in_step: whether a forward pass waits for the other processes, so that all must make the same number of them.
        drives: whether a batch goes forward and backward by `step`, not by calling the module.
        factor: what a gradient counts; not 1 where the processes' gradients are to be added up instead of averaged.
        serves: whether this process trains nothing, but works for those that do.
        splits_checkpoints: whether each process writes what it holds, see `pieces`, instead of the first one all.
        note: what a person should know of this choice.
    """

    name = "single"
    rank = 0
    world_size = 1
    data_rank = 0
    data_size = 1
    noise_rank: int | None = None
    grouped = False
    in_step = False
    drives = False
    factor = 1.0
    serves = False
    splits_checkpoints = False
    note = ""

    # The model.

    def adapt(self, model: nn.Module) -> nn.Module:
        """The model with layers that know of the other processes where they must; names of tensors stay."""
        return model

    def split(self, model: nn.Module) -> None:
        """Leave this process its part of the parameters, in place."""

    def parts(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """What this process holds of parameters: tensors for an optimizer, on the memory of the parameters."""
        return list(parameters)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in training; `model` itself stays the owner of the parameters."""
        return model

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Know the optimizer of the parts."""

    # An update.

    def step(self, loss_of: Callable[[nn.Module, Any], Tensor], batch: Sequence[Any], weight: float) -> Tensor:
        """Forward and backward of a batch at once, where the strategy `drives`; the mean loss of it.

        Args:
            loss_of: a model and a batch -> the mean loss, as a task has it.
            batch: inputs and targets.
            weight: what the loss counts.
        """
        raise NotImplementedError

    def hold(self, module: nn.Module) -> AbstractContextManager[Any]:
        """A context for a backward pass whose gradients stay here until those of a later one."""
        return nullcontext()

    def collect(self) -> None:
        """Bring the gradients of an update to where `parts` are."""

    def norm(self, parts: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """The Euclidean norm of all processes' values, one for each of `parts`."""
        return torch.nn.utils.get_total_norm(list(values))

    def evaluating(self, model: nn.Module) -> AbstractContextManager[Any]:
        """A context for an evaluation of the model, which may call more of it than its forward pass."""
        return nullcontext()

    # Checkpoints.

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors from what the processes hold of them, in the first process.

        Args:
            tensors: by the name of the parameter whose shape they have, anything behind a slash.
        """
        return dict(tensors)

    def pieces(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Piece], dict[str, str]]:
        """What this process holds of tensors that are split, and the names of tied ones: further name -> first name.

        Args:
            tensors: as for `whole`.
        """
        return {}, {}

    def take(self, name: str, whole: Tensor) -> Tensor:
        """What this process holds of a whole tensor; the inverse of `whole`."""
        return whole

    # Words between processes.

    def serve(self) -> None:
        """Do the work of a process that does not train; return when the run is over."""

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over the parts of the data, in place."""
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


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: of a distributed one (a DTensor) its part, on the same memory."""
    if hasattr(tensor, "to_local"):
        with torch.no_grad():
            return cast(Tensor, tensor.to_local())
    return tensor


def single() -> Single:
    """One process, one device."""
    return Single()
