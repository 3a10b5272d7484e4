"""Sentence pairs for translation: embedded, the book's, and the user's own (d2l 10.5)."""

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from d2lcli.data.corpora import read_text
from d2lcli.data.dataset import Dataset
from d2lcli.data.download import Progress, obtain
from d2lcli.data.find import locate, read_checked
from d2lcli.data.pairs import BOS, EOS, PAD, RESERVED, PairSplit, pair_split
from d2lcli.data.sources import FRA_ENG, TATOEBA_EN_ES_MINI
from d2lcli.data.splitting import check_share, hash_order
from d2lcli.data.tokenizers.base import Tokenizer, fitted
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.errors import DataError, clean

Pair = tuple[str, str]


@dataclass(frozen=True)
class PairOptions:
    """How pairs become tokens; the functions below explain the fields."""

    tokenizer: Tokenizer | None
    num_steps: int | None
    val_share: float
    reverse: bool
    max_pairs: int | None = None
    shared: bool = False
    source_tokenizer: Tokenizer | None = None

    def __post_init__(self) -> None:
        check_share(self.val_share)
        if self.num_steps is not None and self.num_steps < 2:
            raise ValueError(f"num_steps is {self.num_steps}; a word and the end token need at least 2")


def tatoeba_en_es_mini(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int | None = None,
    val_share: float = 0.1,
    reverse: bool = False,
    shared: bool = False,
    source_tokenizer: Tokenizer | None = None,
) -> Dataset:
    """20,000 English sentences of 2 to 8 words with their Spanish translations, embedded in the package.

    Args:
        root: a folder to look in first.
        tokenizer: of the target language, if it has been trained; else one like it is trained on the training pairs of
            each language.  None is words that occur twice.
        num_steps: cut sentences to so many tokens, the end token included; None keeps them whole.
        val_share: the share of the pairs that validates, chosen by their text.
        reverse: from Spanish to English.
        shared: one vocabulary for both languages.
        source_tokenizer: of the source language, where it has been trained and is not the target's.

    Raises:
        ValueError: an option out of range.
        DataError: the file is damaged.
    """
    options = PairOptions(tokenizer, num_steps, val_share, reverse, None, shared, source_tokenizer)
    found = locate(TATOEBA_EN_ES_MINI, root)
    assert found is not None
    path = found.paths["pairs.tsv.gz"]
    content, digest = read_checked(path, TATOEBA_EN_ES_MINI.files[0])
    return _dataset("tatoeba_en_es_mini", content.decode(), found.place, {str(path): digest}, options)


def fra_eng(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int | None = 9,
    val_share: float = 0.2,
    reverse: bool = False,
    shared: bool = False,
    source_tokenizer: Tokenizer | None = None,
    max_pairs: int | None = 640,
    progress: Progress | None = None,
) -> Dataset:
    """English and French: the book's file, of whose 167,130 pairs it takes the first 640.

    Args:
        max_pairs: take the first so many; None takes all.
        progress: told how far a download is.
        root, tokenizer, num_steps, val_share, reverse, shared, source_tokenizer: see `tatoeba_en_es_mini`.

    Raises:
        ValueError: an option out of range.
        DataError: the file is neither here nor can it be downloaded, or it is damaged.
    """
    options = PairOptions(tokenizer, num_steps, val_share, reverse, max_pairs, shared, source_tokenizer)
    content, digest, path, place = obtain(FRA_ENG, root, progress)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        text = archive.read("fra-eng/fra.txt").decode()
    return _dataset("fra_eng", text, place, {str(path): digest}, options)


def parallel_text(
    *,
    path: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int | None = None,
    val_share: float = 0.1,
    reverse: bool = False,
    shared: bool = False,
    source_tokenizer: Tokenizer | None = None,
    max_pairs: int | None = None,
) -> Dataset:
    """The user's own pairs: a UTF-8 file with a source and a target on each line, a tab between them.

    Args:
        path: the file; further columns are left out.
        max_pairs: take the first so many; None takes all.
        tokenizer, num_steps, val_share, reverse, shared, source_tokenizer: see `tatoeba_en_es_mini`.

    Raises:
        ValueError: no path, or an option out of range.
        DataError: there is no such file, it is no text, or a line has no tab.
    """
    if path is None:
        raise ValueError("path is not given: name the file with data.path=FILE")
    options = PairOptions(tokenizer, num_steps, val_share, reverse, max_pairs, shared, source_tokenizer)
    content, text = read_text(path)
    return _dataset("parallel_text", text, path, {path: hashlib.sha256(content).hexdigest()}, options)


def normalise(sentence: str) -> str:
    """Lower case, plain spaces, and a space between words and punctuation, as in the book."""
    text = re.sub("[\u00a0\u202f]", " ", sentence).lower()
    return " ".join(re.sub(r"([,.!?;:\u00bf\u00a1\"])", r" \1 ", text).split())


def _dataset(name: str, text: str, place: str, files: dict[str, str], options: PairOptions) -> Dataset:
    pairs = _pairs(text, place)[: options.max_pairs]
    if options.reverse:
        pairs = [(target, source) for source, target in pairs]
    order = hash_order([f"{source}\t{target}" for source, target in pairs])
    count = max(1, round(options.val_share * len(order)))
    parts = sorted(order[count:]), sorted(order[:count])
    if not parts[0]:
        raise DataError(f"{clean(place)}: {len(pairs)} pair leaves the training split empty")
    source, target = _tokenizers([pairs[i] for i in parts[0]], options)
    train, val = (
        _split([pairs[i] for i in rows], source, target, options.num_steps, kind, place)
        for rows, kind in zip(parts, ("train", "val"))
    )
    return Dataset(
        name, train, val, (options.num_steps or 0,), len(target),
        files=files, found=place, tokenizer=target, source_tokenizer=source,
    )  # fmt: skip


def _tokenizers(pairs: Sequence[Pair], options: PairOptions) -> tuple[Tokenizer, Tokenizer]:
    """Those of the source and target languages, trained on the pairs if they are not yet."""
    plain = WordTokenizer(2) if options.tokenizer is None else options.tokenizer
    sources, targets = zip(*pairs, strict=True)
    if options.shared or (plain.trained and options.source_tokenizer is None):
        both = fitted(plain, RESERVED, [*sources, *targets])
        source = target = both
    else:
        own = plain if options.source_tokenizer is None else options.source_tokenizer
        source, target = fitted(own, RESERVED, sources), fitted(plain, RESERVED, targets)
    for tokenizer in (source, target):
        if tuple(tokenizer.id_of(token) for token in RESERVED) != (PAD, BOS, EOS):
            raise DataError(
                f"the tokenizer '{tokenizer.name}' numbers {', '.join(RESERVED)} in another way than pairs do"
            )
    return source, target


def _pairs(text: str, place: str) -> list[Pair]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) < 2 or not cells[0].strip() or not cells[1].strip():
            raise DataError(f"{clean(place)}, line {number}: not SOURCE, tab, TARGET: '{clean(line, 60)}'")
        pairs.append((normalise(cells[0]), normalise(cells[1])))
    if not pairs:
        raise DataError(f"{clean(place)}: no pairs")
    return pairs


def _split(
    pairs: Sequence[Pair], source: Tokenizer, target: Tokenizer, num_steps: int | None, name: str, place: str
) -> PairSplit:
    most = None if num_steps is None else num_steps - 1
    sides = [[tokenizer.encode(pair[side])[:most] for pair in pairs] for side, tokenizer in enumerate((source, target))]
    return pair_split(sides[0], sides[1], name, place)
