"""WordPiece: the score, a plain reference, the library `tokenizers`, what comes back and what does not, the file."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import d2lcli.data
from d2lcli.data.tokenizers.likelihood import commonest_pieces, joined, likeliest_pieces
from d2lcli.data.tokenizers.merging import Words, merged
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer, characters, wordpiece
from d2lcli.errors import DataError

BOTCHAN = Path(d2lcli.data.__file__).parent / "files" / "botchan" / "botchan.txt.gz"


@pytest.fixture(scope="module")
def botchan() -> str:
    return gzip.decompress(BOTCHAN.read_bytes()).decode()


@pytest.fixture(scope="module")
def trained(botchan: str) -> WordPieceTokenizer:
    tokenizer = wordpiece(1500, min_freq=5)
    tokenizer.train([botchan])
    return tokenizer


def test_the_first_merges_by_hand() -> None:
    """g+s scores 5/(20*5), the most; then p+u 17/(17*36), h+u and b+u the same, but pun is seen first; then h+u."""
    counts = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    assert likeliest_pieces(Words(counts, characters), 3, 1) == ["##gs", "pu", "hu"]


def plain_pieces(counts: Counter[str], number: int) -> list[str]:
    """The definition in exact fractions, everything counted anew for each merge."""
    order = sorted(counts, key=lambda word: (-counts[word], word))
    words = [(characters(word), counts[word]) for word in order]
    pieces: dict[str, None] = {}
    while len(pieces) < number:
        pairs: Counter[tuple[str, str]] = Counter()
        single: Counter[str] = Counter()
        for symbols, count in words:
            for symbol in symbols:
                single[symbol] += count
            for pair in pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: Fraction(pairs[pair], single[pair[0]] * single[pair[1]]))
        pieces[joined(best)] = None
        for symbols, _ in words:
            place = 0
            while place < len(symbols) - 1:
                if (symbols[place], symbols[place + 1]) == best:
                    symbols[place : place + 2] = [joined(best)]
                place += 1
    return list(pieces)


@pytest.mark.parametrize("seed", range(30))
def test_commonest_pieces_in_step_with_counting_anew(seed: int) -> None:
    source = random.Random(seed)
    letters = "ab" if seed % 2 else "abcde"
    counts = Counter("".join(source.choices(letters, k=source.randint(1, 12))) for _ in range(40))
    words = [(characters(word), counts[word]) for word in sorted(counts, key=lambda word: (-counts[word], word))]
    pieces: dict[str, None] = {}
    while len(pieces) < 60:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, count in words:
            for pair in pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: pairs[pair])  # of equal ones the first that was seen
        pieces[joined(best)] = None
        words = [(merged(symbols, best, joined(best)), count) for symbols, count in words]
    assert commonest_pieces(Words(counts, characters), 60, 1) == list(pieces)


def test_common_words_are_pieces_where_the_commonest_pair_is_merged(botchan: str) -> None:
    """As the library's trainer: but for ties the same pieces; the paper's score leaves "the" in parts."""
    tokenizers = pytest.importorskip("tokenizers")
    ours = wordpiece(1500, min_freq=5, score="frequency")
    ours.train([botchan])
    model = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="<unk>"))
    model.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    model.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=1500, min_frequency=5, special_tokens=["<unk>"], show_progress=False
    )
    model.train_from_iterator([botchan], trainer)
    theirs = {piece for piece in model.get_vocab() if len(piece.removeprefix("##")) > 1}  # it keeps every character
    assert len(theirs) > 1300 and len(theirs - set(ours.tokens)) < 0.03 * len(theirs)
    assert {"the", "that", "there", "##ing"} < set(ours.tokens)
    paper = wordpiece(1500, min_freq=5)
    paper.train([botchan])
    assert len(ours.encode(botchan)) < 0.7 * len(paper.encode(botchan))


@pytest.mark.parametrize("seed", range(30))
def test_pieces_in_step_with_counting_anew(seed: int) -> None:
    source = random.Random(seed)
    letters = "ab" if seed % 2 else "abcde"
    counts = Counter("".join(source.choices(letters, k=source.randint(1, 12))) for _ in range(40))
    assert likeliest_pieces(Words(counts, characters), 60, 1) == plain_pieces(counts, 60)


def test_many_pairs_in_step_with_counting_anew() -> None:
    """More symbols and pairs than the first arrays hold."""
    source = random.Random(1)
    letters = [chr(0x4E00 + i) for i in range(700)]
    counts = Counter("".join(source.choices(letters, k=5)) for _ in range(700))
    assert likeliest_pieces(Words(counts, characters), 20, 1) == plain_pieces(counts, 20)


@pytest.mark.parametrize("lower", [True, False])
def test_encoding_is_that_of_the_library(lower: bool, botchan: str) -> None:
    library = pytest.importorskip("tokenizers")
    tokenizer = wordpiece(1200, min_freq=5, lower=lower)
    tokenizer.train([botchan])
    vocabulary = {token: number for number, token in enumerate(tokenizer.tokens)}
    other = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=100_000))
    other.normalizer = library.normalizers.BertNormalizer(lowercase=lower)
    other.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    more = (
        "It's a na\u00efve caf\u00e9, X_1\u2014\u4f60\u597d! \u20ac5 \u2600\u200b? \U0001f600 ##ing e\u0301\u00c5 <UNK>"
    )
    for text in (botchan, more, botchan.upper(), "a" * 500):
        assert tokenizer.encode(text) == other.encode(text, add_special_tokens=False).ids


def test_a_library_vocabulary_cuts_as_the_library_does(botchan: str) -> None:
    """Pieces learnt by the library's own trainer, read from a file of ours."""
    library = pytest.importorskip("tokenizers")
    other = library.Tokenizer(library.models.WordPiece(unk_token="<unk>"))
    other.normalizer = library.normalizers.BertNormalizer()
    other.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    trainer = library.trainers.WordPieceTrainer(vocab_size=800, special_tokens=["<unk>"], show_progress=False)
    other.train_from_iterator([botchan], trainer)
    tokens = sorted(other.get_vocab(), key=lambda token: other.get_vocab()[token])
    tokenizer = wordpiece()
    tokenizer.train(["a"])
    tokenizer.load_state(tokenizer.state() | {"tokens": tokens, "counts": [0] * len(tokens)})
    assert tokenizer.encode(botchan) == other.encode(botchan).ids


