"""Neighbours and sums of words against plain cosines."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from d2lcli.data.vectors import read_vectors
from d2lcli.errors import ConfigError
from d2lcli.generation.words import WordVectors, neighbours, parse, read_word_vectors, vectors

WORDS = ["king", "queen", "man", "woman", "Paris", "e-mail"]


def source(seed: int = 0) -> WordVectors:
    return WordVectors(WORDS, torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)), "here")


def test_neighbours_of_a_word() -> None:
    (found,) = neighbours(num=3)(source(), ["queen"])
    rows = source().vectors
    cosines = {word: cosine_similarity(rows[1], row, dim=0).item() for word, row in zip(WORDS, rows)}
    expected = sorted((word for word in WORDS if word != "queen"), key=lambda word: -cosines[word])[:3]
    assert found.words == expected
    assert found.cosines == pytest.approx([cosines[word] for word in expected], abs=1e-6)


@pytest.mark.parametrize("unit", [True, False])
def test_a_sum_leaves_its_own_words_out(unit: bool) -> None:
    (found,) = neighbours(num=10, unit=unit)(source(), ["king - man + woman"])
    rows = source().vectors
    parts = rows / rows.norm(dim=1, keepdim=True) if unit else rows
    query = parts[0] - parts[2] + parts[3]
    others = ["queen", "Paris", "e-mail"]
    cosines = [cosine_similarity(query, rows[WORDS.index(word)], dim=0).item() for word in others]
    assert dict(zip(found.words, found.cosines)) == pytest.approx(dict(zip(others, cosines)), abs=1e-6)
    assert found.cosines == sorted(found.cosines, reverse=True)


def test_words_are_found_in_lower_case_too() -> None:
    assert neighbours(num=1)(source(), ["KING"])[0].words == neighbours(num=1)(source(), ["king"])[0].words


@pytest.mark.parametrize(
    ("prompt", "terms"),
    [
        ("king", [(1, "king")]),
        ("- king", [(-1, "king")]),
        (" e-mail +  queen ", [(1, "e-mail"), (1, "queen")]),
        ("+ + a", [(1, "a")]),
    ],
)
def test_sums(prompt: str, terms: list[tuple[float, str]]) -> None:
    assert parse(prompt) == terms


@pytest.mark.parametrize("prompt", ["", " ", "king queen", "king -", "king - - man", "+"])
def test_what_is_no_sum(prompt: str) -> None:
    with pytest.raises(ConfigError, match="neither a word nor a sum of words"):
        parse(prompt)


def test_an_unknown_word_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no vector for 'quen'; did you mean 'queen'\\?; 6 words have one"):
        neighbours()(source(), ["quen"])
    with pytest.raises(ValueError, match="num=0"):
        neighbours(num=0)


def test_vectors_are_written_below_the_run(tmp_path: Path) -> None:
    path = vectors()(source(), tmp_path)
    assert path == tmp_path / "samples" / "vectors.txt"
    words, table = read_vectors(path)
    assert words[1:] == WORDS and torch.equal(table[1:], source().vectors)
    again = read_word_vectors(path)
    assert list(again.words) == WORDS and torch.equal(again.vectors, source().vectors)
