"""The user's own texts with labels, numbers, tags or answers: a file with one JSON object on each line."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset, parted
from d2lcli.data.corpora import read_text
from d2lcli.data.dataset import Dataset
from d2lcli.data.examples import Kind
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer
from d2lcli.errors import DataError, clean, nearest

LARGEST_NUMBER = 3.4e38  # of float32
GUESSED: tuple[Kind, ...] = ("label", "number", "tags")
# For each kind the types that the targets of a file may have side by side.
TYPES: dict[Kind, tuple[set[type], ...]] = {
    "label": ({str}, {int}, {bool}), "number": ({int, float},), "tags": ({list},), "answer": ({str},),
}  # fmt: skip
WORDS = {
    str: "a text", int: "an integer", float: "a number", bool: "true or false", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """One object of the file, and where it stands."""

    values: Mapping[str, Any]
    path: str
    number: int

    def error(self, problem: str, hint: str = "") -> DataError:
        return DataError(f"{clean(self.path)}, line {self.number}: {problem}", hint)

    def get(self, key: str) -> Any:
        if key not in self.values:
            known = ", ".join(self.values)
            raise self.error(f"no key '{clean(key, 80)}'{nearest(key, self.values)} (its keys: {clean(known)})")
        return self.values[key]

    def text(self, key: str) -> str:
        return self.checked(self.get(key), key)

    def checked(self, value: Any, key: str) -> str:
        """A value that must be text, which half a surrogate pair is not."""
        if not isinstance(value, str):
            raise self.error(f"'{clean(key, 80)}' is {WORDS[type(value)]}, not a text")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.error(f"'{clean(key, 80)}' has a lone surrogate, which is no text")
        return value


def jsonl(
    *,
    path: str | None = None,
    text: str = "text",
    pair: str | None = None,
    target: str = "label",
    kind: Literal["auto", "label", "number", "tags", "answer"] = "auto",
    tokenizer: Tokenizer | None = None,
    num_steps: int = 128,
    val_share: float = 0.1,
) -> Dataset:
    """One JSON object on each line, UTF-8, such as {"text": "It rains.", "label": "weather"}.

    Args:
        path: the file.
        text: the key of the text; of the list of words where they are tagged; of the question where one is answered.
        pair: the key of the second text of a pair; of the text that holds the answer.
        target: the key of what is to be learnt.
        kind: label, a text or an integer for each class; number; tags, a label for each word; or answer, the text of
            the answer as it stands in `pair`, empty where it has none.  Of several places with the answer's words the
            key "start" may say which, by the number of characters before it; else it is the first.  auto takes texts or
            integers as labels, numbers of which one has a point as numbers, and lists as tags.
        tokenizer: see `movie_snippets`; None is WordPiece of 8,000 pieces at the most, which occur 5 times.
        num_steps: the most tokens of an example, special tokens included; it is cut at the end of the longer text.  An
            answer that is cut off has <cls> for a target, as one that is not there.
        val_share: the share of the lines that validates, chosen by the hash of their texts.

    Raises:
        ValueError: no path, or options that do not fit together.
        DataError: there is no such file, or one of its lines is not as it should be; it is named.
    """
    if path is None:
        raise ValueError("path is not given: name the file with data.path=FILE")
    if kind == "answer" and pair is None:
        raise ValueError("kind is answer, but pair is not given: name the key of the text that has the answer")
    plain = WordPieceTokenizer(8000, min_freq=5) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps, val_share)
    content, written = read_text(path)
    lines = list(_lines(written, path))
    if not lines:
        raise DataError(f"{clean(path)}: no examples")
    found = _kind([(line, line.get(target)) for line in lines], kind)
    if found == "tags" and pair is not None:
        raise ValueError(f"pair is '{clean(pair, 80)}', but words are tagged in one text")
    parts = parted([_text(line, found, text, pair, target) for line in lines], val_share, path)
    classes = _classes(parts, path) if found in ("label", "tags") else []
    if classes:
        order = {label: number for number, label in enumerate(classes)}
        parts = {name: [_numbered(each, order) for each in texts] for name, texts in parts.items()}
    names = [label if isinstance(label, str) else json.dumps(label) for label in classes]
    files = {path: hashlib.sha256(content).hexdigest()}
    return annotated_dataset("jsonl", parts, found, names, options, files=files, place=path, found=path)


def _lines(written: str, path: str) -> Iterator[_Line]:
    for number, line in enumerate(written.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{clean(path)}, line {number}: not JSON: {clean(error)}") from None
        if not isinstance(values, dict):
            raise DataError(f"{clean(path)}, line {number}: {WORDS[type(values)]}, not an object")
        yield _Line(values, path, number)


def _kind(targets: Sequence[tuple[_Line, Any]], wanted: str) -> Kind:
    """The kind that all targets are of.

    Raises:
        DataError: there is none, or it is not the one that is wanted; the first line that does not fit is named.
    """
    kinds: tuple[Kind, ...] = tuple(kind for kind in TYPES if kind == wanted) or GUESSED
    seen: set[type] = set()
    for line, value in targets:
        mixed = bool(seen) and type(value) not in seen
        seen.add(type(value))
        if not any(seen <= types for kind in kinds for types in TYPES[kind]):
            which = "unlike those before" if mixed else f"which is no {' or '.join(kinds)}"
            raise line.error(f"the target is {WORDS[type(value)]}, {which}")
    return next(kind for kind in kinds if any(seen <= types for types in TYPES[kind]))


def _text(line: _Line, kind: Kind, text: str, pair: str | None, target: str) -> AnnotatedText:
    value = line.get(target)
    if kind == "tags":
        return AnnotatedText(*_tagged(line, text, value), line=line.number)
    first, second = line.text(text), None if pair is None else line.text(pair)
    if kind == "answer":
        assert second is not None
        return AnnotatedText(first, second, _answer(line, second, line.checked(value, target)), line.number)
    if kind == "number" and not abs(value) <= LARGEST_NUMBER:
        raise line.error(f"the target {clean(value, 40)} is not a finite number")
    if isinstance(value, str):
        line.checked(value, target)
    return AnnotatedText(first, second, value, line.number)


def _tagged(line: _Line, key: str, tags: list[Any]) -> tuple[tuple[str, ...], None, list[Any]]:
    words = line.get(key)
    if not isinstance(words, list) or not words:
        raise line.error(f"'{clean(key, 80)}' is not a list of words, although the target is a list of tags")
    if len(words) != len(tags):
        raise line.error(f"{len(words)} words, but {len(tags)} tags")
    for tag in tags:
        if type(tag) is not int:
            line.checked(tag, "tag")
    return tuple(line.checked(word, key) for word in words), None, tags


def _answer(line: _Line, text: str, answer: str) -> tuple[int, int] | None:
    """Where the answer begins and ends in the text."""
    if not answer.strip():
        return None
    start = line.values.get("start")
    if start is None:
        start = text.find(answer)
    elif type(start) is not int or start < 0:
        raise line.error(f"'start' is {clean(start, 40)}, not the number of characters before the answer")
    if start < 0 or not text.startswith(answer, start):
        where = "in the text" if line.values.get("start") is None else f"at character {start} of the text"
        raise line.error(f"the answer '{clean(answer, 60)}' is not {where}")
    return start, start + len(answer)


def _classes(parts: Mapping[str, Sequence[AnnotatedText]], path: str) -> list[Any]:
    """The labels of the training part in their order.

    Raises:
        DataError: there is a single one, they are of several types, or the validation part has another one.
    """
    known: set[Any] = set()
    for text in parts["train"]:
        known.update(_labels(text))
        if len({type(label) for label in known}) > 1:
            raise DataError(f"{clean(path)}, line {text.line}: labels are texts or integers, not both in one file")
    for text in parts["val"]:
        for label in _labels(text):
            if label not in known:
                problem = f"the label '{clean(label, 80)}' is in the validation split only"
                hint = "give more examples of it, or another data.val_share"
                raise DataError(f"{clean(path)}, line {text.line}: {problem}", hint)
    if len(known) == 1:
        raise DataError(f"{clean(path)}: every label is '{clean(known.pop(), 80)}', but two classes are needed")
    return sorted(known)


def _labels(text: AnnotatedText) -> list[Any]:
    return text.target if isinstance(text.target, list) else [text.target]


def _numbered(text: AnnotatedText, order: Mapping[Any, int]) -> AnnotatedText:
    numbers = [order[label] for label in _labels(text)]
    return replace(text, target=numbers if isinstance(text.target, list) else numbers[0])
