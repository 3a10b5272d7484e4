"""Published vocabularies that are damaged or of another kind: refused in one line that says what was found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d2lcli.data.tokenizers.bpe import bpe
from d2lcli.data.tokenizers.published import read_vocabulary
from d2lcli.errors import DataError


def change(file: str, edit: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A damage to a JSON file."""

    def apply(folder: Path) -> None:
        (folder / file).write_text(json.dumps(edit(json.loads((folder / file).read_text("utf-8")))))

    return apply


def put(file: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A damage to the bytes of a file, which need not be there."""

    def apply(folder: Path) -> None:
        before = (folder / file).read_bytes() if (folder / file).exists() else b""
        (folder / file).write_bytes(edit(before))

    return apply


BERT_DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (put("vocab.txt", lambda _: b""), "is empty"),
    "not UTF-8": (put("vocab.txt", lambda content: content[:50] + b"\xff" + content), "not UTF-8 at byte 50"),
    "a token twice": (put("vocab.txt", lambda content: content + b"[MASK]\n"), "'\\[MASK\\]' stands on line 104, too"),
    "an empty line": (put("vocab.txt", lambda content: b"a\n\n" + content), "line 2: '' is not one token"),
    "a text": (
        put("vocab.txt", lambda _: b"It was a dark night.\n"),
        "line 1: 'It was a dark night.' is not one token",
    ),
    "no [UNK]": (
        put("vocab.txt", lambda content: content.replace(b"[UNK]\n", b"")),
        r"no \[UNK\] among its \d+ tokens",
    ),
    "a name of ours beside theirs": (put("vocab.txt", lambda content: content + b"<cls>\n"), "must not occur twice"),
    "a token too long": (put("vocab.txt", lambda content: content + b"a" * 101), "is not a single token"),
    "another class": (
        change("tokenizer_config.json", lambda it: it | {"tokenizer_class": "T5TokenizerFast"}),
        "tokenizer_class is T5Tokenizer, but d2l only knows BertTokenizer or",
    ),
    "accents kept": (
        change("tokenizer_config.json", lambda it: it | {"strip_accents": not it["do_lower_case"]}),
        "strip_accents is",
    ),
    "lower as text": (change("tokenizer_config.json", lambda it: it | {"do_lower_case": "no"}), "do_lower_case is no"),
    "a config that is no JSON": (put("tokenizer_config.json", lambda _: b"{"), "not valid JSON"),
}
GPT2_DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no merges": (lambda folder: (folder / "merges.txt").unlink(), "vocab.json: there is no merges.txt beside it"),
    "empty": (put("vocab.json", lambda _: b" \n"), "is empty"),
    "not UTF-8": (put("merges.txt", lambda content: content + b"\xff"), "not UTF-8"),
    "a token twice": (put("vocab.json", lambda it: b'{"a": 1, ' + it[1:]), "the key 'a' is given twice"),
    "an id twice": (change("vocab.json", lambda it: it | {"a": 7}), "not the numbers from 0 on"),
    "an id as text": (change("vocab.json", lambda it: it | {"a": "7"}), "not the numbers from 0 on"),
    "a list": (change("vocab.json", list), "holds no JSON object"),
    "a merge of unknown parts": (
        put("merges.txt", lambda it: it + b"zq qz\n"),
        "the merge 'zq qz' is of what is no token",
    ),
    "a merge of three": (put("merges.txt", lambda it: it + b"a b c\n"), "'a b c' is not two tokens"),
    "a merge twice": (put("merges.txt", lambda it: it + it.splitlines(True)[-1]), "a merge is given twice"),
    "merges cut off": (
        put("merges.txt", lambda it: b"".join(it.splitlines(True)[:-9])),
        "neither a byte nor made by a",
    ),
    "a merge too many": (put("merges.txt", lambda it: it + b"! !\n"), "'!!' of the bytes and merges is no token"),
    "a space before words": (
        put("tokenizer_config.json", lambda _: b'{"add_prefix_space": true}'),
        "add_prefix_space is True, but d2l only knows False",
    ),
}


def copied(folder: Path, target: Path) -> Path:
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def refused(folder: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_vocabulary(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


@pytest.mark.parametrize("damage", BERT_DAMAGES)
def test_a_damaged_vocabulary_of_bert_is_refused(bert: tuple[Path, Any], damage: str, tmp_path: Path) -> None:
    apply, message = BERT_DAMAGES[damage]
    apply(copied(bert[0], tmp_path))
    refused(tmp_path, message)


@pytest.mark.parametrize("damage", GPT2_DAMAGES)
def test_a_damaged_vocabulary_of_gpt2_is_refused(gpt2: tuple[Path, Any], damage: str, tmp_path: Path) -> None:
    apply, message = GPT2_DAMAGES[damage]
    apply(copied(gpt2[0], tmp_path))
    refused(tmp_path, message)


JSON_DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another model": (lambda it: it | {"model": it["model"] | {"type": "WordLevel"}}, "model.type is WordLevel"),
    "no model": (lambda it: {"version": it["version"]}, "no tokenizer, but an object of version"),
    "no vocabulary": (lambda it: it | {"model": {"type": "WordPiece"}}, "'vocab' is missing"),
    "no normalizer": (lambda it: it | {"normalizer": None}, "'normalizer' is missing"),
    "another pre-tokenizer": (lambda it: it | {"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type is White"),
    "a token that texts yield": (
        lambda it: it | {"added_tokens": [{"content": "of the", "id": 7, "special": False}]},
        "added_tokens.special is False",
    ),
    "two ids": (
        lambda it: it | {"added_tokens": [{"content": "[UNK]", "id": 7, "special": True}]},
        r"the token '\[UNK\]' has two ids",
    ),
    "no name": (lambda it: it | {"added_tokens": [{"id": 7, "special": True}]}, "'content' is missing"),
}


@pytest.mark.parametrize("damage", JSON_DAMAGES)
def test_a_tokenizer_json_of_another_kind_is_refused(bert: tuple[Path, Any], damage: str, tmp_path: Path) -> None:
    edit, message = JSON_DAMAGES[damage]
    (tmp_path / "tokenizer.json").write_text(json.dumps(edit(json.loads(bert[1].to_str()))))
    refused(tmp_path, message)


def test_what_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no vocabulary in it, but nothing") as error:
        read_vocabulary(tmp_path)
    assert "vocab.txt" in error.value.hint
    (tmp_path / "model.safetensors").write_text("x")
    refused(tmp_path, "no vocabulary in it, but model.safetensors")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_vocabulary(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer.json").write_text('{"name": "chars"}')
    refused(tmp_path, "unknown tokenizer 'chars'; did you mean 'char'")


STATE_DAMAGES: dict[str, Callable[[Any], Any]] = {
    "another rule": lambda state: state | {"rule": "gpt3"},
    "a rule that is no text": lambda state: state | {"rule": ["gpt2"]},
    "reserved beside special": lambda state: state | {"reserved": []},
    "no special": lambda state: {key: value for key, value in state.items() if key != "special"},
    "a special token that is not there": lambda state: state | {"special": ["<pad>"]},
    "a special token twice": lambda state: state | {"special": ["<eos>", "<eos>"]},
    "a special token too short": lambda state: state | {"special": ["a", "<eos>"]},
    "a number as special token": lambda state: state | {"special": [7]},
    "a byte that is special": lambda state: state | {"special": [state["tokens"][300], "<eos>"]},
    "a format that is not there": lambda state: state | {"format": 3},
    "a list as format": lambda state: state | {"format": [2]},
}


@pytest.mark.parametrize("damage", STATE_DAMAGES)
def test_a_damaged_file_of_ours_is_refused(gpt2: tuple[Path, Any], damage: str) -> None:
    state, tokenizer = read_vocabulary(gpt2[0]).state(), bpe()
    tokenizer.train(["ab"])
    before = tokenizer.state()
    with pytest.raises(DataError, match="no file of the tokenizer 'bpe'"):
        tokenizer.load_state(STATE_DAMAGES[damage](state))
    assert tokenizer.state() == before
