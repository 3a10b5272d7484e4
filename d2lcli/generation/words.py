"""Word vectors asked: nearest neighbours and analogies by cosine, and all vectors as text (d2l 15.7).

Legend: V words, d components.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from d2lcli.data.vectors import read_vectors, write_vectors
from d2lcli.errors import ConfigError, clean, nearest
from d2lcli.generation.opening import open_run
from d2lcli.training.tokens import TARGET, read_tokenizer

SIGNS = {"+": 1.0, "-": -1.0}


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Args:
        words: V of them, the most frequent first where the source says so.
        vectors: (V, d).
        place: where they came from.
    """

    words: Sequence[str]
    vectors: Tensor
    place: str


@dataclass(frozen=True)
class Neighbours:
    """What is near a word or a sum of words.

    Attributes:
        prompt: as it was given.
        words: the nearest first; those of the prompt are left out.
        cosines: of each.
    """

    prompt: str
    words: list[str]
    cosines: list[float]


Ask: TypeAlias = Callable[[WordVectors, Sequence[str]], list[Neighbours]]
"""From vectors and prompts."""
Write: TypeAlias = Callable[[WordVectors, Path], Path]
"""From vectors and the folder of a run to the file that was written."""


def open_word_vectors(path: Path, values: dict[str, Any], checkpoint: str = "best") -> WordVectors:
    """A run's words and vectors from its folder alone: no data is read.

    Raises:
        CheckpointError: no run, no such checkpoint, a damaged one, or no tokenizer beside it.
        DataError: the tokenizer's file is damaged.
    """
    run = open_run(path, values, checkpoint)
    tokenizer = read_tokenizer(path / TARGET)
    model: Any = run.model((values["data"]["num_steps"],), len(tokenizer))
    first = len(tokenizer.special)  # <unk> has a vector that nothing has moved
    return WordVectors(tokenizer.tokens[first:], model.vectors().detach()[first:], str(run.checkpoint))


def read_word_vectors(path: Path) -> WordVectors:
    """Those of a text file, without the zero that stands for unknown words.

    Raises:
        DataError: see `d2lcli.data.vectors.read_vectors`.
    """
    words, vectors = read_vectors(path)
    return WordVectors(words[1:], vectors[1:], str(path))


def neighbours(*, num: int = 10, unit: bool = True) -> Ask:
    """The words whose vectors have the largest cosine with that of a word, or of a sum such as king - man + woman.

    Args:
        num: how many.
        unit: make vectors 1 long before they are added up, as Mikolov et al. (2013) do; False adds them as they are
            (d2l 15.7.3).

    Raises:
        ValueError: num is below 1.
    """
    if num < 1:
        raise ValueError(f"num={num!r} must be at least 1")

    def ask(source: WordVectors, prompts: Sequence[str]) -> list[Neighbours]:
        ids = {word: number for number, word in enumerate(source.words)}
        units = functional.normalize(source.vectors.float(), dim=1)
        vectors = units if unit else source.vectors.float()
        found = []
        for prompt in prompts:
            terms = [(sign, find_word(word, ids)) for sign, word in parse(prompt)]
            query = torch.stack([sign * vectors[number] for sign, number in terms]).sum(0)
            cosines = units @ functional.normalize(query, dim=0)
            cosines[[number for _, number in terms]] = -torch.inf
            best = cosines.topk(min(num, max(len(ids) - len({number for _, number in terms}), 0)))
            words = [source.words[number] for number in best.indices.tolist()]
            found.append(Neighbours(prompt, words, best.values.tolist()))
        return found

    return ask


def vectors() -> Write:
    """All vectors in word2vec's text form, which gensim and this program read."""

    def write(source: WordVectors, run: Path) -> Path:
        path = run / "samples" / "vectors.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_vectors(path, source.words, source.vectors)
        return path

    return write


def parse(prompt: str) -> list[tuple[float, str]]:
    """The words of a sum with their signs: "king - man + woman"; signs stand between white space.

    Raises:
        ConfigError: it is no such sum.
    """
    terms: list[tuple[float, str]] = []
    sign: float | None = 1.0
    for part in prompt.split():
        if part in SIGNS and (sign is None or not terms):
            sign = SIGNS[part]
        elif sign is not None:
            terms.append((sign, part))
            sign = None
        else:
            break
    else:
        if terms and sign is None:
            return terms
    raise ConfigError(
        f"--prompt: '{clean(prompt, 80)}' is neither a word nor a sum of words",
        'give a word, or words with + and - between them: --prompt "king - man + woman"',
    )


def find_word(word: str, ids: dict[str, int]) -> int:
    """The number of a word, as it is spelt or in lower case.

    Raises:
        ConfigError: it is unknown; the nearest spelling is offered.
    """
    for spelling in (word, word.lower()):
        if spelling in ids:
            return ids[spelling]
    raise ConfigError(
        f"--prompt: there is no vector for '{clean(word, 40)}'{nearest(word, ids)}; {len(ids):,} words have one",
        f"the first: {clean(' '.join(list(ids)[:20]), 200)}",
    )
