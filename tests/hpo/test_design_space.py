"""Samples of the AnyNet and RegNet design spaces: constraints, distributions, limits, and the search in them."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement, pairwise
from math import log, prod
from random import Random
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

from d2lcli.hpo.design_space import (
    DESIGN_SPACES,
    DesignSpace,
    Limits,
    Network,
    design_space,
    multiply_adds,
    sample,
)
from d2lcli.hpo.random import random
from d2lcli.hpo.space import Choice, Float
from d2lcli.models.regnet import anynet, fit_groups, generate_widths
from d2lcli.training.summary import summarize

FREE = Limits()
LISTS = ("depths", "widths", "bottlenecks", "group_widths")
every_space = pytest.mark.parametrize("space", DESIGN_SPACES)


def draws(space: DesignSpace, count: int, limits: Limits = FREE, seed: int = 0) -> list[Network]:
    rng = Random(seed)
    return [sample(space, rng, limits) for _ in range(count)]


def shared(values: list[float]) -> bool:
    return len(set(values)) == 1


def rises(values: list[int]) -> bool:
    return all(low <= high for low, high in pairwise(values))


# What each space adds to the constraints of those before it (section 3.2 of the paper).
CONSTRAINTS: dict[str, Callable[[Network], bool]] = {
    "anynet_xb": lambda network: shared(network["bottlenecks"]),
    "anynet_xc": lambda network: shared(network["group_widths"]),
    "anynet_xd": lambda network: rises(network["widths"]),
    "anynet_xe": lambda network: rises(network["depths"]),
}


@every_space
def test_a_thousand_samples_keep_the_constraints(space: DesignSpace) -> None:
    held = list(CONSTRAINTS)[: DESIGN_SPACES.index(space)]
    if space == "regnetx_space":
        held.remove("anynet_xe")  # a line fixes the widths; the last stages of most published RegNets are short
    for network in draws(space, 1000):
        assert set(network) == {"stem_width", *LISTS} and {len(network[name]) for name in LISTS} == {4}
        assert all(1 <= depth <= 16 for depth in network["depths"])
        assert all(8 <= width <= 1024 and width % 8 == 0 for width in network["widths"])
        assert all(1 / ratio in (1, 2, 4) for ratio in network["bottlenecks"])
        assert all(group in (1, 2, 4, 8, 16, 32) for group in network["group_widths"])
        triples = zip(network["widths"], network["bottlenecks"], network["group_widths"])
        assert all(width * ratio % group == 0 for width, ratio, group in triples)
        assert all(CONSTRAINTS[name](network) for name in held)


@pytest.mark.parametrize(("space", "broken"), list(zip(DESIGN_SPACES, CONSTRAINTS)))
def test_a_space_does_not_keep_the_next_constraint(space: DesignSpace, broken: str) -> None:
    assert not all(CONSTRAINTS[broken](network) for network in draws(space, 50))


def test_regnets_have_no_bottleneck_and_follow_a_line() -> None:
    networks = draws("regnetx_space", 300)
    assert {ratio for network in networks for ratio in network["bottlenecks"]} == {1.0}
    assert all(4 <= sum(network["depths"]) < 64 for network in networks)
    # A line's blocks rise evenly, so a stage of width v to wm v has about wm times the blocks of the one before it;
    # the last stage is cut off where the line ends.
    assert sum(rises(network["depths"][:3]) for network in networks) / 300 > 0.8


def fits(counts: Mapping[Any, int], shares: Mapping[Any, float]) -> bool:
    """Pearson's chi-square test at the level 0.001."""
    assert set(counts) <= set(shares)
    total = sum(counts.values())
    found = chisquare([counts.get(key, 0) for key in shares], [total * share for share in shares.values()])
    return bool(found.pvalue > 0.001)


def log_uniform(high: int) -> dict[int, float]:
    """The whole part of a number whose logarithm is uniform: P(k) = ln((k + 1) / k) / ln(high + 1)."""
    return {k: log((k + 1) / k) / log(high + 1) for k in range(1, high + 1)}


