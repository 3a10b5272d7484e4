"""Search algorithms by name."""

from d2lcli.registry.core import Entry, Registry

SEARCHERS = Registry(
    "search",
    {
        "grid": Entry("d2lcli.hpo.grid:grid", "Every combination of values, in a fixed order", source="d2l 19.1"),
        "random": Entry(
            "d2lcli.hpo.random:random", "Each trial drawn independently", source="Bergstra and Bengio, 2012; d2l 19.1"
        ),
    },
)
