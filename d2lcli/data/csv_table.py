"""The user's own table: a file of delimited text with a column to predict."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.folds import fold_rows
from d2lcli.data.splitting import check_share, hash_order
from d2lcli.data.table import MISSING, Table, encode_features, join_rows, parse_numbers, read_table
from d2lcli.errors import DataError, clean, nearest

TargetType = Literal["auto", "number", "class"]


def csv(
    *,
    path: str | None = None,
    target: str | None = None,
    target_type: TargetType = "auto",
    header: bool = True,
    delimiter: str = ",",
    val_share: float = 0.2,
    folds: int | None = None,
    fold: int = 0,
    deployed: str | None = None,
) -> Dataset:
    """Numbers are standardised by the training rows, text becomes one-hot, and a missing cell is marked as such.

    Which rows validate is fixed by their position in the file, and does not depend on the seed.

    Args:
        path: the file, UTF-8.
        target: the name of the column to predict; without a header the columns are column_1, column_2, ...
        target_type: number for regression, class for classification; auto takes a column of numbers as numbers.
        header: the first row holds the names.
        delimiter: one character.
        val_share: the share of rows that validate, between 0 and 1.
        folds: k; all rows are then parted into k folds instead.
        fold: which one of them validates, 0 .. k - 1.
        deployed: a file of rows that the model will meet in use, with the same columns, the target's or not; training
            rows then count by how much likelier they are there (covariate shift, d2l 4.7).

    Raises:
        ValueError: path or target not given, no such column, or an option out of range.
        DataError: there is no such file, or it cannot be read as a table, or a cell is not what its column holds.
    """
    check_share(val_share)
    if folds is None and fold:
        raise ValueError(f"fold is {fold}, but folds is not given")
    content, table = _read(path, delimiter, header)
    if target is None or target not in table.names:
        known = f"the columns are {clean(', '.join(table.names))}"
        given = "target is not given" if target is None else f"no column '{clean(target, 80)}'"
        raise ValueError(f"{clean(path)}: {given}{nearest(target or '', table.names)}; {known}")
    if len(table.names) == 1:
        raise DataError(f"{clean(path)}: the target is the only column")
    order = hash_order([str(row) for row in range(len(table.rows))])
    if folds is None:
        count = max(1, round(val_share * len(order)))
        val, train = order[:count], order[count:]
    else:
        train, val = fold_rows(order, folds, fold)
    if not train:
        raise DataError(f"{clean(path)}: {len(order)} row of data leaves the training split empty")
    features = [name for name in table.names if name != target]
    files = {table.path: hashlib.sha256(content).hexdigest()}
    in_use = None
    if deployed is None:
        inputs = encode_features(table, features, train)
    else:
        content, other = _read(deployed, delimiter, header, "data.deployed")
        files[other.path] = hashlib.sha256(content).hexdigest()
        both = encode_features(join_rows(table, other, features), features, train)
        inputs, in_use = both[: len(table.rows)], both[len(table.rows) :]
    targets, classes = _targets(table, target, target_type)
    return Dataset(
        "csv",
        _split(inputs, targets, train, "train", table.path),
        _split(inputs, targets, val, "val", table.path),
        (inputs.shape[1],),
        len(classes) or 1,
        classes,
        files=files,
        found=table.path,
        deployed=in_use,
    )


def _split(inputs: Tensor, targets: Tensor, rows: Sequence[int], name: str, source: str) -> Split:
    return Split(inputs[list(rows)], targets[list(rows)], name=name, source=source)


def _read(path: str | None, delimiter: str, header: bool, key: str = "data.path") -> tuple[bytes, Table]:
    if path is None:
        raise ValueError("path is not given: name the file with data.path=FILE")
    file = Path(path)
    try:
        if not file.is_file():
            raise DataError(f"{key}: '{clean(path)}' is not an existing file")
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{clean(path)}: cannot be read: {error.strerror or clean(error)}") from error
    return content, read_table(content, path, delimiter=delimiter, header=header)


def _targets(table: Table, name: str, kind: TargetType) -> tuple[Tensor, tuple[str, ...]]:
    """(n, 1) numbers, or (n,) class indices with the names of the classes."""
    cells = table.column(name)
    for cell, line in zip(cells, table.lines):
        if cell in MISSING:
            raise DataError(f"{clean(table.path)}, line {line}: the target '{clean(name, 80)}' is missing")
    numbers = None if kind == "class" else parse_numbers(table, name)
    if numbers is not None:
        return torch.tensor([[value] for value in numbers], dtype=torch.float32), ()
    if kind == "number":
        raise DataError(f"{clean(table.path)}: the target '{clean(name, 80)}' is a column of text, not of numbers")
    classes = tuple(sorted(set(cells)))
    indices = {text: index for index, text in enumerate(classes)}
    return torch.tensor([indices[cell] for cell in cells]), classes
