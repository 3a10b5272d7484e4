"""What tokenizer.json and tokenizer_config.json of Hugging Face say, if a tokenizer is like BERT's, GPT-2's or T5's."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lcli.data.tokenizers.files import read_content, read_object
from d2lcli.data.tokenizers.unigram import MARK, Pieces
from d2lcli.errors import DataError, clean

CONFIG = "tokenizer_config.json"
SENTINELS = 100  # of T5
# Classes whose rules are BERT's, GPT-2's or T5's, and those that stand for any rules.
CLASSES = {
    "bert": ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"),
    "gpt2": ("GPT2Tokenizer",),
    "t5": ("T5Tokenizer",),
}
ANY = ("PreTrainedTokenizer", "TokenizersBackend")
Demands = Mapping[str, tuple[Any, ...]]  # the values that a key may have; the first is meant where it is absent
CHARACTERS: Demands = {"clean_text": (True,), "handle_chinese_chars": (True,), "lowercase": (True, False)}
BERT: Mapping[str, Demands] = {
    "model": {
        "unk_token": ("[UNK]", "<unk>"), "continuing_subword_prefix": ("##",), "max_input_chars_per_word": (100,),
    },
    "normalizer": {"type": ("BertNormalizer",), **CHARACTERS},
    "pre_tokenizer": {"type": ("BertPreTokenizer",)},
}  # fmt: skip
GPT2: Mapping[str, Demands] = {
    "model": {
        "dropout": (None,), "continuing_subword_prefix": (None, ""), "end_of_word_suffix": (None, ""),
        "byte_fallback": (False,), "ignore_merges": (False,),
    },
    "pre_tokenizer": {"type": ("ByteLevel",), "add_prefix_space": (False,), "use_regex": (True,)},
}  # fmt: skip
# T5's parts by their type.  What makes spaces one, or drops the last, is in our rule of words.
T5: Mapping[str, Demands] = {
    "Precompiled": {},
    "Strip": {"strip_right": (True,)},
    "Replace": {"pattern": ({"Regex": " {2,}"},), "content": (" ", MARK)},
    "WhitespaceSplit": {},
    "Metaspace": {"replacement": (MARK,), "add_prefix_space": (True,), "prepend_scheme": ("always", "first")},
}


@dataclass(frozen=True)
class Parts:
    """What makes a tokenizer.

    Attributes:
        ids: of the tokens.
        special: names of special tokens.
        merges: of byte-pair encoding; None for WordPiece.
        lower: whether WordPiece drops capitals and accents.
    """

    ids: dict[str, Any]
    special: tuple[str, ...]
    merges: list[Sequence[str]] | None
    lower: bool


def read_config(vocabulary: Path, kind: str) -> bool:
    """Whether capitals are dropped, by the tokenizer_config.json beside a vocabulary; True if there is none.

    Args:
        vocabulary: the file.
        kind: bert or gpt2.

    Raises:
        DataError: the tokenizer is of another kind, or has options that ours has not.
    """
    file = vocabulary.with_name(CONFIG)
    if not file.is_file():
        return True
    config = read_object(read_content(file), file)
    _demand_class(config, kind, file)
    _demand(config, {"do_lower_case": (True, False), "add_prefix_space": (False,)}, file)
    lower = bool(config.get("do_lower_case", True))
    _demand(config, {"tokenize_chinese_chars": (True,), "strip_accents": (None, lower)}, file)
    return lower


def read_sentinels(vocabulary: Path) -> int:
    """How many <extra_id_N> T5's tokenizer adds to a spiece.model, by the tokenizer_config.json beside it; else 100.

    Raises:
        DataError: the tokenizer is of another kind, or the number is none.
    """
    file = vocabulary.with_name(CONFIG)
    config = read_object(read_content(file), file) if file.is_file() else {}
    _demand_class(config, "t5", file)
    number = config.get("extra_ids", SENTINELS)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= SENTINELS:
        raise DataError(f"{clean(file)}: extra_ids is {clean(number, 40)}, but d2l only knows 0 to {SENTINELS}")
    return number


def read_parts(found: Mapping[str, Any], file: Path) -> Parts:
    """The parts of a tokenizer.json.

    Raises:
        DataError: the tokenizer is neither WordPiece as in BERT nor byte-pair encoding as in GPT-2, or is damaged.
    """
    model = _part(found, "model", dict, file)
    merges = _part(model, "merges", list, file) if "merges" in model else None
    _demand(model, {"type": ("WordPiece" if merges is None else "BPE",)}, file, "model.")
    for name, demands in (BERT if merges is None else GPT2).items():
        _demand(_part(found, name, dict, file), demands, file, f"{name}.")
    normalizer = found.get("normalizer") or {}
    lower = bool(normalizer.get("lowercase", True))
    if merges is None:
        _demand(normalizer, {"strip_accents": (None, lower)}, file, "normalizer.")
    else:
        _demand(found, {"normalizer": (None,)}, file)
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
    ids, special = dict(_part(model, "vocab", dict, file)), []
    for name, number in _added(found, file):
        if ids.setdefault(name, number) != number:
            raise DataError(f"{clean(file)}: the token '{clean(name, 60)}' has two ids")
        special.append(name)
    return Parts(ids, tuple(special), merges, lower)


def read_unigram(found: Mapping[str, Any], file: Path) -> Pieces:
    """The pieces of a tokenizer.json.

    Raises:
        DataError: the tokenizer is not as T5's, or is damaged.
    """
    model = _part(found, "model", dict, file)
    _demand(model, {"type": ("Unigram",), "byte_fallback": (False,)}, file, "model.")
    pieces, unknown = _part(model, "vocab", list, file), _part(model, "unk_id", int, file)
    if not all(isinstance(piece, list) and len(piece) == 2 and isinstance(piece[0], str) for piece in pieces):
        raise DataError(f"{clean(file)}: model.vocab is no list of tokens with their scores")
    if not 0 <= unknown < len(pieces):
        raise DataError(f"{clean(file)}: model.unk_id is {clean(unknown, 20)}, but there are {len(pieces)} tokens")
    tokens, scores = [piece[0] for piece in pieces], [piece[1] for piece in pieces]
    special = [tokens[unknown]]
    for name, number in _added(found, file):
        if number == len(tokens) and name not in tokens:
            tokens, scores = [*tokens, name], [*scores, 0.0]
        elif not isinstance(number, int) or not 0 <= number < len(tokens) or tokens[number] != name:
            raise DataError(f"{clean(file)}: the token '{clean(name, 60)}' has two ids")
        special.append(name)
    return Pieces(tokens, scores, special, tokens[unknown], _charsmap(found, file))


def _charsmap(found: Mapping[str, Any], file: Path) -> bytes:
    """The normalizer's table of characters, if words are parted as in T5."""
    before, parting = _steps(found, "normalizer", file), _steps(found, "pre_tokenizer", file)
    types = [step["type"] for step in (*before, *parting)]
    if "Metaspace" not in types[len(before) :] or not {"Replace", "WhitespaceSplit"}.intersection(types):
        raise DataError(f"{clean(file)}: pre_tokenizer is not that of T5: {clean(', '.join(types) or 'nothing', 80)}")
    if not before or before[0]["type"] != "Precompiled":
        return b""
    try:
        return base64.b64decode(_part(before[0], "precompiled_charsmap", str, file), validate=True)
    except ValueError as error:
        raise DataError(f"{clean(file)}: normalizer: {error}") from None


