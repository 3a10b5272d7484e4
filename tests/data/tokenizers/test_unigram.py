"""Unigram: T5's vocabulary, cut as by the library tokenizers and by SentencePiece."""

import json
import math
import random
import time
import unicodedata
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from spiece import MARK, SPECIAL, charsmap_of, model_file, small_table

from d2lcli.data.tokenizers.charsmap import Charsmap
from d2lcli.data.tokenizers.published import read_vocabulary
from d2lcli.data.tokenizers.unigram import UnigramTokenizer
from d2lcli.errors import DataError
from d2lcli.training.tokens import read_tokenizer

library = pytest.importorskip("tokenizers")

EXTRA = "pip install -c constraints.txt -e '.[slow]'"
CODES = [code for code in range(1, 0x110000) if unicodedata.category(chr(code)) != "Cs"]
TEXTS = [
    "", " ", "  ", "\n", "It was", " It  was \t so.\n\n", "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m", "cafe\u0301",
    "\U0001f600\U0001f600 ok \U0001f468\u200d\U0001f469", "\u4f60\u597d\uff0c\u4e16\u754c",
    "\uff28\uff45\uff4c\uff4c\uff4f \ufb01ne \u2126 1\u00bd \u00a0x\u2028y",
    "a\u2581b \u2581\u2581", "<pad></s> <unk> <extra_id_0>", "x" * 3000,
]  # fmt: skip


def small(pieces: dict[str, float], charsmap: bytes = b"", folder: Path | None = None) -> UnigramTokenizer:
    assert folder is not None
    (folder / "spiece.model").write_bytes(
        model_file([*SPECIAL, *((text, score, 1) for text, score in pieces.items())], charsmap)
    )
    found = read_vocabulary(folder)
    assert isinstance(found, UnigramTokenizer)
    return found


def mixed(source: random.Random, codes: list[int]) -> str:
    """Any characters among words, spaces and letters with accents in two characters."""
    kinds = [
        lambda: chr(source.choice(codes)),
        lambda: chr(source.randrange(1, 0x250)),
        lambda: source.choice([" ", "  ", "\n", "\u200b", "\u3000", "the", " Red Shirt", "I'll", "e\u0301", "\u00c5"]),
    ]
    return "".join(source.choice(kinds)() for _ in range(source.randrange(40)))


def without_names(text: str) -> str:
    """The library takes the names of special tokens in a text for these tokens' pieces; we never do."""
    return text.replace("<", "(")


def test_ids_and_texts_are_the_library_s(t5: tuple[Path, Any], botchan: str) -> None:
    source, ours = random.Random(0), read_vocabulary(t5[0])
    # Of a letter with several accents the library replaces less than SentencePiece does.
    codes = [code for code in CODES if not unicodedata.combining(chr(code))]
    texts = [botchan, botchan.upper(), *TEXTS, *(mixed(source, codes) for _ in range(3000))]
    for text in map(without_names, texts):
        ids = ours.encode(text)
        assert ids == t5[1].encode(text, add_special_tokens=False).ids, ascii(text)
        assert ours.decode(ids) == t5[1].decode(ids, skip_special_tokens=False), ascii(text)


def test_text_of_known_characters_comes_back_with_one_space_between_words(t5: tuple[Path, Any], botchan: str) -> None:
    ours = read_vocabulary(t5[0])
    assert ours.decode(ours.encode(botchan)) == " ".join(botchan.split())
    assert sum(ours.byte_sizes()[number] for number in ours.encode("It was")) == len(" It was")


def test_special_tokens_have_t5_s_ids_and_never_come_from_a_text(t5: tuple[Path, Any]) -> None:
    ours = read_vocabulary(t5[0])
    assert [ours.id_of(name) for name in ("<pad>", "<eos>", "<unk>")] == [0, 1, 2]
    assert ours.id_of("<extra_id_0>") == len(ours) - 1 and ours.id_of("<extra_id_99>") == len(ours) - 100
    assert all(ours.tokens[number] not in ours.special for number in ours.encode("</s> <pad> <eos>") if number != 2)
    ids = [ours.id_of("<pad>"), *ours.encode("It was"), ours.id_of("<eos>")]
    assert ours.decode(ids) == "<pad> It was<eos>" and ours.decode(ids, skip_special=True) == "It was"


def test_the_likeliest_of_all_ways_to_cut(tmp_path: Path) -> None:
    """All 2^(n-1) of them, tried one by one."""
    scores = {MARK: -2.0, "a": -1.3, "b": -2.1, "ab": -2.9, "ba": -3.0, "aab": -4.1, MARK + "a": -2.8, "bab": -5.2}
    ours = small(scores, folder=tmp_path)
    for size in range(1, 7):
        for letters in product("ab", repeat=size):
            word = MARK + "".join(letters)
            best = -math.inf
            for cuts in product((False, True), repeat=size):
                parts = "".join(letter + " " * cut for letter, cut in zip(word, (*cuts, False))).split(" ")
                best = max(best, sum(scores.get(part, -math.inf) for part in parts))
            found = ours.split("".join(letters))
            assert "".join(found) == word and sum(map(scores.__getitem__, found)) == pytest.approx(best)


def test_unknown_characters_in_a_row_are_one_token(tmp_path: Path) -> None:
    ours = small({MARK: -2.0, "a": -1.0, "xay": -30.0}, folder=tmp_path)
    assert ours.split("xya a?!") == [MARK, "xy", "a", MARK, "a", "?!"]
    assert ours.encode("xya") == [3, 2, 4] and ours.decode(ours.encode("xya")) == "<unk>a"
    assert ours.split("xay") == [MARK, "xay"], "more likely than two unknown characters, each -30 - 10"


