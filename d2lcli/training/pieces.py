"""Checkpoints whose tensors lie in pieces: each process writes what it holds, and an index says where it belongs.

    step-00000100/
      model-00000.safetensors model-00001.safetensors ...   the pieces of each process, by the names of their tensors
      model.safetensors                                     what is not split, written by the first process
      state.json                                            "pieces": stem -> name -> shape, and where each piece begins

A reader puts whole tensors together, whatever the number of processes that wrote them; nothing is unpickled.
"""

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from d2lcli.parallel.single import Piece, Single
from d2lcli.training.files import write_synced

Pieces = Mapping[str, Mapping[str, Piece]]  # stem -> name -> piece


def write_pieces(strategy: Single, pieces: Pieces, folder: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the pieces of every process.  All processes must call it.

    Args:
        strategy: talks to the others.
        pieces: of this process.
        folder: where to; of the first process, the others are told.

    Returns:
        file -> {"bytes", "sha256"}, and the index, of all processes.
    """
    place = Path(strategy.gather(str(folder or "").encode())[0].decode())
    files: dict[str, Any] = {}
    index: dict[str, dict[str, Any]] = {}
    for stem, held in pieces.items():
        own = {name: piece.tensor.detach().cpu().contiguous() for name, piece in held.items() if piece.tensor.numel()}
        content = save(own)
        name = f"{stem}-{strategy.rank:05d}.safetensors"
        files[name] = {"bytes": len(content), "sha256": write_synced(place / name, content)}
        index[stem] = {name: [held[name].shape, held[name].start] for name in own}
    told = [json.loads(text) for text in strategy.gather(json.dumps([files, index]).encode())]
    return {name: entry for own_files, _ in told for name, entry in own_files.items()}, merge(
        [each for _, each in told]
    )


def merge(indices: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """stem -> name -> {"shape", "starts": process -> where its piece begins}."""
    merged: dict[str, dict[str, Any]] = {}
    for rank, index in enumerate(indices):
        for stem, held in index.items():
            for name, (shape, start) in held.items():
                entry = merged.setdefault(stem, {}).setdefault(name, {"shape": shape, "starts": {}})
                entry["starts"][str(rank)] = start
    return merged


def assemble(index: Mapping[str, Any], held: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Whole tensors of one stem.

    Args:
        index: name -> {"shape", "starts"}, as `merge` gives it.
        held: process, as text -> name -> piece.

    Raises:
        ValueError, TypeError, KeyError: the index does not make sense, or the pieces do not fill a tensor.
    """
    found = {}
    for name, entry in index.items():
        shape = tuple(entry["shape"])
        if any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"'{name}' has the shape {shape}")
        pieces = [(tuple(start), held[rank][name]) for rank, start in entry["starts"].items()]
        if sum(piece.numel() for _, piece in pieces) != math.prod(shape) or not pieces:
            raise ValueError(f"the pieces of '{name}' do not fill it")
        whole = torch.empty(shape, dtype=pieces[0][1].dtype)
        for start, piece in pieces:
            if len(start) != len(shape) or piece.ndim != len(shape) or piece.dtype != whole.dtype:
                raise ValueError(f"a piece of '{name}' is of another form")
            ends = [low + size for low, size in zip(start, piece.shape)]
            if any(type(low) is not int or low < 0 for low in start) or any(e > s for e, s in zip(ends, shape)):
                raise ValueError(f"a piece of '{name}' lies outside of it")
            whole[tuple(slice(low, end) for low, end in zip(start, ends))] = piece
        _check_apart(name, [(start, tuple(piece.shape)) for start, piece in pieces])
        found[name] = whole
    return found


def _check_apart(name: str, boxes: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Refuse pieces that begin at the same place: with the right number in all, others would be missing."""
    starts = sorted(start for start, _ in boxes)
    if any(one == other for one, other in pairwise(starts)):
        raise ValueError(f"two pieces of '{name}' lie at the same place")
