"""Word embeddings by prediction: skip-gram and the continuous bag of words (Mikolov et al., 2013; d2l 15.1, 15.4).

Legend: V words, d components, c pieces of text, t places of a piece, w the window.
"""

from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.nn.bands import spread
from d2lcli.nn.checks import require_positive


class Word2Vec(nn.Module):
    """Two tables of vectors.  The first has a vector for each word that is read: the embedding, and the product.

    The second has one for each word that is predicted; with hierarchical softmax, for each of the V - 1 inner nodes of
    the tree, and its last row is not used.

    Args:
        vocab_size: V.
        embed_dim: d.

    Raises:
        ValueError: a size below 1.
    """

    reads_context = False  # whether the words around a place predict the one at it, not the other way round

    def __init__(self, vocab_size: int, embed_dim: int) -> None:
        super().__init__()
        require_positive(vocab_size=vocab_size, embed_dim=embed_dim)
        self.input = nn.Embedding(vocab_size, embed_dim)
        self.output = nn.Embedding(vocab_size, embed_dim)
        for table in (self.input, self.output):
            nn.init.uniform_(table.weight, -0.5 / embed_dim, 0.5 / embed_dim)  # as word2vec.c draws the first one

    def vectors(self) -> Tensor:
        """The embedding of each word (V, d)."""
        return self.input.weight

    def hidden(self, words: Tensor, mask: Tensor) -> Tensor:
        """What predicts at each place.

        Args:
            words: pieces of text (c, t + 2w).
            mask: (c, t, 2w + 1), which words around each place belong to its window; never the one in the middle.

        Returns:
            (c, t, d).
        """
        raise NotImplementedError

    def predict(self, tokens: Tensor) -> Tensor:
        """What predicts at each place of `forward`: (b, t) -> (b, t, d)."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        """The score of every word at each place of texts (b, t): (b, t, V), before a softmax.

        With a mask, see `hidden`, what predicts at each place (c, t, d), and the second table (V, d).
        """
        if mask is not None:
            return self.hidden(tokens, mask), self.output.weight
        return self.predict(tokens) @ self.output.weight.T


class SkipGram(Word2Vec):
    """A word predicts each of the words around it: P(o | c) = softmax over all words of u_o . v_c."""

    def hidden(self, words: Tensor, mask: Tensor) -> Tensor:
        window = mask.shape[2] // 2
        found: Tensor = self.input(words[:, window : window + mask.shape[1]])
        return found

    def predict(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.input(tokens)
        return found


class Cbow(Word2Vec):
    """The mean of the words around a place predicts the word at it: P(c | o_1 ... o_n) = softmax of u_c . mean of v."""

    reads_context = True

    def hidden(self, words: Tensor, mask: Tensor) -> Tensor:
        vectors: Tensor = self.input(words)
        return self.averaging(mask, vectors.dtype) @ vectors

    @staticmethod
    def averaging(mask: Tensor, dtype: torch.dtype) -> Tensor:
        """The matrix (c, t, t + 2w) that takes the mean of the words of each window; zero where a window has none."""
        counts = mask.sum(2, keepdim=True).clamp(min=1)
        return spread(mask.to(dtype) / counts, mask.shape[2] // 2)

    def predict(self, tokens: Tensor) -> Tensor:
        """Without a mask each place is predicted from all other words of its row."""
        vectors = self.input(tokens)
        others: Tensor = vectors.sum(1, keepdim=True) - vectors
        return others / max(tokens.shape[1] - 1, 1)


def skipgram(vocab_size: int = 10_000, embed_dim: int = 100) -> SkipGram:
    """Skip-gram (d2l 15.1.3).

    Args:
        vocab_size: words, <unk> included.
        embed_dim: components of a vector.
    """
    return SkipGram(vocab_size, embed_dim)


def cbow(vocab_size: int = 10_000, embed_dim: int = 100) -> Cbow:
    """Continuous bag of words (d2l 15.1.4).

    Args:
        vocab_size: words, <unk> included.
        embed_dim: components of a vector.
    """
    return Cbow(vocab_size, embed_dim)
