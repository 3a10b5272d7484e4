"""The loader: positions, parts, refusals, and the buffers."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.data import store
from d2lcli.data.dataset import Split
from d2lcli.data.loader import Loader, loader_options, part, stream_generator
from d2lcli.data.mixing import Mixing
from d2lcli.data.transforms import ImageOptions, image_transforms
from d2lcli.errors import D2LError, DataError


def numbers(n: int, name: str = "train") -> Split:
    """Row i holds i, and so does target i."""
    return Split(torch.arange(n).float()[:, None].repeat(1, 3), torch.arange(n), name=name, source="somewhere")


EVERYTHING = ImageOptions(
    flip=True,
    vertical_flip=True,
    crop_padding=2,
    random_resized_crop=(0.08, 1.0),
    color_jitter=(0.4, 0.4, 0.4, 0.1),
    cutout=3,
)


def images(n: int) -> Split:
    """Random uint8 images with every transform."""
    pixels = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    prepare, augment, _ = image_transforms((3, 8, 8), EVERYTHING, mean=(0.5,) * 3, std=(0.25,) * 3, background=0.0)
    return Split(pixels, torch.arange(n), prepare, augment)


def mixed(n: int) -> Split:
    """The same with mixtures; every example is a class of its own."""
    return replace(images(n), mix=Mixing(0.5, 0.5, n))


def rows(loader: Loader, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [y.tolist() for _, y in loader.batches(epoch, start)]


@pytest.mark.parametrize(
    ("n", "batch_size", "drop_last", "expected"), [(10, 4, False, 3), (10, 4, True, 2), (8, 4, False, 2)]
)
def test_length_and_global_sizes(n: int, batch_size: int, drop_last: bool, expected: int) -> None:
    loader = Loader(numbers(n), batch_size=batch_size, seed=0, shuffle=True, drop_last=drop_last)
    assert len(loader) == expected
    assert [loader.global_size(i) for i in range(expected)] == [len(batch) for batch in rows(loader)]
    with pytest.raises(IndexError):
        loader.global_size(expected)


def test_inputs_and_targets_stay_together() -> None:
    for x, y in Loader(numbers(50), batch_size=8, seed=0, shuffle=True).batches(3):
        assert torch.equal(x[:, 0].long(), y)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    loader = Loader(numbers(50), batch_size=10, seed=0, shuffle=True)
    assert rows(loader, 0) != rows(loader, 1)
    assert rows(loader, 0) == rows(loader, 0)
    assert rows(loader, 0) != rows(Loader(numbers(50), batch_size=10, seed=1, shuffle=True), 0)


def test_the_streams_of_chance_are_those_of_the_hash() -> None:
    # int.from_bytes(sha256(b"permutation/0/0").digest()[:8], "little") >> 1, computed with coreutils' sha256sum
    assert stream_generator(0, 0, "permutation").initial_seed() == int("f8fea4da5fdfeab2", 16) >> 1


@pytest.mark.parametrize(("size", "world_size"), [(8, 1), (8, 3), (7, 4), (4, 4), (2, 3)])
def test_parts_are_contiguous_and_even(size: int, world_size: int) -> None:
    bounds = [part(size, rank, world_size) for rank in range(world_size)]
    assert bounds[0][0] == 0 and bounds[-1][1] == size
    assert all(a[1] == b[0] for a, b in pairwise(bounds))
    sizes = [high - low for low, high in bounds]
    assert max(sizes) - min(sizes) <= 1


def test_a_last_batch_smaller_than_the_world_is_left_out_in_training_only() -> None:
    for rank in range(3):
        training = Loader(numbers(8), batch_size=3, seed=0, shuffle=True, rank=rank, world_size=3)
        assert len(training) == len(rows(training)) == 2
    evaluation = [Loader(numbers(8), batch_size=3, seed=0, shuffle=False, rank=r, world_size=3) for r in range(3)]
    assert [len(loader) for loader in evaluation] == [3, 3, 3]
    assert [rows(loader) for loader in evaluation] == [[[0], [3], [6]], [[1], [4], [7]], [[2], [5]]]


@pytest.mark.parametrize("start", range(5))
def test_a_rank_starts_anywhere(start: int) -> None:
    loader = Loader(numbers(18), batch_size=4, seed=0, shuffle=True, rank=1, world_size=2)
    assert rows(loader, 2, start) == rows(loader, 2)[start:]


def test_start_outside_the_epoch_is_refused() -> None:
    loader = Loader(numbers(8), batch_size=4, seed=0, shuffle=True)
    assert rows(loader, 0, 2) == []
    with pytest.raises(ValueError, match="start is 3; the epoch has 2 batches"):
        loader.batches(0, 3)


def test_refusals_name_the_numbers() -> None:
    with pytest.raises(ValueError, match="batch_size is 9, but the train split has only 8 examples"):
        Loader(numbers(8), batch_size=9, seed=0, shuffle=True)
    with pytest.raises(ValueError, match="drop_last with batch_size 9 leaves nothing of the 8"):
        Loader(numbers(8), batch_size=9, seed=0, shuffle=False, drop_last=True)
    with pytest.raises(ValueError, match="batch_size is 2, fewer than the 3 processes"):
        Loader(numbers(8), batch_size=2, seed=0, shuffle=True, world_size=3)
    with pytest.raises(DataError, match="somewhere: the val split is empty"):
        Loader(numbers(0, "val"), batch_size=2, seed=0, shuffle=False)


def test_one_example_is_enough() -> None:
    assert rows(Loader(numbers(1), batch_size=1, seed=0, shuffle=True)) == [[0]]


def test_options_are_checked() -> None:
    assert loader_options(batch_size=3)["batch_size"] == 3
    with pytest.raises(ValueError, match="batch_size is 0"):
        loader_options(batch_size=0)
    with pytest.raises(ValueError, match="limit is 0"):
        loader_options(limit=0)


def test_head_cuts_both_parts() -> None:
    head = numbers(10).head(4)
    assert len(head) == 4 and len(head.inputs) == 4
    assert len(numbers(3).head(9)) == 3


def test_a_batch_is_whole_until_the_one_after_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK_BYTES", 1)
    previous: tuple[Tensor, Tensor] | None = None
    for x, y in Loader(numbers(40), batch_size=4, seed=0, shuffle=True).batches(0):
        if previous is not None:
            assert torch.equal(previous[0][:, 0].long(), previous[1])
        previous = (x, y)


def test_evaluation_gives_slices_of_one_storage() -> None:
    loader = Loader(images(20), batch_size=5, seed=0, shuffle=False)
    storages = {x.untyped_storage().data_ptr() for x, _ in loader.batches(0)}
    assert len(storages) == 1


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("chunk", [1, 5000, 1 << 22])
@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("make", [images, mixed])
def test_layout_chunks_and_memory_change_no_value(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[int], Split], channels_last: bool, chunk: int, limit: int
) -> None:
    expected = [x.clone() for x, _ in Loader(make(30), batch_size=4, seed=0, shuffle=True).batches(0)]
    monkeypatch.setattr(store, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(store, "MATERIALISE_LIMIT", limit)
    loader = Loader(make(30), batch_size=4, seed=0, shuffle=True, channels_last=channels_last)
    got = [x.clone() for x, _ in loader.batches(0)]
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    if channels_last:
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in got)


def test_mixing_joins_an_example_and_the_one_before_it() -> None:
    """Rows i of the labels say who is in a mixture; without mixing, the same loader says who stands where."""
    options: dict[str, Any] = {"batch_size": 7, "seed": 0, "shuffle": True}
    plain = [(x.clone(), y.tolist()) for x, y in Loader(images(17), **options).batches(2)]
    shares = set()
    for (x, y), (apart, order) in zip(Loader(mixed(17), **options).batches(2), plain, strict=True):
        assert x.shape == apart.shape and y.shape == (len(order), 17) and y.dtype == torch.float32
        assert torch.allclose(y.sum(1), torch.ones(len(order)))
        for i, (first, second) in enumerate(zip(order, order[-1:] + order[:-1])):
            assert set(y[i].nonzero()[:, 0].tolist()) <= {first, second}
            shares.add(round(float(y[i, first]), 4))
            low, high = torch.minimum(apart[i], apart[i - 1]), torch.maximum(apart[i], apart[i - 1])
            assert (x[i] >= low - 1e-5).all() and (x[i] <= high + 1e-5).all()
    assert len(shares) == 3  # one for each batch


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("start", range(4))
def test_a_mixture_is_the_same_on_any_number_of_processes(world_size: int, start: int) -> None:
    options: dict[str, Any] = {"batch_size": 7, "seed": 0, "shuffle": True}
    whole = [(x.clone(), y) for x, y in Loader(mixed(18), **options).batches(1)][start:]
    loaders = [Loader(mixed(18), **options, rank=rank, world_size=world_size) for rank in range(world_size)]
    parts = [[(x.clone(), y) for x, y in loader.batches(1, start)] for loader in loaders]
    for (x, y), *own in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([part[0] for part in own]), x)
        assert torch.equal(torch.cat([part[1] for part in own]), y)


def test_one_example_is_mixed_with_itself() -> None:
    (x, y), *_ = Loader(mixed(1), batch_size=1, seed=0, shuffle=True).batches(0)
    (expected, _), *_ = Loader(images(1), batch_size=1, seed=0, shuffle=True).batches(0)
    assert torch.allclose(x, expected, atol=1e-6) and torch.allclose(y, torch.ones(1, 1))


def test_evaluation_neither_augments_nor_mixes() -> None:
    split = mixed(9)
    assert split.prepare is not None and isinstance(split.inputs, Tensor)
    for epoch in (0, 1):
        (x, y), *_ = Loader(split, batch_size=9, seed=epoch, shuffle=False).batches(epoch)
        assert torch.equal(x, split.prepare(split.inputs)) and torch.equal(y, split.targets)


class Reader:
    """A reader of the pixels of `images`, as if they were on a disk."""

    def __init__(self, pixels: Tensor, fate: str = "") -> None:
        self.pixels, self.fate = pixels, fate

    def __len__(self) -> int:
        return len(self.pixels)

    def load(self, indices: Sequence[int]) -> Tensor:
        if self.fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fate == "damaged":
            raise DataError("cat.png: not a readable image")
        return self.pixels[list(indices)]

    def head(self, n: int) -> "Reader":
        return Reader(self.pixels[:n], self.fate)


def lazy(n: int, fate: str = "") -> Split:
    split = mixed(n)
    assert isinstance(split.inputs, Tensor)
    return replace(split, inputs=Reader(split.inputs, fate))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_lazy_images_give_what_memory_gives(workers: int, shuffle: bool) -> None:
    before = torch.random.get_rng_state()
    loader = Loader(lazy(22), batch_size=4, seed=0, shuffle=shuffle, workers=workers, rank=1, world_size=2)
    got = list(loader.batches(1, start=2))
    assert torch.equal(torch.random.get_rng_state(), before)
    expected = Loader(mixed(22), batch_size=4, seed=0, shuffle=shuffle, rank=1, world_size=2)
    for (x, y), (expected_x, expected_y) in zip(got, expected.batches(1, start=2), strict=True):
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y)


def test_a_killed_worker_is_a_clear_error() -> None:
    loader = Loader(lazy(8, "killed"), batch_size=4, seed=0, shuffle=True, workers=1)
    with pytest.raises(D2LError, match="a process that decodes images was killed"):
        list(loader.batches(0))
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_keeps_its_message(workers: int) -> None:
    loader = Loader(lazy(8, "damaged"), batch_size=4, seed=0, shuffle=True, workers=workers)
    with pytest.raises(DataError, match=r"^cat.png: not a readable image$"):
        list(loader.batches(0))
