"""Ames housing (De Cock, 2011): 2,930 sales in Ames, Iowa; the logarithm of the price from 73 features."""

import math

import torch

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.find import locate, read_checked
from d2lcli.data.folds import fold_rows
from d2lcli.data.sources import AMES
from d2lcli.data.splitting import hash_order
from d2lcli.data.table import encode_features, parse_numbers, read_table

TARGET = "Sale_Price"


def ames(*, root: str | None = None, folds: int = 5, fold: int = 0) -> Dataset:
    """One fold of k for validation, the others for training; the target is log(Sale_Price).

    Numbers are standardised by the training rows, categories are one-hot over the categories of all rows.

    Args:
        root: a folder to look in first.
        folds: k, at least 2.
        fold: which one validates, 0 .. k - 1.

    Raises:
        ValueError: a fold that does not exist, or `root` is not a folder.
        DataError: the file is missing or damaged.
    """
    found = locate(AMES, root)
    assert found is not None
    path = found.paths[AMES.files[0].name]
    content, digest = read_checked(path, AMES.files[0])
    table = read_table(content, str(path))
    train, val = fold_rows(hash_order([str(row) for row in range(len(table.rows))]), folds, fold)
    inputs = encode_features(table, [name for name in table.names if name != TARGET], train)
    prices = parse_numbers(table, TARGET)
    assert prices is not None
    targets = torch.tensor([math.log(price) for price in prices if price is not None])[:, None]
    return Dataset(
        "ames",
        Split(inputs[train], targets[train], name="train", source=found.place),
        Split(inputs[val], targets[val], name="val", source=found.place),
        (inputs.shape[1],),
        1,
        files={str(path): digest},
        found=found.place,
    )
