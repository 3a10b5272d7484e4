"""Tasks by name: what a batch means."""

from d2lcli.registry.core import Entry, Registry

TASKS = Registry(
    "task",
    {
        "regression": Entry("d2lcli.tasks.regression:regression", "Predict numbers"),
        "classification": Entry("d2lcli.tasks.classification:classification", "Predict one class of several"),
        "language_model": Entry("d2lcli.tasks.language_model:language_model", "Predict the next token of a text"),
    },
)
