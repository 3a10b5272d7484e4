"""SNLI: does one sentence follow from another (Bowman et al., 2015; d2l 16.4)."""

import io

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset
from d2lcli.data.archive import read_members
from d2lcli.data.dataset import Dataset
from d2lcli.data.download import Progress, obtain
from d2lcli.data.sources import SNLI
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.lower_word import LowerWordTokenizer
from d2lcli.errors import DataError, clean

CLASSES = ("entailment", "contradiction", "neutral")  # as the book numbers them
PARTS = {
    "train": "snli_1.0/snli_1.0_train.txt",
    "val": "snli_1.0/snli_1.0_dev.txt",
    "test": "snli_1.0/snli_1.0_test.txt",
}
UNDECIDED = "-"  # the label of a pair on which the annotators did not agree
MOST, LARGEST = 100, 2 << 30  # members of the archive, and bytes of all of them


def snli(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 100,
    progress: Progress | None = None,
) -> Dataset:
    """549,367 pairs of sentences to train on, 9,842 to validate and 9,824 to test, without the undecided ones.

    The sentences are those of the parsed columns, in which words and punctuation stand apart, without the parentheses.
    The archive is found on this machine, else downloaded.

    Args:
        root: a folder to look in first, for snli_1.0.zip.
        tokenizer: see `movie_snippets`; None is words in lower case that occur 5 times.
        num_steps: the most tokens of a pair, special tokens included; it is cut at the end of the longer sentence.
        progress: told how far a download is.

    Raises:
        ValueError: an option out of range.
        DataError: the archive is not here and cannot be downloaded, or it is damaged.
    """
    plain = LowerWordTokenizer(min_freq=5) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps)
    content, digest, path, place = obtain(SNLI, root, progress)
    members = read_members(content, path, max_members=MOST, max_bytes=LARGEST, only=PARTS.values())
    parts = {}
    for part, name in PARTS.items():
        if name not in members:
            raise DataError(f"{clean(path)}: there is no {name} in it")
        parts[part] = parse_pairs(members[name], f"{path}, {name}")
    return annotated_dataset(
        "snli", parts, "label", CLASSES, options, files={str(path): digest}, place=str(path), found=place
    )


def parse_pairs(content: bytes, place: str) -> list[AnnotatedText]:
    """The pairs of a file of columns parted by tabs: the label, then both sentences as binary trees in parentheses.

    Raises:
        DataError: not UTF-8, a line of fewer columns or with another label, or no pair at all.
    """
    pairs = []
    for number, raw in enumerate(io.BytesIO(content), 1):
        if number == 1 or not raw.strip():  # the names of the columns
            continue
        try:
            columns = raw.decode().split("\t")
        except UnicodeDecodeError as error:
            raise DataError(f"{clean(place)}, line {number}: not UTF-8 at byte {error.start}") from None
        if len(columns) < 3 or columns[0] not in (*CLASSES, UNDECIDED):
            raise DataError(f"{clean(place)}, line {number}: no label and two sentences: '{clean(raw.decode(), 60)}'")
        if columns[0] != UNDECIDED:
            first, second = (" ".join(tree.replace("(", " ").replace(")", " ").split()) for tree in columns[1:3])
            pairs.append(AnnotatedText(first, second, CLASSES.index(columns[0]), number))
    if not pairs:
        raise DataError(f"{clean(place)}: no pairs")
    return pairs
