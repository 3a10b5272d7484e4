"""Folds partition rows: of the training split of any data set in memory, and of a whole table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.data.csv_table import csv
from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.folds import fold_rows, take_fold
from d2lcli.data.synthetic import synthetic_regression


def numbered(rows: int) -> Dataset:
    """Each input is its row's number, each target ten times it; a row is prepared by adding 1."""
    inputs = torch.arange(rows).float()[:, None]
    train = Split(inputs, 10 * inputs, prepare=lambda x: x + 1, augment=object(), source="here")  # type: ignore[arg-type]
    val = Split(-inputs, -inputs, prepare=lambda x: x + 1, name="val")
    return Dataset("numbered", train, val, (1,), 1, found="made")


def rows_of(split: Split) -> list[int]:
    assert isinstance(split.inputs, Tensor)
    assert torch.equal(split.targets, 10 * split.inputs)
    return [int(value) for value in split.inputs[:, 0]]


@pytest.mark.parametrize(("rows", "folds"), [(10, 2), (10, 3), (10, 10), (7, 5)])
def test_folds_partition_the_training_split(rows: int, folds: int) -> None:
    parts = [take_fold(numbered(rows), folds, fold, seed=3) for fold in range(folds)]
    held_out = [rows_of(part.val) for part in parts]
    assert sorted(row for part in held_out for row in part) == list(range(rows))
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 1
    assert len(held_out[0]) == max(map(len, held_out))  # the first fold trains on the fewest rows
    for part, held in zip(parts, held_out):
        assert sorted(rows_of(part.train) + held) == list(range(rows))


def test_the_seed_decides_the_parts() -> None:
    first, again, other = (rows_of(take_fold(numbered(50), 5, 0, seed).val) for seed in (0, 0, 1))
    assert first == again != other
    assert first != sorted(first)


def test_what_validates_is_not_augmented() -> None:
    part = take_fold(numbered(8), 2, 1, seed=0)
    assert part.train.augment is not None and part.val.augment is None
    assert part.val.prepare is not None and (part.val.name, part.train.name) == ("val", "train")
    assert part.found == "made, fold 1 of 2"


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    take_fold(synthetic_regression(), 5, 0, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_refusals() -> None:
    for folds in (1, 11):
        with pytest.raises(ValueError, match=f"folds is {folds}; it must be between 2 and 10"):
            fold_rows(range(10), folds, 0)
    for fold in (-1, 3):
        with pytest.raises(ValueError, match=f"fold is {fold}; with 3 folds it must be between 0 and 2"):
            fold_rows(range(10), 3, fold)
    on_disk = replace(numbered(10), train=Split(object(), torch.zeros(10)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read from the disk"):
        take_fold(on_disk, 2, 0, seed=0)


def test_a_table_is_split_as_a_whole(tmp_path: Path) -> None:
    """All rows take part, and each fold's numbers are standardised by its own training rows."""
    (tmp_path / "table.csv").write_text("x,y\n" + "".join(f"{i * i},{i}\n" for i in range(23)))
    options: dict[str, Any] = {"path": str(tmp_path / "table.csv"), "target": "y", "target_type": "number"}
    parts = [csv(**options, folds=4, fold=fold) for fold in range(4)]
    assert torch.cat([part.val.targets for part in parts]).flatten().sort().values.tolist() == list(range(23))
    for part in parts:
        assert len(part.train) + len(part.val) == 23
        assert isinstance(part.train.inputs, Tensor)
        assert part.train.inputs.mean().item() == pytest.approx(0, abs=1e-6)
        assert part.train.inputs.std(correction=0).item() == pytest.approx(1, rel=1e-6)
    with pytest.raises(ValueError, match="fold is 2, but folds is not given"):
        csv(**options, fold=2)
    with pytest.raises(ValueError, match="folds is 24; it must be between 2 and 23"):
        csv(**options, folds=24)
