"""Metrics by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
METRICS = Registry(
    "metric",
    {
        "accuracy": Entry("d2lcli.tasks.metrics:accuracy", "Share of examples whose largest logit is the right class", higher_is_better=True),
        "top_k": Entry("d2lcli.tasks.metrics:top_k", "Share of examples whose right class is among the k largest logits", higher_is_better=True),
        "perplexity": Entry("d2lcli.tasks.metrics:perplexity", "exp of the mean cross-entropy of the tokens"),
        "bits_per_character": Entry("d2lcli.tasks.metrics:bits_per_character", "Mean cross-entropy of the tokens in bits"),
        "bits_per_byte": Entry("d2lcli.tasks.bits_per_byte:bits_per_byte", "Cross-entropy of the tokens in bits over the bytes of their text: compares tokenizers"),
        "next_sentence_accuracy": Entry("d2lcli.tasks.masked_language_model:next_sentence_accuracy", "Share of pairs of which it is rightly said whether the second sentence is next", higher_is_better=True),
        "bleu4": Entry("d2lcli.tasks.bleu:bleu4", "Corpus BLEU of n-grams up to 4, from 0 to 1", higher_is_better=True),
        "bleu": Entry("d2lcli.tasks.bleu:bleu", "Mean sentence BLEU with the book's weights", higher_is_better=True),
        "exact_match": Entry("d2lcli.tasks.question_answering:exact_match", "Share of answers whose first and last token are found", higher_is_better=True),
        "token_f1": Entry("d2lcli.tasks.question_answering:token_f1", "Mean harmonic mean of precision and recall of the tokens of answers", higher_is_better=True),
        "mse": Entry("d2lcli.tasks.metrics:mse", "Mean squared error"),
        "rmse": Entry("d2lcli.tasks.metrics:rmse", "Root of the mean squared error"),
        "log_rmse": Entry("d2lcli.tasks.metrics:log_rmse", "Root mean squared error of the logarithms"),
        "confusion_matrix": Entry("d2lcli.tasks.metrics:confusion_matrix", "Counts by true class (row) and predicted class (column)", higher_is_better=True, comparable=False),
    },
)
