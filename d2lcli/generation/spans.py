"""Texts with gaps for T5, such as "Thank you <extra_id_0> me to your party" (Raffel et al., 2020)."""

import re
from collections.abc import Sequence

from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import ConfigError

GAP = re.compile(r"<extra_id_(\d{1,2})>")


def encode_spans(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, sentinels included.

    Raises:
        ConfigError: there is none, or one that the tokenizer does not have.
    """
    names = [match[0] for match in GAP.finditer(text)]
    if not names:
        raise ConfigError("--prompt: there is no <extra_id_0> in it", "write <extra_id_0> where text is missing")
    if unknown := [name for name in names if name not in tokenizer.special]:
        raise ConfigError(f"--prompt: the model has no {unknown[0]}")
    ids: list[int] = []
    end = 0
    for match in GAP.finditer(text):
        ids += [*tokenizer.encode(text[end : match.start()]), tokenizer.id_of(match[0])]
        end = match.end()
    return [*ids, *tokenizer.encode(text[end:])]


def fill_spans(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> str:
    """The text with what stands after each sentinel of a model's answer in that sentinel's place.

    A sentinel that the answer does not have stays in the text.
    """
    found: dict[str, list[int]] = {}
    name = ""
    for number in ids:
        if GAP.fullmatch(tokenizer.tokens[number]):
            name = tokenizer.tokens[number]
            found.setdefault(name, [])
        elif name:
            found[name].append(number)
    return GAP.sub(lambda match: tokenizer.decode(found[match[0]]) if match[0] in found else match[0], text)
