"""Every key of a training config: the run's own, those of a group's node, and which part of the product checks each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from d2lcli.registry import DATASETS, INITIALIZERS, MODELS, OPTIMIZERS, SCHEDULERS, STRATEGIES, TASKS, Registry
from d2lcli.registry.plugins import load_named
from d2lcli.registry.signatures import Parameter, read_signature


@dataclass(frozen=True)
class Run:
    """The keys at the top of a training config.

    Args:
        seed: one seed for everything that is random.
        cv: folds of a cross-validation, each trained as a run of its own.
        fold: train this fold of `cv` alone.
        epochs: passes over the training data.
        steps: stop after so many updates, whatever `epochs` says.
        accumulate: batches whose gradients are added up for one update; null is 1, or a whole pass for an optimizer
            that needs it, such as gd or newton.
        l1: strength of a penalty on the sum of the sizes of the weights.
        l2: strength of a penalty on half the sum of their squares; its gradient goes through the optimizer.
        max_norm: largest Euclidean norm of all weights together; they are projected onto this ball after each update.
        clip_norm: largest norm of the whole gradient.
        clip_value: largest size of any one gradient.
        ema: decay of a running mean of the weights, which is then evaluated.
        patience: stop after so many evaluations without an improvement.
        min_delta: what counts as an improvement.
        monitor: the validation value that decides which checkpoint is best; null is the task's first metric.
        eval_every: evaluate each so many epochs.
        checkpoint_every: save each so many updates; null is each epoch.
        keep: checkpoints to keep.
        log_every: write a line each so many updates.
        weights: a file of weights, a run folder (its best checkpoint) or a checkpoint folder, to begin with.
        freeze: what training leaves as it is: the backbone, which is everything but the head, or patterns of tensor
            names.
        head: new, for the model's own head drawn anew, or the widths of the layers of another one in its place.
    """

    seed: int = 0
    cv: int | None = None
    fold: int | None = None
    epochs: int = 10
    steps: int | None = None
    accumulate: int | None = None
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    patience: int | None = None
    min_delta: float = 0.0
    monitor: str | None = None
    eval_every: int = 1
    checkpoint_every: int | None = None
    keep: int = 2
    log_every: int = 50
    weights: str | None = None
    freeze: Literal["backbone"] | Sequence[str] | None = None
    head: Literal["new"] | Sequence[int] | None = None


@dataclass(frozen=True)
class Hardware:
    """The keys of the node `hardware`.

    Args:
        device: auto, cpu, cuda, or cuda:N.
        precision: auto is bf16 where the device computes it, else fp32.
        compile: compile the model with torch.compile.
        channels_last: lay images out as (n, h, w, c).
        threads: CPU threads of each process; null leaves torch's choice.
        devices: processes of a parallel strategy, each on a device.
    """

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    channels_last: bool = False
    threads: int | None = None
    devices: int = 1


@dataclass(frozen=True)
class OptimKeys:
    """Whether biases and the parameters of norms decay too; the learning rates of the head and of layers over lr.

    Args:
        layer_lr_decay: the rate of each layer over that of the one after it; the head has lr.
        lr_scaling: multiply the schedule's rates by the number of parts that a batch is split into, linear, or by its
            square root; lr is then that of one process.
    """

    decay_bias: bool = False
    decay_norm: bool = False
    head_lr_mult: float = 1.0
    layer_lr_mult: Sequence[str] = ()
    layer_lr_decay: float = 1.0
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"


@dataclass(frozen=True)
class StrategyKeys:
    """How often a run of several processes goes on from its last checkpoint by itself, when one of them was lost."""

    max_restarts: int = 0


@dataclass(frozen=True)
class SchedulerKeys:
    """What the schedule counts; how many of these it runs behind, the optimizer's rate before: 1 is the book's loop."""

    interval: Literal["epoch", "step"] = "epoch"
    lag: int = 0


@dataclass(frozen=True)
class TaskKeys:
    """A loss and metrics: names, or mappings of a name and its options."""

    loss: str | Mapping[str, str | bool | int | float]
    metrics: Sequence[str | Mapping[str, str | bool | int | float]]


@dataclass(frozen=True)
class TextKeys:
    """The tokenizer of a text: a name, or a mapping of a name and its options."""

    tokenizer: str | Mapping[str, str | bool | int | float]


@dataclass(frozen=True)
class ModelKeys:
    """The side to which images are scaled for this model, where the data's own key does not say."""

    image_size: int | None = None


GROUPS: dict[str, Registry] = {
    "model": MODELS,
    "data": DATASETS,
    "task": TASKS,
    "optim": OPTIMIZERS,
    "scheduler": SCHEDULERS,
    "strategy": STRATEGIES,
    "init": INITIALIZERS,
}
NULLABLE = ("data", "task", "optim", "scheduler", "init", "experiment")  # null: the model's own, or none

_ENGINE_KEYS = {
    "data": "d2lcli.data.loader:loader_options",
    "optim": OptimKeys,
    "scheduler": SchedulerKeys,
    "task": TaskKeys,
}
_SUPPLIED = {"scheduler": ("lr",)}  # the engine passes optim.lr
_FILLED = {  # from the data
    "model": (
        "in_features",
        "in_channels",
        "image_size",
        "num_classes",
        "num_outputs",
        "vocab_size",
        "source_vocab_size",
        "output",
    ),  # from the data and the task
    "data": ("objective", "tokenizer"),  # the task, the objective
    "scheduler": ("max_update",),  # the length of the run
}


@cache
def run_parameters() -> dict[str, Parameter]:
    """The keys at the top of the config."""
    return read_signature(Run)


@cache
def hardware_parameters() -> dict[str, Parameter]:
    """The keys of the node `hardware`."""
    return read_signature(Hardware)


def is_choice(group: str, name: str) -> bool:
    """Whether the group has an entry of this name; a plugin's entry point of this name is loaded."""
    registry = GROUPS[group]
    return name in registry or load_named(registry, name)


@cache
def node_parameters(group: str, name: str) -> dict[str, Parameter]:
    """The keys of a group's node: the builder's options and those of the engine around it, but for `name` itself."""
    registry = GROUPS[group]
    found = {key: value for key, value in registry.parameters(name).items() if not value.live}
    for key in _SUPPLIED.get(group, ()):
        found.pop(key, None)
    if group in _ENGINE_KEYS:
        found |= read_signature(_ENGINE_KEYS[group])  # type: ignore[arg-type]
    if group == "data" and "tokenizer" in registry.parameters(name):
        found |= read_signature(TextKeys)
    if group == "strategy" and "timeout" in registry.parameters(name):  # one of several processes
        found |= read_signature(StrategyKeys)
    if group == "model" and registry.describe(name).min_image_size > 0:
        found = read_signature(ModelKeys) | found
    for key in _FILLED.get(group, ()):
        if key in found:
            found[key] = found[key].or_none()
    return found
