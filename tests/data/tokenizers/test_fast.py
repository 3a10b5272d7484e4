"""Byte pairs by the library `tokenizers` or by Python: equal ids for any text, and when which of the two is taken."""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from d2lcli.data.tokenizers import bpe as bpe_module
from d2lcli.data.tokenizers import subwords
from d2lcli.data.tokenizers.bpe import SYMBOLS, BPETokenizer, Rule, bpe
from d2lcli.data.tokenizers.fast import in_step, library, merge_words
from d2lcli.data.tokenizers.merging import Pair, apply_merges, merged

both_rules = pytest.mark.parametrize("rule", ["d2l", "gpt2"])
SPACES = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u200b\u3000\ufeff"


def any_text(source: random.Random) -> str:
    """Characters from everywhere, lone surrogates too, among words, marks and runs of one character."""
    kinds: list[Callable[[], str]] = [
        lambda: chr(source.randrange(0x110000)),
        lambda: chr(source.randrange(0x3000)),
        lambda: source.choice(SPACES) * source.randrange(1, 4),
        lambda: source.choice(
            ["the", " and", "I'll", "'s", "it's", "<unk>", "<|endoftext|>", "e\u0301", "\u00bd\u2167"]
        ),
        lambda: source.choice("a .7\u00e9\u4f60") * source.randrange(300),
        lambda: "".join(source.choices("abe\u0300", k=source.randrange(400))),
    ]
    return "".join(source.choice(kinds)() for _ in range(source.randrange(40)))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    source = random.Random(0)
    return [any_text(source) for _ in range(600)]


def taught(rule: Rule, texts: Sequence[str], size: int = 1500) -> BPETokenizer:
    tokenizer = bpe(size, reserved=["the", "<eos>"], rule=rule)
    tokenizer.train(texts)
    return tokenizer


@both_rules
def test_ids_are_equal_with_and_without_the_library(
    rule: Rule, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tokenizers")
    tokenizer = taught(rule, texts[::2])
    calls = 0

    def counted(*given: Any) -> list[list[int]]:
        nonlocal calls
        calls += 1
        return merge_words(*given)

    monkeypatch.setattr(bpe_module, "MANY", 1)
    monkeypatch.setattr(bpe_module, "merge_words", counted)
    ids = [tokenizer.encode(text) for text in texts]
    assert calls > 400 and [tokenizer.decode(each) for each in ids] == texts

    monkeypatch.setitem(sys.modules, "tokenizers", None)
    alone = bpe()
    alone.load_state(tokenizer.state())
    assert library() is None and [alone.encode(text) for text in texts] == ids
    assert [[alone.id_of(token) for token in alone.split(text)] for text in texts] == ids
    assert alone.encode("".join(texts)) == tokenizer.encode("".join(texts))


def test_few_pieces_are_not_worth_the_library(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("the library was asked for")

    tokenizer = taught("d2l", texts)
    monkeypatch.setattr(bpe_module, "library", refuse)
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


def test_a_token_that_two_merges_make_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """a bc a bc: we merge a and bc twice, the library once, and then abc with the second a, which was learnt before."""
    tokenizers = pytest.importorskip("tokenizers")
    merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("abc", "a"), ("a", "bc")]
    tokenizer = bpe()
    tokenizer.train(["a"])
    tokens = ["<unk>", *SYMBOLS, "bc", "ab", "abc", "abca"]
    more = {"tokens": tokens, "counts": [0] * len(tokens), "merges": [list(pair) for pair in merges]}
    tokenizer.load_state(tokenizer.state() | more)
    monkeypatch.setattr(bpe_module, "MANY", 1)
    assert not in_step(merges) and in_step(merges[:4])
    assert [tokenizer.tokens[number] for number in tokenizer.encode("abcabc")] == ["abc", "abc"]
    found = merge_words(tokenizers, tokenizer.vocabulary.ids, merges, ["abcabc"])
    assert [tokenizer.tokens[number] for number in found[0]] == ["abca", "bc"]


def plain_apply(symbols: Sequence[str], ranks: dict[Pair, int]) -> Sequence[str]:
    """As in GPT-2's own code: look for the pair of the least rank, and merge it everywhere, again and again."""
    while known := [pair for pair in pairwise(symbols) if pair in ranks]:
        symbols = merged(symbols, best := min(known, key=ranks.__getitem__), "".join(best))
    return symbols


@pytest.mark.parametrize("seed", range(20))
def test_words_are_merged_in_step_with_looking_anew(seed: int) -> None:
    """Merges in any order, of which several may make one token."""
    source = random.Random(seed)
    tokens = [*"abc", *("".join(source.choices("abc", k=source.choice([2, 3]))) for _ in range(12))]
    pairs: set[Pair] = {(source.choice(tokens), source.choice(tokens)) for _ in range(80)}
    merges = dict(zip(sorted(pairs), source.sample(range(len(pairs)), len(pairs))))
    words = ["".join(source.choices("abc", k=source.randrange(size))) for size in range(1, 200) for _ in range(2)]
    found = [apply_merges(word, merges) for word in words]
    assert found == [list(plain_apply(word, merges)) for word in words]
    assert sum(map(len, found)) < sum(map(len, words))


@both_rules
def test_a_long_word_takes_no_longer_than_its_length_allows(rule: Rule, texts: list[str]) -> None:
    tokenizer = taught(rule, texts)
    text = "".join(random.Random(1).choices("abcdefgh", k=300_000))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_what_is_remembered_has_a_bound(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = taught("d2l", texts)
    ids = [tokenizer.encode(text) for text in texts]
    monkeypatch.setattr(subwords, "MOST_REMEMBERED", 10)
    assert [tokenizer.encode(text) for text in texts] == ids
    assert tokenizer._remembered is not None and len(tokenizer._remembered[1]) <= 10


def test_ids_follow_a_new_vocabulary(texts: list[str]) -> None:
    tokenizer, other = taught("d2l", texts), taught("d2l", ["other words entirely"], 300)
    tokenizer.encode(texts[1])
    tokenizer.load_state(other.state())
    assert tokenizer.encode("words entirely") == other.encode("words entirely")


def test_nothing_is_imported_before_it_is_needed() -> None:
    command = "import sys, d2lcli.data.tokenizers.published; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
