"""Decoders by name."""

from d2lcli.registry.core import Entry, Registry

DECODERS = Registry(
    "decoder",
    {
        "greedy": Entry("d2lcli.generation.greedy:greedy", "The most probable token at every step", source="d2l 10.8"),
        "beam": Entry("d2lcli.generation.beam:beam", "The best of several hypotheses at every step", source="d2l 10.8"),
        "exhaustive": Entry(
            "d2lcli.generation.exhaustive:exhaustive", "Every sequence, for tiny vocabularies", source="d2l 10.8"
        ),
        "sampling": Entry(
            "d2lcli.generation.sampling:sampling",
            "Tokens drawn at random, under temperature, top-k and top-p",
            source="Holtzman et al., 2020",
        ),
        "images": Entry(
            "d2lcli.generation.images:images", "Images or points that a GAN makes", task="gan", source="d2l 20.2"
        ),
        "interpolation": Entry(
            "d2lcli.generation.images:interpolation",
            "What a GAN makes on the way from one noise to another",
            task="gan",
            source="Radford et al., 2016",
        ),
        "episode": Entry(
            "d2lcli.generation.episodes:episode",
            "Episodes of the policy that a table of values stands for",
            task="q_learning",
            source="d2l 17.3",
        ),
        "neighbours": Entry(
            "d2lcli.generation.words:neighbours",
            "The words nearest to a word, or to a sum of words",
            task="word_embedding",
            source="d2l 15.7",
        ),
        "vectors": Entry(
            "d2lcli.generation.words:vectors",
            "All vectors as text, as word2vec writes them",
            task="word_embedding",
            source="Mikolov et al., 2013",
        ),
        "posterior": Entry(
            "d2lcli.generation.functions:posterior",
            "Functions of a Gaussian process that agree with its data",
            task="marginal_likelihood",
            source="d2l 18.3",
        ),
        "prior": Entry(
            "d2lcli.generation.functions:prior",
            "Functions of a Gaussian process before it sees data",
            task="marginal_likelihood",
            source="d2l 18.1",
        ),
    },
)
