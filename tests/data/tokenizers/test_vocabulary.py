"""The order of tokens, what is left out, and the file."""

from pathlib import Path

import pytest
from sklearn.feature_extraction.text import CountVectorizer

from d2lcli.data.tokenizers.base import read_state
from d2lcli.data.tokenizers.char import char
from d2lcli.data.tokenizers.vocabulary import Vocabulary, most_frequent
from d2lcli.data.tokenizers.word import word
from d2lcli.errors import DataError


def test_tokens_go_by_falling_count_then_by_code_point() -> None:
    tokenizer = char()
    tokenizer.train(["ccc", "bbaZ"])
    assert tokenizer.tokens == ("<unk>", "c", "b", "Z", "a")
    assert tokenizer.vocabulary.counts == (0, 3, 2, 1, 1)


def test_rare_tokens_are_left_out_and_counted_as_unknown() -> None:
    tokenizer = word(min_freq=2, reserved=["<pad>"])
    tokenizer.train(["the time machine", "by the time", "the end"])
    assert tokenizer.tokens == ("<unk>", "<pad>", "the", "time")
    assert tokenizer.vocabulary.counts == (3, 0, 3, 2)
    assert tokenizer.encode("by the machine") == [0, 2, 0]
    assert tokenizer.decode([0, 2, 1]) == "<unk> the <pad>"
    assert tokenizer.decode([0, 2, 1], skip_special=True) == "the"


def test_a_min_freq_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(DataError, match="min_freq=5 times; the most is 3"):
        char(min_freq=5).train(["aaab"])


def test_counts_equal_scikit_learn_s() -> None:
    texts = ["To be, or not to be", "that is the question:", "Whether 'tis nobler in the mind to suffer"]
    vectorizer = CountVectorizer(analyzer="char", lowercase=False)
    totals = vectorizer.fit_transform(texts).sum(axis=0).A1
    tokenizer = char()
    tokenizer.train(texts)
    found = dict(zip(tokenizer.tokens[1:], tokenizer.vocabulary.counts[1:]))
    assert found == {token: totals[place] for token, place in vectorizer.vocabulary_.items()}


def test_counts_sum_to_the_length_of_the_corpus() -> None:
    counts = {"a": 5, "b": 2, "<unk>": 4, "<eos>": 1}
    vocabulary = most_frequent(counts, 3, ("<unk>", "<eos>"))
    assert vocabulary == Vocabulary(("<unk>", "<eos>"), ("<unk>", "<eos>", "a"), (7, 0, 5))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"name": "char", "name": "word"}', '{"name": 3}', "[" * 100_000, "\xff"]
)
def test_a_file_that_holds_no_state_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"bad\.json"):
        read_state(tmp_path / "bad.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json cannot be read: No such file"):
        char().load(tmp_path / "gone.json")
