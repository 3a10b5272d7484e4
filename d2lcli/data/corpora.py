"""Texts for language models: embedded, the book's, and the user's own."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from d2lcli.data.cooccurrence import pair_splits
from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.download import Progress, fetch, obtain
from d2lcli.data.find import locate, read_checked
from d2lcli.data.marked import RESERVED
from d2lcli.data.masked import SHARE, masked_split
from d2lcli.data.sources import BOTCHAN, TIME_MACHINE, WIKITEXT2, Source
from d2lcli.data.spans import SPAN_RESERVED, span_split
from d2lcli.data.splitting import check_share
from d2lcli.data.tokenizers.base import Tokenizer, fitted
from d2lcli.data.tokenizers.bpe import BPETokenizer
from d2lcli.data.tokenizers.char import CharTokenizer
from d2lcli.data.tokenizers.lower_word import LowerWordTokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer
from d2lcli.data.windows import Partition, TextSplit, text_split
from d2lcli.data.word_tests import word_tests
from d2lcli.data.words import WordOptions, word_splits
from d2lcli.errors import DataError, clean

LARGEST_TEXT = 2 << 30  # bytes
Objective = Literal["causal", "masked", "span_corruption", "words", "cooccurrence"]
DEFAULTS: dict[Objective, Callable[[], Tokenizer]] = {
    "causal": CharTokenizer, "masked": lambda: WordPieceTokenizer(2000), "span_corruption": lambda: BPETokenizer(1000),
    "words": lambda: LowerWordTokenizer(5), "cooccurrence": lambda: LowerWordTokenizer(5),
}  # fmt: skip


@dataclass(frozen=True)
class TextOptions:
    """How a text becomes examples; the functions below explain the fields."""

    tokenizer: Tokenizer | None
    num_steps: int
    partition: Partition
    letters_only: bool
    val_share: float
    num_train: int | None = None
    num_val: int | None = None
    objective: Objective = "causal"
    mask_share: float = SHARE
    words: WordOptions = field(default_factory=WordOptions)

    def __post_init__(self) -> None:
        check_share(self.val_share)
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; it must be at least 1")
        check_share(self.mask_share, "mask_share")
        if (self.num_train is None) != (self.num_val is None):
            raise ValueError("num_train and num_val go together: give both, or neither")
        if self.objective != "causal" and self.num_train is not None:
            raise ValueError("num_train and num_val are for a text whose next token is predicted")
        if self.objective == "masked" and self.partition != "random":
            raise ValueError(f"partition is {self.partition}, but pairs of sentences are not cut as windows")
        if self.objective == "masked" and self.num_steps < 8:
            raise ValueError(f"num_steps is {self.num_steps}; two sentences and their marks need at least 8")
        if self.objective == "span_corruption" and self.partition == "sequential":
            raise ValueError("partition is sequential, but no state goes on from one window with spans to the next")
        if self.objective in ("words", "cooccurrence") and self.partition != "random":
            raise ValueError(f"partition is {self.partition}, but words with their neighbours are not cut as windows")


def botchan(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 32,
    partition: Partition = "random",
    letters_only: bool = False,
    val_share: float = 0.1,
    num_train: int | None = None,
    num_val: int | None = None,
    objective: Objective = "causal",
    mask_share: float = SHARE,
    window: int = 5,
    subsample: float | None = 1e-4,
    across_lines: bool = True,
    distance_weights: bool = True,
) -> Dataset:
    """The novel Botchan in English, 253,000 characters, embedded in the package.

    Args:
        root: a folder to look in first.
        tokenizer: it is trained on the training part of the text if it is not yet.  None is characters; for masked
            tokens WordPiece with 2,000 pieces, for spans byte pairs with 1,000 tokens, for word vectors words in lower
            case that occur 5 times.
        num_steps: T, tokens of a window; for word vectors, of a piece whose words are learnt from together.
        partition: how windows are cut, see `d2lcli.data.windows.TextSplit`.
        letters_only: lower the text, and make one space of everything that is no letter from a to z, as the book does.
        val_share: the share of the text, at its end, that validates.
        num_train: where it is given, that many windows are trained on, cut from the beginning of the whole text ...
        num_val: ... and the next so many, overlapping, validate.
        objective: causal, to predict the next token; masked, some tokens of two sentences, as BERT learns;
            span_corruption, what was cut out, as T5 does; words, what stands near a word; or cooccurrence, how often
            words meet.
        mask_share: the share of the tokens that are predicted, where they are masked; more of them than the paper's
            0.15 teach a small model more in a step (Wettig et al., 2023).
        window, subsample, across_lines, distance_weights: of words and of their meetings, see
            `d2lcli.data.words.WordOptions`.

    Raises:
        ValueError: an option out of range.
        DataError: a damaged file, or a text shorter than a window.
    """
    words = WordOptions(window, subsample, across_lines, distance_weights)
    options = TextOptions(
        tokenizer, num_steps, partition, letters_only, val_share, num_train, num_val, objective, mask_share, words
    )
    return _published(BOTCHAN, root, None, options)


def time_machine(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 32,
    partition: Partition = "overlapping",
    letters_only: bool = True,
    val_share: float = 0.1,
    num_train: int | None = 10_000,
    num_val: int | None = 5_000,
    progress: Progress | None = None,
) -> Dataset:
    """The Time Machine by H. G. Wells, the book's file: 173,428 characters, 28 of them different with <unk>.

    Args:
        progress: told how far a download is.
        root, tokenizer, num_steps, partition, letters_only, val_share, num_train, num_val: see `botchan`.

    Raises:
        ValueError: an option out of range.
        DataError: the file is neither here nor can it be downloaded, or it is damaged.
    """
    options = TextOptions(tokenizer, num_steps, partition, letters_only, val_share, num_train, num_val)
    return _published(TIME_MACHINE, root, progress, options)


def wikitext2(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 64,
    partition: Partition = "random",
    objective: Objective = "causal",
    mask_share: float = SHARE,
    window: int = 5,
    subsample: float | None = 1e-4,
    across_lines: bool = False,
    distance_weights: bool = True,
) -> Dataset:
    """WikiText-2 (Merity et al., 2016), raw: two million words of Wikipedia, with its own validation text.

    Args:
        root, tokenizer, num_steps, partition, objective, mask_share, window, subsample, across_lines,
            distance_weights: see `botchan`.

    Raises:
        ValueError: an option out of range.
        DataError: the files are not here, or damaged.
    """
    words = WordOptions(window, subsample, across_lines, distance_weights)
    options = TextOptions(
        tokenizer, num_steps, partition, False, 0.1, objective=objective, mask_share=mask_share, words=words
    )
    found = locate(WIKITEXT2, root) or fetch(WIKITEXT2)
    texts, files = {}, {}
    for file in WIKITEXT2.files:
        content, files[str(found.paths[file.name])] = read_checked(found.paths[file.name], file)
        texts[file.name.partition(".")[0]] = content.decode()
    return _parted("wikitext2", texts["train"], texts["valid"], found.place, files, options)


def text_file(
    *,
    path: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 32,
    partition: Partition = "random",
    letters_only: bool = False,
    val_share: float = 0.1,
    num_train: int | None = None,
    num_val: int | None = None,
    objective: Objective = "causal",
    mask_share: float = SHARE,
    window: int = 5,
    subsample: float | None = 1e-4,
    across_lines: bool = False,
    distance_weights: bool = True,
) -> Dataset:
    """The user's own text, UTF-8.

    Args:
        path: the file.
        tokenizer, num_steps, partition, letters_only, val_share, num_train, num_val, objective, mask_share, window,
            subsample, across_lines, distance_weights: see `botchan`.

    Raises:
        ValueError: no path, or an option out of range.
        DataError: there is no such file, it is no text, or shorter than a window.
    """
    if path is None:
        raise ValueError("path is not given: name the file with data.path=FILE")
    content, text = read_text(path)
    files = {path: hashlib.sha256(content).hexdigest()}
    words = WordOptions(window, subsample, across_lines, distance_weights)
    options = TextOptions(
        tokenizer, num_steps, partition, letters_only, val_share, num_train, num_val, objective, mask_share, words
    )
    return _dataset("text_file", text, path, files, options)


def read_text(path: str, key: str = "data.path") -> tuple[bytes, str]:
    """The bytes of a file, and the text that they are.

    Raises:
        DataError: there is no such file, or it is not UTF-8.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise DataError(f"{key}: '{clean(path)}' is not an existing file")
        if file.stat().st_size > LARGEST_TEXT:
            raise DataError(f"{clean(path)}: larger than {LARGEST_TEXT >> 30} GiB, and a text is held in memory")
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{clean(path)}: cannot be read: {error.strerror or clean(error)}") from error
    try:
        return content, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{clean(path)}, line {content.count(10, 0, error.start) + 1}: not UTF-8 at byte {error.start}",
            "convert it, for example with iconv",
        ) from None


