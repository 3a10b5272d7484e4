"""SICK: does one sentence follow from another, and how much do they say the same (Marelli et al., 2014)."""

from typing import Literal

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset
from d2lcli.data.dataset import Dataset
from d2lcli.data.download import fetch
from d2lcli.data.examples import Kind
from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import SICK
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer

CLASSES = ("entailment", "contradiction", "neutral")  # as the book numbers them (d2l 16.4)
PARTS = ("train", "val", "test")  # the files train, trial, test


def sick(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 64,
    target: Literal["entailment", "relatedness"] = "entailment",
) -> Dataset:
    """4,500 pairs of sentences to train on, 500 to validate and 4,927 to test.

    Args:
        root: a folder to look in first.
        tokenizer: see `movie_snippets`; None is WordPiece of 3,000 pieces at the most, which occur 10 times.
        num_steps: the most tokens of a pair, special tokens included; it is cut at the end of the longer sentence.
        target: entailment, one of three classes; or relatedness, a number from 1 to 5.

    Raises:
        ValueError: an option out of range.
        DataError: the files are not here, or damaged, or the tokenizer has no special tokens.
    """
    plain = WordPieceTokenizer(3000, min_freq=10) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps)
    found = locate(SICK, root) or fetch(SICK)
    parts, files = {}, {}
    for part, file in zip(PARTS, SICK.files, strict=True):
        path = found.paths[file.name]
        content, files[str(path)] = read_checked(path, file)
        parts[part] = [_pair(line, target) for line in content.decode().splitlines()[1:] if line.strip()]
    kind: Kind = "number" if target == "relatedness" else "label"
    classes = CLASSES if kind == "label" else ()
    return annotated_dataset("sick", parts, kind, classes, options, files=files, place=found.place, found=found.place)


def _pair(line: str, target: str) -> AnnotatedText:
    _, first, second, relatedness, judgement = line.split("\t")
    value = float(relatedness) if target == "relatedness" else CLASSES.index(judgement.lower())
    return AnnotatedText(first, second, value)
