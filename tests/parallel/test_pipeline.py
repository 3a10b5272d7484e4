"""Pipeline parallelism step by step in float64, its cuts, and a run."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from group import run_cases
from killing import train_and_kill
from runs import d2l, outcome, rows
from runs import train as one_process
from steps import Batches, difference, mean_loss, numbers, train
from torch import Tensor, nn

from d2lcli.models.gpt import transformer_lm
from d2lcli.models.mlp import mlp
from d2lcli.models.resnet import BasicBlock, ResNet
from d2lcli.models.vit import vit
from d2lcli.parallel.pipeline import Pipeline, count_pieces, cut, model_steps, pipeline
from d2lcli.parallel.single import single
from d2lcli.registry import MODELS, OPTIMIZERS

made: list[Pipeline] = []  # the group of this process, which can be joined but once


def begin() -> None:
    made.append(pipeline())


def strategy(schedule: str, chunks: int = 2) -> Pipeline:
    new = object.__new__(Pipeline)
    new.__dict__ |= made[0].__dict__ | {"schedule": schedule, "_schedules": {}}
    new.num_stages = new.world_size * (chunks if schedule == "interleaved" else 1)
    return new


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return mean_loss(model(batch[0]), batch[1])


def piped(chosen: Pipeline, model: nn.Module, batches: Batches, norms: list[float], optim: str) -> dict[str, Tensor]:
    """The weights after an update for each batch, as `steps.train` makes them."""
    model = copy.deepcopy(model)
    chosen.split(model)
    parts = chosen.parts(list(model.parameters()))
    optimizer = OPTIMIZERS.build(optim, params=parts, lr=0.01)
    for batch in batches:
        chosen.step(loss_of, batch, 1.0)
        chosen.collect()
        used = [each for each in parts if each.grad is not None]
        norms.append(float(chosen.norm(used, [each.grad for each in used if each.grad is not None])))
        optimizer.step()
        optimizer.zero_grad()
    return chosen.whole(dict(model.state_dict()))


def apart(schedule: str, model: nn.Module, batches: Batches, optim: str = "adamw") -> list[float]:
    """The difference of weights to those of one process, and of norms."""
    norms: list[list[float]] = [[], []]
    found = piped(strategy(schedule), model, batches, norms[0], optim)
    expected = train(single(), model, batches, norms=norms[1], optim=optim)
    return [difference(found, expected), max(abs(a - b) for a, b in zip(*norms, strict=True))]


def language_model(tied: bool = True) -> tuple[nn.Module, Batches]:
    torch.manual_seed(0)
    options = {"vocab_size": 11, "dim": 8, "num_heads": 2, "num_layers": 6, "hidden": 16, "max_len": 5, "dropout": 0.0}
    tokens = torch.randint(11, (8, 5), generator=torch.Generator().manual_seed(1))
    return transformer_lm(**options, tied=tied).double(), [(tokens, tokens.roll(1, 1)), (tokens[:4], tokens[4:])]


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return mlp(in_features=6, num_outputs=3, hidden=[8, 7, 6, 5], activation="tanh").double()


def case_schedules() -> dict[str, list[float]]:
    sizes = (8, 4, 8)
    found = {name: apart(name, perceptron(), numbers(sizes)) for name in ("gpipe", "1f1b", "interleaved")}
    return found | {"odd": apart("1f1b", perceptron(), numbers((8, 7, 5)))}


def case_gpt() -> dict[str, list[float]]:
    """sgd: the gradient of the bias of the keys is 0 but for rounding, which Adam enlarges."""
    return {
        "tied": apart("1f1b", *language_model(), optim="sgd"),
        "free": apart("interleaved", *language_model(tied=False), optim="sgd"),
    }


def case_batch_norm() -> list[float]:
    """It sees a piece of the batch: a case that must differ."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 3)).double()
    return apart("1f1b", model, numbers((8,)), optim="sgd")


def case_resnet() -> list[float]:
    """With batch norm in evaluation mode, which sees no batch."""
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (1, 1, 1, 1), 1, 3).double().eval()
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return apart("gpipe", model, [(images, torch.tensor([0, 1, 2, 0]))], optim="sgd")


def case_running_statistics() -> list[float]:
    """Those of a first stage, whose pieces of 2 are the batches of one process that takes four of them."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNorm1d(6), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 5), nn.Linear(5, 3)
    ).double()
    ((inputs, targets),) = numbers((8,))
    found = piped(strategy("gpipe"), model, [(inputs, targets)], [], "sgd")
    for piece in inputs.chunk(4):
        model(piece)
    expected = {name: each for name, each in model.state_dict().items() if "running" in name}
    return [float((found[name] - each).abs().max()) for name, each in expected.items()]


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def outcome_of_cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return run_cases(__file__, request.param, tmp_path_factory.mktemp("group"))


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "interleaved", "odd"])
def test_updates_equal_those_of_one_process(outcome_of_cases: dict[str, list[Any]], name: str) -> None:
    if name == "interleaved" and len(outcome_of_cases["schedules"]) == 4:
        pytest.skip("five layers are fewer than eight stages")
    for weights, norms in (found[name] for found in outcome_of_cases["schedules"]):
        assert weights < 1e-12 and norms < 1e-12


@pytest.mark.parametrize("name", ["tied", "free"])
def test_language_models(outcome_of_cases: dict[str, list[Any]], name: str) -> None:
    for weights, norms in (found[name] for found in outcome_of_cases["gpt"]):
        assert weights < 1e-12 and norms < 1e-12


def test_a_resnet(outcome_of_cases: dict[str, list[Any]]) -> None:
    assert all(weights < 1e-12 and norms < 1e-10 for weights, norms in outcome_of_cases["resnet"])


def test_batch_norm_sees_a_piece_at_a_time(outcome_of_cases: dict[str, list[Any]]) -> None:
    assert all(weights > 1e-4 for weights, _ in outcome_of_cases["batch_norm"])


def test_running_statistics_have_seen_the_pieces_alone(outcome_of_cases: dict[str, list[Any]]) -> None:
    assert all(max(found) < 1e-12 for found in outcome_of_cases["running_statistics"])


@pytest.mark.parametrize(
    ("sizes", "parts", "bounds"),
    [
        ([1, 1, 1, 1], 2, [(0, 2), (2, 4)]),
        ([8, 1, 1, 1], 2, [(0, 1), (1, 4)]),
        ([1, 2, 3, 4, 5], 3, [(0, 3), (3, 4), (4, 5)]),
        ([0, 0, 5], 3, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_cuts_are_even(sizes: list[int], parts: int, bounds: list[tuple[int, int]]) -> None:
    assert cut(sizes, parts) == bounds


def test_too_many_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="2 layers, fewer than the 3 stages"):
        cut([1, 1], 3)


@pytest.mark.parametrize(
    ("examples", "wanted", "processes", "pieces"),
    [(8, 4, 2, 4), (8, 3, 2, 2), (4, 4, 2, 2), (7, 4, 2, 7), (5, 4, 4, 5), (3, 4, 4, 3), (1, 4, 2, 1), (12, 4, 4, 4)],
)
def test_pieces_are_of_one_size(examples: int, wanted: int, processes: int, pieces: int) -> None:
    assert count_pieces(examples, wanted, processes) == pieces


def test_steps_are_the_model() -> None:
    """One after the other they give the outputs of the model, and together they have all of its parameters."""
    torch.manual_seed(0)
    tokens, images = torch.randint(11, (2, 5)), torch.randn(2, 3, 64, 64)
    pairs = [(language_model()[0], tokens), (perceptron(), torch.randn(2, 6, dtype=torch.float64))]
    pairs += [(MODELS.build(name, num_classes=3, in_channels=3), images) for name in ("resnet18", "regnetx_200mf")]
    pairs.append((MODELS.build("lenet"), torch.randn(2, 1, 28, 28)))
    for model, inputs in pairs:
        x = inputs
        model.eval()
        for step in model_steps(model):
            x = step.call(x)
        assert torch.equal(x, model(inputs))
        known = {id(each) for step in model_steps(model) for layer in step.layers for each in layer.parameters()}
        assert known == {id(each) for each in model.parameters()}
    with pytest.raises(ValueError, match="cannot cut this model"):
        model_steps(vit(image_size=32))


RUN = ("model=mlp", "model.hidden=[8,8]", "data.limit=40", "data.batch_size=8", "log_every=3", "hardware.threads=1")
PIPED = ("hardware=pipeline", "hardware.device=cpu", "hardware.precision=fp32", "hardware.devices=2")


@pytest.mark.slow
def test_a_run_equals_that_of_one_process(tmp_path: Path) -> None:
    words = [*RUN, "ema=0.9", "clip_norm=0.5", "accumulate=2", "epochs=2"]
    done = d2l("train", *words, *PIPED, "--run-dir", tmp_path / "run", timeout=120)
    assert done.returncode == 0, done.stderr
    one_process(tmp_path / "one", *words, "hardware=cpu")
    for found, expected in zip(rows(tmp_path / "run"), rows(tmp_path / "one"), strict=True):
        assert found["values"] == pytest.approx(expected["values"], rel=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_to_the_bit(tmp_path: Path) -> None:
    words = [*RUN, *PIPED, "model.dropout=0.2", "epochs=40", "checkpoint_every=3"]
    code, told = train_and_kill(tmp_path / "run", 1, *words)
    assert code == 7 and "rank 1 was killed by SIGKILL" in told, told
    again = d2l("train", "--resume", tmp_path / "run", timeout=120)
    assert again.returncode == 0 and "resumed at step" in again.stderr, again.stderr
    whole = d2l("train", *words, "--run-dir", tmp_path / "whole", timeout=120)
    assert whole.returncode == 0, whole.stderr
    found, expected = outcome(tmp_path / "run"), outcome(tmp_path / "whole")
    assert [name for name in expected if found[name] != expected[name]] == []
