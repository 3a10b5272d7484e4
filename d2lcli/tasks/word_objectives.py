"""What word2vec is to predict, and how wrong it is, for pieces of text at a time (Mikolov et al., 2013; d2l 15.2).

Legend: V words, d components, c pieces, t places of a piece, w the window of targets, N negatives, L nodes of a path.

Each place i has a vector h_i and targets: the words of its window for skip-gram (2w + 1 on a band, see
`d2lcli.nn.bands`), the word itself for CBOW (w = 0).  Scores of all places of a piece with all its words are one matrix
product, of which the band is used: more arithmetic than is needed, and a fraction of the time of small products.

Each objective has its loss, which can be differentiated, and `step`, the same with gradients written out.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from d2lcli.nn.bands import around, band, spread
from d2lcli.nn.huffman import Tree, huffman


@dataclass(frozen=True)
class Targets:
    """What each place is to predict.

    Args:
        words: (c, t + 2w).
        mask: (c, t, 2w + 1) bool, which of the words around a place.
        window: w.
    """

    words: Tensor
    mask: Tensor
    window: int

    @property
    def counts(self) -> Tensor:
        """Targets of each place (c, t)."""
        return self.mask.sum(2)


class Objective(Protocol):
    """One way to say how wrong predictions are."""

    def loss(self, hidden: Tensor, table: Tensor, targets: Targets, noise: Tensor | None = None) -> Tensor:
        """The sum over the places of each piece, (c,).

        Args:
            hidden: h (c, t, d).
            table: u (V, d).
            targets: what is right.
            noise: words to tell the targets from, where the objective draws such and is not to draw them itself.
        """
        ...

    def step(self, hidden: Tensor, table: Tensor, targets: Targets, rate: float) -> tuple[Tensor, Tensor]:
        """Descend: subtract `rate` times the gradient of the sum over all pieces from the table.

        Returns:
            That sum before the step, and the gradient by `hidden` (c, t, d), of the table before the step.
        """
        ...


def descend(table: Tensor, rows: Tensor, gradients: Tensor, rate: float) -> None:
    """Subtract `rate` times gradients (n, d) from rows (n,) of a table; what a row gets several times adds up.

    An index that is one number for a whole row lets torch's scatter sort the rows and add them as vectors: twice as
    fast as index_add_ on the CPU.  On a GPU index_add_ is the one that gives the same sum each time.
    """
    if table.is_cuda:
        table.index_add_(0, rows, gradients, alpha=-rate)
    else:
        table.scatter_add_(0, rows[:, None].expand_as(gradients), gradients.mul_(-rate))


class NegativeSampling:
    """For each target K words of noise: -log s(u_o . h) - K E log s(-u_k . h), with k from the noise distribution.

    Noise is f^power, made 1 in sum, over all words that are no target of the place; a word that is one is left out, and
    the rest count more in its place.  By default all places of a batch share one pool of N negatives, each counted
    K n / N times at a place with n targets: the same expectation, less variance for N > K n, and one matrix product (Ji
    et al., 2016).  Without a pool each place draws its own, K for each word that its window can have.

    Args:
        num_negatives: K.
        noise_power: what the frequencies are raised to; .75 in the paper.
        pool: N; None lets every place draw its own.

    Raises:
        ValueError: a number out of range.
    """

    EVALUATED = 1024  # negatives of an evaluation, the same for every run

    def __init__(self, num_negatives: int = 5, noise_power: float = 0.75, pool: int | None = 64) -> None:
        if num_negatives < 1 or (pool is not None and pool < 1):
            raise ValueError(f"num_negatives is {num_negatives} and pool {pool}; each must be at least 1")
        if not (math.isfinite(noise_power) and noise_power >= 0):
            raise ValueError(f"noise_power is {noise_power}; it must be at least 0, where words are equally likely")
        self.num_negatives, self.noise_power, self.pool = num_negatives, noise_power, pool
        self.cumulative = self.evaluated = torch.empty(0)

    def bind(self, counts: Tensor, device: torch.device) -> None:
        """Learn how often each word occurs, (V,); what never occurs is never drawn."""
        noise = counts.double().pow(self.noise_power) * (counts > 0)
        self.cumulative = (noise.cumsum(0) / noise.sum()).to(device)
        fixed = torch.rand(self.EVALUATED, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.evaluated = self._words(fixed.to(device))

    def draw(self, targets: Targets) -> Tensor:
        """Negatives from the global generator: one row for all places (1, N), or one for each (c t, N)."""
        each = self.num_negatives * max(2 * targets.window, 1)
        shape = (1, self.pool) if self.pool else (targets.mask.shape[0] * targets.mask.shape[1], each)
        return self._words(torch.rand(shape, dtype=torch.float64, device=targets.words.device))

    def _words(self, uniform: Tensor) -> Tensor:
        return torch.searchsorted(self.cumulative, uniform, right=True)

    def weights(self, noise: Tensor, targets: Targets, dtype: torch.dtype = torch.float32) -> Tensor:
        """What each negative counts at each place, (g, c t / g, N): 0 where it is a target, else K n over the rest."""
        if len(noise) == 1:
            same = targets.words[:, :, None] == noise[0]  # (c, t + 2w, N)
            hits = spread(targets.mask.to(dtype), targets.window) @ same.to(dtype)
        else:
            own = torch.where(targets.mask, around(targets.words, targets.window), -1).flatten(0, 1)
            hits = (own[:, :, None] == noise[:, None, :]).sum(1)
        free = hits.view(len(noise), -1, noise.shape[1]) == 0
        total = free.sum(2, keepdim=True).clamp(min=1)
        return free * (self.num_negatives * targets.counts.view(len(noise), -1, 1).to(dtype) / total)

    def loss(self, hidden: Tensor, table: Tensor, targets: Targets, noise: Tensor | None = None) -> Tensor:
        noise = self.draw(targets) if noise is None else noise
        scores = band(hidden @ functional.embedding(targets.words, table).mT, targets.window)
        losses = (functional.softplus(-scores) * targets.mask).sum((1, 2))
        grouped = hidden.reshape(len(noise), -1, hidden.shape[2])
        against = grouped @ functional.embedding(noise, table).mT  # (g, c t / g, N)
        counted = functional.softplus(against) * self.weights(noise, targets, hidden.dtype)
        return losses + counted.view(len(hidden), -1).sum(1)

    def step(self, hidden: Tensor, table: Tensor, targets: Targets, rate: float) -> tuple[Tensor, Tensor]:
        noise, flat = self.draw(targets), targets.words.flatten()
        d = hidden.shape[2]
        words, others = functional.embedding(targets.words, table), functional.embedding(noise, table)
        grouped = hidden.reshape(len(noise), -1, d)
        scores = band(torch.bmm(hidden, words.mT), targets.window)
        total, slopes = _logistic(scores.neg(), targets.mask.to(hidden.dtype))
        matrix = spread(slopes.neg_(), targets.window)
        more, against = _logistic(torch.bmm(grouped, others.mT), self.weights(noise, targets, hidden.dtype))
        backward = torch.bmm(matrix, words).view_as(grouped).baddbmm_(against, others)
        by_words = torch.bmm(matrix.mT, hidden).view(-1, d)
        by_noise = torch.bmm(against.mT, grouped).view(-1, d)
        descend(table, torch.cat([flat, noise.flatten()]), torch.cat([by_words, by_noise]), rate)
        return total + more, backward.view_as(hidden)


def _logistic(scores: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of weight softplus(score), and its derivative by the scores."""
    total = torch.dot(functional.softplus(scores).flatten(), weights.flatten())
    return total, torch.sigmoid(scores).mul_(weights)


