"""Parallelism strategies by name."""

from d2lcli.registry.core import Entry, Registry

STRATEGIES = Registry(
    "strategy",
    {
        "single": Entry("d2lcli.parallel.single:single", "One process, one device"),
        "dp": Entry("d2lcli.parallel.dp:dp", "Data parallel over the GPUs of one machine, in one process"),
        "ddp": Entry("d2lcli.parallel.ddp:ddp", "Data parallel: a model on each process, gradients averaged"),
        "fsdp": Entry(
            "d2lcli.parallel.fsdp:fsdp", "Fully sharded: a part of the model, its gradients and state on each process"
        ),
        "tensor": Entry("d2lcli.parallel.tensor:tensor", "Wide layers split over processes that see the same examples"),
        "pipeline": Entry("d2lcli.parallel.pipeline:pipeline", "Consecutive layers in different processes"),
        "parameter_server": Entry(
            "d2lcli.parallel.parameter_server:parameter_server",
            "Workers push gradients to servers and pull what these make of them, for study",
        ),
    },
)
