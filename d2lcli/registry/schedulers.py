"""Learning-rate schedules by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
SCHEDULERS = Registry(
    "scheduler",
    {
        "constant": Entry("d2lcli.optim.schedules:constant", "The same learning rate throughout", source="d2l 12.11"),
        "sqrt": Entry("d2lcli.optim.schedules:sqrt", "lr over the root of step + 1", source="d2l 12.11"),
        "factor": Entry("d2lcli.optim.schedules:factor", "Times a factor at each step, down to a floor", source="d2l 12.11"),
        "exponential": Entry("d2lcli.optim.schedules:exponential", "lr e^(-decay step)", source="d2l 12.4"),
        "polynomial": Entry("d2lcli.optim.schedules:polynomial", "lr (beta step + 1)^(-alpha)", source="d2l 12.4"),
        "piecewise": Entry("d2lcli.optim.schedules:piecewise", "A rate of its own between any two milestones", source="d2l 12.4"),
        "step": Entry("d2lcli.optim.schedules:step", "Times a factor every so many steps", source="d2l 5.7"),
        "multistep": Entry("d2lcli.optim.schedules:multistep", "Times a factor at each milestone", source="d2l 12.11"),
        "linear": Entry("d2lcli.optim.schedules:linear", "A straight line from lr to final_lr, then flat", source="Mikolov et al., 2013"),
        "cosine": Entry("d2lcli.optim.schedules:cosine", "Half a cosine from lr to final_lr, then flat", source="d2l 12.11"),
        "warmup": Entry("d2lcli.optim.schedules:warmup", "A linear rise to lr, then flat", source="d2l 12.11"),
        "warmup_cosine": Entry("d2lcli.optim.schedules:warmup_cosine", "A linear rise, then half a cosine", source="d2l 12.11"),
    },
)
