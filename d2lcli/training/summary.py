"""What a model costs: layers, output shapes, parameters, multiply-adds and activations, without computing anything.

The model is copied to torch's `meta` device, where a tensor has a shape but no data, and run once there.
"""

import copy
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from d2lcli.training.multiply_adds import multiply_adds
from d2lcli.training.receptive import ReceptiveFields, tensors


@dataclass(frozen=True)
class Layer:
    """One layer: a module without parts, one that has parameters of its own, or one that computes between its parts.

    Args:
        name: its path in the model.
        type: its class.
        output_shape: of its last call, the batch first; empty for a layer that is not called.
        parameters: how many it adds; one that is shared counts at its first layer only.
        multiply_adds: over all calls, without those of its parts.
        activation_bytes: of what is made in it, what is kept for the backward pass or returned by the model.
        index_bytes: those of `activation_bytes` that are no floating-point numbers, such as the places of maxima.
        receptive_field: the side of the region of the input that one output of its last call depends on, infinite for
            the whole input; None where there are no positions, see `ReceptiveFields`.
        stride: how far in the input neighbouring outputs lie apart; None beside a receptive field of None or infinity.
    """

    name: str
    type: str
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    activation_bytes: int = 0
    index_bytes: int = 0
    receptive_field: float | None = None
    stride: float | None = None


@dataclass(frozen=True)
class Summary:
    """The layers of a model in the order in which their first calls end, and sums over them.

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

    @property
    def index_bytes(self) -> int:
        return sum(layer.index_bytes for layer in self.layers)


def summarize(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    batch_size: int = 1,
    input_dtype: torch.dtype | None = None,
    further: Sequence[Tensor] = (),
) -> Summary:
    """Run a copy of `model` on the meta device and write down what each layer gives.  The model itself is untouched.

    Args:
        model: on any device; lazy layers are made definite in the copy.
        input_shape: of one example, without the batch.
        batch_size: examples in the batch; 1 for published figures.
        input_dtype: of the inputs; the model's own floating type by default.
        further: what the model takes besides, on the meta device.

    Raises:
        ValueError: the model cannot take such an input; torch's own words stand in the sentence.
    """
    twin = _meta_twin(model)
    dtype = next((p.dtype for p in twin.parameters() if p.dtype.is_floating_point), torch.get_default_dtype())
    inputs = torch.empty(batch_size, *input_shape, device="meta", dtype=input_dtype or dtype)
    watch = _Watch(inputs)
    for name, module in twin.named_modules():
        watch.attach(name or "model", module)
    try:
        with torch.enable_grad(), watch, torch.autograd.graph.saved_tensors_hooks(watch.keep, lambda tensor: tensor):
            outputs = twin(inputs, *further)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shape = " x ".join(str(size) for size in inputs.shape)
        raise ValueError(f"The model cannot take an input of shape {shape}: {error}") from error
    for tensor in tensors(outputs):
        watch.keep(tensor)
    return Summary(
        input_shape=tuple(inputs.shape),
        layers=tuple(_layers(twin, watch)),
        trainable=sum(p.numel() for p in twin.parameters() if p.requires_grad),
        float_bytes=dtype.itemsize,
    )


def _meta_twin(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, but for dropout, whose masks take memory in training only; no data is copied."""
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


@dataclass
class _Row:
    """What is known of a module that was called: the last shape and field, and formulas summed over all calls."""

    output_shape: tuple[int, ...] = ()
    receptive_field: float | None = None
    stride: float | None = None
    by_formula: int | None = None


