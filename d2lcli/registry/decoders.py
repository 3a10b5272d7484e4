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
