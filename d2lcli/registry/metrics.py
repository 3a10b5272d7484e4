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
        "frechet_distance": Entry("d2lcli.tasks.frechet:frechet_distance", "Distance of generated from real examples: of points, or of random convolutional features of images"),
        "generated_moments": Entry("d2lcli.tasks.frechet:generated_moments", "Mean (first row) and covariance of generated points", comparable=False),
        "discriminator_loss": Entry("d2lcli.tasks.gan:discriminator_loss", "Mean loss of a GAN's discriminator, ln 2 where it can but guess"),
        "generator_loss": Entry("d2lcli.tasks.gan:generator_loss", "Mean loss of a GAN's generator, -log D(G(z))"),
        "start_value": Entry("d2lcli.tasks.returns:start_value", "Discounted return that the policy is expected to earn from the start", higher_is_better=True),
        "optimality_gap": Entry("d2lcli.tasks.returns:optimality_gap", "How much less that is than the best policy earns"),
        "success_rate": Entry("d2lcli.tasks.returns:success_rate", "How likely an episode of the policy ends in a goal", higher_is_better=True),
        "bellman_residual": Entry("d2lcli.tasks.returns:bellman_residual", "Largest distance of a table of values from the right side of its Bellman equation"),
        "value_error": Entry("d2lcli.tasks.returns:value_error", "Largest distance of a table of values from the solution of its Bellman equation"),
        "wordsim353": Entry("d2lcli.tasks.word_similarity:wordsim353", "Rank correlation of word vectors with people's ratings of how related 353 pairs are", higher_is_better=True),
        "simlex999": Entry("d2lcli.tasks.word_similarity:simlex999", "Rank correlation of word vectors with people's ratings of how similar 999 pairs are", higher_is_better=True),
        "confusion_matrix": Entry("d2lcli.tasks.metrics:confusion_matrix", "Counts by true class (row) and predicted class (column)", higher_is_better=True, comparable=False),
    },
)
