"""Tasks by name: what a batch means."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
TASKS = Registry(
    "task",
    {
        "regression": Entry("d2lcli.tasks.regression:regression", "Predict numbers"),
        "classification": Entry("d2lcli.tasks.classification:classification", "Predict one class of several"),
    },
)
