"""How often words meet: counts of pairs within a window, gathered on tensors (Pennington et al., 2014; d2l 15.5).

Legend: L words of the text, V of the vocabulary, n pairs that meet.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from d2lcli.data.dataset import Split
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.words import WordOptions, known_words
from d2lcli.errors import DataError, clean

BLOCK = 1 << 22  # words whose pairs are sorted at a time


def count_pairs(words: Tensor, lines: Tensor, vocab_size: int, options: WordOptions) -> tuple[Tensor, Tensor]:
    """x_ij, how often word j stands in the windows around word i, symmetric in i and j.

    Args:
        words: (L,).
        lines: (L,) the line of each; windows end with it.
        vocab_size: V.
        options: the window, and whether a pair k apart counts 1 / k or 1.

    Returns:
        The pairs that meet (n, 2), sorted, and their x_ij (n,), float64.
    """
    codes, weights = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    for begin in range(0, len(words), BLOCK):
        new = [*_pairs(words, lines, begin, vocab_size, options), (codes, weights)]
        codes, place = torch.unique(torch.cat([code for code, _ in new]), return_inverse=True)
        weights = torch.zeros(len(codes), dtype=torch.float64).index_add_(
            0, place, torch.cat([each for _, each in new])
        )
    low, high = codes // vocab_size, codes % vocab_size
    apart = low != high
    weights = torch.where(apart, weights, 2 * weights)  # a word that meets itself is in the windows of both places
    pairs = torch.cat([torch.stack([low, high], 1), torch.stack([high, low], 1)[apart]])
    order = (pairs[:, 0] * vocab_size + pairs[:, 1]).argsort()
    return pairs[order], torch.cat([weights, weights[apart]])[order]


def _pairs(
    words: Tensor, lines: Tensor, begin: int, vocab_size: int, options: WordOptions
) -> list[tuple[Tensor, Tensor]]:
    """For each distance the pairs whose first word is in a block, as smaller * V + larger, and what they count."""
    found = []
    for distance in range(1, options.window + 1):
        end = min(begin + BLOCK, len(words) - distance)
        first, second = (slice(begin + shift, max(end, begin) + shift) for shift in (0, distance))
        a, b = words[first], words[second]
        code = (torch.minimum(a, b) * vocab_size + torch.maximum(a, b))[lines[first] == lines[second]]
        weight = 1 / distance if options.distance_weights else 1.0
        found.append((code, torch.full((len(code),), weight, dtype=torch.float64)))
    return found


def pair_splits(
    texts: Sequence[str], tokenizer: Tokenizer, options: WordOptions, place: str
) -> tuple[list[Split], Tensor]:
    """The training and the validation split, and how often each word occurs in training (V,).

    An example is a pair of words that meet; its target is log x_ij.  The counts of the validation text are scaled to
    the size of the training text, so that one model is right for both.

    Raises:
        DataError: no two known words meet in a text.
    """
    splits: list[Split] = []
    counts, size = torch.empty(0), 0.0
    for name, text in zip(("train", "val"), texts):
        words, lines = known_words(text, tokenizer, options)
        pairs, meetings = count_pairs(words, lines, len(tokenizer), options)
        if not len(pairs):
            raise DataError(
                f"{clean(place)}: no two known words meet in the {name} split",
                "give a longer text, or a smaller min_freq: data.tokenizer={name: lower_word, min_freq: 1}",
            )
        if name == "train":
            counts, size = torch.bincount(words, minlength=len(tokenizer)), meetings.sum().item()
        logs = (meetings * (size / meetings.sum())).log().float()
        splits.append(Split(pairs, logs, name=name, source=place))
    return splits, counts
