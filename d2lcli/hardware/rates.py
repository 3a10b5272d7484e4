"""What a profile says about how fast this machine computes what; between the sizes that were measured it interpolates.

It takes the 90th percentile of rates and the 10th of times: what disturbed the measurement will not be there again.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from d2lcli.hardware.operations import Operation

GIGA = 1e9
POWER = 4  # of the inverse distance: near sizes decide
FEATURES = {
    "mm": ("batch", "m", "k", "n"), "bmm": ("batch", "m", "k", "n"), "attention": ("n", "width"),
    "conv": ("c", "d", "kernel", "places", "side", "stride", "uneven"), "numbers": ("numbers", "together"),
    "conv_backward": ("c", "d", "kernel", "places", "side", "stride", "uneven"),
}  # fmt: skip
# Operations that take about as long as one that was measured; all others count as `add`, by their bytes.
LIKE = {
    "sigmoid_": "sigmoid", "tanh_": "tanh", "relu_": "relu", "exp_": "exp", "log": "exp", "pow": "exp", "sin": "exp",
    "cos": "exp", "erf": "exp", "silu": "sigmoid", "softplus": "exp", "silu_backward": "gelu_backward",
    "_log_softmax": "_softmax", "logsumexp": "_softmax",
    "_log_softmax_backward_data": "_softmax_backward_data", "mean": "sum", "native_dropout": "bernoulli_",
    "cudnn_batch_norm": "native_batch_norm", "cudnn_batch_norm_backward": "native_batch_norm_backward",
    "_native_batch_norm_legit": "native_batch_norm", "miopen_batch_norm": "native_batch_norm",
    "stack": "clone", "index": "clone", "index_select": "clone", "gather": "clone",
}  # fmt: skip


class Rates:
    """The measured rows of one device, as functions of sizes.

    Args:
        rows: of a profile.
        device: "cpu", "cuda:0".

    Raises:
        ValueError: the rows lack the topics that everything is computed from.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], device: str) -> None:
        self._tables: dict[tuple[str, str], list[tuple[tuple[float, ...], float]]] = {}
        self._networks: dict[str, tuple[float, float, float]] = {}
        self._call = 0.0
        for row in rows:
            if row["device"] == device:
                try:
                    self._read(row, row["facts"])
                except (KeyError, TypeError, AttributeError) as error:
                    raise ValueError(f"the profile is damaged: {error}") from error
        if not self._call or len(self._networks) < 2 or ("add", "fp32") not in self._tables:
            raise ValueError("the profile lacks the topics launch and layers")
        ahead, kernels, back = self._networks["network forward"]
        self._forward = ahead / kernels
        self._backward = max(0.0, self._networks["network both"][0] - ahead) / back

    def _read(self, row: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        kind = facts.get("kind", "")
        if kind == "operation call":
            self._call = row["low"] * 1e-6
        elif kind.startswith("network"):
            self._networks[kind] = (row["low"] * 1e-6 * facts["kernels"], facts["kernels"], facts["backward"])
        elif kind in FEATURES:
            sizes = {**facts, "uneven": _uneven(facts.get("c", 8), facts.get("d", 8))}
            place = tuple(math.log2(sizes[name]) for name in FEATURES[kind])
            kind = facts["operation"] if kind == "numbers" else kind
            self._tables.setdefault((kind, row["dtype"]), []).append((place, math.log(row["high"] * GIGA)))

    def rate(self, kind: str, dtype: str, sizes: Sequence[float]) -> float | None:
        """Operations or numbers a second at these sizes: exp of the mean logarithm, weighted by 1 / distance^4.

        Args:
            kind: a product, a convolution, or the name of an operation.
            dtype: of the numbers.
            sizes: the features of the kind, all above 0.
        """
        table = self._tables.get((kind, dtype))
        if table is None:
            return None
        place = [math.log2(max(size, 1)) for size in sizes]
        weights, total = 0.0, 0.0
        for other, value in table:
            distance = math.dist(place, other)
            if distance < 1e-9:
                return math.exp(value)
            weight = distance**-POWER
            weights, total = weights + weight, total + weight * value
        return math.exp(total / weights)

    def seconds(self, operation: Operation) -> float:
        """Of one call in training: its kernel, and what Python, the dispatcher and autograd add."""
        if operation.view:
            return self.around(operation)
        kernel = self._kernel(operation) - self._call  # kernels were measured with their calls
        return max(0.0, kernel) + self.around(operation)

    def around(self, operation: Operation) -> float:
        """Of a call without its kernel, as in a network of small layers: its share of views and Python's work too."""
        if operation.view:
            return 0.0
        return self._backward if operation.backward else self._forward

    def _kernel(self, operation: Operation) -> float:
        dtype = operation.dtype
        found = _product(operation)
        if found is not None:
            rate = self.rate(found[0], dtype, found[1])
            if rate is not None:
                return operation.flops / rate
        name = LIKE.get(operation.name, operation.name)
        numbers = operation.numbers if operation.window == 1 else _pooled(operation)
        rate = self.rate(name, dtype, (numbers, _together(operation, name)))
        if rate is not None and name != "add":
            return numbers / rate
        # An addition reads two numbers and writes one.
        added = operation.bytes / 3 / {"fp64": 8, "bf16": 2, "fp16": 2}.get(dtype, 4)
        rate = self.rate("add", dtype, (added, 1)) or self.rate("add", "fp32", (added, 1))
        assert rate is not None
        return added / rate

    def update(self, numbers: int, tensors: int, state: float) -> float:
        """Seconds of an optimizer's update.

        Args:
            numbers: parameters.
            tensors: that hold them.
            state: tensors of the weights' size that it keeps.
        """
        rate = self.rate("_fused_adamw_", "fp32", (numbers, 1))
        assert rate is not None
        moved = (3 + 2 * state) / 7  # AdamW reads four numbers and writes three
        return moved * numbers / rate + tensors * self._call


def _product(operation: Operation) -> tuple[str, tuple[float, ...]] | None:
    """The kind of a product and its features, or None for other operations."""
    shapes, name = operation.shapes, operation.name
    if not operation.flops:
        return None
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        left, right = shapes[-2:]
        return ("bmm" if "b" in name[:1] else "mm"), (
            left[0] if len(left) == 3 else 1, left[-2], left[-1], right[-1],
        )  # fmt: skip
    if name in ("convolution", "convolution_backward"):
        ahead = name == "convolution"
        weight, made = shapes[1 if ahead else 2], operation.output if ahead else shapes[0]
        c, d = weight[1], weight[0]
        places, side = made[0] * math.prod(made[2:]), made[-1]
        stride = shapes[0 if ahead else 1][-1] // side
        sizes = (c, d, math.prod(weight[2:]), places, side, stride, _uneven(c, d))
        return "conv" if ahead else "conv_backward", sizes
    if "attention" in name:
        query = shapes[1] if "backward" in name else shapes[0]
        return "attention", (query[-2], query[-1])
    return None


def _uneven(c: float, d: float) -> float:
    """2^2 for channels that do not fill the vectors of the hardware: as far away as four times the size."""
    return 1.0 if (c % 8 == 0 or c == 1) and d % 8 == 0 else 4.0


def _together(operation: Operation, name: str) -> int:
    """How many numbers belong together, see `layers.elementwise`."""
    shape = operation.shapes[0] if operation.shapes else ()
    if "batch_norm" in name:
        return math.prod(shape[2:])
    if "softmax" in name or "layer_norm" in name:
        return shape[-1] if shape else 1
    return operation.window


def _pooled(operation: Operation) -> int:
    """Numbers of a pooling, as many as its inputs where it is as in the measurement: a stride of 2 for 4, else 1."""
    made = min((math.prod(shape) for shape in (*operation.shapes, operation.output)), default=1)
    return made * 4 if operation.window == 4 else max(made, operation.numbers // 4)
