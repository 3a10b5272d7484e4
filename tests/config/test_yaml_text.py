"""Strict YAML: what is read, what is refused and where, and that what is written is read back."""

import os
from pathlib import Path
from typing import Any

import pytest

from d2lcli.config.yaml_text import dump_yaml, load_yaml, parse_document, read_document
from d2lcli.errors import ConfigError

HARD = [
    "1e-3",
    "no",
    "12:30:45",
    "",
    "~",
    "null",
    "true",
    "0x10",
    "0o7",
    ".inf",
    "a\nb",
    "\u202e\u20ac",
    "- x",
    "#",
    "${a}",
    "1_000",
]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("+5", 5), ("0x1F", 31), ("0o17", 15), ("1e-3", 0.001), ("1.", 1.0), (".5", 0.5), ("1e5", 1e5),
     ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("no", "no"), ("yes", "yes"),
     ("12:30:45", "12:30:45"), ("'1'", "1"), ("[1, [a]]", [1, ["a"]]), ("{b: {c: 1}}", {"b": {"c": 1}}),
     ("|\n  x\n", "x\n"), ("0b1", "0b1"), ("<<", "<<"), (".inf", float("inf")), ("-.INF", float("-inf"))],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    found = parse_document(f"a: {text}", "f").values["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\ufeffa: 1\n"])
def test_little_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode())
    assert load_yaml(path) in ({}, {"a": 1})


def test_lines_of_keys() -> None:
    document = parse_document("# x\na: 1\nb:\n  c: 2\n  d: [1,\n    2]\n", "f")
    assert document.lines == {("a",): 2, ("b",): 3, ("b", "c"): 4, ("b", "d"): 5}
    assert document.place(("b", "c", "deeper")) == "f:4"
    assert document.place(("z",)) == "f"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- 1\n", "1: the top must be a mapping"),
        ("hello\n", "1: the top must be a mapping"),
        ("a:\n\tb: 1\n", "2: not YAML"),
        ("a: 1\n  b: 2\n", "2: not YAML"),
        ("a: [1, 2\n", "2: not YAML"),
        ("a: 'x\n", "2: not YAML"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "4: duplicate key 'c', first on line 3"),
        ("a: 1\n1: 2\n", "2: key 1 is not text"),
        ("null: 2\n", "1: key null is not text"),
        ("? [1, 2]\n: 3\n", "1: a key must be text"),
        ("a: !!python/object/apply:os.mkdir ['x']\n", "1: tag .*python/object/apply:os.mkdir is not allowed"),
        ("a: !!str 5\n", "1: tag tag:yaml.org,2002:str is not allowed"),
        ("a: &a [x]\n", r"1: anchors \(&\) and aliases \(\*\) are not allowed"),
        ("b: 1\na: *a\n", "2: anchors|2: not YAML"),
        ("a: 1\n---\nb: 2\n", r"2: a second document \(---\)"),
        ("a: " + "[" * 20_000, "1: nested deeper than 50 levels"),
        ("".join("  " * i + f"b{i}:\n" for i in range(200)), "51: nested deeper than 50 levels"),
        ("a: " + "9" * 5000, "1: a number of 5,000 characters"),
    ],
)  # fmt: skip
def test_refusals_name_the_line(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^f:{reason}"):
        parse_document(text, "f")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\nb: caf\xe9\n", "byte 11 is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "byte 0 is not UTF-8"),
        (b"a: 1\nb: \0\n", r":2: control character \\x00 \(byte 8\)"),
        (bytes(range(256)) * 16, "control character|not UTF-8"),
        (b"a: " + b"9" * 2_000_000, "larger than 1,048,576 bytes"),
    ],
)
def test_content_that_is_no_text(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"c\.yaml.*({reason})"):
        load_yaml(path)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(ConfigError, match=f"{name}: not a regular file"):
            load_yaml(tmp_path / name)
    for name in ("loop", "missing", "x" * 300):
        with pytest.raises(ConfigError, match="cannot be read: "):
            load_yaml(tmp_path / name)


def test_a_name_stands_for_the_path(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"^conf/c\.yaml:1: "):
        read_document(tmp_path / "c.yaml", "conf/c.yaml")


def test_what_is_written_is_read_back() -> None:
    values = {
        "node": {f"k{index}": text for index, text in enumerate(HARD)},
        "numbers": [0.1, 1e-05, 1e300, -0.0, 2**53, -7, 0],
        "mixed": [{"name": "top_k", "k": 5}, "accuracy", [], {}, None, True],
        "1": {"null": {}, "true": []},
        "long": "x " * 300,
    }
    text = dump_yaml(values)
    assert text.isascii()
    assert parse_document(text, "f").values == values


def test_tuples_are_written_as_lists() -> None:
    assert dump_yaml({"a": (1, 2)}) == "a: [1, 2]\n"