def letters(text: str) -> str:
    """Lower case, and one space for everything that is no letter from a to z (d2l 9.2)."""
    return re.sub("[^A-Za-z]+", " ", text).lower()


def _published(source: Source, root: str | None, progress: Progress | None, options: TextOptions) -> Dataset:
    content, digest, path, place = obtain(source, root, progress)
    return _dataset(source.name, content.decode(), place, {str(path): digest}, options)


def _dataset(name: str, text: str, place: str, files: dict[str, str], options: TextOptions) -> Dataset:
    text = letters(text) if options.letters_only else text
    if not text.strip():
        raise DataError(f"{clean(place)}: the text is empty")
    if options.num_train is not None and options.num_val is not None:
        return _first_windows(name, text, place, files, options, options.num_train, options.num_val)
    cut = _boundary(text, round((1 - options.val_share) * len(text)))
    return _parted(name, text[:cut], text[cut:], place, files, options)


def _parted(name: str, train: str, val: str, place: str, files: dict[str, str], options: TextOptions) -> Dataset:
    """The data set of a training and a validation text."""
    reserved = {"masked": RESERVED, "span_corruption": SPAN_RESERVED}.get(options.objective, ())
    tokenizer = fitted(_tokenizer(options), reserved, [train])
    source, counts = None, None
    parts: list[Split]
    if options.objective == "words":
        parts, counts = word_splits((train, val), tokenizer, options.num_steps, options.words, place)
    elif options.objective == "cooccurrence":
        parts, counts = pair_splits((train, val), tokenizer, options.words, place)
    elif options.objective == "masked":
        parts = [
            masked_split(text, tokenizer, options.num_steps, split, place, options.mask_share)
            for split, text in (("train", train), ("val", val))
        ]
    else:
        windows = _windows(tokenizer.encode(train), tokenizer.encode(val), place, options)
        spans = options.objective == "span_corruption"
        parts = [span_split(each) for each in windows] if spans else [*windows]
        source = tokenizer if spans else None
    return Dataset(
        name, parts[0], parts[1], (options.num_steps,), len(tokenizer),
        files=files, found=place, tokenizer=tokenizer, source_tokenizer=source,
        counts=counts, word_tests=None if counts is None else word_tests(tokenizer),
    )  # fmt: skip


