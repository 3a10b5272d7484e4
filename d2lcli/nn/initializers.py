"""Weight initialisers by name (d2l 5.4 and 6.3).

Each function returns a callable that fills the weights of every linear and convolutional layer of a model, or of a
part of one, and sets their biases to zero.  Other parameters (norms, embeddings) stay as they are.  Random numbers come
from torch's default generator alone, layer by layer in the order of `model.modules()`, so that `torch.manual_seed`
makes the weights reproducible.

A weight of shape (out, in, *kernel) has fan_in = in * prod(kernel) and fan_out = out * prod(kernel), as torch counts.
"""

import inspect
import math
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

Initializer = Callable[[nn.Module], None]
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Fan = Literal["fan_in", "fan_out"]


def normal(*, std: float = 0.01) -> Initializer:
    """Weights from N(0, std^2).

    Raises:
        ValueError: std is negative or not finite.
    """
    if not 0 <= std < math.inf:
        raise ValueError(f"std must be at least 0 and finite, but it is {std}.")
    return _each_weight(lambda weight: nn.init.normal_(weight, std=std))


def constant(*, value: float = 1.0) -> Initializer:
    """Every weight equal to `value`.  Units of one layer then stay equal for ever: for study, not for training."""
    if not math.isfinite(value):
        raise ValueError(f"value must be finite, but it is {value}.")
    return _each_weight(lambda weight: nn.init.constant_(weight, value))


def zeros() -> Initializer:
    """Every weight 0."""
    return constant(value=0.0)


def ones() -> Initializer:
    """Every weight 1."""
    return constant(value=1.0)


def xavier_uniform(*, gain: float = 1.0) -> Initializer:
    """Weights from U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)); Glorot and Bengio, 2010."""
    _check_gain(gain)
    return _each_weight(lambda weight: nn.init.xavier_uniform_(weight, gain))


def xavier_normal(*, gain: float = 1.0) -> Initializer:
    """Weights from N(0, gain^2 2 / (fan_in + fan_out)); Glorot and Bengio, 2010."""
    _check_gain(gain)
    return _each_weight(lambda weight: nn.init.xavier_normal_(weight, gain))


def kaiming_uniform(*, fan: Fan = "fan_in") -> Initializer:
    """Weights from U(-a, a), a = sqrt(6 / fan), that is of variance 2 / fan; He et al., 2015."""
    return _each_weight(lambda weight: nn.init.kaiming_uniform_(weight, mode=fan, nonlinearity="relu"))


def kaiming_normal(*, fan: Fan = "fan_in") -> Initializer:
    """Weights from N(0, 2 / fan); He et al., 2015."""
    return _each_weight(lambda weight: nn.init.kaiming_normal_(weight, mode=fan, nonlinearity="relu"))


def orthogonal(*, gain: float = 1.0) -> Initializer:
    """Weights as (out, in * prod(kernel)) matrices whose rows, or columns if there are fewer, are orthogonal.

    W W^T = gain^2 I, or W^T W = gain^2 I: lengths are kept through a deep linear network (Saxe et al., 2014).  A
    Gaussian matrix is factored as Q R; the signs of R's diagonal make Q uniform among orthogonal matrices.
    """
    _check_gain(gain)

    def fill(weight: Tensor) -> None:
        flat = torch.randn(weight.shape[0], weight[0].numel(), dtype=torch.float32, device=weight.device)
        tall = flat.T if flat.shape[0] < flat.shape[1] else flat
        q, r = torch.linalg.qr(tall)
        q = q * torch.sign(torch.diagonal(r))
        with torch.no_grad():
            weight.copy_((q.T if flat.shape[0] < flat.shape[1] else q).reshape(weight.shape) * gain)

    return _each_weight(fill)


def cutoff_uniform(*, bound: float = 10.0, cutoff: float = 5.0) -> Initializer:
    """Weights from U(-bound, bound), those below `cutoff` in magnitude set to 0: the initialiser written in d2l 6.3.

    Raises:
        ValueError: unless 0 <= cutoff <= bound and the bound is finite.
    """
    if not 0 <= cutoff <= bound < math.inf:
        raise ValueError(
            f"0 <= cutoff <= bound must hold and bound be finite, but cutoff is {cutoff} and bound {bound}."
        )

    def fill(weight: Tensor) -> Tensor:
        nn.init.uniform_(weight, -bound, bound)
        with torch.no_grad():
            return weight.mul_(weight.abs() >= cutoff)

    return _each_weight(fill)


def per_layer(*, rules: Sequence[str] = ("*=xavier_uniform",)) -> Initializer:
    """An initialiser for each layer by its name.

    Args:
        rules: texts `PATTERN=INITIALISER`.  The pattern is matched with a layer's full name (`*` any text, `?` one
            character), the initialiser is one of this file's, with options in brackets, `normal(std=0.02)`, where its
            defaults do not suit.  The last rule that matches a layer holds; a layer that none matches stays as it is.

    Raises:
        ValueError: a rule has no `=`, or an unknown initialiser or option.  When called: a rule matches no layer of
            the model.
    """
    parsed = [_parse_rule(rule) for rule in rules]

    def apply(model: nn.Module) -> None:
        layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, WEIGHTED)]
        for pattern, _ in parsed:
            if not any(fnmatchcase(name, pattern) for name, _ in layers):
                known = ", ".join(name for name, _ in layers[:8])
                raise ValueError(f"The rule for {pattern!r} matches no linear or convolutional layer (first: {known}).")
        for name, layer in layers:
            chosen = [initializer for pattern, initializer in parsed if fnmatchcase(name, pattern)]
            if chosen:
                chosen[-1](layer)

    return apply


def _each_weight(fill: Callable[[Tensor], object]) -> Initializer:
    """An initialiser that calls `fill` on the weight of each linear and convolutional layer and zeroes the bias."""

    def apply(model: nn.Module) -> None:
        drawn: set[int] = set()  # a tied weight is drawn once
        for layer in model.modules():
            if not isinstance(layer, WEIGHTED) or id(layer.weight) in drawn:
                continue
            drawn.add(id(layer.weight))
            if isinstance(layer.weight, UninitializedParameter):
                raise ValueError("A lazy layer has no weights yet: run the model once on a batch, then initialise it.")
            fill(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    return apply


def _check_gain(gain: float) -> None:
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be above 0 and finite, but it is {gain}.")


def _parse_rule(rule: str) -> tuple[str, Initializer]:
    found = re.fullmatch(r"([^=]+)=(\w+)(?:\((.*)\))?", rule.replace(" ", ""))
    if found is None or found[2] not in _SIMPLE:
        raise ValueError(f"A rule is PATTERN=INITIALISER with one of {', '.join(_SIMPLE)}, but one is {rule!r}.")
    build = _SIMPLE[found[2]]
    options: dict[str, float | str] = {}
    known = inspect.signature(build).parameters
    for word in (found[3] or "").split(",") if found[3] else []:
        key, _, text = word.partition("=")
        if key not in known:
            raise ValueError(
                f"In the rule {rule!r}, {word!r} is no KEY=VALUE with one of: {', '.join(known) or 'none'}."
            )
        options[key] = text if isinstance(known[key].default, str) else _number(text, rule)
    return found[1], build(**options)


def _number(text: str, rule: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"In the rule {rule!r}, {text!r} is not a number.") from None


_SIMPLE: dict[str, Callable[..., Initializer]] = {
    "normal": normal,
    "constant": constant,
    "zeros": zeros,
    "ones": ones,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "orthogonal": orthogonal,
    "cutoff_uniform": cutoff_uniform,
}
