"""GloVe: word vectors whose products are the logarithms of how often words meet (Pennington et al., 2014; d2l 15.5).

Legend: V words, d components, n pairs of words.
"""

from torch import Tensor, nn

from d2lcli.nn.checks import require_positive


class Glove(nn.Module):
    """log x_ij is u_j . v_i + b_i + c_j, with x_ij how often word j stands in the windows around word i.

    Counts are symmetric, so both tables mean the same and differ by how they were drawn; the embedding of a word is the
    sum of its two vectors.

    Args:
        vocab_size: V.
        embed_dim: d.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, vocab_size: int, embed_dim: int) -> None:
        super().__init__()
        require_positive(vocab_size=vocab_size, embed_dim=embed_dim)
        self.input = nn.Embedding(vocab_size, embed_dim)
        self.output = nn.Embedding(vocab_size, embed_dim)
        self.input_bias = nn.Embedding(vocab_size, 1)
        self.output_bias = nn.Embedding(vocab_size, 1)
        for table in (self.input, self.output, self.input_bias, self.output_bias):
            nn.init.uniform_(table.weight, -0.5 / embed_dim, 0.5 / embed_dim)  # as the authors' program does

    def vectors(self) -> Tensor:
        """The embedding of each word (V, d)."""
        return self.input.weight + self.output.weight

    def forward(self, tokens: Tensor, others: Tensor | None = None) -> Tensor:
        """The logarithm of how often words meet: (n,) and (n,) -> (n,), or with all words (b, t) -> (b, t, V)."""
        vectors, bias = self.input(tokens), self.input_bias(tokens)
        scores: Tensor
        if others is None:
            scores = vectors @ self.output.weight.T + bias + self.output_bias.weight.squeeze(1)
            return scores
        scores = (vectors * self.output(others)).sum(-1) + (bias + self.output_bias(others)).squeeze(-1)
        return scores


def glove(vocab_size: int = 10_000, embed_dim: int = 100) -> Glove:
    """GloVe.

    Args:
        vocab_size: words, <unk> included.
        embed_dim: components of a vector.
    """
    return Glove(vocab_size, embed_dim)
