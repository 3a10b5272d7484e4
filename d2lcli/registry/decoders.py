"""Decoders by name."""

from d2lcli.registry.core import Entry, Registry

DECODERS = Registry(
    "decoder",
    {
        "greedy": Entry("d2lcli.generation.greedy:greedy", "The most probable token at every step", source="d2l 10.8"),
        "sampling": Entry(
            "d2lcli.generation.sampling:sampling",
            "Tokens drawn at random, under temperature, top-k and top-p",
            source="Holtzman et al., 2020",
        ),
    },
)
