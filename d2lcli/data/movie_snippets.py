"""Sentences of film reviews and whether they praise or blame (Hutto and Gilbert, 2014), embedded."""

from typing import Literal

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset, masked_dataset, parted
from d2lcli.data.dataset import Dataset
from d2lcli.data.find import locate, read_checked
from d2lcli.data.masked import SHARE
from d2lcli.data.sources import MOVIE_SNIPPETS
from d2lcli.data.splitting import check_share
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer

CLASSES = ("negative", "positive")
Objective = Literal["label", "masked"]


def movie_snippets(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 64,
    val_share: float = 0.1,
    objective: Objective = "label",
    mask_share: float = SHARE,
) -> Dataset:
    """10,043 sentences, 4,982 positive and 5,061 negative by the mean rating of 20 people.

    Args:
        root: a folder to look in first.
        tokenizer: it is trained on the training texts, with the special tokens that are needed, if it is not trained
            yet.  None is WordPiece of 8,000 pieces at the most, which occur 10 times.
        num_steps: the most tokens of an example, special tokens included; a longer text is cut at its end.
        val_share: the share of the texts that validates, chosen by their hash.
        objective: label, to tell praise from blame; or masked, some tokens of neighbouring texts, whose labels are not
            read: so BERT learns the language of reviews before it learns to judge them.  Both have the same splits.
        mask_share: of the tokens that are predicted, where they are masked; see `d2lcli.data.corpora.botchan`.

    Raises:
        ValueError: an option out of range.
        DataError: the file is damaged, or the tokenizer has no special tokens.
    """
    plain = WordPieceTokenizer(8000, min_freq=10) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps, val_share)
    check_share(mask_share, "mask_share")
    found = locate(MOVIE_SNIPPETS, root)
    assert found is not None
    (file,) = MOVIE_SNIPPETS.files
    path = str(found.paths[file.name])
    content, digest = read_checked(found.paths[file.name], file)
    rows = [line.split("\t") for line in content.decode().split("\n")[1:] if line]  # label, rating, text
    parts = parted([AnnotatedText(row[2], None, int(row[0])) for row in rows], val_share, path)
    if objective == "masked":
        return masked_dataset(
            "movie_snippets", parts, options, mask_share, files={path: digest}, place=path, found=found.place
        )
    return annotated_dataset(
        "movie_snippets", parts, "label", CLASSES, options, files={path: digest}, place=path, found=found.place
    )
