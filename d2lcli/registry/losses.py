"""Losses by name."""

from d2lcli.registry.core import Entry, Registry
from d2lcli.registry.signatures import Parameter

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
LOSSES = Registry(
    "loss",
    {
        "mse": Entry("d2lcli.tasks.losses:mse", "Mean squared error"),
        "half_mse": Entry("d2lcli.tasks.losses:half_mse", "Half the mean squared error, as in the book"),
        "gaussian_nll": Entry("d2lcli.tasks.losses:gaussian_nll", "Negative log-likelihood of a Gaussian of given variance", source="d2l 3.1"),
        "huber": Entry("d2lcli.tasks.losses:huber", "Squared for small errors, linear beyond delta", source="Huber, 1964"),
        "binary_cross_entropy": Entry("d2lcli.tasks.losses:binary_cross_entropy", "Cross-entropy of each output's own yes or no, from logits"),
        "negative_sampling": Entry("d2lcli.tasks.word_losses:negative_sampling", "Logistic loss of a word that belongs here and of words that do not", source="d2l 15.2"),
        "hierarchical_softmax": Entry("d2lcli.tasks.word_losses:hierarchical_softmax", "Logistic losses along a word's path in a Huffman tree", source="d2l 15.2"),
        "full_softmax": Entry("d2lcli.tasks.word_losses:full_softmax", "Cross-entropy of the softmax over all words", source="d2l 15.1"),
        "weighted_least_squares": Entry("d2lcli.tasks.word_losses:weighted_least_squares", "Squared error of logarithms of counts, frequent pairs weighing more", source="Pennington et al., 2014"),
        "cross_entropy": Entry("d2lcli.tasks.losses:cross_entropy", "Cross-entropy of the softmax, with label smoothing"),
    },
)


def loss_options(name: str) -> dict[str, Parameter]:
    """What a config may say about a loss: not what a task hands to it."""
    given = ("outputs", "targets", "reduction", "label_smoothing", "class_weights", "variances")
    return {key: parameter for key, parameter in LOSSES.parameters(name).items() if key not in given}
