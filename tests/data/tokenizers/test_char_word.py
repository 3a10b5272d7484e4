"""Characters and words, and the book's figures for The Time Machine where that file is at hand."""

import os
import random
import re
from pathlib import Path

import pytest

from d2lcli.data.tokenizers.char import char
from d2lcli.data.tokenizers.word import word

# Read when this file is imported: a fixture of this folder clears $D2L_DATA for each test.
PLACES = [Path(place) for place in os.environ.get("D2L_DATA", "").split(":") if place]
BOOKS = [path for place in PLACES for path in (place / "timemachine.txt", place / "book" / "timemachine.txt")]
BOOK = next((path for path in BOOKS if path.is_file()), None)


@pytest.mark.parametrize("seed", range(20))
def test_any_text_of_known_characters_comes_back(seed: int) -> None:
    """Over all of Unicode: control characters, spaces of every kind, lone surrogates, what is not assigned."""
    source = random.Random(seed)
    text = "".join(chr(source.randrange(0x110000)) for _ in range(300)) + "\r\n\t \0"
    tokenizer = char()
    tokenizer.train([text])
    assert len(tokenizer.encode(text)) == len(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_lone_surrogates_survive_the_file(tmp_path: Path) -> None:
    tokenizer, again = char(), char()
    tokenizer.train(["a\ud800\U0001f600"])
    tokenizer.save(tmp_path / "t.json")
    again.load(tmp_path / "t.json")
    assert again.tokens == tokenizer.tokens


def test_characters_are_code_points() -> None:
    tokenizer = char()
    tokenizer.train(["e\u0301\u00e9"])  # the same letter, composed from two and as one
    assert len(tokenizer) == 4
    assert len(tokenizer.encode("e\u0301")) == 2


def test_words_keep_case_and_marks_but_not_spacing() -> None:
    tokenizer = word()
    tokenizer.train(["It was.\n\tit  was"])
    assert tokenizer.tokens == ("<unk>", "It", "it", "was", "was.")
    assert tokenizer.decode(tokenizer.encode(" it\twas. \n It ")) == "it was. It"


def test_what_stands_between_a_text_and_its_continuation() -> None:
    assert [word().gap(tokens) for tokens in ([], ["it"])] == ["", " "]
    assert char().gap(["i"]) == ""


@pytest.mark.parametrize("number", [-1, 3, 10**30])
def test_an_id_outside_the_vocabulary_is_refused(number: int) -> None:
    tokenizer = char()
    tokenizer.train(["ab"])
    with pytest.raises(ValueError, match=f"id {number} is outside the vocabulary of 3 tokens"):
        tokenizer.decode([1, number])


def test_one_text_in_place_of_several_is_refused() -> None:
    with pytest.raises(ValueError, match="a list of texts"):
        word().train("it was")


@pytest.mark.skipif(BOOK is None, reason="timemachine.txt is not below $D2L_DATA")
def test_the_time_machine_has_the_book_s_figures() -> None:
    assert BOOK is not None
    text = re.sub("[^A-Za-z]+", " ", BOOK.read_text(encoding="utf-8")).lower()
    characters, words = char(), word()
    characters.train([text])
    words.train([text])
    assert len(characters.encode(text)) == 173_428
    assert len(characters) == 28
    assert characters.decode(characters.encode(text)) == text
    assert list(zip(words.tokens, words.vocabulary.counts))[1:4] == [("the", 2261), ("i", 1267), ("and", 1245)]