class HierarchicalSoftmax:
    """The path of each target in Huffman's tree: a product of s(u_node . h) left and s(-u_node . h) right (d2l 15.2.2).

    The nodes near the root are on the path of every target of a batch, and their gradients add up: batches of some 64
    words go with word2vec's rate, larger ones need a smaller rate.
    """

    def __init__(self) -> None:
        self.tree = Tree(torch.empty(0, dtype=torch.int64), torch.empty(0))

    def bind(self, counts: Tensor, device: torch.device) -> None:
        """Build the tree of words that occur so often, (V,)."""
        tree = huffman(counts)
        self.tree = Tree(tree.nodes.to(device), tree.signs.to(device))

    def log_probabilities(self, hidden: Tensor, table: Tensor) -> Tensor:
        """log P of every word: (n, d) -> (n, V)."""
        signs = self.tree.signs.to(hidden.dtype)
        scores = (hidden @ table.T)[:, self.tree.nodes]  # (n, V, L)
        return -(functional.softplus(-scores * signs) * signs.abs()).sum(2)

    def _scores(self, hidden: Tensor, rows: Tensor, targets: Targets) -> Tensor:
        """Of each target's path: (c, t, 2w + 1, L)."""
        products = hidden @ rows.flatten(1, 2).mT  # (c, t, (t + 2w) L)
        return band(products.view(*products.shape[:2], rows.shape[1], rows.shape[2]), targets.window)

    def _signs(self, targets: Targets, dtype: torch.dtype) -> Tensor:
        """1 left, -1 right, 0 where there is no target or the path has ended: (c, t, 2w + 1, L)."""
        signs = self.tree.signs.to(dtype)[around(targets.words, targets.window)]
        return signs * targets.mask[..., None]

    def loss(self, hidden: Tensor, table: Tensor, targets: Targets, noise: Tensor | None = None) -> Tensor:
        scores = self._scores(hidden, functional.embedding(self.tree.nodes[targets.words], table), targets)
        signs = self._signs(targets, hidden.dtype)
        return (functional.softplus(-scores * signs) * signs.abs()).sum((1, 2, 3))

    def step(self, hidden: Tensor, table: Tensor, targets: Targets, rate: float) -> tuple[Tensor, Tensor]:
        nodes = self.tree.nodes[targets.words]  # (c, t + 2w, L)
        rows, signs = functional.embedding(nodes, table), self._signs(targets, hidden.dtype)
        total, slopes = _logistic(-self._scores(hidden, rows, targets) * signs, signs.abs())
        matrix = spread(slopes.mul_(-signs), targets.window).flatten(2)  # (c, t, (t + 2w) L)
        backward = torch.bmm(matrix, rows.flatten(1, 2))
        descend(table, nodes.flatten(), torch.bmm(matrix.mT, hidden).view(-1, hidden.shape[2]), rate)
        return total, backward


