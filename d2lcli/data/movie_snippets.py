"""Sentences of film reviews and whether they praise or blame (Hutto and Gilbert, 2014), embedded."""

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset, parted
from d2lcli.data.dataset import Dataset
from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import MOVIE_SNIPPETS
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer

CLASSES = ("negative", "positive")


def movie_snippets(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 64,
    val_share: float = 0.1,
) -> Dataset:
    """10,043 sentences, 4,982 positive and 5,061 negative by the mean rating of 20 people.

    Args:
        root: a folder to look in first.
        tokenizer: it is trained on the training texts, with the special tokens that are needed, if it is not trained
            yet.  None is WordPiece of 8,000 pieces at the most, which occur 10 times.
        num_steps: the most tokens of an example, special tokens included; a longer text is cut at its end.
        val_share: the share of the texts that validates, chosen by their hash.

    Raises:
        ValueError: an option out of range.
        DataError: the file is damaged, or the tokenizer has no special tokens.
    """
    plain = WordPieceTokenizer(8000, min_freq=10) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps, val_share)
    found = locate(MOVIE_SNIPPETS, root)
    assert found is not None
    (file,) = MOVIE_SNIPPETS.files
    path = str(found.paths[file.name])
    content, digest = read_checked(found.paths[file.name], file)
    rows = [line.split("\t") for line in content.decode().split("\n")[1:] if line]  # label, rating, text
    texts = [AnnotatedText(row[2], None, int(row[0])) for row in rows]
    return annotated_dataset(
        "movie_snippets", parted(texts, val_share, path), "label", CLASSES, options,
        files={path: digest}, place=path, found=found.place,
    )  # fmt: skip
