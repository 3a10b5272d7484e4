"""Bands of matrices: what each place of a text has to do with those within a window around it.

Legend: c pieces of text, t places of a piece, w the window, 2w + 1 places around each, its own in the middle.

A piece of words has w more at each end, t + 2w in all, so that every place has a whole window.  The scores of t places
with t + 2w words are one matrix product; those of each place with the words of its own window lie on a band of it:
place i meets the words i .. i + 2w.
"""

from torch import Tensor


def around(words: Tensor, window: int) -> Tensor:
    """The words around each place: (c, t + 2w) -> a view (c, t, 2w + 1)."""
    return words.unfold(1, 2 * window + 1, 1)


def band(scores: Tensor, window: int) -> Tensor:
    """The band of a matrix: (c, t, t + 2w, ...) -> a view (c, t, 2w + 1, ...)."""
    whole = scores.contiguous()
    pieces, places, _, *rest = whole.shape
    a, b, c, *inner = whole.stride()
    return whole.as_strided((pieces, places, 2 * window + 1, *rest), (a, b + c, c, *inner))


def spread(values: Tensor, window: int) -> Tensor:
    """The matrix with these values on its band, zero elsewhere: (c, t, 2w + 1, ...) -> (c, t, t + 2w, ...)."""
    pieces, places, _, *rest = values.shape
    matrix = values.new_zeros(pieces, places, places + 2 * window, *rest)
    band(matrix, window).copy_(values)
    return matrix