def _steps(found: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre_tokenizer, which may be in a sequence."""
    if found.get(key) is None:
        return []
    whole = _part(found, key, dict, file)
    inner = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}[key]
    steps = _part(whole, inner, list, file) if whole.get("type") == "Sequence" else [whole]
    for step in steps:
        name = _part(step, "type", str, file)
        _demand({"type": name}, {"type": tuple(T5)}, file, f"{key}.")
        _demand(step, T5[name], file, f"{key}.")
    return steps


def _added(found: Mapping[str, Any], file: Path) -> list[tuple[str, Any]]:
    """The names and ids of the added tokens, all of which must be special."""
    added = _part(found, "added_tokens", list, file) if found.get("added_tokens") is not None else []
    for each in added:
        _demand(each if isinstance(each, dict) else {}, {"special": (True,)}, file, "added_tokens.")
    return [(_part(each, "content", str, file), each.get("id")) for each in added]


def _demand_class(config: Mapping[str, Any], kind: str, file: Path) -> None:
    name = str(config.get("tokenizer_class") or ANY[0]).removesuffix("Fast")
    _demand({"tokenizer_class": name}, {"tokenizer_class": (*CLASSES[kind], *ANY)}, file)


def _part(found: Any, key: str, kind: type, file: Path) -> Any:
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, kind):
        raise DataError(f"{clean(file)}: no tokenizer.json of Hugging Face that d2l knows: '{key}' is missing")
    return value


def _demand(part: Mapping[str, Any], demands: Demands, file: Path, where: str = "") -> None:
    for key, values in demands.items():
        if part.get(key, values[0]) not in values:
            known = " or ".join(str(value) for value in values)
            raise DataError(f"{clean(file)}: {where}{key} is {clean(part[key], 60)}, but d2l only knows {known}")
