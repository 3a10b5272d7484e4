"""Word vectors in text form, as GloVe, fastText and word2vec write them: a word and numbers on each line (d2l 15.7).

fastText and word2vec put a header before them, the numbers of words and of components; GloVe does not.
"""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from d2lcli.errors import DataError, clean

UNKNOWN = "<unk>"


def read_vectors(path: str | Path) -> tuple[list[str], Tensor]:
    """The words of a file and their vectors.

    The first word is `<unk>` with a zero vector, for every word that the file does not have; a line of the file for
    `<unk>` itself gives way to it.  Of a word that stands there twice the first vector counts.

    Args:
        path: the file, UTF-8; fields are parted by single spaces.

    Returns:
        n + 1 words, and their vectors (n + 1, d), float32.

    Raises:
        DataError: there is no such file, it holds no vector, or a line is not UTF-8, has another number of components
            than the first one, or something that is no finite number.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise DataError(f"word vectors: '{clean(path)}' is not an existing file")
        with file.open("rb") as stream:
            return _table(_lines(stream, clean(path)), clean(path))
    except OSError as error:
        raise DataError(f"{clean(path)}: cannot be read: {error.strerror or clean(error)}") from error


def write_vectors(path: str | Path, words: Iterable[str], vectors: Tensor) -> None:
    """Write vectors (n, d) in word2vec's text form: a header `n d`, then a word and its numbers on each line.

    Args:
        path: the file, replaced where it exists.
        words: n words; white space within one is written as `_`, for the form has no other way to hold it.
        vectors: their vectors; written with as many digits as bring the same float32 back.
    """
    rows = vectors.to("cpu", torch.float32).numpy()
    with Path(path).open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f"{rows.shape[0]} {rows.shape[1]}\n")
        for word, row in zip(words, rows, strict=True):
            stream.write("_".join(word.split()) or "_")
            stream.write(" " + " ".join(map(str, row)) + "\n")


def _lines(stream: Iterable[bytes], place: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line that is not blank, without the header."""
    held: list[str] | None = None
    for number, raw in enumerate(stream, 1):
        try:
            fields = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip(" \r\n").split(" ")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{place}, line {number}: not UTF-8 at byte {error.start} of the line",
                "convert it, for example with iconv",
            ) from None
        if number == 1 and len(fields) == 2 and fields[0].isdecimal() and fields[1].isdecimal():
            held = fields  # a header, or a vector of one component: the next line says which
            continue
        if held is not None:
            if len(fields) == 2 and held[1] != "1":
                yield 1, held
            elif len(fields) - 1 != int(held[1]):
                raise DataError(
                    f"{place}, line {number}: {len(fields) - 1} components, but the header says {held[1]}",
                    "the file is cut short or damaged: get it again",
                )
            held = None
        if fields != [""]:
            yield number, fields


def _table(lines: Iterator[tuple[int, list[str]]], place: str) -> tuple[list[str], Tensor]:
    """The words and the table of vectors; row 0 is the unknown word's."""
    words, numbers, values, width = {UNKNOWN: 0}, [0], array("f"), 0
    for number, fields in lines:
        width = width or len(fields) - 1
        if len(fields) - 1 != width or width == 0:
            problem = f"{len(fields) - 1} components, but the lines before have {width}" if width else "no components"
            raise DataError(f"{place}, line {number}: {problem}", "the file is cut short or damaged: get it again")
        if fields[0] in words:
            continue
        try:
            values.extend(map(float, fields[1:]))
        except (ValueError, OverflowError):
            wrong = next(each for each in fields[1:] if not _is_number(each))
            raise DataError(f"{place}, line {number}: '{clean(wrong, 40)}' is no number") from None
        words[fields[0]] = len(numbers)
        numbers.append(number)
    if len(numbers) == 1:
        raise DataError(f"{place}: no word vectors in it", "give a file of lines: a word, then its numbers")
    table = np.zeros((len(numbers), width), dtype=np.float32)
    table[1:] = np.frombuffer(values, dtype=np.float32).reshape(-1, width)
    wrong_rows = np.flatnonzero(~np.isfinite(table).all(1))
    if len(wrong_rows):
        raise DataError(f"{place}, line {numbers[wrong_rows[0]]}: a number that is not finite")
    return list(words), torch.from_numpy(table)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
