"""Byte-pair encoding: the book's merges, a plain reference, the library `tokenizers`, any text back, the file."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import d2lcli.data
from d2lcli.data.tokenizers.bpe import PIECES, SYMBOLS, BPETokenizer, bpe
from d2lcli.data.tokenizers.merging import Pair, Words, commonest_merges
from d2lcli.errors import DataError

BOTCHAN = Path(d2lcli.data.__file__).parent / "files" / "botchan" / "botchan.txt.gz"
# d2l 15.6.2: words with an end symbol, and how often they occur.
BOOK = {"fast_": 4, "faster_": 3, "tall_": 5, "taller_": 4}
BOOK_TEXTS = [word for word, count in BOOK.items() for _ in range(count)]
BOOK_MERGES = "t a;ta l;tal l;f a;fa s;fas t;e r;er _;tall _;fast _"


@pytest.fixture(scope="module")
def botchan() -> str:
    return gzip.decompress(BOTCHAN.read_bytes()).decode()


@pytest.fixture(scope="module")
def trained(botchan: str) -> BPETokenizer:
    tokenizer = bpe(1500)
    tokenizer.train([botchan])
    return tokenizer


def test_the_book_s_ten_merges() -> None:
    tokenizer = bpe(256 + 1 + 10)
    tokenizer.train(BOOK_TEXTS)
    assert ";".join(" ".join(pair) for pair in tokenizer.state()["merges"]) == BOOK_MERGES
    assert tokenizer.tokens[-10:] == tuple(BOOK_MERGES.replace(" ", "").split(";"))
    assert [tokenizer.split(word) for word in BOOK] == [["fast_"], ["fast", "er_"], ["tall_"], ["tall", "er_"]]
    assert tokenizer.split("tallest_") == ["tall", "e", "s", "t", "_"]
    assert tokenizer.split("fatter_") == ["fa", "t", "t", "er_"]


def plain_merges(counts: Counter[str], number: int) -> list[Pair]:
    """As written in the paper: count every pair anew for each merge."""
    words = [(list(word), counts[word]) for word in sorted(counts, key=lambda word: (-counts[word], word))]
    merges: dict[Pair, None] = {}
    while len({"".join(pair) for pair in merges}) < number:
        found: Counter[Pair] = Counter()
        for symbols, count in words:
            for pair in pairwise(symbols):
                found[pair] += count
        if not found:
            break
        best = max(found, key=lambda pair: found[pair])  # of several the first, as a dict keeps its order
        merges[best] = None
        for symbols, _ in words:
            place = 0
            while place < len(symbols) - 1:
                if (symbols[place], symbols[place + 1]) == best:
                    symbols[place : place + 2] = ["".join(best)]
                place += 1
    return list(merges)


@pytest.mark.parametrize("seed", range(30))
def test_merges_in_step_with_counting_anew(seed: int) -> None:
    source = random.Random(seed)
    letters = "ab" if seed % 2 else "abcde"
    counts = Counter("".join(source.choices(letters, k=source.randint(1, 12))) for _ in range(40))
    assert commonest_merges(Words(counts, list), 60, 1) == plain_merges(counts, 60)


def test_merges_of_botchan_in_step_with_counting_anew(botchan: str) -> None:
    counts = Counter(piece.replace(" ", SYMBOLS[32]) for piece in PIECES.findall(botchan[:20_000]) if piece.isascii())
    assert commonest_merges(Words(counts, list), 150, 1) == plain_merges(counts, 150)


def test_encoding_is_that_of_the_library(botchan: str, trained: BPETokenizer) -> None:
    library = pytest.importorskip("tokenizers")
    vocabulary = {token: number for number, token in enumerate(trained.tokens)}
    model = library.models.BPE(vocabulary, [tuple(pair) for pair in trained.state()["merges"]], unk_token="<unk>")
    other = library.Tokenizer(model)
    cut = library.pre_tokenizers.Split(library.Regex(PIECES.pattern), "isolated")
    spell = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    other.pre_tokenizer = library.pre_tokenizers.Sequence([cut, spell])
    other.decoder = library.decoders.ByteLevel()
    for text in (botchan, botchan.upper(), "na\u00efve caf\u00e9  \u4f60\u597d \U0001f600\n\t\n x_1"):
        assert trained.encode(text) == other.encode(text).ids
        assert trained.decode(trained.encode(text)) == other.decode(trained.encode(text)) == text


def any_text(source: random.Random) -> str:
    """Characters from everywhere, lone surrogates too, mixed with words, repeats and spaces of every kind."""
    kinds: list[Callable[[], str]] = [
        lambda: chr(source.randrange(0x110000)),
        lambda: chr(source.randrange(128)),
        lambda: source.choice([" ", "  ", "\n", "\t", "\r\n", "\0", "\u00a0", "\u2003", "\u3000", "\x1c"]),
        lambda: source.choice(["the", "and I", "<unk>", "\u0120", "e\u0301", "\ud83d\ude00"]),
        lambda: source.choice("a .\u00e9") * source.randrange(200),
    ]
    return "".join(source.choice(kinds)() for _ in range(source.randrange(30)))


def test_any_text_at_all_comes_back(trained: BPETokenizer) -> None:
    source = random.Random(0)
    for _ in range(1000):
        text = any_text(source)
        ids = trained.encode(text)
        assert trained.decode(ids) == trained.decode(ids, skip_special=True) == text
        assert 0 not in ids


def test_the_symbols_of_bytes_are_the_library_s() -> None:
    library = pytest.importorskip("tokenizers")
    assert set(SYMBOLS) == set(library.pre_tokenizers.ByteLevel.alphabet()) and len(SYMBOLS) == 256
    assert SYMBOLS[32] == "\u0120" and SYMBOLS[10] == "\u010a" and SYMBOLS[65] == "A" and SYMBOLS[0xE9] == "\u00e9"


def test_bytes_that_are_no_text() -> None:
    tokenizer = bpe(300, reserved=["<caf\u00e9>"])
    tokenizer.train(["\u20ac"])
    euro = [tokenizer.id_of(SYMBOLS[byte]) for byte in "\u20ac".encode()]
    assert tokenizer.decode(euro) == "\u20ac"
    assert tokenizer.decode(euro[:2]) == "", "a character that may still be finished"
    assert tokenizer.decode([*euro[:2], tokenizer.id_of("A")]) == "\ufffdA"
    assert tokenizer.decode([0, 1]) == "<unk><caf\u00e9>"


def test_counts_are_those_of_the_encoded_corpus(botchan: str, trained: BPETokenizer) -> None:
    found = Counter(trained.encode(botchan))
    assert trained.vocabulary.counts == tuple(found[number] for number in range(len(trained)))
    assert len(trained) == 1500


def test_min_freq_and_reserved_tokens_stop_merges() -> None:
    tokenizer = bpe(min_freq=8)
    tokenizer.train(BOOK_TEXTS)
    assert tokenizer.tokens[257:] == ("ta", "tal", "tall")
    tokenizer = bpe(reserved=["tal"])
    tokenizer.train(BOOK_TEXTS)
    assert tokenizer.tokens[:2] == ("<unk>", "tal") and tokenizer.tokens.count("tal") == 1
    assert 1 not in tokenizer.encode("tall tal")


def test_a_piece_has_an_end() -> None:
    """What runs on without a space takes time in proportion to its length."""
    tokenizer = bpe(400)
    text = "ab" * 100_000
    tokenizer.train([text])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert max(map(len, tokenizer.tokens)) == 64


@pytest.mark.parametrize(("size", "reserved", "least"), [(256, [], 257), (0, [], 257), (258, ["<a>", "<b>"], 259)])
def test_a_vocabulary_too_small_for_bytes_is_refused(size: int, reserved: list[str], least: int) -> None:
    with pytest.raises(ValueError, match=f"vocab_size={size} must be at least {least}"):
        bpe(size, reserved=reserved)


def test_reserved_tokens_that_come_later_need_room_too() -> None:
    with pytest.raises(ValueError, match="vocab_size=257 must be at least 258"):
        bpe(257).renewed(["<pad>"]).train(["a"])


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "no merges": lambda state: state | {"merges": []},
    "merges as a text": lambda state: state | {"merges": "ab"},
    "a merge of three": lambda state: state | {"merges": [["t", "a", "l"], *state["merges"][1:]]},
    "a merge of numbers": lambda state: state | {"merges": [[1, 2], *state["merges"][1:]]},
    "a merge of what is not there": lambda state: state | {"merges": [["t", "\u4f60"], *state["merges"][1:]]},
    "a merge before its parts": lambda state: state | {"merges": state["merges"][::-1]},
    "a merge of a special token": lambda state: state | {"merges": [*state["merges"], ["<unk>", "a"]]},
    "a merge too many": lambda state: state | {"merges": [*state["merges"], ["x", "y"]]},
    "a merge twice": lambda state: state | {"merges": [*state["merges"], state["merges"][0]]},
    "a merge that makes <unk>": lambda state: (
        state
        | {"merges": [*state["merges"], ["<", "u"], ["<u", "n"], ["<un", "k"], ["<unk", ">"]]}
        | {"tokens": [*state["tokens"], "<u", "<un", "<unk"], "counts": [*state["counts"], 0, 0, 0]}
    ),
    "a vocabulary larger than its size": lambda state: state | {"vocab_size": len(state["tokens"]) - 1},
    "a size that is no number": lambda state: state | {"vocab_size": "1000"},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    tokenizer = bpe(267)
    tokenizer.train(BOOK_TEXTS)
    before = tokenizer.state()
    (tmp_path / "bad.json").write_text(json.dumps(DAMAGES[damage](tokenizer.state())))
    with pytest.raises(DataError, match="no file of the tokenizer 'bpe'") as error:
        tokenizer.load(tmp_path / "bad.json")
    assert "\n" not in str(error.value) and tokenizer.state() == before
    assert tokenizer.split("faster_") == ["fast", "er_"]
