"""The user's own texts: every kind of target, and every fault by its line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from d2lcli.data.dataset import Dataset
from d2lcli.data.examples import IGNORED, ExampleSplit
from d2lcli.data.jsonl import jsonl
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.errors import DataError

WORDS = ("sun", "rain", "snow", "wind", "fog")


def write(folder: Path, lines: list[Any], name: str = "texts.jsonl") -> str:
    path = folder / name
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def text(i: int) -> str:
    return " ".join(WORDS[(i * k) % 5] for k in range(1, 4)) + f" {i}"


def opened(folder: Path, lines: list[Any], **options: Any) -> Dataset:
    return jsonl(path=write(folder, lines), tokenizer=WordTokenizer(), **options)


def shown(data: Dataset) -> dict[str, list[Any]]:
    """The decoded tokens of all examples of both splits, with their targets."""
    found: dict[str, list[Any]] = {}
    for split in (data.train, data.val):
        assert isinstance(split, ExampleSplit) and isinstance(split.inputs, torch.Tensor) and data.tokenizer
        flat = split.kind == "tags"
        sizes = split.lengths.tolist()
        targets = split.targets.split(sizes) if flat else split.targets
        for tokens, target in zip(split.inputs.split(sizes), targets, strict=True):
            found[data.tokenizer.decode(tokens.tolist(), skip_special=True)] = target.tolist()
    return found


@pytest.mark.parametrize("labels", [("good", "bad", "ugly"), (3, 10, 200), (True, False)])
def test_texts_and_integers_are_labels(tmp_path: Path, labels: tuple[Any, ...]) -> None:
    lines = [{"text": text(i), "label": labels[i % len(labels)], "more": [1]} for i in range(60)]
    data = opened(tmp_path, lines)
    order = sorted(labels)
    assert data.classes == tuple(label if isinstance(label, str) else json.dumps(label) for label in order)
    assert data.num_outputs == len(labels) and data.shape == (128,) and (len(data.train), len(data.val)) == (54, 6)
    assert data.train.targets.dtype == torch.int64
    found = shown(data)
    for i in range(60):
        known = [word for word in text(i).split() if word in data.tokenizer.tokens]  # type: ignore[union-attr]
        assert found[" ".join(known)] == order.index(labels[i % len(labels)]) or known != text(i).split()


def test_numbers_are_numbers(tmp_path: Path) -> None:
    data = opened(tmp_path, [{"text": text(i), "label": i / 2 if i % 2 else i // 2} for i in range(40)])
    assert data.classes == () and data.num_outputs == 1 and data.train.targets.dtype == torch.float32
    assert sorted([*data.train.targets.tolist(), *data.val.targets.tolist()]) == [i / 2 for i in range(40)]
    whole = [{"text": text(i), "label": i} for i in range(40)]
    assert opened(tmp_path, whole, kind="number").num_outputs == 1
    for line in whole:
        line["label"] = len(str(line["text"])) % 4
    assert opened(tmp_path, whole).num_outputs == 4  # integers alone are labels


def test_a_pair_has_two_segments(tmp_path: Path) -> None:
    lines = [{"a": text(i), "b": text(i + 1), "same": i % 2} for i in range(30)]
    data = opened(tmp_path, lines, text="a", pair="b", target="same")
    assert isinstance(data.train, ExampleSplit)
    first = data.train.segments[: int(data.train.lengths[0])].tolist()
    assert first == [0] * 6 + [1] * 5  # <cls>, 4 words, <sep>; 4 words, <sep>


def test_words_have_tags(tmp_path: Path) -> None:
    lines = [
        {"words": text(i).split(), "tags": [w[0] if w.isalpha() else "#" for w in text(i).split()]} for i in range(30)
    ]
    data = opened(tmp_path, lines, text="words", target="tags")
    assert data.classes == ("#", "f", "r", "s", "w") and data.num_outputs == 5
    for words, tags in shown(data).items():
        assert tags[0] == tags[-1] == IGNORED
        expected = [data.classes.index(word[0] if word.isalpha() else "#") for word in words.split()]
        assert tags[1:4] == expected[:3]


def test_answers_are_spans(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"q": f"where {i}", "c": "a b a b c", "answer": "b c"} for i in range(10)]
    lines += [{"q": f"who {i}", "c": "a b a b c", "answer": "a b", "start": 4} for i in range(10)]
    lines += [{"q": f"which {i}", "c": "a b a b c", "answer": "a b", "start": None} for i in range(10)]
    lines += [{"q": f"why {i}", "c": "a b a b c", "answer": ""} for i in range(10)]
    data = opened(tmp_path, lines, text="q", pair="c", target="answer", kind="answer")
    assert data.num_outputs == 2 and data.classes == ()
    # <cls> where i <sep> a b a b c <sep>
    expected = {"where": [7, 8], "who": [6, 7], "which": [4, 5], "why": [0, 0]}
    found = shown(data)
    for words, target in found.items():
        assert target == expected[words.split()[0]]


def test_the_validation_lines_are_chosen_by_their_text(tmp_path: Path) -> None:
    lines = [{"text": text(i), "label": i % 2} for i in range(80)]
    one, other = opened(tmp_path, lines, val_share=0.25), opened(tmp_path, lines[::-1], val_share=0.25)
    assert len(one.val) == 20
    assert sorted(one.val.inputs.tolist()) == sorted(other.val.inputs.tolist())  # type: ignore[union-attr]


def test_a_trained_tokenizer_is_used_as_it_is(tmp_path: Path) -> None:
    lines = [{"text": text(i), "label": i % 2} for i in range(30)]
    known = opened(tmp_path, lines).tokenizer
    again = jsonl(path=write(tmp_path, lines[:10]), tokenizer=known)
    assert again.tokenizer is known


def test_line_ends_marks_and_empty_lines_change_nothing(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text(i) + "\u2028x", "label": i % 2}, ensure_ascii=False) for i in range(20)]
    path = tmp_path / "other.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    one = jsonl(path=str(path), tokenizer=WordTokenizer())
    other = opened(tmp_path, [*lines])
    assert one.train.inputs.tolist() == other.train.inputs.tolist()  # type: ignore[union-attr]


GOOD = [{"text": text(i), "label": WORDS[i % 2]} for i in range(20)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a", "label": ', "line 21: not JSON"),
        ("[" * 100_000, "line 21: not JSON"),
        ("9" * 5000, "line 21: not JSON"),
        ("[1, 2]", "line 21: a list, not an object"),
        ({"text": "a"}, r"line 21: no key 'label' \(its keys: text\)"),
        ({"texts": "a", "label": "sun"}, "line 21: no key 'text'; did you mean 'texts'"),
        ({"text": 5, "label": "sun"}, "line 21: 'text' is an integer, not a text"),
        ({"text": "\ud800", "label": "sun"}, "line 21: 'text' has a lone surrogate"),
        ({"text": "a", "label": "\ud800"}, "line 21: 'label' has a lone surrogate"),
        ({"text": "a", "label": 1}, "line 21: the target is an integer, unlike those before"),
        ({"text": "a", "label": 0.5}, "line 21: the target is a number, unlike those before"),
        ({"text": "a", "label": ["sun"]}, "line 21: the target is a list, unlike those before"),
        ({"text": "a", "label": None}, "line 21: the target is null, unlike those before"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: Any, problem: str) -> None:
    with pytest.raises(DataError, match=f"texts.jsonl, {problem}"):
        opened(tmp_path, [*GOOD, line])


@pytest.mark.parametrize(
    ("lines", "options", "problem"),
    [
        ([], {}, "no examples"),
        (["", " "], {}, "no examples"),
        (GOOD[:1], {}, "1 example leaves the training split empty"),
        ([{"text": text(i), "label": "sun"} for i in range(9)], {}, "every label is 'sun', but two classes are needed"),
        ([{"text": text(i), "label": None} for i in range(9)], {}, "line 1: the target is null, which is no label or"),
        (GOOD, {"kind": "number"}, "line 1: the target is a text, which is no number"),
        (GOOD, {"kind": "tags"}, "line 1: the target is a text, which is no tags"),
        ([{"text": "a", "label": float("nan")}] * 9, {}, "line 1: the target nan is not a finite number"),
        ([{"text": "a", "label": 1e39}] * 9, {}, r"line 1: the target 1e\+39 is not a finite number"),
        ([{"text": "a", "label": ["x"]}], {}, "line 1: 'text' is not a list of words"),
        ([{"text": [], "label": []}], {}, "line 1: 'text' is not a list of words"),
        ([{"text": ["a", "b"], "label": ["x"]}], {}, "line 1: 2 words, but 1 tags"),
        ([{"text": ["a", 1], "label": ["x", "y"]}], {}, "line 1: 'text' is an integer, not a text"),
        ([{"text": ["a"], "label": [None]}], {}, "line 1: 'tag' is null, not a text"),
        ([{"text": ["a", "b"], "label": ["x", 1]}] * 9, {}, "line [12]: labels are texts or integers, not both"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, lines: list[Any], options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=f"texts.jsonl.*{problem}"):
        opened(tmp_path, lines, **options)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"answer": "z"}, "the answer 'z' is not in the text"),
        ({"answer": "b", "start": 0}, "the answer 'b' is not at character 0 of the text"),
        ({"answer": "b", "start": -1}, "'start' is -1, not the number of characters before the answer"),
        ({"answer": "b", "start": "2"}, "'start' is 2, not the number of characters"),
        ({"answer": 4}, "the target is an integer, which is no answer"),
    ],
)
def test_answers_that_are_not_there(tmp_path: Path, more: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=f"line 1: {problem}"):
        opened(tmp_path, [{"q": "q", "c": "a b"} | more], text="q", pair="c", target="answer", kind="answer")


@pytest.mark.parametrize("tags", [False, True])
def test_a_label_that_only_validation_has_is_named(tmp_path: Path, tags: bool) -> None:
    def line(i: int, label: str) -> dict[str, Any]:
        return {"text": text(i).split(), "label": [label] * 4} if tags else {"text": text(i), "label": label}

    plain = opened(tmp_path, [line(i, WORDS[i % 2]) for i in range(20)], val_share=0.05)
    assert len(plain.val) == 1
    (place,) = (i for i in range(20) if text(i) not in shown_of_train(plain))
    lines = [line(i, "rare" if i == place else WORDS[i % 2]) for i in range(20)]
    with pytest.raises(DataError, match=f"line {place + 1}: the label 'rare' is in the validation split only"):
        opened(tmp_path, lines, val_share=0.05)


def shown_of_train(data: Dataset) -> set[str]:
    assert isinstance(data.train, ExampleSplit) and data.tokenizer and isinstance(data.train.inputs, torch.Tensor)
    rows = data.train.inputs.split(data.train.lengths.tolist())
    return {data.tokenizer.decode(row.tolist(), skip_special=True) for row in rows}


def test_other_bytes_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"text": "a", "label": 1}\n{"text": "caf\xe9", "label": 2}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl, line 2: not UTF-8 at byte 39"):
        jsonl(path=str(path))
    with pytest.raises(DataError, match="not an existing file"):
        jsonl(path=str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"path": None}, "path is not given"),
        ({"kind": "answer"}, "kind is answer, but pair is not given"),
        ({"num_steps": 4}, "num_steps is 4; two texts and their marks need at least 5"),
        ({"val_share": 1.0}, "val_share is 1.0"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        jsonl(**({"path": write(tmp_path, list(GOOD))} | options))


def test_tags_have_one_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pair is 'b', but words are tagged in one text"):
        opened(tmp_path, [{"text": ["a"], "label": ["x"]}], pair="b")
