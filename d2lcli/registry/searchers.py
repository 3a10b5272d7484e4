"""Search algorithms by name."""

from d2lcli.registry.core import Entry, Registry

SEARCHERS = Registry(
    "search",
    {
        "design_space": Entry(
            "d2lcli.hpo.design_space:design_space",
            "Networks drawn from AnyNet and RegNet design spaces",
            source="Radosavovic et al., 2020; d2l 8.8",
        ),
        "grid": Entry("d2lcli.hpo.grid:grid", "Every combination of values, in a fixed order", source="d2l 19.1"),
        "random": Entry(
            "d2lcli.hpo.random:random", "Each trial drawn independently", source="Bergstra and Bengio, 2012; d2l 19.1"
        ),
    },
)
