"""Options: names, types, ranges; what is accepted and what each refusal says."""

from typing import Any, Literal

import pytest

from d2lcli.registry.options import check_options, check_value, show
from d2lcli.registry.signatures import Parameter, form_of, read_signature


def check(value: Any, hint: Any, name: str = "x") -> str:
    return check_value(value, Parameter(name, form_of(hint)))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, int),
        (1, float),
        (1.5, float),
        (True, bool),
        ("a", str),
        (None, int | None),
        ([], list[int]),
        ([1, 2], tuple[int, ...]),
        ((0.9, 0.999), tuple[float, float]),
        ({"a": 1.0}, dict[str, float]),
        ("auto", int | Literal["auto"]),
        (3, int | Literal["auto"]),
        (2**53, int),
        (-(2**53), int),
        (3.4e38, float),
        (1e-320, float),
    ],
)
def test_good_values(value: Any, hint: Any) -> None:
    assert check(value, hint) == ""


@pytest.mark.parametrize(
    ("value", "hint", "reason"),
    [
        (True, int, "true is not an integer"),
        (True, float, "true is not a number"),
        (1.0, int, "1.0 is not an integer"),
        ("1", int, "'1' is not an integer"),
        ("1e-3", float, "'1e-3' is not a number"),
        (1, bool, "1 is not true or false"),
        (1, str, "1 is not text"),
        (None, int, "null is not an integer"),
        (5, list[int], "5 is not a list of integers"),
        ([1, "a"], list[int], "'a' is not an integer"),
        ([0.9], tuple[float, float], "[0.9] is not a list of 2 numbers"),
        ({"a": "b"}, dict[str, float], "'b' is not a number"),
        (float("nan"), float, "nan is not a finite number"),
        (float("-inf"), float, "-inf is not a finite number"),
        (1e300, float, "1e+300 is out of range: numbers end at 3.4e+38"),
        (2**53 + 1, int, "9007199254740993 is out of range: integers end at 9,007,199,254,740,992"),
        (2**53 + 1, float, "9007199254740993 is out of range: integers end at 9,007,199,254,740,992"),
        ("sigmoit", Literal["relu", "sigmoid"], "'sigmoit' is not one of relu, sigmoid; did you mean 'sigmoid'?"),
        (1.5, int | Literal["auto"], "1.5 is not an integer or one of auto"),
        ("atuo", int | Literal["auto"] | None, "'atuo' is not an integer or one of auto or null"),
    ],
)
def test_bad_values(value: Any, hint: Any, reason: str) -> None:
    assert check(value, hint) == reason


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("lr", 0.0, -0.1),
        ("momentum", 0.99, 1.0),
        ("dropout", 1.0, 1.1),
        ("label_smoothing", 0.0, -1e-9),
        ("weight_decay", 5.0, -1e-300),
        ("eps", 1e-8, 0.0),
        ("ema", 0.999, 1.0),
        ("clip_norm", 1e-3, 0),
    ],
)
def test_ranges_of_numbers(name: str, good: float, bad: float) -> None:
    assert check(good, float, name) == ""
    assert "out of range: want" in check(bad, float, name)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "num_classes", "hidden", "image_size", "num_train", "keep"])
def test_counts_begin_at_one_and_end_somewhere(name: str) -> None:
    assert check(1, int, name) == ""
    assert "out of range" in check(0, int, name)
    assert "out of range" in check(10**9 + 1, int, name)


def test_ranges_hold_for_each_element() -> None:
    assert check([0.9, 0.999], tuple[float, float], "betas") == ""
    assert check([0.9, 1.0], tuple[float, float], "betas") == "1.0 is out of range: want >= 0 and < 1"
    assert check([256, 0], int | list[int], "hidden").startswith("0 is out of range")


def test_unknown_missing_and_wrong_are_told_together() -> None:
    def builder(model: object, size: int, lr: float = 0.1) -> None:
        """Not called."""

    problems = check_options({"lrr": 1, "lr": "x"}, read_signature(builder), "optim 'x'")
    assert problems == [
        "optim 'x': unknown option 'lrr'; did you mean 'lr'?",
        "optim 'x': lr: 'x' is not a number",
        "optim 'x': option 'model' is missing",
        "optim 'x': option 'size' is missing",
    ]


def test_live_values_pass_unchecked() -> None:
    def builder(model: object) -> None:
        """Not called."""

    assert check_options({"model": object()}, read_signature(builder), "x") == []


def test_what_is_shown_is_short_and_safe() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in ("A" * 100_000, "\x1b[2J", 10**6000, [10**6000], endless, ["x"] * 100_000, "a\u202eb"):
        shown = show(value)
        assert len(shown) <= 102
        assert shown.isascii() and shown.isprintable()
