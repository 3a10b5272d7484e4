"""Tensor parallelism step by step in float64, alone and together with data parallelism; dp, which needs GPUs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from group import run_cases
from killing import train_and_kill
from runs import d2l, outcome
from steps import difference, mean_loss, numbers, train
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from d2lcli.models.gpt import transformer_lm
from d2lcli.models.lenet import lenet
from d2lcli.models.mlp import mlp
from d2lcli.models.transformer import transformer_base
from d2lcli.models.vit import vit
from d2lcli.parallel.dp import dp
from d2lcli.parallel.single import Single, single
from d2lcli.parallel.tensor import TensorParallel, pairs, tensor

SIZES = (8, 7, 5)
made: list[TensorParallel] = []  # the group of this process, which can be joined but once


def begin() -> None:
    made.append(tensor())


def strategy(tensor_size: int | None = None) -> Single:
    """Tensor parallelism of rows of so many processes, in the group that was joined."""
    if tensor_size is None:
        return made[0]
    new = object.__new__(TensorParallel)
    new.__dict__ |= made[0].__dict__
    new.data_size, new.data_rank = new.world_size // tensor_size, new.rank // tensor_size
    mesh = init_device_mesh("cpu", (new.data_size, tensor_size), mesh_dim_names=("data", "tensor"))
    new.mesh, new.data_group = mesh["tensor"], mesh["data"].get_group()
    return new


def words(count: int) -> list[tuple[Tensor, Tensor]]:
    tokens = torch.randint(11, (count, 5), generator=torch.Generator().manual_seed(1))
    return [(tokens, tokens.roll(1, 1)), (tokens[:-1], tokens[:-1].roll(2, 1))]


def models() -> dict[str, tuple[nn.Module, Any]]:
    torch.manual_seed(0)
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.randint(3, (6,), generator=torch.Generator().manual_seed(2))
    gpt = transformer_lm(vocab_size=11, dim=8, num_heads=4, num_layers=2, hidden=16, max_len=5, dropout=0.0)
    vits = {
        "image_size": 8, "patch_size": 4, "dim": 8, "mlp_dim": 16, "num_heads": 4, "num_blocks": 2, "num_classes": 3,
    }  # fmt: skip
    return {
        "mlp": (mlp(in_features=6, num_outputs=3, hidden=[8, 4]).double(), numbers(SIZES)),
        "gpt": (gpt.double(), words(4)),
        "vit": (vit(**vits, embedding_dropout=0.0, block_dropout=0.0).double(), [(images, labels)] * 2),
    }


def case_models() -> dict[str, float]:
    """sgd: the gradient of the bias of the keys is 0 but for rounding, which Adam enlarges."""
    return {
        name: difference(
            train(strategy(), model, batches, optim="sgd", clip=0.5),
            train(single(), model, batches, optim="sgd", clip=0.5),
        )
        for name, (model, batches) in models().items()
    }


def case_adam() -> float:
    model, batches = models()["mlp"]
    return difference(train(strategy(), model, batches), train(single(), model, batches))


def case_with_data() -> dict[str, float]:
    """Rows of half of the processes; uneven batches."""
    chosen = strategy(made[0].world_size // 2)
    found = {}
    for name, (model, batches) in models().items():
        uneven = [(x[:5], y[:5]) for x, y in batches] if name == "vit" else batches
        found[name] = difference(
            train(chosen, model, uneven, optim="sgd", clip=0.5), train(single(), model, uneven, optim="sgd", clip=0.5)
        )
    return found


def case_norms() -> list[list[float]]:
    norms: list[list[float]] = [[], []]
    model, batches = models()["gpt"]
    train(strategy(), model, batches, norms=norms[0])
    train(single(), model, batches, norms=norms[1])
    return norms


def case_without_its_sum() -> float:
    """What is left when the gradients that enter the attention are not added up: a case that must differ."""
    from d2lcli.parallel import tensor as module

    model, batches = models()["gpt"]
    entering = module.SplitAttention._entering
    module.SplitAttention._entering = lambda self, x: x  # type: ignore[method-assign]
    try:
        found = train(strategy(), model, batches, optim="sgd")
    finally:
        module.SplitAttention._entering = entering  # type: ignore[method-assign]
    return difference(found, train(single(), model, batches, optim="sgd"))


def case_there_and_back() -> bool:
    chosen, (model, _) = strategy(), models()["gpt"]
    whole = {name: each.detach().clone() for name, each in model.named_parameters()}
    chosen.split(model)
    held = {name: chosen.take(name, each) for name, each in whole.items()}
    parts = dict(zip(whole, chosen.parts(list(model.parameters())), strict=True))
    back = chosen.whole({f"{name}/exp_avg": each for name, each in held.items()})
    good = all(bool((back[f"{name}/exp_avg"] == each).all()) for name, each in whole.items()) if back else True
    return good and all(bool((parts[name] == held[name]).all()) for name in whole)


def case_share() -> float:
    """Of the numbers of the blocks, what this process holds."""
    chosen, (model, _) = strategy(), models()["gpt"]
    named = [(name, each) for name, each in model.named_parameters() if "blocks" in name]
    total = sum(each.numel() for _, each in named)
    chosen.split(model)
    return sum(each.numel() for each in chosen.parts([model.get_parameter(name) for name, _ in named])) / total


def case_refused() -> list[str]:
    told = []
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3))
    for model in (conv, transformer_base(vocab_size=11, source_vocab_size=11), mlp(hidden=[7])):
        try:
            strategy().split(model)
        except ValueError as error:
            told.append(str(error))
    return told


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return run_cases(__file__, request.param, tmp_path_factory.mktemp("group"))


@pytest.mark.parametrize("model", ["mlp", "gpt", "vit"])
def test_updates_equal_those_of_one_process(cases: dict[str, list[Any]], model: str) -> None:
    assert 0 <= cases["models"][0][model] < 1e-12
    assert 0 <= cases["with_data"][0][model] < 1e-12


def test_adam_too(cases: dict[str, list[Any]]) -> None:
    assert 0 <= cases["adam"][0] < 1e-9


def test_the_norm_of_the_gradient_is_that_of_the_whole(cases: dict[str, list[Any]]) -> None:
    for ours, theirs in cases["norms"]:
        assert ours == pytest.approx(theirs, rel=1e-10)


def test_without_the_sum_of_gradients_it_differs(cases: dict[str, list[Any]]) -> None:
    assert cases["without_its_sum"][0] > 1e-6


def test_parts_become_whole_and_parts_again(cases: dict[str, list[Any]]) -> None:
    assert all(cases["there_and_back"])


def test_each_process_holds_its_share_of_the_blocks(cases: dict[str, list[Any]]) -> None:
    n = len(cases["share"])
    assert all(1 / n < share < 1 / n + 0.1 for share in cases["share"])  # norms and last biases are whole


def test_models_without_a_plan_are_refused(cases: dict[str, list[Any]]) -> None:
    for convolutions, translation, odd in cases["refused"]:
        assert "no plan for this model" in convolutions and "no plan for a model with attention to" in translation
        assert "cannot share the 7 units of layer" in odd


def test_pairs_are_those_of_layers_in_a_row() -> None:
    assert pairs(mlp(hidden=[8, 4], dropout=0.5)) == [("hidden1", "hidden2")]
    assert pairs(mlp(hidden=[8])) == [("hidden1", "output")]
    assert pairs(nn.Sequential(nn.Linear(2, 2), nn.Flatten(), nn.Linear(2, 2))) == []


@pytest.mark.slow
def test_killed_and_resumed_to_the_bit(tmp_path: Path) -> None:
    """Dropout draws the same masks in both processes."""
    words = [
        "model=vit",
        "model.dim=32",
        "model.mlp_dim=64",
        "model.num_heads=4",
        "model.image_size=32",
        "data.limit=40",
        "data.batch_size=8",
    ]
    words += ["hardware=tensor", "hardware.device=cpu", "hardware.precision=fp32", "hardware.threads=1", "ema=0.9"]
    words += ["epochs=4", "checkpoint_every=3", "scheduler=constant"]
    code, told = train_and_kill(tmp_path / "run", 1, *words)
    assert code == 7 and "rank 1 was killed by SIGKILL" in told, told
    again = d2l("train", "--resume", tmp_path / "run", timeout=120)
    assert again.returncode == 0 and "resumed at step" in again.stderr, again.stderr
    whole = d2l("train", *words, "--run-dir", tmp_path / "whole", timeout=120)
    assert whole.returncode == 0, whole.stderr
    found, expected = outcome(tmp_path / "run"), outcome(tmp_path / "whole")
    assert [name for name in expected if found[name] != expected[name]] == []


def test_dp_without_gpus_trains_as_single() -> None:
    """It says so; the logits are the model's own."""
    torch.manual_seed(0)
    model, images = lenet(in_channels=1).eval(), torch.randn(4, 1, 28, 28)
    chosen = dp(device=torch.device("cpu"))
    assert "trained as strategy=single" in chosen.note and chosen.world_size == 1
    assert torch.equal(chosen.wrap(model)(images), model(images))
    assert torch.equal(nn.DataParallel(model)(images), model(images))
    assert mean_loss(chosen.wrap(model)(images), torch.zeros(4, dtype=torch.int64)).ndim == 0
