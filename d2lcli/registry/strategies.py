"""Parallelism strategies by name."""

from d2lcli.registry.core import Entry, Registry

STRATEGIES = Registry(
    "strategy",
    {
        "single": Entry("d2lcli.parallel.single:single", "One process, one device"),
        "ddp": Entry("d2lcli.parallel.ddp:ddp", "Data parallel: a model on each process, gradients averaged"),
    },
)