@dataclass
class _Piece:
    """A piece of memory: the module that made it, and whether something keeps it."""

    maker: str
    storage: torch.UntypedStorage  # held, so that its address is not given to another one
    index: bool
    kept: bool = False


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation of one forward pass, and writes it down for the innermost module that is being called."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: dict[str, _Row] = {}
        self.products: Counter[str] = Counter()
        self._fields = ReceptiveFields(inputs)
        self._memory: dict[int, _Piece] = {}
        self._inside: list[str] = []
        self._note("", inputs)

    def attach(self, name: str, module: nn.Module) -> None:
        """Hook the module, and leave the memory of its own tensors out."""
        for tensor in itertools.chain(module.parameters(recurse=False), module.buffers(recurse=False)):
            if not isinstance(tensor, UninitializedParameter | UninitializedBuffer):
                self._note("", tensor)
        # First of all hooks: a lazy layer makes its weights in one of its own.
        module.register_forward_pre_hook(lambda *_: self._inside.append(name), prepend=True)
        module.register_forward_hook(self._recorder(name), with_kwargs=True)

    def _recorder(self, name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def record(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            self._inside.pop()
            row = self.rows.setdefault(name, _Row())
            output = next(tensors(outputs), None)
            if output is None:
                return
            row.output_shape = tuple(output.shape)
            seen = self._fields.of(output)
            row.receptive_field = None if seen is None else float(max(seen.sizes))
            row.stride = None if seen is None or max(seen.sizes) == float("inf") else float(max(seen.steps))
            count = multiply_adds(module, list(tensors([args, kwargs])), output)
            if count is not None:
                row.by_formula = (row.by_formula or 0) + count

        return record

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        maker = self._inside[-1] if self._inside else ""
        made = list(tensors(outputs))
        # The statistics of a norm are left out: batch norm has them once for the batch, not for each example.
        for tensor in made[:1] if "norm" in func.overloadpacket.__name__ else made:
            self._note(maker, tensor)
        if func.overloadpacket in flop_registry:
            self.products[maker] += flop_registry[func.overloadpacket](*args, **kwargs, out_val=outputs) // 2
        self._fields.follow(func, args, kwargs, outputs)
        return outputs

    def _note(self, maker: str, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._memory.setdefault(storage._cdata, _Piece(maker, storage, not tensor.dtype.is_floating_point))

    def keep(self, tensor: Tensor) -> Tensor:
        """Called with each tensor that autograd saves."""
        known = self._memory.get(tensor.untyped_storage()._cdata)
        if known is not None:
            known.kept = True
        return tensor

    def memory(self, own: set[int]) -> list[_Piece]:
        """All memory that modules made.

        Args:
            own: the storages of the model itself; a lazy layer makes its own during the call.
        """
        return [piece for address, piece in self._memory.items() if piece.maker and address not in own]


def _layers(model: nn.Module, watch: _Watch) -> list[Layer]:
    """The rows in the order in which their first calls end, then the layers that were not called."""
    modules = {name or "model": module for name, module in model.named_modules()}
    own = {t.untyped_storage()._cdata for t in itertools.chain(model.parameters(), model.buffers())}
    memory = watch.memory(own)
    makers = {piece.maker for piece in memory if not piece.index}
    kept, indices = Counter[str](), Counter[str]()
    for piece in memory:
        size = piece.storage.nbytes() if piece.kept else 0
        kept[piece.maker] += size
        indices[piece.maker] += size if piece.index else 0
    seen: set[int] = set()
    layers = []
    for name in [*watch.rows, *(name for name in modules if name not in watch.rows)]:
        module, row = modules[name], watch.rows.get(name, _Row())
        fresh = {id(p): p.numel() for p in module.parameters(recurse=False) if id(p) not in seen}
        seen |= fresh.keys()
        count = watch.products[name] if row.by_formula is None else row.by_formula
        leaf = name in watch.rows and next(module.children(), None) is None
        if leaf or fresh or count or name in makers:
            layers.append(
                Layer(
                    name=name,
                    type=type(module).__name__,
                    output_shape=row.output_shape,
                    parameters=sum(fresh.values()),
                    multiply_adds=count,
                    activation_bytes=kept[name],
                    index_bytes=indices[name],
                    receptive_field=row.receptive_field,
                    stride=row.stride,
                )
            )
    return layers
