"""Folders of images: layouts, damage, and the way without memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from d2lcli.data import image_files as module
from d2lcli.data.image_files import LazyImages
from d2lcli.data.image_folder import image_folder
from d2lcli.data.loader import Loader
from d2lcli.errors import DataError


def fill(
    folder: Path, count: int = 10, size: tuple[int, int] = (9, 7), classes: tuple[str, ...] = ("cat", "dog")
) -> None:
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", size, (20 * i % 256, 100 * label, 30)).save(folder / name / f"{i}.png")


def test_classes_split_and_colours(tmp_path: Path) -> None:
    fill(tmp_path)
    data = image_folder(path=str(tmp_path), normalize=False)
    assert data.classes == ("cat", "dog") and data.shape == (3, 7, 9)
    assert data.train.targets.bincount().tolist() == [8, 8]
    assert data.val.targets.bincount().tolist() == [2, 2]
    x, y = next(Loader(data.val, batch_size=4, seed=0, shuffle=False).batches(0))
    assert torch.allclose(x[:, 1, 0, 0] * 255, 100.0 * y)
    assert torch.allclose(x[:, 2], torch.tensor(30 / 255))


def test_a_new_image_moves_no_other(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    before = image_folder(path=str(tmp_path)).train.inputs
    Image.new("RGB", (9, 7), (1, 2, 3)).save(tmp_path / "cat" / "new.png")
    after = image_folder(path=str(tmp_path)).train.inputs
    assert abs(len(after) - len(before)) <= 1


def test_given_splits_are_kept(tmp_path: Path) -> None:
    fill(tmp_path / "train", 6)
    fill(tmp_path / "val", 3, classes=("dog",))
    data = image_folder(path=str(tmp_path))
    assert data.train.targets.bincount().tolist() == [6, 6]
    assert data.val.targets.tolist() == [1, 1, 1]


def test_images_of_many_sizes_need_image_size(tmp_path: Path) -> None:
    fill(tmp_path)
    Image.new("L", (30, 10), 77).save(tmp_path / "cat" / "wide.jpg")
    with pytest.raises(DataError, match=r"pixels, but the first image has"):
        image_folder(path=str(tmp_path))
    assert image_folder(path=str(tmp_path), image_size=8).shape == (3, 8, 8)


def test_an_unreadable_image_is_named_or_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    whole = (tmp_path / "cat" / "3.png").read_bytes()
    (tmp_path / "cat" / "3.png").write_bytes(whole[:-25])
    with pytest.raises(DataError, match=r"cat/3\.png: not a readable image"):
        image_folder(path=str(tmp_path))
    data = image_folder(path=str(tmp_path), skip_unreadable=True)
    assert len(data.train) + len(data.val) == 19
    assert data.found.endswith("(1 unreadable images left out)")


def test_an_image_with_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # 63 pixels: Pillow's own limit is a warning
    with pytest.raises(DataError, match=r"not a readable image: .*exceeds limit"):
        image_folder(path=str(tmp_path))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        ([], "no folders of images"),
        (["cat", "dog"], "no images; known endings"),
        (["train/cat/0.png"], "there is no val/"),
        (["val/cat/0.png"], "there is no train/"),
        (["train/cat/0.png", "val/cow/0.png"], "class 'cow' is not in train/"),
        (["cat/0.png", "cat/1.png", "dog"], "no images of class 'dog'"),
        (["cat/0.png"], "the val split is empty"),
    ],
)
def test_folders_without_what_is_needed(tmp_path: Path, make: list[str], problem: str) -> None:
    for name in make:
        path = tmp_path / name
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
        else:
            path.mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=problem):
        image_folder(path=str(tmp_path))


def test_the_path_is_needed() -> None:
    with pytest.raises(ValueError, match="path is not given"):
        image_folder()
    with pytest.raises(DataError, match="'none' is not an existing folder"):
        image_folder(path="none")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_does_not_fit_is_read_as_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    fill(tmp_path)
    options: dict[str, Any] = {"path": str(tmp_path), "image_size": 6, "flip": True, "crop_padding": 1}
    settings: dict[str, Any] = {"batch_size": 5, "seed": 0, "shuffle": True}
    expected = [(x.clone(), y) for x, y in Loader(image_folder(**options).train, **settings).batches(0)]
    monkeypatch.setattr(module, "memory_budget", lambda: 100)
    data = image_folder(**options)
    assert isinstance(data.train.inputs, LazyImages)
    assert len(data.head(3).train) == 3
    got = list(Loader(data.train, **settings, workers=workers).batches(0))
    for (x, y), (expected_x, expected_y) in zip(got, expected, strict=True):
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y)
