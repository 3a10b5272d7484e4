"""The Rust library `tokenizers` (extra `nlp`), where it is installed: it merges the bytes of many words on all cores.

It is given distinct words, never a text: it would cut a word that comes often each time anew, and part a text by a
table of Unicode that it does not share with Python.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from d2lcli.data.tokenizers.merging import Pair

BLOCK = 1000  # words that are given as one


def library() -> Any:
    """The module, or None where it is not installed."""
    try:
        import tokenizers
    except ImportError:
        return None
    return tokenizers


def in_step(merges: Collection[Pair]) -> bool:
    """Whether the library merges as we do, each of the merges being of tokens made before it.

    Both take the pair that was learnt first.  We merge all its occurrences, and the library one of them before it looks
    for the next pair: that is another pair only if it holds the new token and was learnt earlier, so that yet another
    merge makes this token, too.
    """
    return len({left + right for left, right in merges}) == len(merges)


def merge_words(
    tokenizers: Any, ids: Mapping[str, int], merges: Collection[Pair], words: Sequence[str]
) -> list[list[int]]:
    """The ids of the tokens of each word.

    Args:
        tokenizers: the module.
        ids: of all tokens.
        merges: in the order in which they were learnt.
        words: spelt in the symbols of bytes.
    """
    model = tokenizers.Tokenizer(tokenizers.models.BPE(dict(ids), list(merges), cache_capacity=0))
    blocks = [list(words[place : place + BLOCK]) for place in range(0, len(words), BLOCK)]
    found: list[list[int]] = []
    for block, encoding in zip(blocks, model.encode_batch(blocks, is_pretokenized=True)):
        parts: list[list[int]] = [[] for _ in block]
        for number, word in zip(encoding.ids, encoding.word_ids):
            parts[word].append(number)
        found += parts
    return found
