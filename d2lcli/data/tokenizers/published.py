"""Vocabularies as published on Hugging Face: BERT's vocab.txt, GPT-2's vocab.json and merges.txt, T5's spiece.model,
and tokenizer.json.
"""

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from d2lcli.data.tokenizers.base import PUBLISHED, Tokenizer, is_count
from d2lcli.data.tokenizers.bpe import BPETokenizer
from d2lcli.data.tokenizers.char import CharTokenizer
from d2lcli.data.tokenizers.files import read_bytes, read_content, read_object
from d2lcli.data.tokenizers.hugging_face import read_config, read_parts, read_sentinels, read_unigram
from d2lcli.data.tokenizers.sentence_piece import read_sentence_piece
from d2lcli.data.tokenizers.unigram import Pieces, UnigramTokenizer
from d2lcli.data.tokenizers.vocabulary import UNKNOWN
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer
from d2lcli.errors import DataError, clean, nearest

# Special tokens by their published names and by ours.
OURS = {
    "[UNK]": "<unk>", "[PAD]": "<pad>", "[CLS]": "<cls>", "[SEP]": "<sep>", "[MASK]": "<mask>",
    "<|endoftext|>": "<eos>",
}  # fmt: skip
# In a folder the first of these is read.
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.json", "spiece.model")
ACCEPTED = (
    "give BERT's vocab.txt, GPT-2's vocab.json beside its merges.txt, T5's spiece.model, a tokenizer.json, or a folder "
    "with these"
)
KINDS: Mapping[str, Callable[[], Tokenizer]] = {
    kind.name: kind for kind in (CharTokenizer, WordTokenizer, BPETokenizer, WordPieceTokenizer, UnigramTokenizer)
}


def find_vocabulary(folder: Path) -> Path | None:
    """The file of a folder that its vocabulary is read from."""
    return next((folder / name for name in VOCABULARIES if (folder / name).is_file()), None)


def read_vocabulary(path: Path, kinds: Mapping[str, Callable[[], Tokenizer]] = KINDS) -> Tokenizer:
    """The tokenizer of a published vocabulary, or of a file that d2l wrote.

    Special tokens keep their ids and go by our names: [CLS] is <cls>, <|endoftext|> and </s> are <eos>.  In a text such
    names are text like any other, though the published tokenizers find special tokens there.

    Args:
        path: vocab.txt of BERT (capitals are dropped unless tokenizer_config.json beside it says otherwise), vocab.json
            or merges.txt of GPT-2 (each with the other beside it), spiece.model of T5, tokenizer.json of d2l or of
            Hugging Face, or a folder that holds one of these.  More may stand before a name, as in
            bert-base-uncased-vocab.txt.
        kinds: builders of untrained tokenizers, for files that d2l wrote.

    Raises:
        DataError: nothing of the kind is there, or it is damaged; the message says what was found.
    """
    file = find_vocabulary(path) if path.is_dir() else path
    if file is None:
        names = ", ".join(clean(each.name, 40) for each in sorted(path.iterdir())[:5])
        raise DataError(f"{clean(path)}: no vocabulary in it, but {names or 'nothing'}", ACCEPTED)
    if file.name.endswith(".model"):
        return _unigram(read_sentence_piece(read_bytes(file), file, read_sentinels(file)), file)
    content = read_content(file)
    if not content.strip():
        raise DataError(f"{clean(file)}: it is empty", ACCEPTED)
    if content.lstrip()[0] == "{" and not file.name.endswith(("vocab.txt", "merges.txt")):
        return _of_object(read_object(content, file), file, kinds)
    if file.name.endswith("merges.txt"):
        return _gpt2(file.with_name(file.name.removesuffix("merges.txt") + "vocab.json"), file)
    if not file.name.endswith(".txt"):
        raise DataError(f"{clean(file)}: it holds no JSON object", ACCEPTED)
    return _bert(content, file)


def _of_object(found: Mapping[str, Any], file: Path, kinds: Mapping[str, Callable[[], Tokenizer]]) -> Tokenizer:
    if isinstance(found.get("name"), str):
        name = found["name"]
        if name not in kinds:
            raise DataError(f"{clean(file)}: unknown tokenizer '{clean(name, 40)}'{nearest(name, kinds)}")
        return _made(kinds[name](), found, file)
    if isinstance(found.get("model"), dict):
        if found["model"].get("type") == "Unigram":
            return _unigram(read_unigram(found, file), file)
        parts = read_parts(found, file)
        if parts.merges is None:
            return _wordpiece(_in_order(parts.ids, file), parts.special, parts.lower, file)
        return _bpe(_in_order(parts.ids, file), parts.merges, parts.special, file)
    if not file.name.endswith("vocab.json"):
        keys = ", ".join(clean(key, 20) for key in list(found)[:5])
        raise DataError(f"{clean(file)}: no tokenizer, but an object of {keys or 'nothing'}", ACCEPTED)
    return _gpt2(file, file.with_name(file.name.removesuffix("vocab.json") + "merges.txt"))


