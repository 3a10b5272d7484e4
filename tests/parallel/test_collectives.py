"""The all-reduces that are written out, beside torch's, over gloo."""

import os
from typing import Any

import pytest
import torch
import torch.distributed as dist
from group import run_cases
from torch import Tensor

from d2lcli.parallel.collectives import Channel, KeyValueStore, naive_all_reduce, ring_all_reduce, spread_keys


def begin() -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", f"file://{os.environ['D2L_MEETING']}", rank=rank, world_size=size)


def reduced(values: Tensor) -> dict[str, Any]:
    """The sums by three ways, and the bytes that the written ones sent."""
    theirs = values.clone()
    dist.all_reduce(theirs)
    found: dict[str, Any] = {"torch": theirs.tolist()}
    for name, reduce in (("naive", naive_all_reduce), ("ring", ring_all_reduce)):
        channel = Channel()
        found[name] = reduce(values.clone(), channel).tolist()
        found[f"{name}_bytes"] = channel.bytes_sent
    return found


def case_numbers() -> dict[str, Any]:
    """1,000 float32 of each process, whose sums depend on the order in the last bits."""
    return reduced(torch.randn(1000, generator=torch.Generator().manual_seed(dist.get_rank())))


def case_counts() -> dict[str, Any]:
    """Whole numbers, whose sums are the same in every order; 10 do not divide by 4."""
    return reduced(torch.arange(10.0).view(2, 5) * (dist.get_rank() + 1))


def case_few() -> dict[str, Any]:
    """Fewer numbers than processes: some chunks are empty."""
    return reduced(torch.ones(1, dtype=torch.float64))


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return run_cases(__file__, request.param, tmp_path_factory.mktemp("group"))


@pytest.mark.parametrize("case", ["numbers", "counts", "few"])
@pytest.mark.parametrize("way", ["naive", "ring"])
def test_all_processes_hold_the_same_bits(outcome: dict[str, list[Any]], case: str, way: str) -> None:
    ranks = outcome[case]
    assert all(found[way] == ranks[0][way] for found in ranks)
    torch.testing.assert_close(torch.tensor(ranks[0][way]), torch.tensor(ranks[0]["torch"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", ["naive", "ring"])
def test_whole_numbers_are_torch_s_bit_for_bit(outcome: dict[str, list[Any]], way: str) -> None:
    ranks = outcome["counts"]
    factor = len(ranks) * (len(ranks) + 1) / 2  # 1 + ... + n
    assert ranks[0][way] == ranks[0]["torch"] == (torch.arange(10.0).view(2, 5) * factor).tolist()


def test_the_ring_adds_like_torch_bit_for_bit(outcome: dict[str, list[Any]]) -> None:
    """Of three or more numbers the last bits depend on the order of the additions, which process 0 has otherwise."""
    assert all(found["ring"] == found["torch"] for found in outcome["numbers"])
    if len(outcome["numbers"]) == 4:
        assert outcome["numbers"][0]["naive"] != outcome["numbers"][0]["torch"]


def test_a_ring_sends_two_n_minus_one_over_n_of_the_data(outcome: dict[str, list[Any]]) -> None:
    n = len(outcome["numbers"])
    assert [found["ring_bytes"] for found in outcome["numbers"]] == [2 * (n - 1) * 4000 // n] * n
    assert sum(found["ring_bytes"] for found in outcome["counts"]) == 2 * (n - 1) * 40  # uneven chunks: in all


def test_the_naive_way_burdens_the_first_process(outcome: dict[str, list[Any]]) -> None:
    n = len(outcome["numbers"])
    assert [found["naive_bytes"] for found in outcome["numbers"]] == [(n - 1) * 4000] + [4000] * (n - 1)


def test_a_store_adds_up_what_is_pushed() -> None:
    """The book's example of two workers: [1, 2] and [2, 4] are pushed, their sum [3, 6] is pulled (d2l 13.7)."""
    store = KeyValueStore()
    first = torch.tensor([1.0, 2.0])
    store.push("weight", first)
    store.push("weight", torch.tensor([2.0, 4.0]))
    store.push(7, torch.tensor([5.0]))
    assert store.pull("weight").tolist() == [3.0, 6.0] and store.pull(7).tolist() == [5.0]
    assert first.tolist() == [1.0, 2.0]
    store.clear("weight")
    with pytest.raises(KeyError):
        store.pull("weight")


def test_keys_are_spread_evenly() -> None:
    assert spread_keys({"a": 5, "b": 4, "c": 3, "d": 2}, 2) == {"a": 0, "b": 1, "c": 1, "d": 0}
