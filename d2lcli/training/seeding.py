"""One seed, and the state of every random generator that a model or a task may draw from."""

import random
from typing import Any

import numpy as np
import torch

from d2lcli.errors import CheckpointError


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed python, numpy and torch (all devices); ranks differ, so that their dropout masks differ."""
    mixed = (seed + 0x9E3779B9 * rank) % 2**32
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed if rank else seed)


def make_deterministic(device: torch.device) -> None:
    """Choose deterministic kernels where there is a choice: two runs on one machine are equal to the bit."""
    if device.type == "cuda":
        import os

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def capture(device: torch.device) -> dict[str, Any]:
    """The state of every generator, as JSON values."""
    kind, gauss_next = random.getstate()[0], random.getstate()[2]
    name, keys, position, has_gauss, cached = np.random.get_state()
    states: dict[str, Any] = {
        "python": [kind, list(random.getstate()[1]), gauss_next],
        "numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device).numpy().tobytes().hex()
    return states


def restore(states: dict[str, Any], device: torch.device) -> None:
    """Set every generator to a captured state.

    Raises:
        CheckpointError: a state is missing or does not fit.
    """
    try:
        version, internal, gauss = states["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, position, has_gauss, cached = states["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
        torch.set_rng_state(_from_hex(states["torch"]))
        if device.type == "cuda":
            torch.cuda.set_rng_state(_from_hex(states["cuda"]), device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint's random states do not fit: {error!r}") from None


def _from_hex(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
