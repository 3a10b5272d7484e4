"""The operations of one training step with their sizes, listed without computing anything.

The step runs on tensors that have a shape, a type and a device, but no data (`torch._subclasses.FakeTensorMode`).
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# What makes no numbers, though torch does not call it a view.
FREE = {"_unsafe_view", "unsafe_split", "unsafe_split_with_sizes", "empty", "empty_like", "new_empty", "lift_fresh"}


@dataclass(frozen=True)
class Operation:
    """One call of one kernel.

    Args:
        name: of the operation, as torch's dispatcher calls it, without its overload.
        shapes: of the tensors that it was given.
        output: the shape of the first one that it made.
        dtype: of the first floating-point numbers among all of these: "fp32", "bf16", ...
        bytes: of all of these together.
        flops: twice its multiply-adds; 0 for what is no product.
        window: numbers behind each output of a pooling; 1 for others.
        view: no data is touched.
        backward: it answers an operation of the forward pass.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    dtype: str
    bytes: int
    flops: int
    window: int
    view: bool
    backward: bool

    @property
    def numbers(self) -> int:
        """Of the largest tensor."""
        return max(map(math.prod, (*self.shapes, self.output)))


NAMES = {torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Operation] = []
        self.backward = False

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        packet = func.overloadpacket
        name = packet.__name__
        given, made = list(_tensors([args, kwargs])), list(_tensors(outputs))
        if func.namespace == "prim":  # questions about a tensor
            return outputs
        flops = flop_registry[packet](*args, **kwargs, out_val=outputs) if packet in flop_registry else 0
        both = given + made
        self.found.append(
            Operation(
                name=name,
                shapes=tuple(tuple(tensor.shape) for tensor in given),
                output=tuple(made[0].shape) if made else (),
                dtype=next((NAMES[tensor.dtype] for tensor in both if tensor.dtype in NAMES), "other"),
                bytes=sum(tensor.numel() * tensor.element_size() for tensor in both),
                flops=flops,
                window=_window(name, args),
                view=func.is_view or name in FREE,
                backward=self.backward,
            )
        )
        return outputs


def trace_step(
    model: nn.Module,
    batch: Sequence[Tensor],
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> list[Operation]:
    """The operations of the forward pass, the loss and the backward pass, in their order.  Nothing given is changed.

    Args:
        model: as it is trained; a copy of it is, in training mode.
        batch: what the loss takes.
        loss: of a model and a batch, a scalar.
        autocast: makes the context of the forward pass.

    Raises:
        ValueError: what is computed depends on the numbers themselves, or no kernel says what it would make.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    memo: dict[int, Any] = {id(t): mode.from_tensor(t) for t in itertools.chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, memo).train()
    pretended = tuple(mode.from_tensor(tensor) for tensor in batch)
    watch = _Trace()
    try:
        with mode, watch:
            with autocast():
                value = loss(twin, pretended)
            watch.backward = True
            value.backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, NotImplementedError, TypeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0][:120]
        raise ValueError(f"the step depends on the data itself: {type(error).__name__}: {reason}") from error
    return watch.found


def _window(name: str, args: Sequence[Any]) -> int:
    """Of a pooling: the sizes of its window are the first list that it is given."""
    if "pool" not in name:
        return 1
    return math.prod(next((arg for arg in args if isinstance(arg, list | tuple)), [1]))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
