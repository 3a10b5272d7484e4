"""Learning-rate schedules by name."""

from d2lcli.registry.core import Entry, Registry

# fmt: off
# ruff: noqa: E501 -- a table: one line for each entry
SCHEDULERS = Registry(
    "scheduler",
    {
        "constant": Entry("d2lcli.optim.schedules:constant", "The same learning rate throughout", source="d2l 12.11"),
        "multistep": Entry("d2lcli.optim.schedules:multistep", "Times a factor at each milestone", source="d2l 12.11"),
        "cosine": Entry("d2lcli.optim.schedules:cosine", "Half a cosine from lr to final_lr, then flat", source="d2l 12.11"),
        "warmup": Entry("d2lcli.optim.schedules:warmup", "A linear rise to lr, then flat", source="d2l 12.11"),
        "warmup_cosine": Entry("d2lcli.optim.schedules:warmup_cosine", "A linear rise, then half a cosine", source="d2l 12.11"),
    },
)
