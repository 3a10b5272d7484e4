"""The one function that turns a checked config into live objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from d2lcli.data.dataset import Dataset
from d2lcli.data.loader import Loader
from d2lcli.errors import ConfigError
from d2lcli.optim.param_groups import param_groups
from d2lcli.parallel.single import Single
from d2lcli.registry import (
    INITIALIZERS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SCHEDULERS,
    STRATEGIES,
    TASKS,
)  # fmt: skip
from d2lcli.training.data import build_data, chosen_tokenizers, make_loader, weigh_examples
from d2lcli.training.device import pick_device, pick_precision, prepare
from d2lcli.training.ema import Ema
from d2lcli.training.freezing import freeze
from d2lcli.training.heads import head_name, set_head
from d2lcli.training.options import model_options
from d2lcli.training.origin import VECTORS, locate
from d2lcli.training.parts import build_part, naming_key
from d2lcli.training.precision import LossScaler, autocast
from d2lcli.training.seeding import seed_everything
from d2lcli.training.tokens import of_weights
from d2lcli.training.transfer import Report, load
from d2lcli.training.vectors import fill_embeddings
from d2lcli.training.ways import Way, choose_way, compiled
from d2lcli.training.weights import read_weights

# The task for each kind of target of a text.
LEARNT = {"label": "classification", "number": "regression", "tags": "tagging", "answer": "question_answering"}


@dataclass
class Run:
    """Live objects of a run; plain values stay in `values`.

    Attributes:
        module: what training calls: `model`, wrapped by the strategy and the compiler.
        schedule: update or epoch (see `interval`) -> learning rate.
        way: how an update is made, see `d2lcli.training.ways`.
        accumulate: batches of an update; those of a whole pass for an optimizer that needs the whole gradient.
        decaying: the weights that penalties and `max_norm` are about: neither biases nor what norms learn.
        total_steps: updates of the whole run.
        steps_per_epoch: updates of one pass over the training data.
        transfer: what became of the weights that the run begins with.
        still: frozen layers that stay in evaluation mode, or training would change their buffers.
    """

    values: dict[str, Any]
    device: torch.device
    precision: str
    strategy: Single
    dataset: Dataset
    train: Loader
    model: nn.Module
    module: nn.Module
    task: Any
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    interval: str
    way: Way
    accumulate: int
    decaying: list[Tensor]
    total_steps: int
    steps_per_epoch: int
    autocast: Callable[[], Any] | None
    scaler: LossScaler | None
    ema: Ema | None
    transfer: Report | None = None
    still: list[nn.Module] = field(default_factory=list)


def build(values: dict[str, Any], *, fresh: bool = True, stored: Path | None = None) -> Run:
    """Build everything that training needs.

    Args:
        values: a checked config.
        fresh: load `weights`; a run that has a checkpoint goes on from that instead.
        stored: the folder of a run that was begun, whose tokenizers are used.

    Raises:
        ConfigError: a builder refuses its options.
        DataError: the data is missing or damaged.
        CheckpointError: the weights are missing, damaged or of another model.
    """
    device = pick_device(values["hardware"])
    strategy = build_strategy(values, device)
    prepare(values, device)
    dataset = weigh_examples(build_data(values, chosen_tokenizers(values, stored)))
    train = make_loader(values, dataset, "train", device, strategy, training=True)
    model = model_for(values, dataset, device)
    transfer = begin_with(values, model, dataset) if values["weights"] is not None and fresh else None
    model = strategy.adapt(model)
    with naming_key("freeze"):
        still = freeze(model, values["freeze"])
    with naming_key("strategy"):
        strategy.split(model)
    task = build_task(values)
    check_task(task, values, dataset)
    with naming_key("task"):
        task.prepare(dataset.train.targets, dataset.num_outputs, device)
    bind_task(task, dataset, device)
    precision = pick_precision(values["hardware"]["precision"], device, model, task)
    accumulate = _accumulate(values, len(train))
    per_epoch, total = count_updates(values, len(train))
    optimizer = _optimizer(values, model, strategy)
    strategy.bind(optimizer)
    with naming_key("strategy"):
        module = strategy.wrap(model)
    way = choose_way(values, task, precision=precision, accumulate=accumulate, grouped=strategy.grouped)
    if values["hardware"]["compile"]:
        module = compiled(module, way)
    seed_everything(values["seed"], noise_rank(strategy))  # processes part here: each has its own dropout masks
    return Run(
        values=values,
        device=device,
        precision=precision,
        strategy=strategy,
        dataset=dataset,
        train=train,
        model=model,
        module=module,
        task=task,
        optimizer=optimizer,
        schedule=build_schedule(values, total, per_epoch, strategy.data_size),
        interval=values["scheduler"]["interval"],
        way=way,
        accumulate=accumulate,
        decaying=strategy.parts(param_groups(model, 1.0)[0]["params"]),
        total_steps=total,
        steps_per_epoch=per_epoch,
        autocast=None if precision == "fp32" else autocast(device.type, precision),
        # An optimizer that runs the backward pass itself sees the loss as it is.
        scaler=LossScaler() if precision == "fp16" and not hasattr(optimizer, "backward") else None,
        ema=Ema(model, values["ema"]) if values["ema"] else None,
        transfer=transfer,
        still=still,
    )


def noise_rank(strategy: Single) -> int:
    """Which of the streams of random numbers this process draws from."""
    return strategy.data_rank if strategy.noise_rank is None else strategy.noise_rank


def build_strategy(values: Mapping[str, Any], device: torch.device) -> Single:
    """The strategy of this process, which joins the others."""
    node = {key: value for key, value in values["strategy"].items() if key != "max_restarts"}
    strategy: Single = build_part(STRATEGIES, node, device=device)
    return strategy


def begin_with(values: Mapping[str, Any], model: nn.Module, dataset: Dataset) -> Report:
    """Copy the weights that `weights` names into the model, or the word vectors into its embeddings."""
    place = locate(values["weights"])
    if place.suffix.lower() in VECTORS and place.is_file():
        return fill_embeddings(model, dataset, place, values["model"]["name"])
    report = load(model, read_weights(place), new_head=values["head"] == "new")
    named = dataset.tokenizer if values["data"].get("tokenizer") is not None else None
    own = of_weights(values["weights"]) if named is not None else None
    if named is not None and own is not None and own.target.tokens != named.tokens:
        report.warning = "trained with other tokens than data.tokenizer has; data.tokenizer=null takes theirs"
    return report


def build_model(
    values: Mapping[str, Any],
    shape: Sequence[int],
    num_outputs: int,
    device: torch.device,
    source_vocab_size: int = 0,
    vocab_size: int = 0,
) -> nn.Module:
    """The model on its device, its weights drawn; lazy layers meet one example to learn their sizes."""
    options = model_options(values, shape, num_outputs, source_vocab_size, vocab_size)
    model: nn.Module = build_part(MODELS, {"name": values["model"]["name"]} | options)
    if "num_steps" in values["data"]:
        check_length(model, shape[0], values["model"]["name"])
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape))
        model.train()
    with naming_key("head"):
        set_head(model, values["head"])
    if values["init"]:
        build_part(INITIALIZERS, values["init"])(model)
    model = model.to(device)
    if values["hardware"]["channels_last"]:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def check_length(model: nn.Module, longest: int, name: str) -> None:
    """Refuse examples with more tokens than the model has positions for.

    Raises:
        ConfigError: there are such.
    """
    max_len = getattr(model, "max_len", None)
    if max_len is not None and longest > max_len:
        raise ConfigError(
            f"model '{name}' reads max_len={max_len} tokens, but the examples have {longest}",
            f"set model.max_len={longest} or data.num_steps={max_len}",
        )


def model_for(values: Mapping[str, Any], dataset: Dataset, device: torch.device) -> nn.Module:
    """The model that fits a data set, see `build_model`; one that predicts from its training data itself is given it.

    Raises:
        ConfigError: the data is not in memory, and the model needs all of it.
    """
    source, target = (0 if each is None else len(each) for each in (dataset.source_tokenizer, dataset.tokenizer))
    own = "source_vocab_size" in MODELS.parameters(values["model"]["name"])
    if not own and dataset.source_tokenizer is not None and dataset.source_tokenizer is not dataset.tokenizer:
        raise ConfigError(
            f"model '{values['model']['name']}' has one vocabulary, but data '{dataset.name}' has two",
            "set data.shared=true",
        )
    model = build_model(values, dataset.shape, dataset.num_outputs, device, source, target)
    for split in (dataset.train, dataset.val):
        check_length(model, getattr(split, "longest", 0), values["model"]["name"])
    if getattr(model, "pairs", False) and not dataset.pairs:
        raise ConfigError(
            f"model '{values['model']['name']}' compares two texts, and an example of data '{dataset.name}' is one",
            "use data=sick, snli or translated_pairs, or data=jsonl with data.pair=KEY",
        )
    if hasattr(model, "remember"):
        inputs = dataset.train.inputs
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            name = values["model"]["name"]
            raise ConfigError(f"model '{name}' needs numbers as inputs, which data '{dataset.name}' does not have")
        cast(Any, model).remember(inputs.to(device), dataset.train.targets.to(device))
    return model


def build_task(values: Mapping[str, Any]) -> Any:
    """The task with its loss and metrics."""
    node = values["task"]
    metrics = [METRICS.build(**({"name": item} if isinstance(item, str) else item)) for item in node["metrics"]]
    chosen = {"name": node["loss"]} if isinstance(node["loss"], str) else node["loss"]
    options = {key: value for key, value in chosen.items() if key != "name"}
    loss = LOSSES.get(chosen["name"])
    return build_part(TASKS, dict(node) | {"loss": partial(loss, **options) if options else loss, "metrics": metrics})


def bind_task(task: Any, dataset: Dataset, device: torch.device) -> None:
    """Let a task take what it needs from the data set as a whole, where it has a place for it."""
    if hasattr(task, "bind"):
        with naming_key("task"):
            task.bind(dataset, device)


def check_task(task: Any, values: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuse data that does not fit the task, before anything is trained."""
    fitting = LEARNT.get(getattr(dataset.train, "kind", ""))
    if fitting and values["task"]["name"] in {*LEARNT.values()} - {fitting}:
        problem = f"task '{values['task']['name']}' on data '{dataset.name}': its targets are for {fitting}"
        raise ConfigError(problem, f"set task={fitting}, or choose other targets")
    sizes = None if dataset.tokenizer is None else torch.tensor(dataset.tokenizer.byte_sizes())
    try:
        for split in (dataset.train, dataset.val):
            task.check(dataset.shape, dataset.num_outputs, split.targets)
        for metric in task.metrics.values():
            metric.bind_tokens(sizes)
    except ValueError as error:
        raise ConfigError(f"task '{values['task']['name']}' on data '{dataset.name}': {error}") from None


