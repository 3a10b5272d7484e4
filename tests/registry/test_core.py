"""The registry: names, unknown names, building, registering."""

import pytest

from d2lcli.errors import ConfigError
from d2lcli.registry import MODELS, OPTIMIZERS, REGISTRIES, SCHEDULERS, Registry
from d2lcli.registry.core import Entry


def test_every_kind_is_there() -> None:
    assert set(REGISTRIES) == {
        "model", "optim", "scheduler", "strategy", "data", "task", "loss", "metric", "tokenizer", "decoder", "search",
        "init",
    }  # fmt: skip


@pytest.mark.parametrize("kind", REGISTRIES)
def test_names_are_sorted_and_described(kind: str) -> None:
    registry = REGISTRIES[kind]
    assert registry.names() == sorted(registry.names())
    assert all(registry.describe(name).description for name in registry.names())
    assert [row["name"] for row in registry.rows()] == registry.names()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"model: unknown name 'resnt18'; did you mean 'resnet18'\?"):
        MODELS.get("resnt18")


def test_an_unknown_name_far_from_all_is_answered_with_all() -> None:
    with pytest.raises(ConfigError, match=r"known: adadelta, adagrad, adam, .*yogi"):
        OPTIMIZERS.describe("\x1b[31mzzz")


def test_build_calls_the_builder() -> None:
    rate = SCHEDULERS.build("multistep", lr=0.8, milestones=[2, 4], factor=0.5)
    assert [rate(step) for step in range(6)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]


def test_build_tells_all_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        SCHEDULERS.build("cosine", lr=-1.0, max_updates=3)
    assert len(caught.value.problems) >= 2
    assert "max_update" in str(caught.value)


def test_a_taken_name_is_refused() -> None:
    registry = Registry("thing", {"a": Entry("d2lcli.errors:clean", "A thing")})
    with pytest.raises(ConfigError, match="'a' is registered already"):
        registry.register("a", str, "Another")
    registry.register("b", str, "Another", plugin="mine")
    assert registry.build("b") == ""
    assert registry.describe("b").plugin == "mine"
