"""What the config says of strategies: learning rates that grow with the processes, and what does not go together."""

from pathlib import Path

import pytest
from runs import LINEAR, MLP, assert_equal, outcome, rows, train

from d2lcli.config import compose
from d2lcli.errors import ConfigError
from d2lcli.registry import STRATEGIES
from d2lcli.training.build import build_schedule


@pytest.mark.parametrize(
    ("scaling", "rates"),
    [
        ("none", [0.1, 0.1, 0.05, 0.05]),
        ("linear", [0.4, 0.4, 0.2, 0.2]),
        ("sqrt", [0.2, 0.2, 0.1, 0.1]),
    ],
)
def test_rates_grow_with_the_parts_of_a_batch(scaling: str, rates: list[float]) -> None:
    """4 parts: 4 times as much, or twice; with a schedule that halves the rate after two updates."""
    words = ["optim=sgd", "optim.lr=0.1", f"optim.lr_scaling={scaling}", "scheduler=multistep"]
    values = compose([*words, "scheduler.milestones=[2]", "scheduler.factor=0.5"]).values
    schedule = build_schedule(values, 4, 1, data_size=4)
    assert [schedule(step) for step in range(4)] == pytest.approx(rates)


def test_the_lag_of_a_schedule_is_scaled_too() -> None:
    words = ["optim=sgd", "optim.lr=0.1", "optim.lr_scaling=linear", "scheduler=factor", "scheduler.lag=1"]
    schedule = build_schedule(compose([*words, "scheduler.factor=0.5"]).values, 4, 1, data_size=2)
    assert [schedule(step) for step in (0, 1)] == pytest.approx([0.2, 0.2])


def test_one_process_has_its_own_rate(tmp_path: Path) -> None:
    train(tmp_path / "run", *LINEAR, "optim.lr=0.03", "optim.lr_scaling=linear", "epochs=1")
    assert rows(tmp_path / "run", "train")[0]["values"]["lr"] == 0.03


def test_dp_on_a_cpu_is_a_single_process(tmp_path: Path) -> None:
    train(tmp_path / "dp", *MLP, "strategy=dp")
    train(tmp_path / "single", *MLP)
    assert_equal(tmp_path / "dp", outcome(tmp_path / "single"))


@pytest.mark.parametrize("name", [name for name in STRATEGIES.names() if name != "single"])
def test_each_strategy_has_a_hardware_bundle_of_its_name(name: str) -> None:
    assert compose([f"hardware={name}"]).values["strategy"]["name"] == name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("hardware=fsdp", "optim=lbfgs"), "'lbfgs' needs all weights in one process, which strategy 'fsdp' splits"),
        (("hardware=parameter_server", "strategy.mode=async", "clip_norm=1"), "clip_norm: servers of strategy.mode"),
        (("hardware=dp", "hardware.devices=2"), "2 devices need a strategy that uses them"),
        (("hardware=ddp", "strategy.compression=fp8"), "'fp8' is not one of none, fp16, bf16"),
        (("strategy.max_restarts=1",), "max_restarts"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(list(words))
    assert any(told in line for line in caught.value.lines), caught.value.lines
