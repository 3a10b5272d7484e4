"""Sentences in two languages: is one the translation of the other?  Made of Tatoeba's pairs, which are embedded."""

from collections.abc import Sequence

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset, parted
from d2lcli.data.dataset import Dataset
from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import TATOEBA_EN_ES_MINI
from d2lcli.data.splitting import hash_order
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.lower_word import LowerWordTokenizer

CLASSES = ("other", "translation")


def translated_pairs(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 64,
    val_share: float = 0.1,
) -> Dataset:
    """20,000 English sentences, each once with its Spanish translation and once with that of another one.

    The other one's translation has about as many words, so that lengths tell nothing.  It comes from the same split: no
    sentence that validates is ever trained on.

    Args:
        root: a folder to look in first.
        tokenizer: see `movie_snippets`; None is words in lower case, of both languages, that occur twice.
        num_steps: the most tokens of a pair, special tokens included; it is cut at the end of the longer sentence.
        val_share: the share of the English sentences that validates, chosen by the hash of the pair.

    Raises:
        ValueError: an option out of range.
        DataError: the file is damaged.
    """
    plain = LowerWordTokenizer(min_freq=2) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps, val_share)
    found = locate(TATOEBA_EN_ES_MINI, root)
    assert found is not None
    (file,) = TATOEBA_EN_ES_MINI.files
    path = str(found.paths[file.name])
    content, digest = read_checked(found.paths[file.name], file)
    rows = [line.split("\t") for line in content.decode().splitlines()]  # English, Spanish, whom to thank
    pairs = parted([AnnotatedText(row[0], row[1], 1) for row in rows], val_share, path)
    parts = {name: with_others(part) for name, part in pairs.items()}
    return annotated_dataset(
        "translated_pairs", parts, "label", CLASSES, options, files={path: digest}, place=path, found=found.place
    )


def with_others(pairs: Sequence[AnnotatedText]) -> list[AnnotatedText]:
    """The pairs, and each first text with the second one of another pair, of about as many words: class 0.

    All are in the order of a hash of their own, so that `data.limit` takes both classes: by the one that parts the
    splits, other pairs would come first.
    """
    ordered = sorted(pairs, key=lambda pair: len((pair.second or "").split()))  # stable: by hash among equal lengths
    made = list(pairs)
    for place, pair in enumerate(ordered):
        further = (ordered[(place + step) % len(ordered)].second for step in range(1, len(ordered)))
        other = next((second for second in further if second != pair.second), None)
        if other is not None:
            made.append(AnnotatedText(pair.first, other, 0))
    return [made[row] for row in hash_order(["\n".join(each.texts) for each in made])]
