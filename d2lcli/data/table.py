"""Tables of text cells: read with exact complaints, and turned into numbers.

Legend: n rows, d features.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from d2lcli.errors import DataError, clean

MISSING = ("", "NA")
MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class Table:
    """The cells of a file, and the line on which each row ends."""

    path: str
    names: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """The cells of one column, without spaces around them."""
        index = self.names.index(name)
        return [row[index].strip() for row in self.rows]


def read_table(content: bytes, path: str, *, delimiter: str = ",", header: bool = True) -> Table:
    """Parse delimited text (RFC 4180 quoting), UTF-8 with or without a byte-order mark.

    Args:
        content: the file's bytes.
        path: named in errors.
        delimiter: one character.
        header: the first row holds the names; otherwise the columns are called column_1, column_2, ...

    Raises:
        ValueError: a delimiter that is not one character.
        DataError: not UTF-8, empty, ragged, or not a table.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(
            f"delimiter is {clean(delimiter)!r}; it must be one character other than a quote or a line end"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{clean(path)}: not UTF-8 at byte {error.start}", "convert it, for example with iconv"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{clean(path)}, line {reader.line_num}: {clean(error)}") from None
    if len(rows) <= header:
        raise DataError(f"{clean(path)}: no rows of data")
    names = [name.strip() for name in rows[0]] if header else [f"column_{i + 1}" for i in range(len(rows[0]))]
    _check_shape(path, names, rows, lines)
    return Table(path, names, rows[header:], lines[header:])


def _check_shape(path: str, names: list[str], rows: list[list[str]], lines: list[int]) -> None:
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"{clean(path)}: two columns are called '{clean(doubled)}'")
    for row, line in zip(rows, lines):
        if len(row) != len(names):
            raise DataError(f"{clean(path)}, line {line}: {len(row)} cells where {len(names)} are expected")


def parse_numbers(table: Table, name: str) -> list[float | None] | None:
    """A column as numbers, None for a missing cell; or None for a column of text.

    Raises:
        DataError: a cell is NaN or infinite, or most cells are numbers but not all.
    """
    values: list[float | None] = []
    strange: list[int] = []
    for row, cell in enumerate(table.column(name)):
        value = _number(cell)
        if value is not None and not math.isfinite(value):
            raise DataError(f"{_where(table, row, name)}: '{clean(cell, 40)}' is not a finite number")
        values.append(value)
        if value is None and cell not in MISSING:
            strange.append(row)
    numbers = sum(value is not None for value in values)
    if not strange and numbers:
        return values
    if numbers > 9 * len(strange):
        cell = table.column(name)[strange[0]]
        raise DataError(f"{_where(table, strange[0], name)}: '{clean(cell, 40)}' in a column of numbers")
    return None


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _where(table: Table, row: int, name: str) -> str:
    return f"{clean(table.path)}, line {table.lines[row]}, column '{clean(name, 80)}'"


def join_rows(table: Table, other: Table, names: Sequence[str]) -> Table:
    """The rows of both, with these columns alone, so that both are encoded alike.

    Raises:
        DataError: the other table lacks a column, or holds text where the first holds numbers.
    """
    for name in names:
        if name not in other.names:
            raise DataError(f"{clean(other.path)}: no column '{clean(name, 80)}', which {clean(table.path)} has")
        kinds = ["text" if parse_numbers(one, name) is None else "numbers" for one in (table, other)]
        if kinds[0] != kinds[1]:
            column = f"column '{clean(name, 80)}'"
            raise DataError(f"{clean(other.path)}: {column} holds {kinds[1]}, in {clean(table.path)} {kinds[0]}")
    rows = [list(cells) for one in (table, other) for cells in zip(*(one.column(name) for name in names))]
    return Table(table.path, list(names), rows, table.lines + other.lines)


def encode_features(table: Table, names: Sequence[str], train: Sequence[int]) -> Tensor:
    """Features (n, d): numbers standardised by the training rows, text one-hot.

    A missing number becomes the training mean, and a further column says that it was missing.  A missing text is a
    category of its own.  Categories are those of all rows, so that d does not depend on the split.

    Raises:
        DataError: see `parse_numbers`; or a text column has more than MAX_CATEGORIES different texts.
    """
    blocks = []
    for name in names:
        numbers = parse_numbers(table, name)
        blocks.append(_one_hot(table, name) if numbers is None else _standardise(numbers, train))
    return torch.cat(blocks, dim=1).float()


def _standardise(numbers: list[float | None], train: Sequence[int]) -> Tensor:
    missing = torch.tensor([value is None for value in numbers])
    values = torch.tensor([math.nan if value is None else value for value in numbers], dtype=torch.float64)
    known = values[list(train)]
    known = known[~known.isnan()]
    mean = known.mean() if len(known) else values.new_zeros(())
    std = known.std(correction=0) if len(known) else values.new_ones(())
    scaled = (values - mean) / torch.where(std > 0, std, 1.0)
    columns = [torch.where(missing, 0.0, scaled)]
    if missing.any():
        columns.append(missing.double())
    return torch.stack(columns, dim=1)


def _one_hot(table: Table, name: str) -> Tensor:
    cells = ["" if cell in MISSING else cell for cell in table.column(name)]
    categories = {text: index for index, text in enumerate(sorted(set(cells)))}
    if len(categories) > MAX_CATEGORIES:
        problem = f"{len(categories)} different texts in column '{clean(name, 80)}'"
        raise DataError(
            f"{clean(table.path)}: {problem}, at most {MAX_CATEGORIES} become categories", "remove the column"
        )
    one_hot = torch.zeros(len(cells), len(categories), dtype=torch.float64)
    one_hot[torch.arange(len(cells)), torch.tensor([categories[cell] for cell in cells])] = 1.0
    return one_hot
