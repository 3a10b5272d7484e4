"""What a model costs: layers, output shapes, parameters, multiply-adds and memory, without computing anything.

The model is copied to torch's `meta` device, where a tensor has a shape but no data, and run once there.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

FLOAT32_BYTES = 4
PRECISION_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Layer:
    """One layer: a module without parts, or one that has parameters of its own.

    Args:
        name: its path in the model.
        type: its class.
        output_shape: of its last call, the batch first; empty for a layer that is not called.
        parameters: how many it adds; one that is shared counts at its first layer only.
        multiply_adds: over all calls.
        activation_bytes: new memory for its outputs over all calls; 0 for a view and for work in place.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Memory:
    """Bytes that training needs, by formula; buffers and the workspace of the kernels are left out.

    Args:
        parameters: the weights, in float32.
        casts: copies of the weights in half precision.
        gradients: of the trainable weights, in float32.
        optimizer: its state, in float32.
        activations: the outputs of all layers for one batch, as if each were kept for the backward pass.
    """

    parameters: int
    casts: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.casts + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Summary:
    """The layers of a model in the order of their first call, and sums over them.

    Args:
        input_shape: the batch first.
        layers: one row each.
        trainable: how many of the parameters need a gradient.
        float_bytes: the size of one value of the model's type.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    trainable: int
    float_bytes: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    def memory(self, *, batch_size: int, state_tensors: float = 0.0, precision: str = "fp32") -> Memory:
        """An estimate of the memory for training.

        Args:
            batch_size: examples in one forward pass.
            state_tensors: tensors of the weights' size that the optimizer keeps, see `state_tensors`.
            precision: fp32, or bf16 or fp16 for activations in half precision beside weights in float32.
        """
        activations = self.activation_bytes // self.float_bytes * PRECISION_BYTES[precision]
        return Memory(
            parameters=self.parameters * FLOAT32_BYTES,
            casts=0 if precision == "fp32" else self.parameters * PRECISION_BYTES[precision],
            gradients=self.trainable * FLOAT32_BYTES,
            optimizer=round(self.trainable * state_tensors) * FLOAT32_BYTES,
            activations=activations * batch_size // self.input_shape[0],
        )


def _per_output(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> int:
    """Each output value sums over one row of the weight, (out, in) or (out, in / groups, *kernel)."""
    return outputs.numel() * math.prod(layer.get_parameter("weight").shape[1:])


def _per_input(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> int:
    """Each input value is spread over one row of the weight, (in, out / groups, *kernel)."""
    return inputs.numel() * math.prod(layer.get_parameter("weight").shape[1:])


# Multiply-adds of one call from (layer, first input, first output); additions of biases are not counted, nor are norms,
# activations and pooling, as in the published figures.  A subclass takes the formula of its nearest ancestor.
MULTIPLY_ADDS: dict[type[nn.Module], Callable[[nn.Module, Tensor, Tensor], int]] = {
    nn.Linear: _per_output,
    nn.Conv1d: _per_output,
    nn.Conv2d: _per_output,
    nn.Conv3d: _per_output,
    nn.ConvTranspose1d: _per_input,
    nn.ConvTranspose2d: _per_input,
    nn.ConvTranspose3d: _per_input,
}


def summarize(
    model: nn.Module, input_shape: Sequence[int], *, batch_size: int = 1, input_dtype: torch.dtype | None = None
) -> Summary:
    """Run a copy of `model` on the meta device and write down what each layer gives.  The model itself is untouched.

    Args:
        model: on any device; lazy layers are made definite in the copy.
        input_shape: of one example, without the batch.
        batch_size: examples in the batch; 1 for published figures.
        input_dtype: of the inputs; the model's own floating type by default.

    Raises:
        ValueError: the model cannot take such an input; torch's own words stand in the sentence.
    """
    twin = _meta_twin(model)
    dtype = next((p.dtype for p in twin.parameters() if p.dtype.is_floating_point), torch.get_default_dtype())
    inputs = torch.empty(batch_size, *input_shape, device="meta", dtype=input_dtype or dtype)
    rows: dict[str, Layer] = {}
    for name, module in twin.named_modules():
        if _is_layer(module):
            module.register_forward_hook(_recorder(rows, name or "model"))
    try:
        with torch.no_grad():
            twin(inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shape = " x ".join(str(size) for size in inputs.shape)
        raise ValueError(f"The model cannot take an input of shape {shape}: {error}") from error
    return Summary(
        input_shape=tuple(inputs.shape),
        layers=tuple(_with_parameters(twin, rows)),
        trainable=sum(p.numel() for p in twin.parameters() if p.requires_grad),
        float_bytes=dtype.itemsize,
    )


def state_tensors(build: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> float:
    """How many tensors of the size of the weights an optimizer keeps: found by one step on a probe.

    Args:
        build: makes the optimizer for a list of parameters.
    """
    probe = nn.Parameter(torch.zeros(32, 32))
    optimizer = build([probe])
    probe.grad = torch.zeros_like(probe)
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(value.numel() for value in kept if value.dim() > 0) / probe.numel()


def _meta_twin(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, but for dropout, whose outputs take memory in training only; no data is copied."""
    memo: dict[int, Any] = {id(t): _on_meta(t) for t in itertools.chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, memo).eval()
    for module in twin.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.train()
    return twin


def _on_meta(tensor: Tensor) -> Tensor:
    kind: dict[str, Any] = {"device": "meta", "dtype": tensor.dtype}
    if isinstance(tensor, UninitializedParameter):
        return UninitializedParameter(requires_grad=tensor.requires_grad, **kind)
    if isinstance(tensor, UninitializedBuffer):
        return UninitializedBuffer(**kind)
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _is_layer(module: nn.Module) -> bool:
    own_parameters = next(module.parameters(recurse=False), None) is not None
    return own_parameters or next(module.children(), None) is None


def _recorder(rows: dict[str, Layer], name: str) -> Callable[[nn.Module, Any, Any], None]:
    """A forward hook that adds one call of a layer to its row."""

    def record(module: nn.Module, inputs: Any, outputs: Any) -> None:
        given, made = list(_tensors(inputs)), list(_tensors(outputs))
        row = rows.get(name) or Layer(name, type(module).__name__, (), 0, 0, 0)
        formula = next((MULTIPLY_ADDS[kind] for kind in type(module).__mro__ if kind in MULTIPLY_ADDS), None)
        old = [tensor.untyped_storage() for tensor in given]
        new = [tensor for tensor in made if not any(tensor.untyped_storage() is storage for storage in old)]
        rows[name] = replace(
            row,
            output_shape=tuple(made[0].shape) if made else (),
            multiply_adds=row.multiply_adds + (formula(module, given[0], made[0]) if formula else 0),
            activation_bytes=row.activation_bytes + sum(tensor.numel() * tensor.element_size() for tensor in new),
        )

    return record


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors inside nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(_tensors(item) for item in value)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _with_parameters(model: nn.Module, rows: dict[str, Layer]) -> list[Layer]:
    """The rows in the order of their calls, then the layers that were not called, each with the parameters it adds."""
    modules = {name or "model": module for name, module in model.named_modules()}
    seen: set[int] = set()
    layers = []
    for name in [*rows, *(name for name in modules if name not in rows)]:
        own = {id(p): p.numel() for p in modules[name].parameters(recurse=False) if id(p) not in seen}
        seen |= own.keys()
        if name in rows or own:
            row = rows.get(name) or Layer(name, type(modules[name]).__name__, (), 0, 0, 0)
            layers.append(replace(row, parameters=sum(own.values())))
    return layers
