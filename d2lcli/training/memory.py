"""The memory that training a model takes, by formula: for one setting, and for every optimizer and precision."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from d2lcli.training.receptive import tensors
from d2lcli.training.summary import Summary

FLOAT32_BYTES = 4
PRECISION_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes that training needs on one device; buffers, the batch and the workspace of the kernels are left out.

    Args:
        parameters: the weights, in float32.
        casts: copies of the weights in half precision.
        gradients: of the trainable weights, in float32.
        optimizer: its state, in float32.
        ema: a running mean of the weights, in float32.
        activations: what one forward pass keeps for the backward pass.
    """

    parameters: int
    casts: int
    gradients: int
    optimizer: int
    ema: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.casts + self.gradients + self.optimizer + self.ema + self.activations


def training_memory(
    summary: Summary, *, batch_size: int, state_tensors: float = 0.0, precision: str = "fp32", ema: bool = False
) -> Memory:
    """An estimate of the memory for training.

    Args:
        summary: of the model.
        batch_size: examples in one forward pass.
        state_tensors: tensors of the weights' size that the optimizer keeps, see `state_tensors`.
        precision: fp32, or bf16 or fp16 for activations in half precision beside weights in float32.  All activations
            count as halved, though autocast leaves some operations in float32.
        ema: a running mean of the weights is kept too.
    """
    numbers = (summary.activation_bytes - summary.index_bytes) // summary.float_bytes * PRECISION_BYTES[precision]
    return Memory(
        parameters=summary.parameters * FLOAT32_BYTES,
        casts=0 if precision == "fp32" else summary.parameters * PRECISION_BYTES[precision],
        gradients=summary.trainable * FLOAT32_BYTES,
        optimizer=round(summary.trainable * state_tensors) * FLOAT32_BYTES,
        ema=summary.parameters * FLOAT32_BYTES if ema else 0,
        activations=(numbers + summary.index_bytes) * batch_size // summary.input_shape[0],
    )


def state_tensors(build: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> float:
    """How many tensors of the size of the weights an optimizer keeps: found by one step on a probe.

    Those that run the backward pass themselves have all of it from the beginning.

    Args:
        build: makes the optimizer for a list of parameters.
    """
    probe = nn.Parameter(torch.zeros(32, 32))
    optimizer = build([probe])
    if not hasattr(optimizer, "backward"):
        probe.grad = torch.zeros_like(probe)
        optimizer.step()
    kept = tensors(list(optimizer.state.values()))
    return sum(tensor.numel() for tensor in kept if tensor.dim() > 0) / probe.numel()  # without counts of steps
