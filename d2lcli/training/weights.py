"""Reads weights that come from anywhere: safetensors, checkpoints of runs, and pickled files as far as they are safe.

A pickle can run code while it is read.  Such files go through torch's own unpickler for weights alone, which builds
tensors and plain containers and refuses everything else, whatever the environment says.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from d2lcli.errors import CheckpointError, clean
from d2lcli.training.checkpoint import read_snapshot
from d2lcli.training.origin import PICKLED

WRAPPERS = ("module.", "_orig_mod.", "model.")  # what DDP, torch.compile and Lightning put before every name
NESTED = ("state_dict", "model_state_dict", "model")  # under which trainers put the weights in their checkpoints


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Args:
        path: the file.
        sha256: of its content.
        tensors: by their names in the file.
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor]


def read_weights(path: Path) -> Weights:
    """Read a file of weights, or the model of a checkpoint folder; where that holds averaged weights, these.

    Args:
        path: as `origin.locate` gives it.

    Raises:
        CheckpointError: damaged, a pickle of more than weights, or without any tensor.
    """
    if path.is_dir():
        snapshot = read_snapshot(path, only=("model", "ema"))
        averaged = "ema" in snapshot.tensors
        whole = path / ("ema.safetensors" if averaged else "model.safetensors")
        file = path / "manifest.json" if snapshot.state.get("pieces") else whole  # it holds the checksums of all pieces
        tensors = snapshot.weights
        content = file.read_bytes()
    else:
        file = path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"weights {clean(path)}: cannot be read: {clean(error)}") from None
        tensors = _unpickle(content, path) if path.suffix.lower() in PICKLED else _deserialise(content, path)
    if not tensors:
        raise CheckpointError(f"weights {clean(file)}: there is no tensor in it")
    return Weights(file, hashlib.sha256(content).hexdigest(), _unwrapped(tensors))


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without a wrapper's prefix that all of their names have."""
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _deserialise(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load_safetensors(content)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"weights {clean(path)}: damaged, or no safetensors file: {clean(error)}") from None


def _unpickle(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever a file made to harm provokes in the unpickler
        first = str(error).partition("\n")[0]
        raise CheckpointError(
            f"weights {clean(path)}: refused: not a pickle of tensors alone, or damaged ({type(error).__name__}: "
            f"{clean(first, 120)})",
            "a pickle can run code while it is read; ask its author for a .safetensors file",
        ) from None
    return _plain(_state_dict(found, path), path)


def _state_dict(found: Any, path: Path) -> Mapping[Any, Any]:
    """The names and tensors of a pickled file, which may stand below a key of their own."""
    for key in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise CheckpointError(f"weights {clean(path)}: holds a {type(found).__name__}, not tensors by name")
    return found


def _plain(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The dense tensors of a state; other entries, such as counters of a trainer, are no weights."""
    return {
        name: value.detach()
        for name, value in state.items()
        if isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    }
