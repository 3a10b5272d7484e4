"""Word vectors in text form, read and written; the embedded tests of word vectors."""

from pathlib import Path

import pytest
import torch

from d2lcli.data.find import EMBEDDED, read_checked
from d2lcli.data.sources import WORD_SIMILARITY
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.vectors import read_vectors, write_vectors
from d2lcli.data.word_tests import word_tests
from d2lcli.errors import DataError


def read(tmp_path: Path, content: str | bytes) -> tuple[list[str], list[list[float]]]:
    path = tmp_path / "vectors.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    words, vectors = read_vectors(path)
    assert vectors.dtype == torch.float32
    return words, vectors.tolist()


@pytest.mark.parametrize("header", ["", "2 3\n"])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])  # fastText ends its lines with a space
def test_with_and_without_a_header(header: str, end: str, tmp_path: Path) -> None:
    text = header.replace("\n", end) + f"the 1 -2.5 3e-1{end}caf\u00e9 0 0.25 7{end}"
    words, vectors = read(tmp_path, text)
    assert words == ["<unk>", "the", "caf\u00e9"]
    assert vectors == [[0, 0, 0], [1, -2.5, pytest.approx(0.3)], [0, 0.25, 7]]


def test_numbers_may_be_words_and_vectors_may_have_one_component(tmp_path: Path) -> None:
    assert read(tmp_path, "1 3\n2 4\n") == (["<unk>", "1", "2"], [[0], [3], [4]])
    assert read(tmp_path, "2 1\na 4\nb 5\n") == (["<unk>", "a", "b"], [[0], [4], [5]])


def test_the_first_of_equal_words_counts_and_unk_is_zero(tmp_path: Path) -> None:
    assert read(tmp_path, "a 1 2\n<unk> 8 8\na 3 4\nb 5 6\n") == (["<unk>", "a", "b"], [[0, 0], [1, 2], [5, 6]])


def test_white_space_that_is_no_space_belongs_to_the_word(tmp_path: Path) -> None:
    assert read(tmp_path, "a\u00a0b 1\n\u2028 2\n")[0] == ["<unk>", "a\u00a0b", "\u2028"]


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    vectors = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 1e-3
    words = [f"w{i}" for i in range(49)] + ["two words"]
    write_vectors(tmp_path / "out.txt", words, vectors)
    assert (tmp_path / "out.txt").read_text().startswith("50 7\nw0 ")
    again, read_back = read_vectors(tmp_path / "out.txt")
    assert again == ["<unk>", *words[:-1], "two_words"] and torch.equal(read_back[1:], vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no word vectors in it"),
        ("\n\n", "no word vectors in it"),
        ("5 3\n", "no word vectors in it"),
        ("a 1 2\nb 1 2\nc 1\n", "line 3: 1 components, but the lines before have 2"),
        ("3 2\na 1 2 3\n", "line 2: 3 components, but the header says 2"),
        ("a\nb\n", "line 1: no components"),
        ("a 1 2\nb 1 x\x1b[31m\n", r"line 2: 'x\\x1b\[31m' is no number"),
        ("a 1 2\nb 1 nan\n", "line 2: a number that is not finite"),
        ("a 1 2\nb 1 1e39\n", "line 2: a number that is not finite"),
        ("a 1 2\na 1 2\nb inf 1\n", "line 3: a number that is not finite"),
        (b"a 1 2\nb\xff 1 2\n", "line 2: not UTF-8 at byte 1"),
        ("a  1 2\n", "line 1: '' is no number"),
    ],
)
def test_damaged_files_are_refused_by_their_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content)
    assert caught.value.exit_code == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not an existing file"):
        read_vectors(tmp_path / "none.txt")
    with pytest.raises(DataError, match="not an existing file"):
        read_vectors(tmp_path)


def test_the_embedded_tests_are_whole_and_bring_their_licence() -> None:
    for file in WORD_SIMILARITY.files:
        read_checked(EMBEDDED / "word_similarity" / file.name, file)
    licence = (EMBEDDED / "word_similarity" / "LICENSE").read_text()
    assert "Apache License" in licence and "Creative Commons Attribution 4.0" in licence


def test_tests_know_the_words_of_the_vocabulary() -> None:
    tokenizer = WordTokenizer()
    tokenizer.train(["tiger tiger Tiger cat Athens Greece Baghdad Iraq old new boy girl brother sister"])
    tests = word_tests(tokenizer)
    tiger, cat = tokenizer.id_of("tiger"), tokenizer.id_of("cat")
    assert (tests.rated["wordsim353"].total, tests.rated["simlex999"].total) == (353, 999)
    assert tests.rated["wordsim353"].pairs.tolist() == [[tiger, cat], [tiger, tiger]]  # the more frequent spelling
    assert tests.rated["wordsim353"].ratings.tolist() == [7.35, 10.0]
    assert [tokenizer.id_of("old"), tokenizer.id_of("new")] in tests.rated["simlex999"].pairs.tolist()
    asked = tests.analogies
    known = [[tokenizer.tokens[number] for number in row] for row in asked.words.tolist()]
    assert asked.total == 19_544 and ["Athens", "Greece", "Baghdad", "Iraq"] in known
    assert asked.syntactic.tolist() == [False] * len(known) and ["boy", "girl", "brother", "sister"] in known
    assert tokenizer.id_of("Tiger") not in asked.answers and 0 not in asked.answers
