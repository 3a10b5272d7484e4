"""Tasks by name: what a batch means."""

from d2lcli.registry.core import Entry, Registry

TASKS = Registry(
    "task",
    {
        "regression": Entry("d2lcli.tasks.regression:regression", "Predict numbers"),
        "classification": Entry("d2lcli.tasks.classification:classification", "Predict one class of several"),
        "sequence_to_sequence": Entry(
            "d2lcli.tasks.sequence_to_sequence:sequence_to_sequence", "Translate one sequence into another"
        ),
        "language_model": Entry("d2lcli.tasks.language_model:language_model", "Predict the next token of a text"),
    },
)
