"""What every registered tokenizer must do."""

import json
from pathlib import Path
from typing import Any

import pytest

from d2lcli.data.tokenizers.base import Tokenizer, read_state
from d2lcli.errors import ConfigError, DataError
from d2lcli.registry import TOKENIZERS

TEXTS = ["so it will be convenient", "to speak of it \N{BLACK SUN WITH RAYS}", "it was so"]
SPECIAL = ["<pad>", "<bos>", "<eos>"]

every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS.names())


def trained(name: str, **options: Any) -> Tokenizer:
    tokenizer: Tokenizer = TOKENIZERS.build(name, **options)
    tokenizer.train(TEXTS)
    return tokenizer


@every_tokenizer
def test_text_it_was_trained_on_comes_back(name: str) -> None:
    tokenizer = trained(name, reserved=SPECIAL)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == tokenizer.decode(ids, skip_special=True) == text
        assert all(len(SPECIAL) < number < len(tokenizer) for number in ids)


@every_tokenizer
def test_the_bytes_of_the_tokens_are_those_of_the_text(name: str) -> None:
    """With the gap before the first token, which a text inside of another one has too."""
    tokenizer = trained(name, reserved=SPECIAL)
    sizes = tokenizer.byte_sizes()
    assert len(sizes) == len(tokenizer) and sizes[:4] == [0, 0, 0, 0]
    for text in TEXTS:
        gap = tokenizer.gap(tokenizer.split(text))
        assert sum(sizes[number] for number in tokenizer.encode(text)) == len((gap + text).encode())


@every_tokenizer
def test_special_tokens_have_the_first_ids(name: str) -> None:
    tokenizer = trained(name, reserved=SPECIAL)
    assert tokenizer.tokens[:4] == ("<unk>", "<pad>", "<bos>", "<eos>")
    assert [tokenizer.id_of(token) for token in tokenizer.tokens] == list(range(len(tokenizer)))
    with pytest.raises(ValueError, match="no token '<cls>'"):
        tokenizer.id_of("<cls>")


@every_tokenizer
def test_text_never_becomes_a_reserved_token(name: str) -> None:
    tokenizer: Tokenizer = TOKENIZERS.build(name, reserved=SPECIAL)
    tokenizer.train(["a <eos> b <pad> <bos> <unk>"])
    assert len(set(tokenizer.tokens)) == len(tokenizer)
    assert not {1, 2, 3} & set(tokenizer.encode("<eos> <pad> a<bos> <bos>"))


@every_tokenizer
def test_what_is_unknown_has_id_0(name: str) -> None:
    """To a tokenizer that falls back on bytes nothing is unknown: it gives any text back."""
    tokenizer, unseen = trained(name), "\N{SNOWMAN}\N{SNOWMAN}"
    assert set(tokenizer.encode(unseen)) == {0} or tokenizer.decode(tokenizer.encode(unseen)) == unseen
    assert tokenizer.encode("") == []


@every_tokenizer
def test_the_order_of_texts_does_not_matter(name: str) -> None:
    other: Tokenizer = TOKENIZERS.build(name)
    other.train(reversed(TEXTS))
    assert other.state() == trained(name).state()


@every_tokenizer
def test_a_file_gives_the_tokenizer_back(name: str, tmp_path: Path) -> None:
    tokenizer = trained(name, min_freq=2, reserved=SPECIAL)
    tokenizer.save(tmp_path / "tokenizer.json")
    state = read_state(tmp_path / "tokenizer.json")
    again: Tokenizer = TOKENIZERS.build(state["name"])
    again.load(tmp_path / "tokenizer.json")
    assert again.state() == tokenizer.state() == state
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@every_tokenizer
def test_nothing_works_before_training(name: str) -> None:
    for use in (
        lambda it: it.encode("a"),
        lambda it: it.decode([0]),
        lambda it: it.byte_sizes(),
        lambda it: it.state(),
        len,
    ):
        with pytest.raises(ValueError, match="no vocabulary yet"):
            use(TOKENIZERS.build(name))


@every_tokenizer
@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_an_empty_corpus_is_refused(name: str, texts: list[str]) -> None:
    with pytest.raises(DataError, match="no tokens"):
        TOKENIZERS.build(name).train(texts)


@every_tokenizer
def test_bad_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="min_freq"):
        TOKENIZERS.build(name, min_freq=0)
    with pytest.raises(ConfigError, match=r"unknown option 'min_frequ'.*min_freq"):
        TOKENIZERS.build(name, min_frequ=2)
    with pytest.raises(ValueError, match="min_freq=0 must be at least 1"):
        TOKENIZERS.get(name)(min_freq=0)
    for reserved in (["x"], [""], ["<a b>"], ["<pad>", "<pad>"], ["<unk>"]):
        with pytest.raises(ValueError, match="reserved"):
            TOKENIZERS.build(name, reserved=reserved)


DAMAGES: dict[str, Any] = {
    "no object": lambda state: [state],
    "a key missing": lambda state: {key: value for key, value in state.items() if key != "counts"},
    "a key too many": lambda state: state | {"code": "x"},
    "another format": lambda state: state | {"format": 2},
    "true for 1": lambda state: state | {"format": True},
    "another name": lambda state: state | {"name": "other"},
    "a name that is no text": lambda state: state | {"name": ["char"]},
    "min_freq as text": lambda state: state | {"min_freq": "1"},
    "tokens as one text": lambda state: state | {"tokens": "abc"},
    "a number as token": lambda state: state | {"tokens": [*state["tokens"][:-1], 7]},
    "a token twice": lambda state: state | {"tokens": [*state["tokens"][:-1], state["tokens"][-2]]},
    "an empty token": lambda state: state | {"tokens": [*state["tokens"][:-1], ""]},
    "two tokens in one": lambda state: state | {"tokens": [*state["tokens"][:-1], "a b"]},
    "too few counts": lambda state: state | {"counts": state["counts"][1:]},
    "a negative count": lambda state: state | {"counts": [-1, *state["counts"][1:]]},
    "no <unk>": lambda state: state | {"tokens": state["tokens"][1:], "counts": state["counts"][1:]},
    "reserved tokens that are not there": lambda state: state | {"reserved": ["<pad>"]},
}


@every_tokenizer
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_changes_nothing(name: str, damage: str, tmp_path: Path) -> None:
    tokenizer = trained(name)
    before = tokenizer.state()
    (tmp_path / "bad.json").write_text(json.dumps(DAMAGES[damage](tokenizer.state())))
    with pytest.raises(DataError):
        tokenizer.load(tmp_path / "bad.json")
    assert tokenizer.state() == before


@every_tokenizer
def test_renewed_ones_learn_apart(name: str) -> None:
    plain: Tokenizer = TOKENIZERS.build(name)
    first, second = plain.renewed(SPECIAL), plain.renewed(SPECIAL)
    first.train(TEXTS)
    kept = first.encode(TEXTS[0])
    second.train(["other words entirely"])
    second.encode(TEXTS[0])
    alone = trained(name, reserved=SPECIAL)
    assert first.encode(TEXTS[0]) == kept == alone.encode(TEXTS[0])
    assert second.encode(TEXTS[0]) != kept and first.special == ("<unk>", *SPECIAL)
