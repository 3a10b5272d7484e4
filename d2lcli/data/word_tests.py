"""What people think of words: pairs that they rated, and analogies (Finkelstein et al., 2002; Hill et al., 2015).

The files are embedded.  Words are looked up whatever their case, as gensim does: of several spellings the most frequent
one stands for the word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import ANALOGIES, SIMLEX999, WORD_SIMILARITY, WORDSIM353
from d2lcli.data.tokenizers.base import Tokenizer

SYNTACTIC = "gram"  # how the names of those categories of analogies begin


@dataclass(frozen=True)
class Rated:
    """Pairs of words that people rated.

    Args:
        pairs: (n, 2) ids, of those whose words are both known.
        ratings: (n,) float64.
        total: pairs of the file.
    """

    pairs: Tensor
    ratings: Tensor
    total: int


@dataclass(frozen=True)
class Analogies:
    """a is to b as c is to d.

    Args:
        words: (n, 4) ids a, b, c, d, of those whose words are all known.
        syntactic: (n,) whether the analogy is one of grammar.
        answers: (m,) the ids among which d is looked for: one spelling of each word.
        total: analogies of the file.
    """

    words: Tensor
    syntactic: Tensor
    answers: Tensor
    total: int


@dataclass(frozen=True)
class WordTests:
    """All tests, for one vocabulary.

    Args:
        rated: by name, wordsim353 and simlex999.
        analogies: of word2vec, Mikolov et al. (2013).
    """

    rated: Mapping[str, Rated]
    analogies: Analogies


def word_tests(tokenizer: Tokenizer) -> WordTests:
    """The tests as far as a vocabulary knows their words.

    Raises:
        DataError: an embedded file is damaged.
    """
    spelt: dict[str, int] = {}
    for token, number in tokenizer.vocabulary.plain.items():  # the most frequent one is first
        spelt.setdefault(token.lower(), number)
    texts = _texts()
    rated = {
        name: _rated(texts[file.name], spelt) for name, file in (("wordsim353", WORDSIM353), ("simlex999", SIMLEX999))
    }
    return WordTests(rated, _analogies(texts[ANALOGIES.name], spelt))


def _texts() -> dict[str, str]:
    found = locate(WORD_SIMILARITY)
    assert found is not None  # embedded
    return {file.name: read_checked(found.paths[file.name], file)[0].decode() for file in WORD_SIMILARITY.files}


def _ids(words: Sequence[str], spelt: Mapping[str, int]) -> list[int] | None:
    ids = [spelt.get(word.lower(), -1) for word in words]
    return ids if min(ids) >= 0 else None


def _rated(text: str, spelt: Mapping[str, int]) -> Rated:
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    known = [(ids, float(row[2])) for row in rows if (ids := _ids(row[:2], spelt))]
    pairs = torch.tensor([ids for ids, _ in known], dtype=torch.int64).view(-1, 2)
    return Rated(pairs, torch.tensor([rating for _, rating in known], dtype=torch.float64), len(rows))


def _analogies(text: str, spelt: Mapping[str, int]) -> Analogies:
    words, syntactic, total, grammar = [], [], 0, False
    for line in text.splitlines():
        if line.startswith(":"):
            grammar = line[1:].strip().startswith(SYNTACTIC)
            continue
        total += 1
        if ids := _ids(line.split(), spelt):
            words.append(ids)
            syntactic.append(grammar)
    return Analogies(
        torch.tensor(words, dtype=torch.int64).view(-1, 4),
        torch.tensor(syntactic, dtype=torch.bool),
        torch.tensor(sorted(spelt.values()), dtype=torch.int64),
        total,
    )