def _tokenizer(options: TextOptions) -> Tokenizer:
    return DEFAULTS[options.objective]() if options.tokenizer is None else options.tokenizer


def _windows(train: Sequence[int], val: Sequence[int], place: str, options: TextOptions) -> list[TextSplit]:
    steps, partition = options.num_steps, options.partition
    judged: Partition = "random" if partition == "overlapping" else partition
    return [
        text_split(torch.tensor(tokens, dtype=torch.int64), steps, kind, name, place)
        for tokens, kind, name in ((train, partition, "train"), (val, judged, "val"))
    ]


def _first_windows(
    name: str, text: str, place: str, files: dict[str, str], options: TextOptions, num_train: int, num_val: int
) -> Dataset:
    """The first `num_train` overlapping windows train, and the next so many validate, as the book parts them."""
    tokenizer, steps = fitted(_tokenizer(options), (), [text]), options.num_steps
    tokens = tokenizer.encode(text)
    if len(tokens) < num_train + num_val + steps:
        raise DataError(
            f"{clean(place)}: {len(tokens)} tokens are too few for num_train={num_train} and num_val={num_val} "
            f"windows of {steps}",
            "lower them, or set both to null",
        )
    train, val = tokens[: num_train + steps], tokens[num_train : num_train + num_val + steps]
    splits = (
        text_split(torch.tensor(train), steps, options.partition, "train", place),
        text_split(torch.tensor(val), steps, "overlapping", "val", place),
    )
    return Dataset(name, *splits, (steps,), len(tokenizer), files=files, found=place, tokenizer=tokenizer)


def _boundary(text: str, near: int) -> int:
    """The place after the first white space from `near` on, so that no word is cut in two."""
    found = re.compile(r"\s").search(text, near)
    return found.end() if found and found.end() < len(text) else near
