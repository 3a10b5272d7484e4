"""The folds of a cross-validation: k parts of the rows, each of which validates once while the others train."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.loader import stream_generator


def fold_rows(order: Sequence[int], folds: int, fold: int) -> tuple[list[int], list[int]]:
    """The rows that train and those that validate in one fold: every k-th of `order`, so that sizes differ by one.

    Args:
        order: a permutation of the rows.
        folds: k, between 2 and the number of rows.
        fold: which one validates, 0 .. k - 1.

    Raises:
        ValueError: a fold that does not exist.
    """
    if not 2 <= folds <= len(order):
        raise ValueError(f"folds is {folds}; it must be between 2 and {len(order)}, the number of rows")
    if not 0 <= fold < folds:
        raise ValueError(f"fold is {fold}; with {folds} folds it must be between 0 and {folds - 1}")
    train = [row for position, row in enumerate(order) if position % folds != fold]
    return train, list(order[fold::folds])


def take_fold(dataset: Dataset, folds: int, fold: int, seed: int) -> Dataset:
    """A data set whose training split is one fold of k; its own validation split is left out.

    The parts are those of a permutation that `seed` decides.  What was computed from the whole training split, such as
    the mean of its pixels, stays as it is.

    Raises:
        ValueError: a fold that does not exist, or examples that stay on the disk.
    """
    split = dataset.train
    if type(split) is not Split:
        raise ValueError("it is a text, whose windows overlap or follow each other")
    if not isinstance(split.inputs, Tensor):
        raise ValueError("its examples are read from the disk, and only what is in memory can be split into folds")
    order = torch.randperm(len(split), generator=stream_generator(seed, 0, "folds")).tolist()
    train, val = fold_rows(order, folds, fold)
    held_out = Split(
        split.inputs[val], split.targets[val], prepare=dataset.val.prepare, name="val", source=split.source
    )
    kept = replace(split, inputs=split.inputs[train], targets=split.targets[train])
    return replace(dataset, train=kept, val=held_out, found=f"{dataset.found}, fold {fold} of {folds}")
