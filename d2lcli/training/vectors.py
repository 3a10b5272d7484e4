"""Word vectors from a text file as the first embeddings of a model: rows are found by the spelling of their token."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from d2lcli.data.dataset import Dataset
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.vectors import read_vectors
from d2lcli.errors import ConfigError, DataError, clean
from d2lcli.registry import MODELS
from d2lcli.training.transfer import Report, shorten

ZERO = ("<unk>", "<pad>")  # tokens that stand for no word
WIDTHS = ("embed_dim", "dim")  # what builders call the width of their embeddings


@dataclass
class VectorReport(Report):
    """What became of the embeddings of a model.

    Attributes:
        words: tokens that are neither special nor anything else than text.
        found: those that the file has a vector for.
        width: of the vectors.
        running: the share of the training text that the found ones are, counted with their repetitions.
        missing_words: tokens without a vector, the most frequent first.
    """

    words: int = 0
    found: int = 0
    width: int = 0
    running: float = 0.0
    missing_words: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report in words."""
        share = f"{100 * self.running:.1f} % of the training text"
        lines = [
            f"weights: {self.found:,} of {self.words:,} tokens, {share}, have a vector of {self.width} numbers in "
            f"{clean(self.path)}; they fill {shorten(self.taken)}"
        ]
        if self.missing_words:
            lines.append(f"weights: {len(self.missing_words):,} without, left as drawn: {shorten(self.missing_words)}")
        return lines

    def facts(self) -> dict[str, object]:
        """The report as JSON values for meta.json."""
        return super().facts() | {
            "tokens": self.words, "found": self.found, "width": self.width, "running": round(self.running, 6)
        }  # fmt: skip


@torch.no_grad()
def fill_embeddings(model: nn.Module, dataset: Dataset, path: Path, name: str) -> VectorReport:
    """Write vectors into all embeddings of the vocabulary that a model has.

    A token is looked up as it is spelt, then in lower case.  The rows of <unk> and <pad> become zero.  The others of
    which the file knows nothing stay as they were drawn, but scaled to the spread of the vectors, so that they are
    neither loud nor lost among them (Kim, 2014).

    Args:
        model: changed in place.
        dataset: whose tokenizer has the words.
        path: see `d2lcli.data.vectors.read_vectors`.
        name: the model's, for messages.

    Raises:
        ConfigError: the model has no such embedding or one of another width, the data has no words, or two languages.
        DataError: the file is missing or damaged, or has none of the words.
    """
    tokenizer = dataset.tokenizer
    if tokenizer is None or dataset.source_tokenizer not in (None, tokenizer):
        what = "has no vocabulary" if tokenizer is None else "has two"
        raise ConfigError(f"weights {clean(path)}: word vectors fill the rows of one vocabulary, and this data {what}")
    tables = {
        key: layer.weight for key, layer in model.named_modules()
        if isinstance(layer, nn.Embedding) and layer.num_embeddings == len(tokenizer)
    }  # fmt: skip
    if not tables:
        raise ConfigError(f"weights {clean(path)}: word vectors fill embeddings, and model '{name}' has none of tokens")
    words, vectors = read_vectors(path)
    for key, table in tables.items():
        if table.shape[1] != vectors.shape[1]:
            raise ConfigError(
                f"weights {clean(path)}: vectors of {vectors.shape[1]} numbers, but {key} of model '{name}' has "
                f"{table.shape[1]}",
                _width_hint(name, vectors.shape[1]),
            )
    rows = _rows(tokenizer, {word: row for row, word in enumerate(words) if word not in tokenizer.special})
    if not rows:
        first = ", ".join(clean(token, 40) for token in list(tokenizer.vocabulary.plain)[:5])
        raise DataError(
            f"weights {clean(path)}: no vector for any of the {len(tokenizer):,} tokens (first: {first})",
            "cut the texts as the vectors are: data.tokenizer=lower_word",
        )
    for table in {id(table): table for table in tables.values()}.values():
        _fill(table, tokenizer, rows, vectors)
    return _report(model, tokenizer, rows, vectors.shape[1], path, [f"{key}.weight" for key in tables])


def _width_hint(name: str, width: int) -> str:
    key = next((key for key in WIDTHS if key in MODELS.parameters(name)), None)
    return f"set model.{key}={width}" if key else "this model has a fixed width: choose another one, or other vectors"


def _rows(tokenizer: Tokenizer, known: dict[str, int]) -> dict[int, int]:
    """From the id of each token that has a vector to the row of that."""
    spelt: Callable[[str], int | None] = lambda token: known.get(token, known.get(token.lower()))  # noqa: E731
    return {number: row for token, number in tokenizer.vocabulary.plain.items() if (row := spelt(token)) is not None}


def _fill(table: Tensor, tokenizer: Tokenizer, rows: dict[int, int], vectors: Tensor) -> None:
    taken = vectors[list(rows.values())].to(table)
    nothing = [tokenizer.id_of(token) for token in ZERO if token in tokenizer.special]
    drawn = torch.ones(len(table), dtype=torch.bool, device=table.device)
    drawn[[*rows, *nothing]] = False
    others = table[drawn]
    if len(others) and (spread := others.square().mean().sqrt()) > 0:
        table[drawn] = others * (taken.square().mean().sqrt() / spread)
    table[list(rows)] = taken
    table[nothing] = 0.0


def _report(
    model: nn.Module, tokenizer: Tokenizer, rows: dict[int, int], width: int, path: Path, taken: list[str]
) -> VectorReport:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    plain, counts = tokenizer.vocabulary.plain, tokenizer.vocabulary.counts
    total = max(1, sum(counts))
    return VectorReport(
        str(path), digest, len(model.state_dict()), taken,
        words=len(plain), found=len(rows), width=width, running=sum(counts[number] for number in rows) / total,
        missing_words=[token for token, number in plain.items() if number not in rows],
    )  # fmt: skip
