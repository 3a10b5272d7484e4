"""Models whose parameters are distributed over processes: what one process holds of them, and how that becomes whole.

Optimizers, penalties and averages work element by element, so they are given the plain local tensors, on the memory of
the distributed ones: nothing but what stands here knows of a distributed tensor (a DTensor).
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from d2lcli.parallel.processes import Processes
from d2lcli.parallel.single import local


class Sharded(Processes):
    """A strategy that leaves each process a part of the parameters.  A subclass says in `_distribute` which."""

    def split(self, model: nn.Module) -> None:
        """Distribute the parameters, in place."""
        self._distribute(model)
        self._named = dict(model.named_parameters())
        first = {id(each): name for name, each in self._named.items()}
        everyone = model.named_parameters(remove_duplicate=False)
        self._tied = {name: first[id(each)] for name, each in everyone if first[id(each)] != name}
        self._parts: dict[int, Tensor] = {id(each): local(each) for each in self._named.values()}

    def _distribute(self, model: nn.Module) -> None:
        raise NotImplementedError

    def parts(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The local tensors, the same ones at each call."""
        return [self._parts[id(each)] for each in parameters]

    def collect(self) -> None:
        """Hand the local gradients from the parameters to the local tensors."""
        for parameter in self._named.values():
            part = self._parts[id(parameter)]
            if parameter.grad is not None and part is not parameter:
                part.grad, parameter.grad = local(parameter.grad), None

    def norm(self, parts: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """The root of all squares; a number that several processes hold counts once."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        copies = {id(self._parts[id(each)]): self._copies(each) for each in self._named.values()}
        for part, value in zip(parts, values, strict=True):
            total += torch.linalg.vector_norm(value).double().square() / copies[id(part)]
        dist.all_reduce(total)
        return total.sqrt().to(values[0].dtype if values else torch.float32)

    def _copies(self, parameter: Tensor) -> int:
        """How many processes hold each number of a parameter."""
        if not isinstance(parameter, DTensor):
            return self.world_size
        copies, mesh = self.world_size // parameter.device_mesh.size(), parameter.device_mesh
        for axis, placement in enumerate(parameter.placements):
            if isinstance(placement, Replicate):
                copies *= mesh.size(axis)
        return copies

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors, gathered one after the other; the first process keeps them."""
        found = {}
        for name, tensor in tensors.items():
            full = self._whole(name, tensor)
            if self.rank == 0:
                found[name] = full
        return found

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        if isinstance(tensor, DTensor):
            return tensor.full_tensor()
        owner = self._owner(name)
        if owner is None or tensor.shape != local(owner).shape:  # a buffer, a count of steps
            return tensor
        like = DTensor.from_local(
            tensor, owner.device_mesh, owner.placements, run_check=False, shape=owner.shape, stride=owner.stride()
        )
        return like.full_tensor()

    def _owner(self, name: str) -> DTensor | None:
        """The distributed parameter that a tensor belongs to."""
        parameter = self._named.get(name.partition("/")[0])
        return parameter if isinstance(parameter, DTensor) else None

    def take(self, name: str, whole: Tensor) -> Tensor:
        """This process's part of a whole tensor, cut out without a word to the others."""
        owner = self._owner(name)
        if owner is None or whole.shape != owner.shape:
            return whole
        replicated = DTensor.from_local(
            whole.to(self.device), owner.device_mesh, [Replicate()] * owner.device_mesh.ndim, run_check=False
        )
        return local(replicated.redistribute(placements=owner.placements))
