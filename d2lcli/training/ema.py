"""An exponential moving average of a model's weights, to be evaluated in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from d2lcli.errors import CheckpointError, clean
from d2lcli.parallel.single import local


class Ema:
    """average <- decay * average + (1 - decay) * weight, after each update, beginning with the weights at construction.

    Covers parameters and floating-point buffers such as the running statistics of batch norm, each tied tensor once.
    Counters and other integer buffers are the model's own.

    Args:
        model: on its device already.
        decay: in (0, 1); the average reaches back about 1 / (1 - decay) updates.

    Raises:
        ValueError: a decay out of range.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"ema decay={decay!r} must be between 0 and 1")
        self.decay = decay
        self._sources = _float_tensors(model)
        self._averages = {name: tensor.detach().clone() for name, tensor in self._sources.items()}
        # The lists that the kernels take; a step gathers nothing anew.
        self._from = [tensor.detach() for tensor in self._sources.values()]
        self._to = list(self._averages.values())

    def update(self) -> None:
        """Take the weights of one more update into the average."""
        torch._foreach_lerp_(self._to, self._from, 1 - self.decay)

    @contextmanager
    def swap(self, model: nn.Module) -> Iterator[None]:
        """A context in which `model` computes with the averages; its own weights return afterwards, to the bit."""
        targets = [tensor.detach() for tensor in _float_tensors(model).values()]
        own = [tensor.clone() for tensor in targets]
        torch._foreach_copy_(targets, self._to)
        try:
            yield
        finally:
            torch._foreach_copy_(targets, own)

    def state(self) -> dict[str, Tensor]:
        """The averages, by their names in the model."""
        return dict(self._averages)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from saved averages.

        Raises:
            CheckpointError: names or shapes are not those of the model.
        """
        wrong = [
            name for name in {**self._averages, **tensors} if not _same(self._averages.get(name), tensors.get(name))
        ]
        if wrong:
            shown = ", ".join(clean(name, 60) for name in wrong[:5])
            raise CheckpointError(f"the averaged weights do not fit this model: {len(wrong)} differ ({shown})")
        for name, average in self._averages.items():
            average.copy_(tensors[name])


def _float_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What this process holds of parameters and floating-point buffers, by name, in the model's order."""
    found = {name: local(parameter) for name, parameter in model.named_parameters()}
    return found | {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape
