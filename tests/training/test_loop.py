"""The loop against steps written out by hand: accumulation, clipping, averages, schedules, stopping, logs, files."""

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import LINEAR, MLP, SMALL, newest, outcome, resume, rows, train, weights
from torch import Tensor, nn

import d2lcli
from d2lcli.data.dataset import Dataset
from d2lcli.data.loader import Loader
from d2lcli.errors import ConfigError
from d2lcli.registry import DATASETS, MODELS
from d2lcli.training import build
from d2lcli.training.precision import LossScaler
from d2lcli.training.updates import backward

WHOLE = ("data.batch_size=40", "log_every=1")  # one batch is the whole data: no order matters


@pytest.fixture
def table() -> Dataset:
    """The 40 examples that LINEAR trains and validates on."""
    found: Dataset = DATASETS.build("synthetic_regression").head(40)
    return found


def by_hand(table: Dataset, rates: list[float]) -> tuple[list[Tensor], list[float]]:
    """Gradient descent on the mean squared error from zero, in float64; the weights (3,) after each step, the losses.

    The gradient of mean((Z w - y)^2) is 2 Z'(Z w - y) / n, with a column of ones for the bias.
    """
    z = torch.cat([table.train.inputs, torch.ones(40, 1)], dim=1).double()
    y = table.train.targets.double()
    w = torch.zeros(3, 1, dtype=torch.float64)
    path, losses = [], []
    for rate in rates:
        residual = z @ w - y
        losses.append(residual.square().mean().item())
        w = w - rate * 2 * z.T @ residual / 40
        path.append(w)
    return path, losses


def found_weights(folder: Path, file: str = "model") -> Tensor:
    kept = list(weights(folder, file).values())
    return torch.cat([tensor.flatten().double() for tensor in sorted(kept, key=Tensor.numel, reverse=True)])


ZERO = ("init=zeros", "optim.lr=0.05")


def test_steps_losses_and_logs_are_those_of_gradient_descent(table: Dataset, tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, *WHOLE, *ZERO, "epochs=6")
    path, losses = by_hand(table, [0.05] * 6)
    torch.testing.assert_close(found_weights(tmp_path / "run"), path[-1].flatten(), rtol=1e-5, atol=1e-6)
    logged = rows(tmp_path / "run", "train")
    assert [row["values"]["loss"] for row in logged] == pytest.approx(losses, rel=1e-5)
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6]
    assert all(row["values"]["lr"] == 0.05 and row["values"]["grad_norm"] > 0 for row in logged)


def test_the_logged_gradient_norm_is_that_of_the_gradient(table: Dataset, tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, *WHOLE, *ZERO, "epochs=1")
    step = by_hand(table, [1.0])[0][0]
    assert rows(tmp_path / "run", "train")[0]["values"]["grad_norm"] == pytest.approx(step.norm().item(), rel=1e-5)


def test_evaluation_is_the_mean_over_the_split(table: Dataset, tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, *WHOLE, *ZERO, "epochs=3", "data.eval_batch_size=7")
    w = found_weights(tmp_path / "run")
    errors = table.val.inputs.double() @ w[:2] + w[2] - table.val.targets.double().flatten()
    values = rows(tmp_path / "run", "val")[-1]["values"]
    assert values["loss"] == pytest.approx(errors.square().mean().item(), rel=1e-5)
    assert values["rmse"] == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_accumulated_batches_equal_one_large_one(precision: str, tmp_path: Path) -> None:
    """40 examples as one batch, as 5 of 8, and as 3 of 16, 16 and 8, whose weights differ."""
    common = (
        *SMALL,
        "model=mlp",
        "model.hidden=[8]",
        "optim=momentum",
        f"hardware.precision={precision}",
        "log_every=1",
    )
    results = {}
    for size, count in ((40, 1), (8, 5), (16, 3)):
        folder = tmp_path / str(size)
        train(folder, *common, f"data.batch_size={size}", f"accumulate={count}")
        assert [row["step"] for row in rows(folder, "train")] == [1, 2, 3]
        results[size] = found_weights(folder)
    tolerance = 1e-5 if precision == "fp32" else 2e-3
    torch.testing.assert_close(results[8], results[40], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(results[16], results[40], rtol=tolerance, atol=tolerance)


def test_an_accumulation_at_the_end_of_an_epoch_is_smaller(tmp_path: Path) -> None:
    """5 batches by 2 are updates of 16, 16 and 8 examples; losses in the log are means over examples."""
    train(tmp_path / "run", *MLP, "accumulate=2", "log_every=1", "epochs=2")
    steps = rows(tmp_path / "run", "train")
    assert [(row["step"], row["epoch"]) for row in steps] == [
        (1, 0.4),
        (2, 0.8),
        (3, 1.0),
        (4, 1.4),
        (5, 1.8),
        (6, 2.0),
    ]
    train(tmp_path / "one", *MLP, "accumulate=2", "log_every=3", "epochs=2")
    mean = sum(row["values"]["loss"] * size for row, size in zip(steps[:3], (16, 16, 8), strict=True)) / 40
    assert rows(tmp_path / "one", "train")[0]["values"]["loss"] == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_clipping_by_norm_bounds_the_update(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LossScaler", functools.partial(LossScaler, scale=16.0))  # no overflow at the first step
    words = (*LINEAR, *WHOLE, "init=zeros", "steps=1", f"hardware.precision={precision}")
    train(tmp_path / "run", *words, "optim.lr=1", "clip_norm=0.25")
    assert found_weights(tmp_path / "run").norm().item() == pytest.approx(0.25, rel=1e-4)
    assert rows(tmp_path / "run", "train")[0]["values"]["grad_norm"] > 1  # the norm before


def test_clipping_leaves_small_gradients(table: Dataset, tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, *WHOLE, *ZERO, "steps=1", "clip_norm=1000", "clip_value=1000")
    torch.testing.assert_close(
        found_weights(tmp_path / "run"), by_hand(table, [0.05])[0][0].flatten(), rtol=1e-5, atol=1e-7
    )


def test_clipping_by_value_bounds_each_entry(tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, *WHOLE, "init=zeros", "steps=1", "optim.lr=1", "clip_value=0.5")
    assert found_weights(tmp_path / "run").abs().max().item() == pytest.approx(0.5, rel=1e-6)


def test_the_average_is_saved_and_evaluated(table: Dataset, tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, *WHOLE, *ZERO, "epochs=4", "ema=0.5")
    average = torch.zeros(3, 1, dtype=torch.float64)
    path, _ = by_hand(table, [0.05] * 4)
    for w in path:
        average = 0.5 * average + 0.5 * w
    saved = found_weights(tmp_path / "run", "ema")
    torch.testing.assert_close(saved, average.flatten(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found_weights(tmp_path / "run"), path[-1].flatten(), rtol=1e-5, atol=1e-6)
    errors = table.val.inputs.double() @ saved[:2] + saved[2] - table.val.targets.double().flatten()
    assert rows(tmp_path / "run", "val")[-1]["values"]["loss"] == pytest.approx(errors.square().mean().item(), rel=1e-5)
    judged = d2lcli.evaluate(tmp_path / "run", checkpoint="last")
    assert judged["metrics"]["loss"] == rows(tmp_path / "run", "val")[-1]["values"]["loss"]


def rates(folder: Path) -> list[float]:
    return [row["values"]["lr"] for row in rows(folder, "train")]


def test_a_warmup_begins_with_its_own_rate(table: Dataset, tmp_path: Path) -> None:
    """Rates are set before the step: the first of a warmup from 0 moves nothing."""
    words = (*LINEAR, *WHOLE, "init=zeros", "optim.lr=0.08", "scheduler=warmup", "scheduler.warmup_steps=4")
    train(tmp_path / "one", *words, "steps=1")
    assert found_weights(tmp_path / "one").abs().max() == 0
    train(tmp_path / "run", *words, "steps=6")
    expected = [0.0, 0.02, 0.04, 0.06, 0.08, 0.08]
    assert rates(tmp_path / "run") == pytest.approx(expected)
    path, _ = by_hand(table, expected)
    torch.testing.assert_close(found_weights(tmp_path / "run"), path[-1].flatten(), rtol=1e-5, atol=1e-6)


def test_a_rate_of_zero_holds_after_a_resume(tmp_path: Path) -> None:
    words = (*LINEAR, *WHOLE, "init=zeros", "scheduler=cosine", "scheduler.max_update=2")
    train(tmp_path / "run", *words, "steps=3")
    before = found_weights(tmp_path / "run")
    resume(tmp_path / "run", "steps=5")
    assert rates(tmp_path / "run")[2:] == pytest.approx([0.0] * 3, abs=1e-12)
    torch.testing.assert_close(found_weights(tmp_path / "run"), before, rtol=0, atol=0)


def test_a_cosine_over_the_whole_run_by_updates(tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, "log_every=1", "epochs=2", "scheduler=cosine", "scheduler.final_lr=0.01")
    expected = [0.01 + (0.1 - 0.01) * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)]
    assert rates(tmp_path / "run") == pytest.approx(expected)


def test_a_schedule_by_epochs(tmp_path: Path) -> None:
    words = ("scheduler=multistep", "scheduler.milestones=[1,2]", "scheduler.factor=0.1")
    train(tmp_path / "run", *LINEAR, "log_every=1", *words)
    assert rates(tmp_path / "run") == pytest.approx([0.1] * 5 + [0.01] * 5 + [0.001] * 5)


def test_steps_end_a_run_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    result = train(tmp_path / "run", *MLP, "steps=7")
    assert (result["steps"], result["epochs"], result["status"]) == (7, 1.4, "finished")
    assert [row["step"] for row in rows(tmp_path / "run", "val")] == [5, 7]
    assert newest(tmp_path / "run").name == "step-00000007"


def test_steps_may_exceed_epochs(tmp_path: Path) -> None:
    assert train(tmp_path / "run", *MLP, "steps=18", "epochs=1")["steps"] == 18


def test_evaluations_every_other_epoch_and_at_the_end(tmp_path: Path) -> None:
    train(tmp_path / "run", *MLP, "eval_every=2")
    assert [row["step"] for row in rows(tmp_path / "run", "val")] == [10, 15]


def checkpoints(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*"))


def test_checkpoints_by_updates_and_how_many_stay(tmp_path: Path) -> None:
    words = (*LINEAR, "monitor=loss", "min_delta=1e9")  # the first evaluation stays the best
    train(tmp_path / "two", *words, "checkpoint_every=4", "keep=2")
    assert checkpoints(tmp_path / "two") == [5, 12, 15]
    train(tmp_path / "all", *words, "checkpoint_every=4", "keep=100")
    assert checkpoints(tmp_path / "all") == [4, 5, 8, 12, 15]


def test_of_equal_values_the_one_with_the_lower_loss_is_the_best(tmp_path: Path) -> None:
    """BLEU of short sentences without a common 4-gram is 0 from the first evaluation to the last."""
    (tmp_path / "pairs.tsv").write_text("one two\tuno dos\ntwo one\tdos uno\n" * 20)
    words = ("model=seq2seq", "model.embed_dim=4", "model.hidden_size=4", "data=parallel_text", "data.batch_size=8")
    more = (f"data.path={tmp_path / 'pairs.tsv'}", "epochs=4", "hardware=cpu", "patience=2", "keep=9")
    result = train(tmp_path / "run", *words, *more)
    found = {row["step"]: row["values"] for row in rows(tmp_path / "run", "val")}
    assert {values["bleu4"] for values in found.values()} == {0.0} and len(found) == 3  # patience counts them all
    lowest = min(found, key=lambda step: found[step]["loss"])
    assert lowest > min(found) and result["best"] == {"step": lowest, "bleu4": 0.0}


def test_best_and_last_are_links_to_what_they_say(tmp_path: Path) -> None:
    """A rate that diverges: the first evaluation is the best."""
    result = train(tmp_path / "run", *LINEAR, "optim.lr=1.2", "steps=20", "keep=1")
    values = {row["step"]: row["values"]["rmse"] for row in rows(tmp_path / "run", "val")}
    best = min(values, key=lambda step: values[step])
    assert best < 20 and result["best"] == {"step": best, "rmse": values[best]}
    folder = tmp_path / "run" / "checkpoints"
    assert (folder / "best").readlink() == Path(f"step-{best:08d}")
    assert (folder / "last").readlink() == Path("step-00000020")
    assert checkpoints(tmp_path / "run") == [best, 20]


def test_early_stopping(tmp_path: Path) -> None:
    result = train(tmp_path / "run", *LINEAR, "epochs=20", "patience=2", "min_delta=1e9")
    assert (result["steps"], result["status"], result["best"]["step"]) == (15, "finished", 5)
    assert train(tmp_path / "on", *LINEAR, "epochs=6", "patience=2", "optim.lr=0.02")["steps"] == 30  # it improves


@pytest.mark.parametrize(
    ("words", "name", "best"),
    [
        ((), "accuracy", max),
        (("monitor=loss",), "loss", min),
        (("task.metrics=[accuracy,{name: top_k, k: 3}]", "monitor=top_k"), "top_k", max),
    ],
)
def test_what_decides_which_is_best(
    words: tuple[str, ...], name: str, best: Callable[..., Any], tmp_path: Path
) -> None:
    result = train(tmp_path / "run", *MLP, *words, "epochs=4")
    values = {row["step"]: row["values"][name] for row in rows(tmp_path / "run", "val")}
    assert result["best"][name] == best(values.values())
    assert values[result["best"]["step"]] == result["best"][name]


def test_a_value_that_nobody_measures_cannot_decide(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"monitor: 'acuracy'.*did you mean 'accuracy'"):
        train(tmp_path / "run", *MLP, "monitor=acuracy")


def test_the_short_backward_is_the_same(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    for dtype in (torch.float32, torch.float64):
        gradients = []
        for way in (lambda loss: loss.backward(), lambda loss: backward(loss, torch.ones(()))):
            model.zero_grad()
            way(model.to(dtype)(inputs.to(dtype)).square().mean())
            gradients.append([parameter.grad.clone() for parameter in model.parameters()])  # type: ignore[union-attr]
        assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_a_tied_model_trains_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight under two names."""

    def tied(num_outputs: int = 1) -> nn.Module:
        model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, num_outputs))
        model[1].weight = model[0].weight
        return model

    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    MODELS.register("tied", tied, "From a test", task="regression", data="synthetic_regression")
    words = ("model=tied", *SMALL, "optim=adam", "ema=0.5")
    train(tmp_path / "run", *words, "epochs=2")
    resume(tmp_path / "run", "epochs=3")
    train(tmp_path / "whole", *words)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_the_order_is_the_loader_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch sees every example once; another epoch, another order."""
    seen: list[list[float]] = []
    batches = Loader.batches

    def noted(self: Loader, epoch: int, start: int = 0) -> Iterator[Any]:
        if not self.shuffle:
            yield from batches(self, epoch, start)
            return
        seen.append([])
        for inputs, targets in batches(self, epoch, start):
            seen[-1] += targets.flatten().tolist()
            yield inputs, targets

    monkeypatch.setattr(Loader, "batches", noted)
    train(tmp_path / "run", *LINEAR)
    assert len(seen) == 3 and all(len(set(epoch)) == 40 for epoch in seen)
    assert seen[0] != seen[1] and sorted(seen[0]) == sorted(seen[1]) == sorted(seen[2])
