"""What every registered data set promises, its batches included."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.examples import ExampleSplit
from d2lcli.data.find import locate
from d2lcli.data.loader import Loader
from d2lcli.data.sources import SOURCES
from d2lcli.registry import DATASETS
from d2lcli.training.data import LOADERS


def _folder(path: Path) -> dict[str, Any]:
    for label, name in enumerate(("cat", "dog")):
        (path / name).mkdir()
        for i in range(10):
            Image.new("RGB", (12, 12), (20 * i, 100 * label, 7)).save(path / name / f"{i}.png")
    return {"path": str(path)}


def _labelled(path: Path) -> dict[str, Any]:
    (path / "train").mkdir()
    for i in range(20):
        Image.new("RGB", (12, 12), (10 * i, 100 * (i % 2), 7)).save(path / "train" / f"{i}.png")
    (path / "labels.csv").write_text("id,label\n" + "".join(f"{i},{('cat', 'dog')[i % 2]}\n" for i in range(20)))
    return {"path": str(path)}


def _table(path: Path) -> dict[str, Any]:
    file = path / "table.csv"
    rows = [f"{i},{'red' if i % 3 else 'blue'},{i * 0.5}" for i in range(30)]
    file.write_text("size,colour,price\n" + "\n".join(rows) + "\n")
    return {"path": str(file), "target": "price"}


def _text(path: Path) -> dict[str, Any]:
    file = path / "text.txt"
    file.write_text("".join(f"{i} is a number. " for i in range(2000)))
    return {"path": str(file)}


def _objects(path: Path) -> dict[str, Any]:
    file = path / "texts.jsonl"
    lines = [{"text": f"{i} is {'many ' * (i % 5)}", "label": ("odd", "even")[i % 2]} for i in range(80)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"path": str(file)}


def open_loader(split: Split, **options: Any) -> Loader:
    loader: Loader = LOADERS[type(split)](split, **options)
    return loader


@pytest.fixture(scope="module", params=DATASETS.names())
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any], Dataset]:
    name = request.param
    if name in SOURCES and locate(SOURCES[name]) is None:
        pytest.skip(f"{name} is not on this machine")
    needed = {"image_folder": _folder, "labelled_images": _labelled, "csv": _table, "text_file": _text}
    needed |= {"jsonl": _objects}
    options = needed[name](tmp_path_factory.mktemp(name)) if name in needed else {}
    if "flip" in DATASETS.parameters(name):
        options |= {"flip": True, "crop_padding": 2}
    if "random_resized_crop" in DATASETS.parameters(name):
        options |= {"vertical_flip": True, "random_resized_crop": [0.08, 1.0], "cutout": 5}
        options |= {"color_jitter": [0.4, 0.4, 0.0, 0.0]}  # images may be grey
    if DATASETS.describe(name).task == "sequence_to_sequence":
        pytest.skip("pairs have tests of their own: tests/data/test_translations.py")
    if DATASETS.describe(name).task == "q_learning":
        pytest.skip("environments have tests of their own: tests/data/test_environments.py")
    data = DATASETS.build(name, **options)
    return name, options, data.head(400)


def batches_of(split: Split, epoch: int, start: int = 0, **options: Any) -> list[tuple[Tensor, Tensor]]:
    """The batches of a loader, copied; those of texts of different lengths as tensors of one width."""
    copied = []
    for x, y in open_loader(split, **options).batches(epoch, start):
        if isinstance(x, tuple):
            tokens, segments, lengths = x
            beyond = (0, 200 - tokens.shape[1])
            kept = torch.arange(tokens.shape[1]) < lengths[:, None]
            x = torch.cat(
                [functional.pad(tokens * kept, beyond), functional.pad(segments, beyond), lengths[:, None]], 1
            )
        copied.append((x.clone(), y))
    return copied


def everything(data: Dataset, **options: Any) -> tuple[Tensor, Tensor]:
    """One epoch of training, copied and joined."""
    batches = batches_of(data.train, 1, **({"batch_size": 7, "seed": 3, "shuffle": True} | options))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_shape_types_and_description(built: tuple[str, dict[str, Any], Dataset]) -> None:
    name, _, data = built
    entry = DATASETS.describe(name)
    assert data.name == name
    assert entry.shape in ((), data.shape)
    assert entry.num_outputs in (0, data.num_outputs)
    for split in (data.train, data.val):
        x, y = next(iter(open_loader(split, batch_size=2, seed=0, shuffle=True).batches(0)))
        if isinstance(split, ExampleSplit):
            check_examples(data, split, x, y)
            continue
        assert x.shape == (2, *data.shape)
        if data.tokenizer:
            assert x.dtype == y.dtype == torch.int64 and torch.equal(x[:, 1:], y[:, :-1])
            assert len(data.tokenizer) == data.num_outputs > int(split.targets.max())
            continue
        assert x.dtype == torch.float32
        assert x.isfinite().all()
        if data.classes:
            assert y.shape == (2,) and y.dtype == torch.int64
            assert split.targets.min() >= 0 and split.targets.max() < data.num_outputs == len(data.classes)
        else:
            assert y.shape == (2, data.num_outputs) and y.dtype == torch.float32
    assert data.found
    assert all(len(digest) == 64 for digest in data.files.values())


def check_examples(data: Dataset, split: ExampleSplit, inputs: Any, targets: Tensor) -> None:
    """What is promised of texts that have a class, or a number, each."""
    tokens, segments, lengths = inputs
    assert data.tokenizer is not None and data.tokenizer.tokens[split.pad] == "<pad>"
    assert tokens.dtype == segments.dtype == lengths.dtype == torch.int64
    assert tokens.shape == segments.shape == (2, int(lengths.max())) and split.longest <= data.shape[0]
    assert tokens[:, 0].eq(data.tokenizer.id_of("<cls>")).all()
    assert split.inputs.max() < len(data.tokenizer)  # type: ignore[union-attr]
    assert targets.shape == (2,) and split.kind == "label" and targets.dtype == torch.int64
    assert split.targets.min() >= 0 and split.targets.max() < data.num_outputs == len(data.classes)


def test_building_twice_gives_the_same_and_leaves_the_global_generator(
    built: tuple[str, dict[str, Any], Dataset],
) -> None:
    name, options, data = built
    before = torch.random.get_rng_state()
    again = DATASETS.build(name, **options).head(400)
    first, second = everything(data), everything(again)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], everything(data, seed=4)[0])


def test_an_epoch_has_each_row_once(built: tuple[str, dict[str, Any], Dataset]) -> None:
    data = built[2]
    if data.tokenizer:
        pytest.skip("a window of a text is no row")
    inputs = torch.arange(len(data.train)).float()[:, None]
    rows = type(data.train)(inputs, data.train.targets)
    seen = torch.cat([x.clone() for x, _ in Loader(rows, batch_size=8, seed=0, shuffle=True).batches(2)])
    targets = torch.cat([y for _, y in Loader(rows, batch_size=8, seed=0, shuffle=True).batches(2)])
    assert torch.equal(seen.sort(0).values, inputs)
    assert torch.equal(targets, data.train.targets[seen[:, 0].long()])


@pytest.mark.parametrize("start", [0, 1, 2])
def test_starting_later_gives_the_tail(built: tuple[str, dict[str, Any], Dataset], start: int) -> None:
    options: dict[str, Any] = {"batch_size": 6, "seed": 0, "shuffle": True}
    whole = batches_of(built[2].train, 5, **options)
    tail = batches_of(built[2].train, 5, start, **options)
    assert len(whole) == len(open_loader(built[2].train, **options))
    assert len(tail) == len(whole) - start
    for (x, y), (expected_x, expected_y) in zip(tail, whole[start:]):
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_parts_of_all_ranks_make_the_global_batch(
    built: tuple[str, dict[str, Any], Dataset], world_size: int
) -> None:
    data = built[2]
    whole = batches_of(data.train, 0, batch_size=8, seed=1, shuffle=True)
    ranks = [
        batches_of(data.train, 0, batch_size=8, seed=1, shuffle=True, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    for (x, y), *parts in zip(whole, *ranks):
        assert torch.equal(torch.cat([part[0] for part in parts]), x)
        assert torch.equal(torch.cat([part[1] for part in parts]), y)


def test_augmentation_does_not_depend_on_the_batch_size(built: tuple[str, dict[str, Any], Dataset]) -> None:
    data = built[2]
    if isinstance(data.train, ExampleSplit):
        pytest.skip("texts of like length make a batch, so that its size decides which")
    one, other = everything(data, batch_size=3), everything(data, batch_size=5)
    n = min(len(one[0]), len(other[0]))
    assert torch.equal(one[0][:n], other[0][:n])


def test_evaluation_is_deterministic_and_in_order(built: tuple[str, dict[str, Any], Dataset]) -> None:
    data = built[2]
    small = batches_of(data.val, 0, batch_size=3, seed=0, shuffle=False)
    large = batches_of(data.val, 7, batch_size=10**6, seed=9, shuffle=False)
    assert len(large) == 1
    assert torch.equal(torch.cat([x for x, _ in small]), large[0][0])
    if data.tokenizer is None or isinstance(data.val, ExampleSplit):
        assert torch.equal(large[0][1], data.val.targets)
