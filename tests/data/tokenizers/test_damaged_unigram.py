"""Files of T5's vocabulary that are damaged or of another kind: refused in one line that says what was found."""

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import d2l
from spiece import SPECIAL, charsmap_of, field, model_file

from d2lcli.data.tokenizers.published import read_vocabulary
from d2lcli.errors import DataError

PIECES = [*SPECIAL, ("\u2581", -2.0, 1), ("a", -1.0, 1)]
TABLE = charsmap_of({"\t": " ", "e\u0301": "\u00e9"})

DAMAGES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 of its 0 pieces stand for unknown"),
    "a text": (b"It was a dark night.\n", "no SentencePiece model that d2l knows: it is damaged at byte 1"),
    "cut off": (model_file(PIECES, TABLE)[:-3], "it is cut off"),
    "a number without an end": (b"\x08" + b"\xff" * 20, "it is cut off"),
    "another model": (model_file(PIECES, trainer=[(3, 2)]), "its pieces are those of BPE, not of Unigram"),
    "words": (model_file(PIECES, trainer=[(3, 3)]), "its pieces are those of words"),
    "bytes for unknown characters": (model_file(PIECES, trainer=[(35, 1)]), "bytes for unknown characters"),
    "spaces after words": (model_file(PIECES, trainer=[(24, 1)]), "spaces after words"),
    "spaces as they are": (model_file(PIECES, normalizer=[(4, 0)]), "only texts with a space before them, and spaces"),
    "no space before": (model_file(PIECES, normalizer=[(3, 0)]), "only texts with a space before them"),
    "a piece that users defined": (model_file([*PIECES, ("url", 0.0, 4)]), "the piece 'url' is of type 4"),
    "a byte": (model_file([*PIECES, ("<0x0A>", 0.0, 6)]), "the piece '<0x0A>' is of type 6"),
    "nothing unknown": (model_file(PIECES[3:]), "0 of its 2 pieces stand for unknown characters"),
    "two that are unknown": (model_file([*PIECES, ("<oov>", 0.0, 2)]), "2 of its 6 pieces stand for unknown"),
    "a piece twice": (model_file([*PIECES, ("a", -3.0, 1)]), "a token must not occur twice"),
    "a piece without a text": (model_file([*PIECES, ("", -3.0, 1)]), "at least one character"),
    "a score that is none": (model_file([*PIECES, ("b", float("nan"), 1)]), "list of finite numbers"),
    "a text as number": (field(1, 7), "a number in place of a text"),
    "a score as number": (field(1, field(1, b"a") + field(2, 7)), "a score is no number"),
    "a piece that is no text": (field(1, field(1, b"\xff")), "a piece is not UTF-8"),
    "a table cut off": (model_file(PIECES, TABLE[:99]), "the table of characters is cut off"),
    "a table without its texts": (model_file(PIECES, TABLE[:-4]), "points behind its end"),
    "a table of noise": (model_file(PIECES, b"\4\0\0\0abcdef"), ""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused(damage: str, tmp_path: Path) -> None:
    content, message = DAMAGES[damage]
    (tmp_path / "spiece.model").write_bytes(content)
    if message:
        refused(tmp_path, message)
    else:
        read_vocabulary(tmp_path)  # a table that leads nowhere changes no text


def refused(folder: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_vocabulary(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path: Path) -> None:
    """Single bytes changed, and noise for a table, which may go round in circles."""
    source, whole = random.Random(0), model_file(PIECES, TABLE)
    for number in range(600):
        content = bytearray(whole)
        if number % 2:
            content[source.randrange(len(content))] = source.randrange(256)
        else:
            units = bytes(source.choice((0, 0, 1, 4, 0xC3, 0xE0)) for _ in range(4 * source.randrange(1, 300)))
            content = bytearray(model_file(PIECES, len(units).to_bytes(4, "little") + units + b"x\0"))
        (tmp_path / "spiece.model").write_bytes(content)
        try:
            read_vocabulary(tmp_path).encode("a \t e\u0301 \u00e0\0\1")
        except DataError as error:
            assert "\n" not in str(error)


JSON_DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bytes": (lambda it: it | {"model": it["model"] | {"byte_fallback": True}}, "model.byte_fallback is True"),
    "nothing unknown": (lambda it: it | {"model": it["model"] | {"unk_id": None}}, "'unk_id' is missing"),
    "unknown beyond the end": (lambda it: it | {"model": it["model"] | {"unk_id": 9999}}, "unk_id is 9999, but there"),
    "no scores": (lambda it: it | {"model": it["model"] | {"vocab": ["a"]}}, "no list of tokens with their scores"),
    "a score as text": (
        lambda it: it | {"model": it["model"] | {"vocab": [*it["model"]["vocab"], ["\u1234", "-1"]]}},
        "list of finite numbers",
    ),
    "words parted otherwise": (lambda it: it | {"pre_tokenizer": {"type": "ByteLevel"}}, "pre_tokenizer.type is Byte"),
    "words not parted": (lambda it: it | {"pre_tokenizer": None}, "pre_tokenizer is not that of T5: Precompiled"),
    "another normalizer": (lambda it: it | {"normalizer": {"type": "NFKC"}}, "normalizer.type is NFKC"),
    "a table that is none": (
        lambda it: it | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "%"}},
        "normalizer: ",
    ),
    "a table cut off": (
        lambda it: it | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": cut(it)}},
        "the table of characters is cut off",
    ),
    "two ids": (
        lambda it: it | {"added_tokens": [{"content": "</s>", "id": 7, "special": True}]},
        "the token '</s>' has two ids",
    ),
    "an id with a gap": (
        lambda it: it | {"added_tokens": [{"content": "<new>", "id": 70_000, "special": True}]},
        "the token '<new>' has two ids",
    ),
}