def _bert(content: str, file: Path) -> Tokenizer:
    """A token on each line."""
    lines: dict[str, int] = {}
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        token = line.removesuffix("\r")
        if not token or " " in token or "\t" in token:
            raise DataError(f"{clean(file)}, line {number}: '{clean(token, 60)}' is not one token", ACCEPTED)
        if token in lines:
            raise DataError(f"{clean(file)}, line {number}: '{clean(token, 60)}' stands on line {lines[token]}, too")
        lines[token] = number
    return _wordpiece(list(lines), (), read_config(file, "bert"), file)


def _wordpiece(tokens: Sequence[str], special: Collection[str], lower: bool, file: Path) -> Tokenizer:
    if "[UNK]" not in tokens and UNKNOWN not in tokens:
        raise DataError(f"{clean(file)}: no [UNK] among its {len(tokens)} tokens", ACCEPTED)
    more = {"name": "wordpiece", "rule": "bert", "lower": lower, "vocab_size": len(tokens)}
    return _made(WordPieceTokenizer(), _state(tokens, {*special, *OURS, *OURS.values()}) | more, file)


def _gpt2(file: Path, merges: Path) -> Tokenizer:
    """Ids by token in one file, pairs in the other."""
    for each, other in ((file, merges), (merges, file)):
        if not each.is_file():
            raise DataError(f"{clean(other)}: there is no {clean(each.name, 80)} beside it", ACCEPTED)
    read_config(file, "gpt2")
    tokens = _in_order(read_object(read_content(file), file), file)
    found: list[list[str]] = []
    for number, line in enumerate(read_content(merges).removesuffix("\n").split("\n"), 1):
        pair = line.removesuffix("\r").split(" ")
        if number == 1 and line.startswith("#version"):
            continue
        if len(pair) != 2 or not all(pair):
            raise DataError(
                f"{clean(merges)}, line {number}: '{clean(line, 60)}' is not two tokens with a space between"
            )
        found.append(pair)
    return _bpe(tokens, found, (), file)


def _bpe(tokens: Sequence[str], merges: Sequence[Sequence[str]], special: Collection[str], file: Path) -> Tokenizer:
    more = {"name": "bpe", "rule": "gpt2", "merges": merges, "vocab_size": len(tokens)}
    return _made(BPETokenizer(), _state(tokens, {*special, "<|endoftext|>"}) | more, file)


def _unigram(pieces: Pieces, file: Path) -> Tokenizer:
    more = {"name": "unigram", "rule": "t5", "scores": list(pieces.scores)}
    more["charsmap"] = base64.b64encode(pieces.charsmap).decode("ascii")
    names = {pieces.unknown: UNKNOWN, "</s>": "<eos>"}
    return _made(UnigramTokenizer(), _state(pieces.tokens, pieces.special, names) | more, file)


def _in_order(ids: Mapping[str, Any], file: Path) -> list[str]:
    """The tokens by id."""
    if not all(is_count(number, 0) for number in ids.values()) or {*ids.values()} != {*range(len(ids))}:
        raise DataError(f"{clean(file)}: the ids of its {len(ids)} tokens are not the numbers from 0 on, each once")
    return sorted(ids, key=lambda token: ids[token])


def _state(tokens: Sequence[str], special: Collection[str], names: Mapping[str, str] = OURS) -> dict[str, Any]:
    """What all published ones have."""
    renamed = [names.get(token, token) if token in special else token for token in tokens]
    return {
        "format": PUBLISHED, "min_freq": 1, "tokens": renamed, "counts": [0] * len(tokens),
        "special": [new for new, old in zip(renamed, tokens) if old in special],
    }  # fmt: skip


def _made(tokenizer: Tokenizer, state: Any, file: Path) -> Tokenizer:
    try:
        tokenizer.load_state(state)
    except DataError as error:
        raise DataError(f"{clean(file)}: {error.message}") from None
    return tokenizer