def test_the_free_space_has_the_distributions_of_the_paper() -> None:
    networks = draws("anynet_xa", 4000)
    stages = [dict(zip(LISTS, stage)) for network in networks for stage in zip(*(network[name] for name in LISTS))]
    depths = Counter(stage["depths"] for stage in stages)
    assert fits(depths, log_uniform(16))
    assert not fits(depths, dict.fromkeys(range(1, 17), 1 / 16))
    assert fits(Counter(stage["bottlenecks"] for stage in stages), dict.fromkeys((1, 0.5, 0.25), 1 / 3))
    assert fits(Counter(stage["group_widths"] for stage in stages), dict.fromkeys((1, 2, 4, 8, 16, 32), 1 / 6))
    # Inner channels in whole groups: any multiple of 8 will do for a ratio of 1 and 8 channels in a group, and of 16
    # channels in a group and a ratio of 2 only a multiple of 32.
    for bottleneck, group, step in ((1.0, 8, 8), (0.5, 16, 32)):
        chosen = [
            stage["widths"] for stage in stages if (stage["bottlenecks"], stage["group_widths"]) == (bottleneck, group)
        ]
        octaves = Counter((width // step).bit_length() for width in chosen)
        shares: Counter[int] = Counter()
        for k, share in log_uniform(1024 // step).items():
            shares[k.bit_length()] += share  # type: ignore[assignment]
        assert fits(octaves, shares)


def test_rising_stages_are_drawn_from_the_free_distribution_given_that_they_rise() -> None:
    """P(d) proportional to the product of P(d_i), over the five rising sequences of 1 and 2."""
    one = log_uniform(2)
    weights = {depths: prod(one[depth] for depth in depths) for depths in combinations_with_replacement((1, 2), 4)}
    found = Counter(tuple(network["depths"]) for network in draws("anynet_xe", 2000, Limits(max_depth=2)))
    assert fits(found, {depths: weight / sum(weights.values()) for depths, weight in weights.items()})


@every_space
def test_samples_are_a_function_of_the_seed(space: DesignSpace) -> None:
    state = torch.get_rng_state()
    assert draws(space, 20, seed=1) == draws(space, 20, seed=1) != draws(space, 20, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


@every_space
def test_limits_hold(space: DesignSpace) -> None:
    limits = Limits(max_depth=8, max_width=512, multiply_adds=20e6, tolerance=0.2, image_size=64, stem_width=8)
    for network in draws(space, 20, limits):
        assert max(network["depths"]) <= 8 and max(network["widths"]) <= 512 and network["stem_width"] == 8
        assert 16e6 <= multiply_adds(network, 64) <= 24e6


def test_limits_that_nothing_keeps_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"none of 50 networks drawn from anynet_xa has at most 2 blocks of 16 chan"):
        sample("anynet_xa", Random(0), Limits(max_depth=2, max_width=16, multiply_adds=1e12, max_tries=50))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_depth": 0}, "max_depth=0 must be at least 1"),
        ({"max_width": 7}, "max_width=7 must be at least 8"),
        ({"multiply_adds": 0.0}, "multiply_adds=0.0 must be above 0"),
        ({"tolerance": 1.0}, "tolerance=1.0 must be at least 0 and below 1"),
    ],
)
def test_limits_out_of_range_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        design_space({"model": Choice(("anynet_xa",))}, **options)


@every_space
def test_the_closed_form_counts_what_the_layers_do(space: DesignSpace) -> None:
    for network in draws(space, 2, Limits(max_depth=3, max_width=512)):
        with torch.device("meta"):
            model = anynet(in_channels=1, num_classes=10, **network)
        assert multiply_adds(network, 45, 1, 10) == summarize(model, (1, 45, 45)).multiply_adds


# Table 6 of the paper: depth, w0, wa, wm, group width; depths and widths of the stages; billions of multiply-adds.
PUBLISHED = {
    "200MF": ((13, 24, 36.44, 2.49, 8), (1, 1, 4, 7), (24, 56, 152, 368), 0.2),
    "3.2GF": ((25, 88, 26.31, 2.25, 48), (2, 6, 15, 2), (96, 192, 432, 1008), 3.2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lines_give_the_published_stages(name: str) -> None:
    (depth, w0, wa, wm, group_width), depths, widths, billions = PUBLISHED[name]
    found, counts = generate_widths(w0=w0, wa=wa, wm=wm, depth=depth)
    fitted, group_widths = fit_groups(found, [group_width] * 4, [1.0] * 4)
    assert (tuple(counts), tuple(fitted)) == (depths, widths)
    network = {"stem_width": 32, "depths": counts, "widths": fitted, "bottlenecks": [1.0] * 4}
    cost = multiply_adds(network | {"group_widths": group_widths}, 224)
    assert cost / 1e9 == pytest.approx(billions, rel=0.02)


SPACE = {"optim.lr": Float(1e-3, 1, log=True), "model": Choice(("anynet_xa", "regnetx_space", "regnetx", "lenet"))}


def test_a_design_space_becomes_a_network_and_all_else_is_random() -> None:
    suggest, plain = design_space(SPACE, seed=3), random(SPACE, seed=3)
    drawn = {name: 0 for name in ("anynet_xa", "regnetx_space", "regnetx", "lenet")}
    for trial in range(100):
        found, other = suggest(trial), plain(trial)
        assert found is not None and other is not None
        assert found["optim.lr"] == other["optim.lr"]
        drawn[other["model"]] += 1
        if other["model"] in DESIGN_SPACES:
            assert found["model"].pop("name") == "anynet"
            assert set(found["model"]) == {"stem_width", *LISTS}
        else:
            assert found["model"] == other["model"]
    assert min(drawn.values()) > 10


def test_networks_of_trials_and_seeds_differ() -> None:
    space = {"model": Choice(("anynet_xa",))}
    networks = [repr(design_space(space, seed)(trial)) for seed in range(5) for trial in range(20)]
    assert len(set(networks)) == 100