def cut(found: Any) -> str:
    whole = base64.b64decode(found["normalizer"]["precompiled_charsmap"])
    return base64.b64encode(whole[:50]).decode()


@pytest.mark.parametrize("damage", JSON_DAMAGES)
def test_a_tokenizer_json_of_another_kind_is_refused(t5: tuple[Path, Any], damage: str, tmp_path: Path) -> None:
    edit, message = JSON_DAMAGES[damage]
    (tmp_path / "tokenizer.json").write_text(json.dumps(edit(json.loads(t5[1].to_str()))))
    refused(tmp_path, message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tokenizer_class": "XLNetTokenizer"}, "tokenizer_class is XLNetTokenizer, but d2l only knows T5Tokenizer"),
        ({"extra_ids": "many"}, "extra_ids is many, but d2l only knows 0 to 100"),
    ],
)
def test_the_config_beside_a_model_counts(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(model_file(PIECES))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    refused(tmp_path, message)


def test_as_many_sentinels_as_the_config_says(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(model_file(PIECES))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 2}))
    assert read_vocabulary(tmp_path).tokens[-2:] == ("<extra_id_1>", "<extra_id_0>")
    (tmp_path / "spiece.model").write_bytes(model_file([*PIECES, ("<extra_id_0>", 0.0, 4)]))
    assert read_vocabulary(tmp_path).tokens[-2:] == ("a", "<extra_id_0>"), "the file has its own"


def test_the_command_cuts_texts_and_names_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "spiece.model"
    file.write_bytes(model_file(PIECES))
    done = d2l("tokenize", file, "--text", "aa  a b")
    assert (done.returncode, done.stdout) == (0, "\u2581 a a \u2581 a \u2581 b\n"), done.stderr
    assert d2l("tokenize", file, "--text", "a b", "--ids").stdout == "3 4 3 2\n"
    assert d2l("tokenize", tmp_path, "--save", tmp_path / "own.json").returncode == 0
    assert d2l("tokenize", tmp_path / "own.json", "--text", "a").stdout == "\u2581 a\n"
    file.write_bytes(b"no model")
    done = d2l("tokenize", file, "--text", "a")
    assert done.returncode == 3 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    file.unlink()
    assert d2l("tokenize", file, "--text", "a").returncode == 4
