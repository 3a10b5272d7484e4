"""Receptive fields: how much of the input one value of a tensor depends on, followed through a forward pass.

One step of the rules is that of Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks", Distill,
2019: a window of k values at stride s makes a field of side r, at steps of j in the input, one of side r + (k - 1) j at
steps of s j.  Where paths meet, the larger field counts.  Statistics of normalisation layers are left out, as usual.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch import Tensor
from torch._ops import OpOverload


@dataclass(frozen=True)
class Field:
    """What one position of a tensor sees of the input.

    Args:
        sizes: r along each spatial axis of the input; infinite for the whole input.
        steps: j along each of these axes.
        places: the dimensions of the tensor along which the positions lie; the others are examples and channels.
    """

    sizes: tuple[float, ...]
    steps: tuple[Fraction, ...]
    places: frozenset[int]

    def whole(self, rank: int) -> "Field":
        """The field of a tensor of `rank` dimensions each of whose values sees everything."""
        return Field((math.inf,) * len(self.sizes), self.steps, frozenset(range(1, rank)))

    def shift(self, start: int, by: int) -> "Field":
        """The same field where the dimensions from `start` on moved `by` to the right."""
        return replace(self, places=frozenset(place + by if place >= start else place for place in self.places))


class ReceptiveFields:
    """The fields of all tensors that come from the input, kept up to date by `follow`.

    Args:
        inputs: (n, c, *spatial), where each spatial position sees itself alone, or whole numbers (n, steps) such as
            tokens; features (n, d) have no positions, and then nothing has a field.
    """

    def __init__(self, inputs: Tensor) -> None:
        spatial = range(2, inputs.dim())
        if inputs.dim() == 2 and not inputs.dtype.is_floating_point:
            spatial = range(1, 2)
        self._batch = inputs.shape[0]
        self._known: dict[int, tuple[Tensor, Field]] = {}  # by id; the tensors are held so that no id is used again
        if spatial:
            self._set(inputs, Field((1,) * len(spatial), (Fraction(1),) * len(spatial), frozenset(spatial)))

    def of(self, tensor: Tensor) -> Field | None:
        """The field of `tensor`; None for one that does not depend on the input."""
        return self._known[id(tensor)][1] if id(tensor) in self._known else None

    def _set(self, tensor: Tensor, field: Field) -> None:
        self._known[id(tensor)] = (tensor, field)

    def follow(self, op: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Any) -> None:
        """Give `outputs`, which `op` made of the arguments, their fields."""
        given = list(tensors([args, kwargs]))
        known = [tensor for tensor in given if id(tensor) in self._known]
        if not known:
            return
        names = (argument.name for argument in op._schema.arguments)
        options = dict(zip(names, args)) | dict(kwargs)
        name = op.overloadpacket.__name__.strip("_")
        for made in list(tensors(outputs)):
            if name in _PRODUCTS:
                self._set(made, self._product(given[-2:], made))
            else:
                fields = [self._one(name, tensor, self._known[id(tensor)][1], made, options) for tensor in known]
                self._set(made, _union(fields))

    def _one(self, name: str, tensor: Tensor, field: Field, made: Tensor, options: Mapping[str, Any]) -> Field:
        """The field of `made` as far as it comes from `tensor`."""
        rule = next((rule for word, rule in _WINDOWS.items() if word in name), None)
        if rule is not None:
            return _through_window(field, tensor, made, *rule(tensor, made, options))
        if name in ("permute", "transpose", "t"):
            order = _order(name, tensor.dim(), options)
            return replace(field, places=frozenset(order.index(place) for place in field.places))
        if name in ("cat", "slice", "embedding", "roll", "flip") or "pad" in name:
            return field
        if name == "stack":
            return field.shift(options.get("dim", 0) % made.dim(), 1)
        if "dim" in options and name not in ("squeeze", "unsqueeze"):
            return _along(field, tensor, made, options["dim"])
        if _broadcasts(tensor.shape, made.shape) and "attention" not in name:
            return field.shift(0, made.dim() - tensor.dim())
        if tensor.numel() == made.numel():
            return replace(field, places=_regroup(field.places, tensor.shape, made.shape, self._batch))
        return field.whole(made.dim())

    def _product(self, factors: Sequence[Tensor], made: Tensor) -> Field:
        """The field of a matrix product, a sum over the last dimension of one factor and the last but one of the other.

        A product of two tensors that both have positions (attention) pairs each position with each.
        """
        fields = [self.of(factor) for factor in factors]
        summed = (factors[0].dim() - 1, factors[1].dim() - 2)
        known = [field for field in fields if field is not None]
        if len(known) == 2 and all(field.places for field in known):
            return known[0].whole(made.dim())
        for field, dim in zip(fields, summed):
            if field is not None and dim in field.places:
                return field.whole(made.dim())
        return _union(known)


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors inside nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def _union(fields: Sequence[Field]) -> Field:
    """The field of a tensor that comes from several paths: the largest along each axis."""
    return Field(
        tuple(map(max, zip(*(field.sizes for field in fields)))),
        tuple(map(max, zip(*(field.steps for field in fields)))),
        frozenset().union(*(field.places for field in fields)),
    )


_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


def _convolution(tensor: Tensor, made: Tensor, options: Mapping[str, Any]) -> tuple[list[float], list[Fraction]]:
    """The window and stride of each dimension.  Transposed, ceil(k / s) inputs feed one output, at steps of 1 / s."""
    kernel, strides, dilation = options["weight"].shape[2:], options["stride"], options["dilation"]
    if options["transposed"]:
        return [-(-k // s) for k, s in zip(kernel, strides)], [Fraction(1, s) for s in strides]
    return [d * (k - 1) + 1 for k, d in zip(kernel, dilation)], [Fraction(s) for s in strides]


def _pooling(tensor: Tensor, made: Tensor, options: Mapping[str, Any]) -> tuple[list[float], list[Fraction]]:
    kernel = options["kernel_size"]
    dilation = options.get("dilation", [1]) * len(kernel)
    return [d * (k - 1) + 1 for k, d in zip(kernel, dilation)], [Fraction(s) for s in options.get("stride") or kernel]


def _adaptive(tensor: Tensor, made: Tensor, options: Mapping[str, Any]) -> tuple[list[float], list[Fraction]]:
    """From `old` values to `new` ones; a window is one value longer where the division leaves a rest."""
    sides = list(zip(tensor.shape[2:], made.shape[2:]))
    kernel = [math.inf if new == 1 else -(-old // new) + (1 if old > new and old % new else 0) for old, new in sides]
    return kernel, [Fraction(old, new) for old, new in sides]


def _upsampling(tensor: Tensor, made: Tensor, options: Mapping[str, Any]) -> tuple[list[float], list[Fraction]]:
    """Interpolation between two neighbours; `upsample_nearest` sees one, which makes the field a bound."""
    sides = list(zip(tensor.shape[2:], made.shape[2:]))
    return [2] * len(sides), [Fraction(old, new) for old, new in sides]


# The window and stride of an operation, by a word in its name; the first that fits counts.
_WINDOWS = {
    "adaptive": _adaptive, "convolution": _convolution, "max_pool": _pooling, "avg_pool": _pooling,
    "upsample": _upsampling,
}  # fmt: skip


def _through_window(
    field: Field, tensor: Tensor, made: Tensor, kernel: Sequence[float], strides: Sequence[Fraction]
) -> Field:
    first = tensor.dim() - len(kernel)
    places = sorted(field.places) or list(range(first, tensor.dim()))  # none left: there is one position only
    if len(places) != len(field.sizes) or places[0] < first:
        return field.whole(made.dim())
    sizes, steps = list(field.sizes), list(field.steps)
    for axis, place in enumerate(places):
        if kernel[place - first] > 1:
            sizes[axis] += (kernel[place - first] - 1) * steps[axis]
        steps[axis] *= strides[place - first]
    return Field(tuple(sizes), tuple(steps), frozenset(places))


def _order(name: str, rank: int, options: Mapping[str, Any]) -> list[int]:
    """Which old dimension stands at each new place."""
    if name == "permute":
        return [dim % rank for dim in options["dims"]]
    order = list(range(rank))
    if rank >= 2:
        first, second = (options["dim0"], options["dim1"]) if name == "transpose" else (0, 1)
        order[first], order[second] = order[second], order[first]
    return order


def _along(field: Field, tensor: Tensor, made: Tensor, dim: int | Sequence[int] | None) -> Field:
    """The field after a sum, a maximum or a choice along dimensions: all of the input where these have places."""
    dims = {d % tensor.dim() for d in ([dim] if isinstance(dim, int) else dim or range(tensor.dim()))}
    if dims & field.places:
        return field.whole(made.dim())
    if made.dim() == tensor.dim():
        return field
    return replace(field, places=frozenset(place - sum(d < place for d in dims) for place in field.places))


def _broadcasts(old: Sequence[int], new: Sequence[int]) -> bool:
    return len(old) <= len(new) and all(a in (1, b) for a, b in zip(reversed(old), reversed(new)))


def _regroup(places: frozenset[int], old: Sequence[int], new: Sequence[int], batch: int) -> frozenset[int]:
    """The dimensions with places after a change of shape alone, such as (n, c, h, w) -> (n, c, h w) or the reverse.

    A value's number in memory is written in digits of which dimension d has those worth product(sizes after d) up to
    product(sizes from d on).  A new dimension has places if its digits overlap with those of one that had.
    """
    taken = [span for dim, span in enumerate(_digits(old)) if dim in places]
    return frozenset(
        dim
        for dim, (low, high) in enumerate(_digits(new))
        if any((low < above and below < high) or low <= below == above < high for below, above in taken)
        and not (dim == 0 and new[0] == batch)
    )


def _digits(shape: Sequence[int]) -> list[tuple[int, int]]:
    return [(math.prod(shape[dim + 1 :]), math.prod(shape[dim:])) for dim in range(len(shape))]
