"""Fully sharded data parallel step by step in float64, and its runs."""

from typing import Any

import pytest
import torch
from group import run_cases
from steps import difference, numbers, train
from torch import nn

from d2lcli.models.gpt import transformer_lm
from d2lcli.parallel.fsdp import FullySharded, blocks, fsdp
from d2lcli.parallel.single import Single, single

SIZES = (8, 10, 9)  # at least two examples for each of four processes, which batch norm asks for
made: list[FullySharded] = []  # the group of this process, which can be joined but once


def begin() -> None:
    made.append(fsdp())


def strategy(**options: Any) -> Single:
    """fsdp with these options, in the group that was joined."""
    new = object.__new__(FullySharded)
    new.__dict__ |= made[0].__dict__ | options
    return new


def net(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), *layers, nn.Tanh(), nn.Linear(5, 3)).double()


def apart(chosen: Single, model: nn.Module, **how: Any) -> float:
    """How far three updates of a strategy are from those of one process, with the same optimizer and clipping."""
    same = {key: how[key] for key in ("clip", "optim") if key in how}
    return difference(train(chosen, model, numbers(SIZES), **how), train(single(), model, numbers(SIZES), **same))


def case_options() -> dict[str, float]:
    return {
        "plain": apart(strategy(), net()),
        "momentum": apart(strategy(), net(), optim="momentum"),
        "accumulated": apart(strategy(), net(), accumulate=2),
        "not freed": apart(strategy(reshard=False), net()),
        "clipped": apart(strategy(), net(), clip=0.1),
        # sgd: the gradient of a bias before batch norm is 0 but for rounding, which Adam enlarges
        "synced": apart(strategy(sync_batch_norm=True), net(nn.BatchNorm1d(5)), optim="sgd"),
        "own statistics": apart(strategy(), net(nn.BatchNorm1d(5)), optim="sgd"),
        "bf16": apart(strategy(gathered="bf16"), net()),
    }


def case_norms() -> list[list[float]]:
    norms: list[list[float]] = [[], []]
    train(strategy(), net(), numbers(SIZES), norms=norms[0])
    train(single(), net(), numbers(SIZES), norms=norms[1])
    return norms


def case_tied() -> float:
    """A language model whose head is its embedding."""
    torch.manual_seed(0)
    model = transformer_lm(vocab_size=11, dim=8, num_heads=2, num_layers=2, hidden=16, max_len=5, dropout=0.0).double()
    tokens = torch.randint(11, (6, 5), generator=torch.Generator().manual_seed(1))
    batches = [(tokens, tokens.roll(1, 1)), (tokens[:4], tokens[:4].roll(2, 1))]
    return difference(train(strategy(), model, batches), train(single(), model, batches))


def case_share() -> list[float]:
    """Numbers that this process holds, of the model and of the state of Adam, over all of them."""
    chosen, model = strategy(), net()
    chosen.split(model)
    parts = chosen.parts(list(model.parameters()))
    return [sum(part.numel() for part in parts), sum(parameter.numel() for parameter in model.parameters())]


def case_there_and_back() -> bool:
    """The part of a whole tensor is the local tensor again, of parameters and of an optimizer's state."""
    chosen, model = strategy(), net()
    chosen.split(model)
    whole = {name: torch.arange(each.numel()).view(each.shape).double() for name, each in model.named_parameters()}
    held = {name: chosen.take(name, each) for name, each in whole.items()}
    state = {f"{name}/exp_avg": each for name, each in held.items()} | {"0.weight/step": torch.tensor(3.0)}
    back = chosen.whole(state)
    good = all(bool((back[f"{name}/exp_avg"] == each).all()) for name, each in whole.items()) if back else True
    return good and all(
        part.shape == held[name].shape for name, part in zip(whole, chosen.parts(list(model.parameters())), strict=True)
    )


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return run_cases(__file__, request.param, tmp_path_factory.mktemp("group"))


@pytest.mark.parametrize("name", ["plain", "momentum", "accumulated", "not freed", "clipped", "synced"])
def test_three_updates_equal_those_of_one_process(outcome: dict[str, list[Any]], name: str) -> None:
    assert 0 <= outcome["options"][0][name] < 1e-12


def test_batch_norm_by_itself_and_half_precision_differ(outcome: dict[str, list[Any]]) -> None:
    assert outcome["options"][0]["own statistics"] > 1e-3
    assert 1e-6 < outcome["options"][0]["bf16"] < 0.1


def test_the_norm_of_the_gradient_is_that_of_the_whole(outcome: dict[str, list[Any]]) -> None:
    for ours, theirs in outcome["norms"]:
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_tied_weights(outcome: dict[str, list[Any]]) -> None:
    assert 0 <= outcome["tied"][0] < 1e-12


def test_each_process_holds_its_share(outcome: dict[str, list[Any]]) -> None:
    held, total = (sum(found[i] for found in outcome["share"]) for i in (0, 1))
    assert held * len(outcome["share"]) == total
    assert max(found[0] / found[1] for found in outcome["share"]) < 1.7 / len(outcome["share"])


def test_parts_become_whole_and_parts_again(outcome: dict[str, list[Any]]) -> None:
    assert all(outcome["there_and_back"])


def test_blocks_are_those_of_sequences_without_tied_weights() -> None:
    tied = transformer_lm(vocab_size=11, dim=8, num_heads=2, num_layers=2, hidden=16, max_len=5)
    assert [type(block).__name__ for block in blocks(tied)] == ["CausalBlock", "CausalBlock"]
    assert len(blocks(net())) == 2
