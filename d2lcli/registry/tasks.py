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
        "masked_language_model": Entry(
            "d2lcli.tasks.masked_language_model:masked_language_model", "Predict masked tokens, and the next sentence"
        ),
        "tagging": Entry("d2lcli.tasks.tagging:tagging", "Predict a class for each word of a text"),
        "question_answering": Entry(
            "d2lcli.tasks.question_answering:question_answering", "Find the answer to a question in a text"
        ),
        "language_model": Entry("d2lcli.tasks.language_model:language_model", "Predict the next token of a text"),
        "marginal_likelihood": Entry(
            "d2lcli.tasks.marginal_likelihood:marginal_likelihood",
            "Fit the parameters of a Gaussian process",
            full_batch=True,
            source="d2l 18.3",
        ),
    },
)
