"""The csv data set: features, targets, and faults that are named with their line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from d2lcli.data.csv_table import csv
from d2lcli.data.table import encode_features, read_table
from d2lcli.errors import DataError

GOOD = "size,colour,price\n" + "".join(f"{i},{'red' if i % 3 else 'blue'},{i * 0.5}\n" for i in range(20))


def write(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_features_agree_with_scikit_learn() -> None:
    table = read_table(GOOD.encode(), "x")
    train = list(range(0, 20, 2))
    got = encode_features(table, ["size", "colour"], train)
    size = [[float(cell)] for cell in table.column("size")]
    expected = StandardScaler().fit([size[i] for i in train]).transform(size)
    one_hot = OneHotEncoder(sparse_output=False).fit_transform([[cell] for cell in table.column("colour")])
    assert torch.allclose(got[:, :1], torch.tensor(expected).float(), atol=1e-6)
    assert torch.equal(got[:, 1:], torch.tensor(one_hot).float())


def test_missing_cells_are_marked() -> None:
    table = read_table(b"a,b\n1,x\n,\n3,x\nNA,y\n", "x")
    got = encode_features(table, ["a", "b"], [0, 1, 2, 3])
    assert got.tolist() == [[-1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]


def test_a_number_is_a_regression_target_and_a_text_a_class(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    regression = csv(path=path, target="price")
    assert regression.num_outputs == 1 and regression.shape == (3,) and not regression.classes
    assert (len(regression.train), len(regression.val)) == (16, 4)
    joined = torch.cat([regression.train.targets, regression.val.targets])
    assert joined.sort(0).values[:, 0].tolist() == [i * 0.5 for i in range(20)]
    classes = csv(path=path, target="colour")
    assert classes.classes == ("blue", "red") and classes.num_outputs == 2
    assert torch.cat([classes.train.targets, classes.val.targets]).bincount().tolist() == [7, 13]
    assert csv(path=path, target="size", target_type="class").num_outputs == 20


@pytest.mark.parametrize(
    "content",
    [GOOD.replace("\n", "\r\n"), GOOD.rstrip("\n"), "\ufeff" + GOOD, GOOD.replace("red", '"red"'), GOOD + "\n\n"],
)
def test_line_ends_quotes_and_marks_change_nothing(tmp_path: Path, content: str) -> None:
    expected = csv(path=write(tmp_path, GOOD), target="price").train
    got = csv(path=write(tmp_path, content), target="price").train
    assert isinstance(got.inputs, torch.Tensor) and isinstance(expected.inputs, torch.Tensor)
    assert torch.equal(got.inputs, expected.inputs) and torch.equal(got.targets, expected.targets)


def test_without_a_header_columns_are_numbered(tmp_path: Path) -> None:
    body = GOOD.partition("\n")[2].replace(",", ";")
    data = csv(path=write(tmp_path, body), target="column_3", header=False, delimiter=";")
    assert data.shape == (3,)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no rows of data"),
        ("size,colour,price\n", "no rows of data"),
        (GOOD.encode() + b"21,caf\xe9,3\n", f"not UTF-8 at byte {len(GOOD) + 6}"),
        (GOOD + "21,red\n", "line 22: 2 cells where 3 are expected"),
        (GOOD + "nan,red,3\n", "line 22, column 'size': 'nan' is not a finite number"),
        (GOOD + "1,red,inf\n", "line 22, column 'price': 'inf' is not a finite number"),
        (GOOD + "1e999,red,2\n", "line 22, column 'size': '1e999' is not a finite number"),
        (GOOD + "many,red,2\n", "line 22, column 'size': 'many' in a column of numbers"),
        (GOOD + "1,red,\n", "line 22: the target 'price' is missing"),
        (GOOD + '1,"red,2\n', "line 22: unexpected end of data"),
        (GOOD.replace("colour", "size"), "two columns are called 'size'"),
        ("price\n1\n2\n", "the target is the only column"),
        ("size,price\n1,2\n", "1 row of data leaves the training split empty"),
        ("id,price\n" + "".join(f"x{i},1\n" for i in range(1200)), "1200 different texts in column 'id'"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        csv(path=write(tmp_path, content), target="price")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"path": None}, "path is not given"),
        ({"target": None}, "target is not given; the columns are size, colour, price"),
        ({"target": "prize"}, "no column 'prize'; did you mean 'price'"),
        ({"delimiter": ""}, "must be one character"),
        ({"val_share": 0.0}, "val_share is 0.0"),
        ({"val_share": 1.0}, "val_share is 1.0"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        csv(**({"path": write(tmp_path, GOOD), "target": "price"} | options))


def test_a_missing_file_is_missing_data() -> None:
    with pytest.raises(DataError, match=r"'none\.csv' is not an existing file"):
        csv(path="none.csv", target="price")


def test_a_text_target_is_refused_as_a_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column of text"):
        csv(path=write(tmp_path, GOOD), target="colour", target_type="number")
