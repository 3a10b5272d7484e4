"""A folder of images and a table of labels, in the layouts of two Kaggle competitions."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from d2lcli.data.labelled_images import labelled_images
from d2lcli.data.loader import Loader
from d2lcli.errors import DataError


def fill(folder: Path, ids: list[str], ending: str, table: str, header: str = "id,label") -> None:
    """Image i is all of grey level i; its class is the first letter of its name."""
    (folder / "train").mkdir(parents=True)
    for level, key in enumerate(ids):
        Image.new("RGB", (6, 6), (level, level, level)).save(folder / "train" / f"{key}{ending}")
    (folder / table).write_text(f"{header}\n" + "".join(f"{key},{key[0]}\n" for key in reversed(ids)))


DOGS = [f"{breed}{i:02d}" for breed in "abc" for i in range(10)]


@pytest.mark.parametrize(
    ("ending", "table", "header"), [(".png", "trainLabels.csv", "id,label"), (".png", "labels.csv", "id,breed")]
)
def test_each_image_has_its_own_label(tmp_path: Path, ending: str, table: str, header: str) -> None:
    fill(tmp_path, DOGS, ending, table, header)
    Image.new("RGB", (6, 6)).save(tmp_path / "train" / "unlabelled.png")
    data = labelled_images(path=str(tmp_path), normalize=False)
    assert data.classes == ("a", "b", "c")
    assert data.train.targets.bincount().tolist() == [9, 9, 9] and data.val.targets.bincount().tolist() == [1, 1, 1]
    seen = []
    for split in (data.train, data.val):
        x, y = next(Loader(split, batch_size=len(split), seed=0, shuffle=False).batches(0))
        levels = (x[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(levels // 10, y)
        seen += levels.tolist()
    assert sorted(seen) == list(range(30))
    assert set(data.files) == {str(tmp_path), str(tmp_path / table)}


def test_names_with_endings_and_other_places(tmp_path: Path) -> None:
    fill(tmp_path, DOGS, ".jpg", "labels.csv")
    (tmp_path / "train").rename(tmp_path / "photos")
    (tmp_path / "mine.csv").write_text("image,kind,remark\n" + "".join(f"{key}.jpg,x{key[0]},ok\n" for key in DOGS))
    data = labelled_images(path=str(tmp_path), labels="mine.csv", images="photos", image_size=4, val_share=0.5)
    assert data.classes == ("xa", "xb", "xc") and data.shape == (3, 4, 4) and len(data.val) == 15


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (None, r"no table of labels, trainLabels\.csv or labels\.csv or train\.csv"),
        ("id\na00\n", "one column; want the name of an image and its class"),
        ("id,label\na00,a\nzz,b\n", r"labels\.csv, line 3: no image 'zz' beside it"),
        ("id,label\na00,a\na00.png,a\n", r"line 3: image 'a00\.png' has a row already"),
        ("id,label\na00,a\na01,\n", "line 3: image 'a01' has no class"),
        ("id,label\na00,a\n", "the val split is empty"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, table: str | None, problem: str) -> None:
    fill(tmp_path, DOGS, ".png", "labels.csv")
    (tmp_path / "labels.csv").unlink()
    if table is not None:
        (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=problem):
        labelled_images(path=str(tmp_path))


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path is not given"):
        labelled_images()
    with pytest.raises(DataError, match="'none' is not an existing folder"):
        labelled_images(path="none")
    fill(tmp_path, DOGS, ".png", "labels.csv")
    with pytest.raises(DataError, match="photos: not an existing folder"):
        labelled_images(path=str(tmp_path), images="photos")