class FullSoftmax:
    """-log of the softmax over all words at each target (d2l 15.1): exact, and slow for many words."""

    def bind(self, counts: Tensor, device: torch.device) -> None:
        """There is nothing to learn from the counts."""

    def loss(self, hidden: Tensor, table: Tensor, targets: Targets, noise: Tensor | None = None) -> Tensor:
        logs = functional.log_softmax(hidden @ table.T, 2)  # (c, t, V)
        return -(logs.gather(2, around(targets.words, targets.window)) * targets.mask).sum((1, 2))

    def step(self, hidden: Tensor, table: Tensor, targets: Targets, rate: float) -> tuple[Tensor, Tensor]:
        d, right = hidden.shape[2], around(targets.words, targets.window)
        logs = functional.log_softmax(hidden @ table.T, 2)
        mask = targets.mask.to(hidden.dtype)
        total = -(logs.gather(2, right) * mask).sum()
        slopes = logs.exp_().mul_(targets.counts[..., None]).scatter_add_(2, right, -mask)
        backward = slopes @ table
        table.addmm_(slopes.view(-1, len(table)).T, hidden.reshape(-1, d), alpha=-rate)
        return total, backward


OBJECTIVES: dict[str, Any] = {
    "negative_sampling": NegativeSampling, "hierarchical_softmax": HierarchicalSoftmax, "full_softmax": FullSoftmax,
}  # fmt: skip
