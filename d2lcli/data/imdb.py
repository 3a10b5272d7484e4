"""Reviews of films from IMDb and whether they praise or blame (Maas et al., 2011; d2l 16.1)."""

from collections.abc import Mapping

from d2lcli.data.annotated import AnnotatedText, ExampleOptions, annotated_dataset
from d2lcli.data.archive import read_tar
from d2lcli.data.dataset import Dataset
from d2lcli.data.download import Progress, obtain
from d2lcli.data.sources import IMDB
from d2lcli.data.splitting import hash_order
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.lower_word import LowerWordTokenizer
from d2lcli.errors import DataError, clean

CLASSES = ("negative", "positive")
FOLDERS = {"neg": 0, "pos": 1}
PARTS = {"train": "train", "val": "test"}  # the archive's test reviews validate, as in the book
REVIEW = r"aclImdb/(train|test)/(pos|neg)/[0-9]+_[0-9]+\.txt"
MOST, LARGEST = 50_000, 256 << 20  # reviews, and bytes of all of them


def imdb(
    *,
    root: str | None = None,
    tokenizer: Tokenizer | None = None,
    num_steps: int = 500,
    progress: Progress | None = None,
) -> Dataset:
    """25,000 reviews to train on and 25,000 to validate, half of each praise; the unlabelled ones are not read.

    The reviews are read from the archive as it lies: it is found on this machine, else downloaded.

    Args:
        root: a folder to look in first, for aclImdb_v1.tar.gz.
        tokenizer: see `movie_snippets`; None is words in lower case that occur 5 times.
        num_steps: the most tokens of a review, special tokens included; a longer one is cut at its end.
        progress: told how far a download is.

    Raises:
        ValueError: an option out of range.
        DataError: the archive is not here and cannot be downloaded, or it is damaged.
    """
    plain = LowerWordTokenizer(min_freq=5) if tokenizer is None else tokenizer
    options = ExampleOptions(plain, num_steps)
    content, digest, path, place = obtain(IMDB, root, progress)
    members = read_tar(content, path, wanted=REVIEW, max_members=MOST, max_bytes=LARGEST)
    parts = {part: _reviews(members, folder, path) for part, folder in PARTS.items()}
    return annotated_dataset(
        "imdb", parts, "label", CLASSES, options, files={str(path): digest}, place=str(path), found=place
    )


def _reviews(members: Mapping[str, bytes], part: str, path: object) -> list[AnnotatedText]:
    """Those of one part in the order of their hash: the archive has all of a class together.

    A line break, which the page wrote as <br />, is a space.
    """
    texts = []
    for name, content in members.items():
        _, folder, label, _ = name.split("/")
        if folder == part:
            try:
                text = content.decode().replace("<br />", " ")
            except UnicodeDecodeError as error:
                raise DataError(f"{clean(path)}, {clean(name)}: not UTF-8 at byte {error.start}") from None
            texts.append(AnnotatedText(text, None, FOLDERS[label]))
    if not texts:
        raise DataError(f"{clean(path)}: there are no reviews in aclImdb/{part}/pos and aclImdb/{part}/neg")
    return [texts[row] for row in hash_order([text.texts[0] for text in texts])]