def test_words_come_back_with_one_space_between(botchan: str) -> None:
    """Words and their order survive, how they were spaced does not: text of plain words comes back as it was."""
    tokenizer = wordpiece()
    tokenizer.train([botchan])
    plain = " ".join(word for word in botchan.lower().split() if word.isascii() and word.isalpha())
    assert tokenizer.decode(tokenizer.encode(plain)) == plain
    assert tokenizer.decode(tokenizer.encode("  It\tWAS,\n\ncaf\u00e9 (so)  ")) == "it was , cafe ( so )"
    once = tokenizer.decode(tokenizer.encode(botchan))
    assert tokenizer.decode(tokenizer.encode(once)) == once and "<unk>" not in once


def test_capitals_and_accents_stay_if_lower_is_false() -> None:
    tokenizer = wordpiece(lower=False)
    tokenizer.train(["Caf\u00e9 \u00c5"])
    assert tokenizer.decode(tokenizer.encode("Caf\u00e9 \u00c5")) == "Caf\u00e9 \u00c5"
    assert tokenizer.encode("caf\u00e9") == [0]


def test_a_word_that_cannot_be_cut_is_unknown_as_a_whole() -> None:
    tokenizer = wordpiece()
    tokenizer.train(["ab abc"])
    assert tokenizer.split("ab xab abx c") == ["ab", "xab", "abx", "c"]
    assert tokenizer.encode("xab abx c") == [0, 0, 0]
    assert tokenizer.decode([0, tokenizer.id_of("ab"), 0], skip_special=True) == "ab"


def test_a_reserved_token_that_looks_like_a_piece_is_none() -> None:
    tokenizer = wordpiece(reserved=["the", "##e"])
    tokenizer.train(["the then that", "##e"])
    assert not {1, 2} & set(tokenizer.encode("the then that he ##e"))
    assert len(set(tokenizer.tokens)) == len(tokenizer)


def test_the_size_bounds_the_alphabet_too() -> None:
    """e 4 times and a 3 times at the front, then b and ##e twice; code points decide between those."""
    tokenizer = wordpiece(5, reserved=["<pad>"])
    tokenizer.train(["e e e e a a a be be"])
    assert tokenizer.tokens == ("<unk>", "<pad>", "e", "a", "##e")
    assert tokenizer.vocabulary.counts == (2, 0, 4, 3, 0)
    assert tokenizer.encode("be e") == [0, 2]


def test_counts_are_those_of_the_encoded_corpus(trained: WordPieceTokenizer, botchan: str) -> None:
    found = Counter(trained.encode(botchan))
    assert trained.vocabulary.counts == tuple(found[number] for number in range(len(trained)))
    assert len(trained) == 1500 and found[0] > 0
    assert sorted(trained.vocabulary.counts[1:], reverse=True) == list(trained.vocabulary.counts[1:])


def test_what_stands_between_a_text_and_its_continuation() -> None:
    tokenizer = wordpiece()
    assert [tokenizer.gap(tokens) for tokens in ([], ["ab", "##c"], ["##c", "ab"])] == ["", " ", ""]


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size=2 must be at least 3"):
        wordpiece(2, reserved=["<pad>"])
    with pytest.raises(ValueError, match="vocab_size=2 must be at least 3"):
        wordpiece(2).renewed(["<pad>"]).train(["a"])
    with pytest.raises(DataError, match="min_freq=4 times; the most is 2"):
        wordpiece(min_freq=4).train(["aaab"])
    with pytest.raises(DataError, match="no tokens"):
        wordpiece().train(["\u200b \n"])


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "a vocabulary larger than its size": lambda state: state | {"vocab_size": 2},
    "lower as a number": lambda state: state | {"lower": 1},
    "a token with a capital": lambda state: state | {"tokens": [*state["tokens"][:-1], "##A"]},
    "a token of marks": lambda state: state | {"tokens": [*state["tokens"][:-1], "a-b"]},
    "a token that is only the mark": lambda state: state | {"tokens": [*state["tokens"][:-1], "##"]},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    tokenizer = wordpiece()
    tokenizer.train(["ab abc"])
    before = tokenizer.state()
    (tmp_path / "bad.json").write_text(json.dumps(DAMAGES[damage](tokenizer.state())))
    with pytest.raises(DataError, match="no file of the tokenizer 'wordpiece'") as error:
        tokenizer.load(tmp_path / "bad.json")
    assert "\n" not in str(error.value) and tokenizer.state() == before
