"""A model's options: nulls filled from the data, what the builder does not take left out, wrong images refused."""

from typing import Any

import pytest

from d2lcli.errors import ConfigError
from d2lcli.training.options import model_options


def options(shape: tuple[int, ...], outputs: int, **node: Any) -> dict[str, Any]:
    return model_options({"model": node, "task": {"name": "classification"}}, shape, outputs)


def test_images_fill_a_network_of_images() -> None:
    node = {"name": "lenet", "image_size": 28, "in_channels": None, "num_classes": None, "padding": 0}
    expected = {"image_size": 28, "in_channels": 3, "num_classes": 8, "padding": 0}
    assert options((3, 28, 28), 8, **node) == expected


def test_the_image_size_is_the_data_s() -> None:
    assert options((1, 64, 64), 10, name="lenet", image_size=28)["image_size"] == 64


def test_the_image_size_is_left_out_where_the_builder_does_not_take_it() -> None:
    node = {"name": "resnet18", "image_size": 28, "in_channels": None, "num_classes": None}
    assert options((1, 28, 28), 10, **node) == {"in_channels": 1, "num_classes": 10}


def test_examples_are_flattened_for_a_network_of_vectors() -> None:
    assert options((1, 28, 28), 10, name="mlp", in_features=None, num_outputs=None, hidden=[4]) == {
        "in_features": 784,
        "num_outputs": 10,
        "hidden": [4],
    }


def test_a_value_of_the_config_stays() -> None:
    assert options((200,), 1, name="linear_regression", in_features=7, num_outputs=2) == {
        "in_features": 7,
        "num_outputs": 2,
    }


def test_what_nobody_knows_is_the_builder_s_default() -> None:
    assert options((), 0, name="linear_regression", in_features=None, num_outputs=None) == {}
    node = {"name": "lenet", "image_size": 28, "in_channels": None}
    assert options((), 0, **node) == {"image_size": 28}


def test_the_config_is_not_changed() -> None:
    values = {"task": {"name": "classification"}, "model": {"name": "lenet", "image_size": 28, "in_channels": None}}
    model_options(values, (1, 32, 32), 10)
    assert values == {
        "task": {"name": "classification"},
        "model": {"name": "lenet", "image_size": 28, "in_channels": None},
    }


def test_images_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match="at least 12 x 12, but one of the data set is 1 x 11 x 20"):
        options((1, 11, 20), 10, name="lenet")


def test_data_that_is_not_images() -> None:
    with pytest.raises(ConfigError, match="takes images, but one example of the data has shape 200"):
        options((200,), 1, name="resnet18")


@pytest.mark.parametrize(
    ("task", "expected"),
    [("masked_language_model", "pretraining"), ("classification", "sentence"), ("regression", "sentence"),
     ("tagging", "tokens"), ("question_answering", "span")],
)  # fmt: skip
def test_what_comes_out_of_a_model_of_texts_follows_the_task(task: str, expected: str) -> None:
    node = {"name": "bert_tiny", "vocab_size": None, "output": None, "num_classes": None}
    found = model_options({"model": node, "task": {"name": task}}, (32,), 3, vocab_size=500)
    assert found == {"output": expected, "vocab_size": 500, "num_classes": 3}
    node["output"] = "tokens"
    assert model_options({"model": node, "task": {"name": task}}, (32,), 3, vocab_size=500)["output"] == "tokens"
