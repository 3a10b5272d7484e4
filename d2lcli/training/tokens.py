"""The tokenizers that texts are cut with, where they are not trained anew: a run's own, or those of its weights."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.published import KINDS, find_vocabulary, read_vocabulary
from d2lcli.errors import CheckpointError, clean
from d2lcli.registry import TOKENIZERS
from d2lcli.training.origin import VECTORS, locate

TARGET, SOURCE = "tokenizer.json", "source_tokenizer.json"


@dataclass(frozen=True)
class Tokenizers:
    """Trained ones.

    Attributes:
        target: of a text, or of the language that is translated into.
        source: of the language that is translated from, where there are two.
    """

    target: Tokenizer
    source: Tokenizer | None = None


def of_run(folder: Path) -> Tokenizers | None:
    """Those that a run has stored; None where it has none.

    Raises:
        DataError: a file is damaged.
    """
    if not (folder / TARGET).is_file():
        return None
    target = read_tokenizer(folder / TARGET)
    if not (folder / SOURCE).is_file():
        return Tokenizers(target)
    same = (folder / SOURCE).read_bytes() == (folder / TARGET).read_bytes()
    return Tokenizers(target, target if same else read_tokenizer(folder / SOURCE))


def of_weights(weights: str) -> Tokenizers | None:
    """Those of the run that the weights come from, or the vocabulary beside published ones; None where there is none.

    Raises:
        CheckpointError: there are no such weights.
        DataError: a tokenizer's file is damaged.
    """
    place = locate(weights)
    if place.is_dir():  # a checkpoint of a run
        return of_run(place.parent.parent)
    if place.suffix.lower() in VECTORS:  # they are found by the words of any tokenizer
        return None
    if find_vocabulary(place.parent) is None:
        return None
    return Tokenizers(read_vocabulary(place.parent))


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer that a run has written, or a published one.

    Args:
        path: a run, its tokenizer's file, or what `read_vocabulary` takes.

    Raises:
        CheckpointError: it is missing.
        DataError: it is damaged.
    """
    file = (find_vocabulary(path) or path / TARGET) if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{clean(file.parent)}: {file.name} is missing, which the run wrote at its start")
    return read_vocabulary(file, {**KINDS, **{name: partial(TOKENIZERS.build, name) for name in TOKENIZERS.names()}})
