"""Design spaces of convolutional networks (Radosavovic et al., 2020; d2l 8.8), and a search in them.

A network is a dictionary of the 17 options of `model=anynet` with four stages: stem_width, and depths, widths,
bottlenecks and group_widths of each stage.  Bottlenecks are inner over outer channels, 1 / b in the paper's letters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lcm
from random import Random
from typing import Any, Literal, TypeAlias, get_args

from d2lcli.hpo.random import random
from d2lcli.hpo.search import Suggest, Trial
from d2lcli.hpo.space import Configuration, Float, Int, Space

DesignSpace = Literal["anynet_xa", "anynet_xb", "anynet_xc", "anynet_xd", "anynet_xe", "regnetx_space"]
DESIGN_SPACES: tuple[DesignSpace, ...] = get_args(DesignSpace)
Network: TypeAlias = dict[str, Any]

STAGES = 4
RATIOS = (1, 2, 4)  # b
GROUP_WIDTHS = (1, 2, 4, 8, 16, 32)
QUANTUM = 8  # of widths


@dataclass(frozen=True)
class Limits:
    """What every network of a sample keeps to, on top of the constraints of its space.

    Args:
        max_depth: blocks of a stage.
        max_width: channels of a stage.
        multiply_adds: wanted in one forward pass; None for any number.
        tolerance: how far from it a network may be, as a share of it.
        image_size, in_channels, num_classes: of the data, on which the multiply-adds depend.
        stem_width: channels before the first stage; it is not drawn.
        max_tries: draws after which the search for one network is given up.

    Raises:
        ValueError: a number is out of range.
    """

    max_depth: int = 16
    max_width: int = 1024
    multiply_adds: float | None = None
    tolerance: float = 0.1
    image_size: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    stem_width: int = 32
    max_tries: int = 20_000

    def __post_init__(self) -> None:
        for name in ("max_depth", "image_size", "in_channels", "num_classes", "stem_width", "max_tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least 1")
        if self.max_width < QUANTUM:
            raise ValueError(f"max_width={self.max_width!r} must be at least {QUANTUM}: widths are multiples of it")
        if self.multiply_adds is not None and self.multiply_adds <= 0:
            raise ValueError(f"multiply_adds={self.multiply_adds!r} must be above 0")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance!r} must be at least 0 and below 1")

    def hold(self, network: Network) -> bool:
        """Whether a network keeps them."""
        if max(network["depths"]) > self.max_depth or max(network["widths"]) > self.max_width:
            return False
        if self.multiply_adds is None:
            return True
        cost = multiply_adds(network, self.image_size, self.in_channels, self.num_classes)
        return abs(cost - self.multiply_adds) <= self.tolerance * self.multiply_adds

    def __str__(self) -> str:
        words = f"at most {self.max_depth} blocks of {self.max_width} channels in a stage"
        if self.multiply_adds is None:
            return words
        side = self.image_size
        return f"{words} and {self.multiply_adds:.4g} +- {self.tolerance:.0%} multiply-adds at {side} x {side}"


def design_space(
    space: Space,
    seed: int = 0,
    max_depth: int = 16,
    max_width: int = 1024,
    multiply_adds: float | None = None,
    tolerance: float = 0.1,
    image_size: int = 224,
    in_channels: int = 3,
    num_classes: int = 1000,
    stem_width: int = 32,
    max_tries: int = 20_000,
) -> Suggest:
    """Random search in which a design space may stand for `model`: each trial then has an AnyNet drawn from it.

    Where the value drawn for the dimension `model` is one of `DESIGN_SPACES`, it becomes {name: anynet, depths: ...}.
    So `Choice(("anynet_xa", "regnetx_space"))` compares two spaces, and all else is drawn as by `random`.

    Args:
        space: the dimensions by name.
        seed: at least 0.
        max_depth, max_width, multiply_adds, tolerance: of the networks, see `Limits`.
        image_size, in_channels, num_classes, stem_width, max_tries: see `Limits`.

    Returns:
        From the number of a trial, from 0 on, to its configuration; there is always one.  It raises ValueError where
        no network keeps the limits.

    Raises:
        ValueError: the space is empty, the seed is below 0, or a limit is out of range.
    """
    limits = Limits(
        max_depth, max_width, multiply_adds, tolerance, image_size, in_channels, num_classes, stem_width, max_tries
    )
    drawn = random(space, seed)

    def suggest(trial: int, trials: Sequence[Trial] = ()) -> Configuration | None:
        found = drawn(trial)
        if found is not None and found.get("model") in DESIGN_SPACES:
            found["model"] = {"name": "anynet"} | sample(found["model"], Random(f"{seed}/{trial}/model/anynet"), limits)
        return found

    return suggest


def sample(space: DesignSpace, rng: Random, limits: Limits = Limits()) -> Network:
    """One network of a design space.  Each space is a part of the one before it, but for RegNetX.

    anynet_xa: four stages, each of d <= 16 blocks (log-uniform), b in {1, 2, 4} and group width in {1, 2, 4, ..., 32}
        (all equally probable), and w <= 1024 channels, log-uniform among the multiples of 8 whose inner channels w / b
        are whole groups.
    anynet_xb: one b for all stages.
    anynet_xc: one group width for all stages.
    anynet_xd: no stage is narrower than the one before it.
    anynet_xe: no stage has fewer blocks than the one before it.
    regnetx_space: the widths of blocks follow a line, see `generate_widths` in models/regnet.py, of 4 <= d < 64 blocks
        in all (uniform), 8 <= w0 < 256, a multiple of 8, 8 <= wa < 256 and 1.5 <= wm <= 3 (log-uniform).  b = 1, and
        one group width, to which widths are then rounded.  Lines that do not give four stages are drawn again.

    Args:
        space: its name.
        rng: gives all randomness.
        limits: kept by drawing again.

    Raises:
        ValueError: no network that was drawn keeps the limits.
    """
    level = DESIGN_SPACES.index(space)
    for _ in range(limits.max_tries):
        network = _draw_regnetx(rng, limits) if space == "regnetx_space" else _draw_anynet(level, rng, limits)
        if network is not None and limits.hold(network):
            return network
    raise ValueError(
        f"none of {limits.max_tries} networks drawn from {space} has {limits}; widen the limits or allow more max_tries"
    )


def _draw_anynet(level: int, rng: Random, limits: Limits) -> Network | None:
    """`level` is how many of the constraints B, C, D and E hold.  None where the groups are wider than the limit."""
    ratios = _each(RATIOS, rng, shared=level >= 1)
    group_widths = _each(GROUP_WIDTHS, rng, shared=level >= 2)
    steps = [lcm(QUANTUM, b * g) for b, g in zip(ratios, group_widths)]
    if max(steps) > limits.max_width:
        return None

    def widths() -> list[int]:
        return [step * _log_uniform(limits.max_width // step, rng) for step in steps]

    def depths() -> list[int]:
        return [_log_uniform(limits.max_depth, rng) for _ in range(STAGES)]

    return {
        "stem_width": limits.stem_width,
        "depths": _rising(depths) if level >= 4 else depths(),
        "widths": _rising(widths) if level >= 3 else widths(),
        "bottlenecks": [1 / b for b in ratios],
        "group_widths": group_widths,
    }


def _draw_regnetx(rng: Random, limits: Limits) -> Network | None:
    """None where the line does not give four stages, or one that is narrower than a group."""
    from d2lcli.models.regnet import fit_groups, generate_widths  # loads torch, which no other search needs

    widths, depths = generate_widths(
        w0=QUANTUM * _log_uniform(31, rng),
        wa=Float(8, 256, log=True).at(rng.random()),
        wm=Float(1.5, 3, log=True).at(rng.random()),
        depth=Int(STAGES, 63).at(rng.random()),
    )
    group_widths = _each(GROUP_WIDTHS, rng, shared=True)
    if len(widths) != STAGES or min(widths) < group_widths[0]:
        return None
    ones = [1.0] * STAGES
    widths, _ = fit_groups(widths, group_widths, ones)
    network = {"stem_width": limits.stem_width, "depths": depths, "widths": widths}
    return network | {"bottlenecks": ones, "group_widths": group_widths}


def _each(values: tuple[int, ...], rng: Random, shared: bool) -> list[int]:
    """One of the values for each stage, or the same for all."""
    return [rng.choice(values)] * STAGES if shared else [rng.choice(values) for _ in range(STAGES)]


def _log_uniform(high: int, rng: Random) -> int:
    """From 1 to `high`, see `Int`."""
    return 1 if high == 1 else Int(1, high, log=True).at(rng.random())


def _rising(draw: Callable[[], list[int]]) -> list[int]:
    """The first draw in which nothing falls: of four numbers from one distribution, at least one draw in 24."""
    while (found := draw()) != sorted(found):
        pass
    return found


def multiply_adds(network: Network, image_size: int, in_channels: int = 3, num_classes: int = 1000) -> int:
    """Of one forward pass, in closed form: an n x n convolution costs n^2 c_in c_out / groups for each pixel it gives.

    Args:
        network: options of `model=anynet`, with lists for all stages.
        image_size: the side; a stride of 2 leaves half of it, rounded up.
        in_channels, num_classes: of the data.
    """
    side = _half(image_size)
    channels = network["stem_width"]
    total = side**2 * 9 * in_channels * channels
    stages = zip(network["depths"], network["widths"], network["bottlenecks"], network["group_widths"])
    for depth, width, bottleneck, group_width in stages:
        inner = round(bottleneck * width)
        after = _half(side)
        # The first block: its 1 x 1 convolution sees the large map, its shortcut is a convolution, too.
        total += side**2 * channels * inner + after**2 * channels * width
        total += after**2 * ((depth - 1) * width * inner + depth * (9 * inner * group_width + inner * width))
        side, channels = after, width
    return int(total + channels * num_classes)


def _half(side: int) -> int:
    return (side + 1) // 2
