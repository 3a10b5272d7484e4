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
        "gan": Entry("d2lcli.tasks.gan:gan", "Make examples that a discriminator takes for real ones", source="d2l 20"),
        "q_learning": Entry(
            "d2lcli.tasks.q_learning:q_learning", "Learn the values of actions from episodes", source="d2l 17.3"
        ),
        "value_iteration": Entry(
            "d2lcli.tasks.value_iteration:value_iteration",
            "Find the best values by sweeps over all states",
            full_batch=True,
            source="d2l 17.2",
        ),
        "policy_iteration": Entry(
            "d2lcli.tasks.policy_iteration:policy_iteration",
            "Find the best policy by evaluating ever better ones",
            full_batch=True,
            source="Howard, 1960",
        ),
        "policy_evaluation": Entry(
            "d2lcli.tasks.policy_evaluation:policy_evaluation",
            "Find what a given policy earns",
            full_batch=True,
            source="d2l 17.2",
        ),
        "word_embedding": Entry(
            "d2lcli.tasks.word_embedding:word_embedding",
            "Learn word vectors by predicting neighbours: skip-gram, CBOW",
            source="d2l 15.1",
        ),
        "glove": Entry("d2lcli.tasks.glove:glove", "Learn word vectors from how often words meet", source="d2l 15.5"),
        "marginal_likelihood": Entry(
            "d2lcli.tasks.marginal_likelihood:marginal_likelihood",
            "Fit the parameters of a Gaussian process",
            full_batch=True,
            source="d2l 18.3",
        ),
    },
)
