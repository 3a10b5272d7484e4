"""Classes, or numbers, of given texts or pairs of texts, by the model of a finished run (d2l 16.2-16.7)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from d2lcli.data.marked import Marks, mark
from d2lcli.generation.asking import Encoder, parted, require_words

PAIR = "A man sleeps.\\tNobody is awake."


@dataclass(frozen=True)
class Labelled:
    """One text with its class.

    Attributes:
        texts: one, or the two of a pair.
        label: the most probable class.
        probabilities: of all classes, the most probable first.
        unknown: its words that are not in the vocabulary, each once.
        left_out: tokens at its end that the model does not read.
    """

    texts: list[str]
    label: str
    probabilities: dict[str, float]
    unknown: list[str]
    left_out: int


@dataclass(frozen=True)
class Rated:
    """One text with its number; see `Labelled`."""

    texts: list[str]
    value: float
    unknown: list[str]
    left_out: int


def classify(source: Encoder, prompts: Sequence[str]) -> list[Labelled]:
    """The class of each text, in their order.

    Args:
        source: the classifier.
        prompts: texts; the two of a pair are parted by a tab, for which a backslash and a t may stand.

    Raises:
        ConfigError: a text is empty, or there are not as many texts as the model judges together.
    """
    found = []
    for texts, logits, unknown, left_out in _judged(source, prompts):
        shares = probabilities(logits, source.classes, source.values)
        found.append(Labelled(texts, next(iter(shares)), shares, unknown, left_out))
    return found


def probabilities(logits: Tensor, classes: Sequence[str], values: Mapping[str, Any]) -> dict[str, float]:
    """Those of all classes, the most probable first; with binary cross-entropy each is a question of its own.

    Args:
        logits: (q,) of one example.
        classes: their names.
        values: the config of the run.
    """
    loss = values["task"]["loss"]
    exclusive = (loss if isinstance(loss, str) else loss["name"]) != "binary_cross_entropy"
    shares = (logits.softmax(0) if exclusive else logits.sigmoid()).tolist()
    return dict(sorted(zip(classes, shares, strict=True), key=lambda pair: -pair[1]))


def rate(source: Encoder, prompts: Sequence[str]) -> list[Rated]:
    """The number of each text, in their order; see `classify`."""
    return [
        Rated(texts, float(output.squeeze()), unknown, left_out)
        for texts, output, unknown, left_out in _judged(source, prompts)
    ]


def _judged(source: Encoder, prompts: Sequence[str]) -> Iterator[tuple[list[str], Tensor, list[str], int]]:
    """Each prompt's texts, what the model says of them, their unknown words, and how many tokens it does not read."""
    texts = [parted(prompt, source.pairs, PAIR) for prompt in prompts]
    encoded = [[source.tokenizer.encode(text) for text in each] for each in texts]
    for each, ids in zip(texts, encoded, strict=True):
        require_words(each, ids)
    marks = Marks.of(source.tokenizer)
    marked = [mark(marks, first, second[0] if second else None, source.num_steps) for first, *second in encoded]
    for each, ids, output in zip(texts, encoded, source.outputs(marked), strict=True):
        left_out = max(0, sum(map(len, ids)) + len(ids) + 1 - source.num_steps)
        yield each, output, source.unknown(each), left_out
