"""Optimizers by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
OPTIMIZERS = Registry(
    "optim",
    {
        "sgd": Entry("d2lcli.optim.sgd:sgd", "Stochastic gradient descent: w - lr g", source="d2l 12.4"),
        "momentum": Entry("d2lcli.optim.sgd:momentum", "SGD with momentum, heavy-ball or Nesterov", source="d2l 12.6"),
        "adam": Entry("d2lcli.optim.adam:adam", "Adam: bias-corrected first and second moments", source="Kingma and Ba, 2015"),
        "adamw": Entry("d2lcli.optim.adam:adamw", "Adam with decoupled weight decay", source="Loshchilov and Hutter, 2019"),
    },
)
