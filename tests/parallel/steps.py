"""Training in a few updates under a strategy, as the loop does it, for the tests of strategies."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.data.loader import part
from d2lcli.parallel.single import Single
from d2lcli.registry import OPTIMIZERS

Batches = Sequence[tuple[Tensor, Tensor]]


def numbers(sizes: Sequence[int], features: int = 6, outputs: int = 3) -> Batches:
    """Batches of float64 inputs and classes; uneven ones where the sizes are."""
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, features, generator=generator, dtype=torch.float64),
            torch.randint(outputs, (size,), generator=generator),
        )
        for size in sizes
    ]


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the classes, of tokens too."""
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def train(
    strategy: Single,
    model: nn.Module,
    batches: Batches,
    *,
    optim: str = "adamw",
    clip: float | None = None,
    accumulate: int = 1,
    norms: list[float] | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = mean_loss,
) -> dict[str, Tensor]:
    """The whole weights of a copy of `model` after an update for each batch, in the first process.

    Args:
        clip: of the gradient's norm.
        accumulate: into how many pieces each process's part of a batch is cut.
        norms: takes up the norm of each gradient.
    """
    model = strategy.adapt(copy.deepcopy(model))
    strategy.split(model)
    parts = strategy.parts(list(model.parameters()))
    optimizer = OPTIMIZERS.build(optim, params=parts, lr=0.01)
    strategy.bind(optimizer)
    module = strategy.wrap(model)
    for inputs, targets in batches:
        low, high = part(len(inputs), strategy.data_rank, strategy.data_size)
        pieces = list(zip(inputs[low:high].chunk(accumulate), targets[low:high].chunk(accumulate), strict=True))
        held = [strategy.hold(module) for _ in pieces[1:]]
        for number, (x, y) in enumerate(pieces):
            weight = len(x) * strategy.data_size * strategy.factor / len(inputs)
            if number < len(held):
                with held[number]:
                    (loss_of(module(x), y) * weight).backward()
            else:
                (loss_of(module(x), y) * weight).backward()
        strategy.collect()
        used = [each for each in parts if each.grad is not None]
        norm = strategy.norm(used, [each.grad for each in used if each.grad is not None])
        if norms is not None:
            norms.append(float(norm))
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(used, clip, norm)
        optimizer.step()
        optimizer.zero_grad()
    return {name: tensor.detach().clone() for name, tensor in strategy.whole(dict(model.state_dict())).items()}


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest difference of any number; -1 in a process that was not given the whole."""
    if not found:
        return -1.0
    assert found.keys() == expected.keys()
    return max(float((found[name] - expected[name]).abs().max()) for name in expected)
