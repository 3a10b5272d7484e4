"""Span corruption: the paper's example, shares and lengths, and batches that are a function of their position."""

from itertools import pairwise

import pytest
import torch

from d2lcli.data.pairs import BOS, EOS
from d2lcli.data.spans import FIRST_SENTINEL, SpanLoader, SpanSplit, cut_out, draw_spans, span_sizes, span_split
from d2lcli.data.windows import text_split


def split(num_steps: int = 20, name: str = "train") -> SpanSplit:
    return span_split(text_split(torch.arange(200, 200 + 40 * num_steps), num_steps, "random", name, ""))


def test_the_example_of_the_paper() -> None:
    """Thank you <for inviting> me to your party <last> week (Raffel et al., 2020, figure 2)."""
    x, y, z = range(FIRST_SENTINEL, FIRST_SENTINEL + 3)
    window = torch.tensor([[11, 12, 13, 14, 15, 16, 17, 18, 19, 20]])
    cut = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 0, 1, 0]]).bool()
    assert cut_out(window, cut).tolist() == [[11, 12, x, 15, 16, 17, 18, y, 20]]
    assert cut_out(window, ~cut).tolist() == [[x, 13, 14, y, 19, z]]


@pytest.mark.parametrize(("steps", "expected"), [(2, (1, 1)), (20, (3, 1)), (64, (10, 3)), (512, (77, 26))])
def test_15_percent_in_spans_of_3(steps: int, expected: tuple[int, int]) -> None:
    assert span_sizes(steps) == expected
    noise = draw_spans(50, steps, torch.Generator().manual_seed(0))
    assert noise.sum(1).eq(expected[0]).all()
    begins = noise & ~torch.cat([torch.zeros(50, 1, dtype=torch.bool), noise[:, :-1]], 1)
    assert begins.sum(1).eq(expected[1]).all() and not noise[:, 0].any()


def test_every_composition_is_as_likely() -> None:
    """10 tokens in 3 spans: each of the 36 ways within 5 sigma."""
    noise = draw_spans(36_000, 64, torch.Generator().manual_seed(1))
    counts: dict[tuple[int, ...], int] = {}
    for row in noise:
        runs = "".join(str(int(each)) for each in row).split("0")
        key = tuple(len(run) for run in runs if run)
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 36 and all(abs(count - 1000) < 5 * 1000**0.5 for count in counts.values())


def test_source_and_target_make_the_window_again() -> None:
    loader = SpanLoader(split(64), batch_size=4, seed=0, shuffle=True)
    for source, lengths, inputs, targets in loader.batches(1):
        assert torch.equal(inputs[:, 1:], targets[:, :-1]) and inputs[:, 0].eq(BOS).all()
        assert lengths.eq(source.shape[1]).all() and source[:, -1].eq(EOS).all() and targets[:, -1].eq(EOS).all()
        for row, answer in zip(source.tolist(), targets.tolist(), strict=True):
            places = [i for i, token in enumerate(answer) if token < 200]
            spans = {answer[i]: answer[i + 1 : j] for i, j in pairwise(places)}
            whole = [token for each in row[:-1] for token in (spans[each] if each < 200 else [each])]
            assert whole == list(range(whole[0], whole[0] + 64))
            assert sorted(spans) == list(range(FIRST_SENTINEL, FIRST_SENTINEL + 5))[: len(spans)] and len(spans) == 4


def test_a_batch_is_a_function_of_its_position() -> None:
    def batches(epoch: int, start: int = 0, **options: int) -> list[tuple[torch.Tensor, ...]]:
        return list(SpanLoader(split(), batch_size=8, seed=0, shuffle=True, **options).batches(epoch, start))

    def equal(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    whole = batches(1)
    assert all(map(equal, whole[2:], batches(1, 2))) and not any(map(equal, whole, batches(2)))
    for batch, *parts in zip(whole, batches(1, rank=0, world_size=2), batches(1, rank=1, world_size=2), strict=True):
        assert equal(batch, tuple(torch.cat(each) for each in zip(*parts, strict=True)))


def test_an_evaluation_cuts_the_same_for_every_seed_and_batch_size() -> None:
    one, other = (
        torch.cat(
            [batch[0] for batch in SpanLoader(split(name="val"), batch_size=size, seed=seed, shuffle=False).batches(0)]
        )
        for size, seed in ((3, 0), (39, 5))
    )
    assert torch.equal(one, other)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="100 sentinels"):
        split(2100)
    with pytest.raises(ValueError, match="at least 2"):
        split(1)
