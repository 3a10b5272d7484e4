"""Checks a composed config: every key's type and range against its signature, then what concerns several keys."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from d2lcli.config.problems import Problems
from d2lcli.config.schema import GROUPS, hardware_parameters, node_parameters, run_parameters
from d2lcli.errors import clean, nearest
from d2lcli.registry import DATASETS, LOSSES, METRICS, MODELS, TOKENIZERS, Registry
from d2lcli.registry.losses import loss_options
from d2lcli.registry.options import check_options, check_value, show
from d2lcli.registry.signatures import Parameter

TOKEN_TASKS = {"language_model", "masked_language_model", "sequence_to_sequence", "tagging", "question_answering"}
TOKEN_TASKS |= {"word_embedding", "glove"}
# Those that only the models made for them can do, and these nothing else.
OWN_TASKS = TOKEN_TASKS | {"marginal_likelihood", "gan"}
TABLE_TASKS = {"q_learning", "value_iteration", "policy_iteration", "policy_evaluation"}  # on tables of values
TURNS = {"gan"}  # tasks with several losses, each with an update of its own
BESIDE_THE_LOSS = ("l1", "l2", "max_norm", "clip_norm", "clip_value")  # what changes gradients or weights, but no loss
WHOLE = ("single", "dp", "ddp")  # strategies that leave each process all parameters and all their gradients
SPLIT = ("fsdp", "tensor", "pipeline", "parameter_server")  # strategies whose processes see parts of the weights
WHOLE_VECTOR = ("lbfgs", "newton", "preconditioned_gd", "normal_equation")  # optimizers that are not element by element
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")

Place = Callable[[tuple[str, ...]], str]


def check_values(
    values: Mapping[str, Any],
    place: Place,
    problems: Problems,
    skip: Collection[str] = (),
    bad: Collection[tuple[str, ...]] = (),
) -> None:
    """Add everything that is wrong with `values` to `problems`.

    Args:
        values: a whole config.
        place: where a key's value came from.
        problems: gathers what is found.
        skip: groups whose choice is wrong already; their nodes cannot be judged.
        bad: keys whose value is known to be wrong already.
    """
    check = _Check(values, place, problems)
    check.bad |= set(bad)
    check.node((), run_parameters(), extra=(*GROUPS, "hardware"))
    check.node(("hardware",), hardware_parameters())
    for group in GROUPS:
        node = values.get(group)
        if group not in skip and isinstance(node, Mapping):
            check.node((group,), node_parameters(group, node["name"]), extra=("name",))
    if "task" not in skip:
        check.task()
    if "data" not in skip:
        check.tokenizer()
    if not skip:
        check.image_size()
        if not check.tables():
            check.tokens()
    check.hardware()
    check.strategy()
    check.folds()
    check.line_search()
    check.turns()
    if values.get("head") == "new" and values.get("weights") is None:
        check.add(("head",), "'new' leaves out the head of weights, but there are none: set weights=PATH")


class _Check:
    def __init__(self, values: Mapping[str, Any], place: Place, problems: Problems) -> None:
        self.values = values
        self.place = place
        self.problems = problems
        self.bad: set[tuple[str, ...]] = set()

    def add(self, key: tuple[str, ...], reason: str) -> None:
        self.bad.add(key)
        self.problems.add(lambda: f"{clean('.'.join(key), 80)}: {reason} ({self.place(key)})")

    def get(self, *key: str) -> Any:
        """A value, or None where it is missing or was found wrong already."""
        node = self.values.get(key[0])
        for part in key[1:]:
            node = node.get(part) if isinstance(node, Mapping) else None
        return None if key in self.bad else node

    def node(self, above: tuple[str, ...], parameters: Mapping[str, Parameter], extra: Collection[str] = ()) -> None:
        """Each value of one mapping of keys against its parameter."""
        node = self.values[above[0]] if above else self.values
        if not isinstance(node, Mapping):
            self.add(above, f"{show(node)} is not a mapping")
            return
        for key, value in node.items():
            if (*above, key) in self.bad:
                continue
            if key in parameters:
                if reason := check_value(value, parameters[key]):
                    self.add((*above, key), reason)
            elif key not in extra:
                self.add((*above, str(key)), f"unknown key{nearest(str(key), [*parameters, *extra])}")

    def task(self) -> None:
        """The names in the task's node: a loss, and metrics with their options."""
        loss, metrics = self.get("task", "loss"), self.get("task", "metrics")
        if ("task", "loss") not in self.bad:
            self.loss(loss)
        names = [self.metric(item) for item in metrics] if isinstance(metrics, list | tuple) else []
        monitor = self.get("monitor")
        names = [name for name in names if name and METRICS.describe(name).comparable]
        if monitor is not None and ("task", "metrics") not in self.bad and monitor not in ("loss", *names):
            known = ", ".join(("loss", *names))
            self.add(
                ("monitor",),
                f"{show(monitor)} is no value of this task that decides (known: {known}){nearest(monitor, names)}",
            )

    def loss(self, item: Any) -> None:
        """Check the loss and its options."""
        options = dict(item) if isinstance(item, Mapping) else {"name": item}
        name = options.pop("name", None)
        if not isinstance(name, str) or name not in LOSSES:
            self.add(("task", "loss"), _unknown(name, LOSSES))
            return
        for reason in check_options(options, loss_options(name), f"loss '{name}'"):
            self.add(("task", "loss"), reason)

    def tokenizer(self) -> None:
        """The tokenizer of a text and its options."""
        item = self.get("data", "tokenizer")
        if item is None:
            return
        options = dict(item) if isinstance(item, Mapping) else {"name": item}
        name = options.pop("name", None)
        if not isinstance(name, str) or name not in TOKENIZERS:
            self.add(("data", "tokenizer"), _unknown(name, TOKENIZERS))
            return
        for reason in check_options(options, TOKENIZERS.parameters(name), f"tokenizer '{name}'"):
            self.add(("data", "tokenizer"), reason)

    def tokens(self) -> None:
        """Models of tokens go with texts and with tasks that both are for, other models with neither."""
        model, data, task = (self.get(group, "name") for group in ("model", "data", "task"))
        able, told = MODELS.describe(model).tasks, DATASETS.describe(data).tasks
        reads = _reads_tokens(model)
        if reads != _holds_texts(data) or (reads and not able & told):
            fitting = [name for name in DATASETS.names() if _holds_texts(name) and DATASETS.describe(name).tasks & able]
            known = f" (it takes: {', '.join(fitting)})" if reads else ""
            self.add(("data",), f"'{data}' is no data for model '{model}'{known}")
        elif task not in able and (reads or OWN_TASKS & {task, *able}):
            self.add(("task",), f"'{task}' is no task for model '{model}' (its tasks: {', '.join(sorted(able))})")
        elif reads and task not in told:
            self.add(("task",), f"'{task}' is no task for data '{data}' (its tasks: {', '.join(sorted(told))})")

    def tables(self) -> bool:
        """Tables of values, environments and the tasks on them go together; whether the config has any of them."""
        model, data, task = (self.get(group, "name") for group in ("model", "data", "task"))
        able, told = MODELS.describe(model).tasks, DATASETS.describe(data).tasks
        if not TABLE_TASKS & {task, *able, *told}:
            return False
        models = [name for name in MODELS.names() if task in MODELS.describe(name).tasks]
        if task in TABLE_TASKS and task not in able:
            self.add(("task",), f"'{task}' is no task for model '{model}': set model={' or model='.join(models)}")
        elif task not in TABLE_TASKS and TABLE_TASKS & able:
            known = ", ".join(sorted(able))
            self.add(("task",), f"'{task}' is no task for model '{model}' (its tasks: {known})")
        elif not TABLE_TASKS & told:
            known = ", ".join(name for name in DATASETS.names() if TABLE_TASKS & DATASETS.describe(name).tasks)
            self.add(("data",), f"'{data}' is no data for model '{model}' (it takes: {known})")
        elif not TABLE_TASKS & able:
            fitting = [name for name in MODELS.names() if TABLE_TASKS & MODELS.describe(name).tasks]
            self.add(("data",), f"'{data}' is no data for model '{model}': set model={' or model='.join(fitting)}")
        else:
            self._agents(task)
        return True

    def _agents(self, task: str) -> None:
        """What agents have no use for."""
        if (strategy := self.get("strategy", "name")) not in ("single", None):
            self.add(("strategy",), f"'{strategy}': a table is learnt by one process, use strategy=single")
        if self.get("cv") is not None:
            self.add(("cv",), "an environment has no examples that could be parted into folds")
        wanted = "episodes" if task == "q_learning" else "states"
        if (objective := self.get("data", "objective")) not in (wanted, None):
            self.add(("data", "objective"), f"task '{task}' takes {wanted}, not {objective}; leave it out")

    def line_search(self) -> None:
        """An optimizer that compares losses goes wrong where gradients are not those of the loss, or in parts."""
        if self.get("optim", "name") != "lbfgs":
            return
        for key in BESIDE_THE_LOSS:
            if self.get(key):
                reason = "optim=lbfgs compares losses, which this leaves out; for L2 set optim.weight_decay"
                self.add((key,), reason)
        if (strategy := self.get("strategy", "name")) not in (*WHOLE, None):
            self.add(("strategy",), f"optim=lbfgs needs the whole model in each process, which {show(strategy)} parts")

    def turns(self) -> None:
        """Losses in turns are the work of one process, and of an optimizer that needs no more than gradients."""
        task, optim, strategy = (self.get(group, "name") for group in ("task", "optim", "strategy"))
        if task in TURNS and optim in WHOLE_VECTOR:
            self.add(("optim", "name"), f"'{optim}' needs one loss, and task '{task}' has two in turns: use optim=adam")
        if task in TURNS and strategy not in ("single", None):
            self.add(("strategy",), f"'{strategy}': task '{task}' takes turns, in one process: use strategy=single")

    def metric(self, item: Any) -> str:
        """Check one entry of the list of metrics; its name."""
        options = dict(item) if isinstance(item, Mapping) else {"name": item}
        name = options.pop("name", None)
        if not isinstance(name, str) or name not in METRICS:
            self.add(("task", "metrics"), _unknown(name, METRICS))
            return ""
        for reason in check_options(options, METRICS.parameters(name), f"metric '{name}'"):
            self.add(("task", "metrics"), reason)
        return name

    def image_size(self) -> None:
        """Images must not be smaller than the model can take."""
        name = self.get("model", "name")
        smallest = MODELS.describe(name).min_image_size
        for key in (("data", "image_size"), ("model", "image_size")):
            size = self.get(*key)
            if size is not None and size < smallest:
                self.add(key, f"{size} is too small: model '{name}' takes images of at least {smallest} x {smallest}")
            if size is not None:
                break

    def hardware(self) -> None:
        """The device's spelling; several devices need a strategy that uses them."""
        device = self.get("hardware", "device")
        if isinstance(device, str) and not _DEVICE.fullmatch(device):
            self.add(("hardware", "device"), f"{show(device)} is not one of auto, cpu, cuda, cuda:N")
        devices = self.get("hardware", "devices")
        if isinstance(devices, int) and devices > 1 and self.get("strategy", "name") in ("single", "dp"):
            self.add(("hardware", "devices"), f"{devices} devices need a strategy that uses them: add strategy=ddp")

    def strategy(self) -> None:
        """What no process alone can do with its part of the model, or of the work."""
        name, optim = self.get("strategy", "name"), self.get("optim", "name")
        if name in SPLIT and optim in WHOLE_VECTOR:
            reason = f"'{optim}' needs all weights in one process, which strategy '{name}' splits: use strategy=ddp"
            self.add(("optim", "name"), reason)
        if name == "parameter_server" and self.get("strategy", "mode") == "async":
            for key in BESIDE_THE_LOSS:
                if self.get(key):
                    self.add((key,), "servers of strategy.mode=async do without it: use strategy.mode=sync")

    def folds(self) -> None:
        """A fold is one of a cross-validation, and all of its folds are trained by one process."""
        cv, fold, strategy = self.get("cv"), self.get("fold"), self.get("strategy", "name")
        if isinstance(fold, int) and self.values.get("cv") is None:
            self.add(("fold",), f"{fold} belongs to a cross-validation; say how many folds there are, as in cv=5")
        elif isinstance(fold, int) and isinstance(cv, int) and fold >= cv:
            self.add(("fold",), f"{fold} is no fold of cv={cv}; they are 0 .. {cv - 1}")
        elif cv is not None and self.values.get("fold") is None and strategy not in ("single", None):
            self.add(("cv",), f"strategy '{strategy}' trains one fold at a time: add fold=0, then fold=1, ...")


def _reads_tokens(model: str) -> bool:
    return "vocab_size" in MODELS.parameters(model)


def _holds_texts(data: str) -> bool:
    return "tokenizer" in DATASETS.parameters(data)


def _unknown(name: Any, registry: Registry) -> str:
    names = registry.names()
    hint = nearest(name, names) if isinstance(name, str) else ""
    known = ", ".join(names[:12]) + (f", ... see: d2l list {registry.kind}" if len(names) > 12 else "")
    return f"{show(name)} is no {registry.kind}{hint} (known: {known})"
