"""Mixed precision: the autocast context, and dynamic loss scaling for float16 (Micikevicius et al., 2018)."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from d2lcli.errors import CheckpointError, NonFiniteError, clean

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST_SCALE = 2.0**-14  # gradients that overflow even so exceed 10^9


def autocast(device_type: str, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """A function that makes the context of a forward pass; weights stay in float32.

    In it matrix products and convolutions run in half precision.  A weight is cast once for each context, so that a
    layer that is used several times does not pay several times.

    Args:
        device_type: "cpu" or "cuda".
        precision: "fp32", "bf16" or "fp16".

    Raises:
        ValueError: another precision.
    """
    if precision == "fp32":
        return nullcontext
    if precision not in TYPES:
        raise ValueError(f"precision={precision!r} must be one of fp32, {', '.join(TYPES)}")
    dtype = TYPES[precision]
    return lambda: torch.autocast(device_type, dtype, cache_enabled=True)


class LossScaler:
    """Keeps float16 gradients from vanishing: the loss is multiplied by a scale, the gradients are divided by it.

    A gradient that is not finite skips the update and lowers the scale; after `growth_interval` updates in a row the
    scale grows.  The rule is that of `torch.amp.GradScaler`; the state is two numbers here, not tensors on a device.

    Args:
        scale: the first scale.
        growth_factor: above 1.
        backoff_factor: between 0 and 1.
        growth_interval: updates without an overflow before the scale grows.
        max_scale: the scale never exceeds it.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        max_scale: float = 2.0**24,
    ) -> None:
        if not 0 < scale <= max_scale < math.inf:
            raise ValueError(f"scale={scale!r} must be above 0 and at most max_scale={max_scale!r}")
        if not growth_factor > 1:
            raise ValueError(f"growth_factor={growth_factor!r} must be above 1")
        if not 0 < backoff_factor < 1:
            raise ValueError(f"backoff_factor={backoff_factor!r} must be between 0 and 1")
        if growth_interval < 1:
            raise ValueError(f"growth_interval={growth_interval!r} must be at least 1")
        self.value = scale
        self.growth_factor = growth_factor
        self.backoff_factor = backoff_factor
        self.growth_interval = growth_interval
        self.max_scale = max_scale
        self.good_updates = 0

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        return loss * self.value

    def unscale_(self, params: Iterable[Tensor]) -> bool:
        """Divide the gradients by the scale, in place.

        Returns:
            Whether any gradient holds a number that is not finite; the update must then be skipped.
        """
        kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for param in params:
            if param.grad is not None:
                kinds.setdefault((param.grad.device, param.grad.dtype), []).append(param.grad)
        found: list[Tensor] = []
        for (device, _), grads in kinds.items():
            flag = torch.zeros((), device=device)
            torch._amp_foreach_non_finite_check_and_unscale_(grads, flag, torch.tensor(1.0 / self.value, device=device))
            found.append(flag)
        return any(bool(flag) for flag in found)

    def update(self, found_inf: bool) -> None:
        """Adapt the scale to the update that was made, or skipped because of `found_inf`.

        Raises:
            NonFiniteError: the gradients overflow at every scale.
        """
        if found_inf:
            self.value *= self.backoff_factor
            self.good_updates = 0
            if self.value < SMALLEST_SCALE:
                raise NonFiniteError(
                    f"the gradients are not finite even with the loss scaled by {self.value:.1e}",
                    "try a smaller learning rate, clip_norm=1, or hardware.precision=bf16",
                )
            return
        self.good_updates += 1
        if self.good_updates == self.growth_interval:
            self.value = min(self.value * self.growth_factor, self.max_scale)
            self.good_updates = 0

    def state(self) -> dict[str, float | int]:
        """Two numbers for a checkpoint."""
        return {"scale": self.value, "good_updates": self.good_updates}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`.

        Raises:
            CheckpointError: it is no state of a loss scaler.
        """
        scale, good = state.get("scale"), state.get("good_updates")
        numbers = isinstance(scale, float | int) and isinstance(good, int)
        if not numbers or not 0 < scale <= self.max_scale or not 0 <= good < self.growth_interval:  # type: ignore[operator]
            raise CheckpointError(f"the state of the loss scaler is damaged: {clean(dict(state))}")
        self.value, self.good_updates = float(scale), good  # type: ignore[arg-type,assignment]