def test_what_is_normalised_is_replaced_from_the_longest_on(tmp_path: Path) -> None:
    table = {
        "e\u0301": "\u00e9",
        "e": "E",
        "\u0301": "",
        "\u30ab\u3099": "\u30ac",
        "\U0001d15e": "xy",
        "ab\u0301c": "!",
    }
    change = Charsmap(charsmap_of(table))
    assert change("ee\u0301\u0301 e\u0301e") == "E\u00e9 \u00e9E"
    assert change("\u30ab\u30ab\u3099\U0001d15e\U0001d15f") == "\u30ab\u30acxy\U0001d15f"
    assert change("ab\u0301cab\u0301d ab") == "!abd ab", "the longest that is there, and else character by character"
    assert Charsmap()("e\u0301 \n") == "e\u0301 \n"


def test_a_small_table_is_applied_as_the_library_does() -> None:
    table = charsmap_of(small_table())
    ours, theirs = Charsmap(table), library.normalizers.Precompiled(table)
    for code in CODES[:0x3100] + list(range(0xFB00, 0x10000)):
        text = f"a{chr(code)} {chr(code)}b"
        assert ours(text) == theirs.normalize_str(text), hex(code)
        alone = unicodedata.normalize("NFKC", chr(code))
        if 0xA0 <= code < 0x180:
            assert ours(chr(code)) == alone == ours(unicodedata.normalize("NFD", alone))


def test_a_tokenizer_json_is_read_like_the_model(t5: tuple[Path, Any], tmp_path: Path) -> None:
    theirs = library.Tokenizer.from_str(t5[1].to_str())
    names = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(100))]
    theirs.add_special_tokens(names)
    theirs.save(str(tmp_path / "tokenizer.json"))
    expected = read_vocabulary(t5[0]).state()
    assert read_vocabulary(tmp_path).state() == about(expected)
    # As transformers 4 wrote it: the steps after the table say nothing that the rule of words does not.
    found = json.loads((tmp_path / "tokenizer.json").read_text())
    steps = [found["normalizer"], {"type": "Strip", "strip_left": False, "strip_right": True}]
    steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": MARK})
    found |= {"normalizer": {"type": "Sequence", "normalizers": steps}}
    found["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "add_prefix_space": True}
    # Sentinels that are added only, and not among the pieces.
    found["model"]["vocab"] = found["model"]["vocab"][:-100]
    (tmp_path / "tokenizer.json").write_text(json.dumps(found))
    assert read_vocabulary(tmp_path).state() == about(expected)


def about(state: dict[str, Any]) -> dict[str, Any]:
    """The library reads and writes scores to the last but one digit."""
    return state | {"scores": pytest.approx(state["scores"], rel=1e-14)}


def test_a_file_of_ours_gives_it_back(t5: tuple[Path, Any], botchan: str, tmp_path: Path) -> None:
    ours = read_vocabulary(t5[0])
    ours.save(tmp_path / "tokenizer.json")
    for again in (read_vocabulary(tmp_path), read_tokenizer(tmp_path)):
        assert again.state() == ours.state() and again.encode(botchan) == ours.encode(botchan)


def test_it_cannot_be_trained(t5: tuple[Path, Any]) -> None:
    with pytest.raises(DataError, match="'unigram' is for published vocabularies and cannot be trained"):
        read_vocabulary(t5[0]).renewed(["<pad>"]).train(["a b"])


def test_half_a_megabyte_in_a_second(t5: tuple[Path, Any], botchan: str) -> None:
    """Of processor time, the first time a text is read, and without any space in it."""
    for text in (botchan, botchan.replace(" ", "")[:100_000].replace("\n", "")):
        ours, start = read_vocabulary(t5[0]), time.process_time()
        ours.encode(text)
        assert len(text.encode()) / (time.process_time() - start) > 0.5e6


@pytest.mark.slow
def test_every_character_and_any_text_is_cut_as_by_sentence_piece(botchan: str, tmp_path: Path) -> None:
    """With the table of T5, nmt_nfkc, whole; U+0085 alone is white space here, and in tokenizers."""
    spm = pytest.importorskip("sentencepiece", reason=EXTRA)
    (tmp_path / "botchan.txt").write_text(botchan, "utf-8")
    spm.SentencePieceTrainer.train(
        input=str(tmp_path / "botchan.txt"), model_prefix=str(tmp_path / "spiece"), vocab_size=1500, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", minloglevel=2,
    )  # fmt: skip
    theirs = spm.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    ours, source = read_vocabulary(tmp_path / "spiece.model"), random.Random(0)
    codes = [code for code in CODES if code != 0x85]
    texts = [f"a{chr(code)}B {chr(code)}c" for code in codes]
    # Sequences of Hangul, and what the table makes one.
    jamo = [*range(0x1100, 0x1200), *range(0x3131, 0x318F), *range(0xFFA0, 0xFFDD), 0x301, 0x300, 0x3099, 0xFF9E]
    texts += [mixed(source, codes).replace("\x85", "") for _ in range(10_000)]
    texts += ["".join(chr(source.choice(jamo)) for _ in range(20)) for _ in range(3000)]
    for text in (botchan, *TEXTS, *texts):
        assert ours.encode(text) == theirs.encode(text), ascii(text)
