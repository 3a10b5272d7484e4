"""Search algorithms by name."""

from d2lcli.registry.core import Entry, Registry

SEARCHERS = Registry(
    "search",
    {
        "asha": Entry(
            "d2lcli.hpo.asha:asha",
            "Asynchronous successive halving: who is among the best of a rung goes on at once",
            source="Li et al., 2020; d2l 19.5",
            schedules=True,
        ),
        "bayesian": Entry(
            "d2lcli.hpo.bayesian:bayesian",
            "The point that a Gaussian process of all results expects most of",
            source="Jones et al., 1998; d2l 18",
        ),
        "design_space": Entry(
            "d2lcli.hpo.design_space:design_space",
            "Networks drawn from AnyNet and RegNet design spaces",
            source="Radosavovic et al., 2020; d2l 8.8",
        ),
        "grid": Entry("d2lcli.hpo.grid:grid", "Every combination of values, in a fixed order", source="d2l 19.1"),
        "hyperband": Entry(
            "d2lcli.hpo.hyperband:hyperband",
            "Brackets of successive halving that begin at different rungs",
            source="Li et al., 2018",
            schedules=True,
        ),
        "random": Entry(
            "d2lcli.hpo.random:random", "Each trial drawn independently", source="Bergstra and Bengio, 2012; d2l 19.1"
        ),
        "successive_halving": Entry(
            "d2lcli.hpo.successive_halving:successive_halving",
            "Rounds of training, after each of which the best go on",
            source="Jamieson and Talwalkar, 2016; d2l 19.4",
            schedules=True,
        ),
        "tpe": Entry(
            "d2lcli.hpo.tpe:tpe",
            "Draws where good trials lie denser than bad ones",
            source="Bergstra et al., 2011; Falkner et al., 2018",
        ),
    },
)
