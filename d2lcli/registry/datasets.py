"""Data sets by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
DATASETS = Registry(
    "data",
    {
        "fashion_mnist_mini": Entry("d2lcli.data.fashion_mnist:fashion_mnist_mini", "10,000 + 2,000 images of Fashion-MNIST, embedded", shape=(1, 28, 28), num_outputs=10),
        "fashion_mnist": Entry("d2lcli.data.fashion_mnist:fashion_mnist", "Fashion-MNIST, 60,000 + 10,000 images of clothes, 10 classes", shape=(1, 28, 28), num_outputs=10),
        "emoji64": Entry("d2lcli.data.emoji64:emoji64", "1,636 emoji in 8 classes, 64 x 64 colour, embedded", shape=(3, 64, 64), num_outputs=8),
        "cifar10": Entry("d2lcli.data.cifar10:cifar10", "CIFAR-10, 50,000 + 10,000 colour photographs, 10 classes", shape=(3, 32, 32), num_outputs=10),
        "synthetic_regression": Entry("d2lcli.data.synthetic:synthetic_regression", "y = X w + b + noise with known w and b", task="regression", num_outputs=1),
        "sparse_linear": Entry("d2lcli.data.synthetic:sparse_linear", "200 inputs, 20 training examples: the weight-decay experiment", task="regression", shape=(200,), num_outputs=1),
        "polynomial": Entry("d2lcli.data.synthetic:polynomial", "y = 5 + 1.2 x - 3.4 x^2/2! + 5.6 x^3/3! + noise, from any number of powers", task="regression", num_outputs=1),
        "sine_curve": Entry("d2lcli.data.synthetic:sine_curve", "A sum of sines and a line, with noise in training only", task="regression", shape=(1,), num_outputs=1),
        "noisy_sine": Entry("d2lcli.data.synthetic:noisy_sine", "sin(x) + sin(4 x) / 2 with noise, at even distances: the curve of Gaussian processes", task="regression", also=("marginal_likelihood",), shape=(1,), num_outputs=1, source="d2l 18.3"),
        "gan_gaussian": Entry("d2lcli.data.gan_gaussian:gan_gaussian", "Points of a Gaussian of known mean and covariance, without targets", task="gan", source="d2l 20.1"),
        "airfoil": Entry("d2lcli.data.airfoil:airfoil", "Airfoil self-noise: 1,500 rows of the book's optimizer comparison", task="regression", shape=(5,), num_outputs=1),
        "ames": Entry("d2lcli.data.ames:ames", "Ames housing: 2,930 house sales, log price, with k folds, embedded", task="regression", num_outputs=1),
        "botchan": Entry("d2lcli.data.corpora:botchan", "The novel Botchan, 253,000 characters of English, embedded", task="language_model", also=("masked_language_model", "sequence_to_sequence", "word_embedding", "glove"), source="d2l 9.2"),
        "time_machine": Entry("d2lcli.data.corpora:time_machine", "The Time Machine, the book's text: 173,428 letters and spaces", task="language_model", num_outputs=28, source="d2l 9.2"),
        "wikitext2": Entry("d2lcli.data.corpora:wikitext2", "WikiText-2, raw: two million words of Wikipedia", task="language_model", also=("masked_language_model", "sequence_to_sequence", "word_embedding", "glove"), source="Merity et al., 2016"),
        "text_file": Entry("d2lcli.data.corpora:text_file", "Your own text file", task="language_model", also=("masked_language_model", "sequence_to_sequence", "word_embedding", "glove")),
        "tatoeba_en_es_mini": Entry("d2lcli.data.translations:tatoeba_en_es_mini", "20,000 short English sentences with their Spanish translations, embedded", task="sequence_to_sequence"),
        "fra_eng": Entry("d2lcli.data.translations:fra_eng", "English and French sentences, the book's file", task="sequence_to_sequence", source="d2l 10.5"),
        "parallel_text": Entry("d2lcli.data.translations:parallel_text", "Your own sentence pairs, SOURCE tab TARGET on each line", task="sequence_to_sequence"),
        "movie_snippets": Entry("d2lcli.data.movie_snippets:movie_snippets", "10,043 sentences of film reviews, praise or blame, embedded", task="classification", also=("masked_language_model",), source="Hutto and Gilbert, 2014"),
        "sick": Entry("d2lcli.data.sick:sick", "SICK: 9,927 pairs of sentences, entailment or a number for how related they are", task="classification", also=("regression",), source="Marelli et al., 2014"),
        "translated_pairs": Entry("d2lcli.data.translated_pairs:translated_pairs", "40,000 pairs of an English and a Spanish sentence: is one the translation of the other? embedded", task="classification"),
        "imdb": Entry("d2lcli.data.imdb:imdb", "IMDb: 50,000 film reviews, praise or blame", task="classification", source="Maas et al., 2011; d2l 16.1"),
        "snli": Entry("d2lcli.data.snli:snli", "SNLI: 570,000 pairs of sentences, entailment, contradiction or neither", task="classification", source="Bowman et al., 2015; d2l 16.4"),
        "jsonl": Entry("d2lcli.data.jsonl:jsonl", "Your own texts with labels, numbers, tags or answers: one JSON object on each line", task="classification", also=("regression", "tagging", "question_answering")),
        "frozen_lake": Entry("d2lcli.data.frozen_lake:frozen_lake", "FrozenLake: over ice with holes to the goal, slippery or not, 4x4, 8x8 or your own map", task="q_learning", also=("value_iteration", "policy_iteration", "policy_evaluation"), source="d2l 17.2"),
        "cliff_walking": Entry("d2lcli.data.cliff_walking:cliff_walking", "Cliff walking: 4 x 12 cells, a step costs 1, a fall 100", task="q_learning", also=("value_iteration", "policy_iteration", "policy_evaluation"), shape=(48,), num_outputs=4, source="Sutton and Barto, 2018"),
        "taxi": Entry("d2lcli.data.taxi:taxi", "Taxi: fetch a passenger and bring them to their place, 500 states", task="q_learning", also=("value_iteration", "policy_iteration", "policy_evaluation"), shape=(500,), num_outputs=6, source="Dietterich, 2000"),
        "gymnasium": Entry("d2lcli.data.gymnasium:gymnasium", "An environment of gymnasium (extra rl) with numbered states and actions", task="q_learning", also=("value_iteration", "policy_iteration", "policy_evaluation"), source="Towers et al., 2024"),
        "image_folder": Entry("d2lcli.data.image_folder:image_folder", "Your own images, one folder per class"),
        "labelled_images": Entry("d2lcli.data.labelled_images:labelled_images", "Your own images in one folder, their labels in a CSV file"),
        "csv": Entry("d2lcli.data.csv_table:csv", "Your own table: numeric and text columns of a CSV file"),
    },
)