def _accumulate(values: Mapping[str, Any], batches: int) -> int:
    """How many batches make an update: by default one, or all for an optimizer that needs the whole gradient."""
    whole = OPTIMIZERS.describe(values["optim"]["name"]).full_batch
    if values["accumulate"] is not None:
        return int(values["accumulate"])
    return batches if whole else 1


def _optimizer(values: Mapping[str, Any], model: nn.Module, strategy: Single) -> torch.optim.Optimizer:
    node = dict(values["optim"])
    node.pop("lr_scaling")
    keys = ("decay_bias", "decay_norm", "head_lr_mult", "layer_lr_mult", "layer_lr_decay")
    rules = {key: node.pop(key) for key in keys}
    for key in ("head_lr_mult", "layer_lr_decay"):
        if rules[key] != 1:
            with naming_key(f"optim.{key}"):
                rules["head"] = head_name(model)
    key = "l2" if "l2" in node else "weight_decay"
    with naming_key("optim"):
        groups = param_groups(model, node.get(key, 0.0), **rules, key=key)
    for group in groups:
        group["params"] = strategy.parts(group["params"])
    optimizer: torch.optim.Optimizer = build_part(OPTIMIZERS, node, params=groups)
    return optimizer


def count_updates(values: Mapping[str, Any], batches: int) -> tuple[int, int]:
    """Updates of one pass over the training data of so many batches, and of the whole run."""
    per_epoch = -(-batches // _accumulate(values, batches))
    return per_epoch, values["steps"] or values["epochs"] * per_epoch


def build_schedule(
    values: Mapping[str, Any], total_steps: int, per_epoch: int, data_size: int = 1
) -> Callable[[int], float]:
    """The schedule: an update or an epoch -> the learning rate in use.

    With `lr_scaling` the rates are those of one process times `data_size`, the parts of a batch, or times its square
    root: for a batch that has grown as many times (Goyal et al., 2017; Krizhevsky, 2014; d2l 13.5).

    Raises:
        ConfigError: it refuses its options.
    """
    node = dict(values["scheduler"])
    lag, _ = node.pop("lag"), node.pop("interval")
    by_step = values["scheduler"]["interval"] == "step"
    if "max_update" in node and node["max_update"] is None:
        node["max_update"] = total_steps if by_step else -(-total_steps // per_epoch)
    lr = values["optim"]["lr"]
    schedule: Callable[[int], float] = build_part(SCHEDULERS, node | {"lr": lr})
    scaled = {"none": 1.0, "linear": float(data_size), "sqrt": data_size**0.5}[values["optim"]["lr_scaling"]]
    if lag == 0 and scaled == 1:
        return schedule
    return lambda step: scaled * (lr if step < lag else schedule(step - lag))
