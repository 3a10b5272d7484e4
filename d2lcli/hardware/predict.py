"""Time and memory of a training step before it is made: from its operations and this machine's measured rates."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from d2lcli.hardware.operations import Operation
from d2lcli.hardware.rates import Rates


@dataclass(frozen=True)
class Prediction:
    """What one update will take.

    Args:
        seconds: of the whole update.
        forward, backward, optimizer: the parts of it.
        operations: kernels that are called, views left out.
        overhead: seconds of all calls if their kernels took no time.
        flops: of the products, twice the multiply-adds.
        longest: the operations that take longest in all, with their seconds.
    """

    seconds: float
    forward: float
    backward: float
    optimizer: float
    operations: int
    overhead: float
    flops: int
    longest: tuple[tuple[str, float], ...]


def predict(
    operations: Iterable[Operation],
    rates: Rates,
    *,
    parameters: int,
    tensors: int,
    state_tensors: float = 0.0,
    accumulate: int = 1,
) -> Prediction:
    """The sum over the operations of a step of kernel and call, then the optimizer's update.

    Args:
        operations: of the forward and the backward pass of one batch, see `trace_step`.
        rates: of this machine.
        parameters: that are trained.
        tensors: that hold them.
        state_tensors: what the optimizer keeps, in tensors of the size of the weights.
        accumulate: batches of an update.
    """
    times: Counter[str] = Counter()  # Counter's values are ints to mypy, but any number adds up
    parts = [0.0, 0.0]
    kernels, flops, overhead = 0, 0, 0.0
    for operation in operations:
        seconds = rates.seconds(operation)
        parts[operation.backward] += seconds
        times[operation.name] += seconds  # type: ignore[assignment]
        kernels += not operation.view
        flops += operation.flops
        overhead += rates.around(operation)
    update = rates.update(parameters, tensors, state_tensors)
    return Prediction(
        seconds=accumulate * sum(parts) + update,
        forward=accumulate * parts[0],
        backward=accumulate * parts[1],
        optimizer=update,
        operations=accumulate * kernels,
        overhead=accumulate * overhead,
        flops=accumulate * flops,
        longest=tuple((name, accumulate * float(total)) for name, total in times.most_common(5)),
    )
