"""What a tokenizer.json or tokenizer_config.json of Hugging Face says, if its tokenizer is like BERT's or GPT-2's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lcli.data.tokenizers.files import read_content, read_object
from d2lcli.errors import DataError, clean

CONFIG = "tokenizer_config.json"
# Classes whose rules are BERT's or GPT-2's, and those that stand for any rules.
CLASSES = {"bert": ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"), "gpt2": ("GPT2Tokenizer",)}
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
    name = str(config.get("tokenizer_class") or ANY[0]).removesuffix("Fast")
    _demand({"tokenizer_class": name}, {"tokenizer_class": (*CLASSES[kind], *ANY)}, file)
    _demand(config, {"do_lower_case": (True, False), "add_prefix_space": (False,)}, file)
    lower = bool(config.get("do_lower_case", True))
    _demand(config, {"tokenize_chinese_chars": (True,), "strip_accents": (None, lower)}, file)
    return lower


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
    for added in _part(found, "added_tokens", list, file) if "added_tokens" in found else ():
        _demand(added if isinstance(added, dict) else {}, {"special": (True,)}, file, "added_tokens.")
        name = _part(added, "content", str, file)
        if ids.setdefault(name, added.get("id")) != added.get("id"):
            raise DataError(f"{clean(file)}: the token '{clean(name, 60)}' has two ids")
        special.append(name)
    return Parts(ids, tuple(special), merges, lower)


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
