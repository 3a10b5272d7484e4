"""Losses by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
LOSSES = Registry(
    "loss",
    {
        "mse": Entry("d2lcli.tasks.losses:mse", "Mean squared error"),
        "half_mse": Entry("d2lcli.tasks.losses:half_mse", "Half the mean squared error, as in the book"),
        "cross_entropy": Entry("d2lcli.tasks.losses:cross_entropy", "Cross-entropy of the softmax, with label smoothing"),
    },
)
