"""Bands of matrices against plain indexing, and Huffman trees against entropy and a textbook example."""

import math

import pytest
import torch

from d2lcli.nn.bands import around, band, spread
from d2lcli.nn.huffman import huffman


@pytest.mark.parametrize(("c", "t", "w", "rest"), [(2, 5, 2, ()), (1, 3, 0, ()), (3, 4, 1, (2,)), (2, 1, 3, (5,))])
def test_a_band_is_what_plain_indexing_gives(c: int, t: int, w: int, rest: tuple[int, ...]) -> None:
    scores = torch.randn(c, t, t + 2 * w, *rest)
    found = band(scores, w)
    assert found.shape == (c, t, 2 * w + 1, *rest)
    for i in range(t):
        for j in range(2 * w + 1):
            assert torch.equal(found[:, i, j], scores[:, i, i + j])
    back = spread(found, w)
    assert torch.equal(band(back, w), found) and back.shape == scores.shape
    assert back.ne(0).sum() == found.ne(0).sum()


def test_a_band_of_a_transposed_matrix_and_its_gradient() -> None:
    scores = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(band(scores.mT, 1)[:, 4, 2], scores[:, 6, 4])
    assert torch.autograd.gradcheck(lambda x: band(x.mT, 1), [scores])
    assert torch.autograd.gradcheck(lambda x: spread(x[:, :3, :3], 1), [scores])


def test_the_words_around_a_place() -> None:
    words = torch.arange(9)[None]
    assert around(words, 2)[0].tolist() == [[i, i + 1, i + 2, i + 3, i + 4] for i in range(5)]


def test_the_textbook_s_tree() -> None:
    """Cormen et al., chapter on greedy algorithms: a 45, b 13, c 12, d 16, e 9, f 5 have 1, 3, 3, 3, 4, 4 bits."""
    tree = huffman(torch.tensor([45, 13, 12, 16, 9, 5]))
    assert tree.signs.abs().sum(1).tolist() == [1, 3, 3, 3, 4, 4]


def test_paths_are_codes_without_prefixes_and_short_on_average() -> None:
    counts = torch.randint(1, 1000, (300,), generator=torch.Generator().manual_seed(0))
    tree = huffman(counts)
    lengths = tree.signs.abs().sum(1)
    assert (0.5**lengths).sum().item() == 1.0  # Kraft: the tree is full
    shares = counts / counts.sum()
    entropy = -(shares * shares.log2()).sum().item()
    assert entropy <= (shares * lengths).sum().item() < entropy + 1
    codes = {
        tuple(
            int(sign) for _, sign in sorted(zip(nodes, signs), reverse=True) if sign
        )  # the root has the largest number
        for nodes, signs in zip(tree.nodes.tolist(), tree.signs.tolist())
    }
    assert len(codes) == 300 and not any(code[:k] in codes for code in codes for k in range(len(code)))
    assert sorted(set(tree.nodes[tree.signs != 0].tolist())) == list(range(299))


def test_small_trees() -> None:
    assert huffman(torch.tensor([7])).signs.tolist() == [[0.0]]
    two = huffman(torch.tensor([0, 3]))
    assert two.nodes.tolist() == [[0], [0]] and two.signs.tolist() == [[1.0], [-1.0]]
    assert huffman(torch.ones(1024)).signs.abs().sum(1).unique().tolist() == [math.log2(1024)]
    for wrong in (torch.empty(0), torch.tensor([1, -1])):
        with pytest.raises(ValueError, match="at least"):
            huffman(wrong)
