"""Keys and values in memory with room for more: what was there never changes."""

import pytest
import torch
from torch import Tensor

from d2lcli.nn.key_values import MORE, KeyValues


def made(n: int, seed: int, rows: int = 3) -> tuple[Tensor, Tensor]:
    both = torch.randn(2, rows, 2, n, 4, generator=torch.Generator().manual_seed(seed))
    return both[0], both[1]


def test_many_appended_are_all_side_by_side() -> None:
    cache, parts = KeyValues(torch.empty(2, 3, 2, 0, 4), 0), []
    for seed, n in enumerate([5, 1, 1, MORE, 1, 2 * MORE, 1]):
        parts.append(torch.stack(made(n, seed)))
        cache = cache.append(*made(n, seed))
        assert torch.equal(cache.tensor, torch.cat(parts, 3))
        assert cache.shape == cache.tensor.shape


def test_one_token_is_written_in_place() -> None:
    cache = KeyValues(torch.empty(2, 3, 2, 0, 4), 0).append(*made(5, 0))
    assert cache.append(*made(1, 1)).tensor.data_ptr() == cache.tensor.data_ptr()


def test_two_continuations_of_one_beginning() -> None:
    start = KeyValues(torch.empty(2, 3, 2, 0, 4), 0).append(*made(5, 0))
    before = start.tensor.clone()
    one, two = start.append(*made(1, 1)), start.append(*made(1, 2))
    three = one.append(*made(1, 3))
    assert torch.equal(start.tensor, before)
    for found, seeds in ((one, [1]), (two, [2]), (three, [1, 3])):
        assert torch.equal(found.tensor, torch.cat([before, *(torch.stack(made(1, seed)) for seed in seeds)], 3))


def test_rows_that_are_picked_are_copies() -> None:
    start = KeyValues(torch.empty(2, 3, 2, 0, 4), 0).append(*made(5, 0))
    picked = start.index_select(1, torch.tensor([2, 2, 0, 1]))
    assert torch.equal(picked.tensor, start.tensor[:, [2, 2, 0, 1]])
    picked.append(*made(1, 1, rows=4))
    assert torch.equal(start.append(*made(1, 2)).tensor[:, :, :, 5:], torch.stack(made(1, 2)))
    with pytest.raises(ValueError):
        start.index_select(0, torch.tensor([0]))


def test_rows_are_moved_in_place() -> None:
    cache = KeyValues(torch.empty(2, 3, 2, 0, 4), 0).append(*made(5, 0))
    before, place = cache.tensor.clone(), cache.tensor.data_ptr()
    cache.move(torch.tensor([1, 0]), torch.tensor([0, 2]))  # row 0 goes to 2 before it becomes row 1
    assert torch.equal(cache.tensor, before[:, [1, 1, 0]]) and cache.tensor.data_ptr() == place
    cache.move(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long))
    assert torch.equal(cache.tensor, before[:, [1, 1, 0]])
    cache.move(torch.tensor([2]), torch.tensor([1]))
    after = cache.append(*made(1, 1))
    assert torch.equal(after.tensor, torch.cat([before[:, [1, 0, 0]], torch.stack(made(1, 1))], 3))


def test_gradients_reach_what_was_appended() -> None:
    keys, values = (part.requires_grad_() for part in made(2, 0))
    cache = KeyValues(torch.empty(2, 3, 2, 0, 4), 0).append(keys, values).append(*made(1, 1))
    cache.tensor.square().sum().backward()
    assert torch.equal(keys.grad, 2 * keys) and torch.equal(values.grad, 2 * values)
