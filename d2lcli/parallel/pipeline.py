"""Pipeline parallel: consecutive layers lie in different processes, through which small pieces of a batch flow.

A thin adapter on torch.distributed.pipelining (d2l 13.5; GPipe: Huang et al., 2019; 1F1B: Narayanan et al., 2019;
interleaved: Narayanan et al., 2021).  Every process builds the whole model and computes its stages of it; before an
evaluation, which each process then makes by itself, and for a checkpoint the weights go to all.

Batch norm sees a piece at a time, so that models with it differ from training on one device.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B

from d2lcli.parallel.processes import Processes

ScheduleName = Literal["gpipe", "1f1b", "interleaved"]

# The layers of convolutional networks that are one after the other; the last ones read flat features.
CHAINS = (
    ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"],  # ResNet, ResNeXt
    ["stem", "trunk_output", "avgpool", "fc"],  # RegNet
    ["features", "classifier"],  # LeNet
)


class Step(NamedTuple):
    """A function that a model applies, and the layers whose parameters it uses."""

    call: Callable[[Tensor], Tensor]
    layers: list[nn.Module]

    @property
    def size(self) -> int:
        """Numbers in its parameters."""
        return sum(parameter.numel() for layer in self.layers for parameter in layer.parameters())


class Stage(nn.Module):
    """Some steps of a model, which owns the layers.

    The first call is that of torch's pipelining to learn shapes, with numbers that mean nothing: buffers, such as
    running statistics, do not take them in.
    """

    def __init__(self, chosen: Sequence[Step]) -> None:
        super().__init__()
        self.chosen = chosen
        self.asked = False

    def forward(self, x: Tensor) -> Tensor:
        if self.asked:
            return self._run(x)
        self.asked = True
        layers = [each for step in self.chosen for layer in step.layers for each in layer.modules()]
        kept = [dict(layer._buffers) for layer in layers]
        for layer in layers:
            layer._buffers.update({name: each.clone() for name, each in layer.named_buffers(recurse=False)})
        try:
            return self._run(x)
        finally:
            for layer, buffers in zip(layers, kept, strict=True):
                layer._buffers.update(buffers)

    def _run(self, x: Tensor) -> Tensor:
        for step in self.chosen:
            x = step.call(x)
        return x


class Pipeline(Processes):
    """Arguments: see `pipeline`."""

    name = "pipeline"
    drives = True

    def __init__(
        self, timeout: float, device: torch.device | None, schedule: ScheduleName, microbatches: int, chunks: int
    ) -> None:
        super().__init__(timeout, device)
        self.schedule: ScheduleName = schedule
        self.microbatches = microbatches
        self.num_stages = self.world_size * (chunks if schedule == "interleaved" else 1)
        self.noise_rank = self.rank
        self.data_rank, self.data_size = 0, 1
        self._schedules: dict[tuple[int, ...], Any] = {}

    def split(self, model: nn.Module) -> None:
        """Cut the model into stages of about as many parameters; note who owns what."""
        steps = model_steps(model)
        bounds = cut([step.size for step in steps], self.num_stages)
        self._stages = [steps[low:high] for low, high in bounds]
        users: dict[int, list[int]] = {}
        for number, stage in enumerate(self._stages):
            for step in stage:
                for layer in step.layers:
                    for each in (*layer.parameters(), *layer.buffers()):
                        users.setdefault(id(each), []).append(number % self.world_size)
        named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._owners = {name: users.get(id(each), [0])[0] for name, each in named.items()}
        self._owner_of = {id(each): self._owners[name] for name, each in named.items()}
        self._shared = [each for each in model.parameters() if len(set(users.get(id(each), []))) > 1]
        everyone = model.named_parameters(remove_duplicate=False)
        first = {id(each): name for name, each in named.items()}
        self._tied = {name: first[id(each)] for name, each in everyone}

    def step(self, loss_of: Callable[[nn.Module, Any], Tensor], batch: Sequence[Any], weight: float) -> Tensor:
        """Forward and backward of a batch in pieces; the mean loss, in every process.

        Args:
            loss_of: a model and a batch -> the mean loss, as a task has it.
            batch: inputs and targets.
            weight: what the loss counts.
        """
        if len(batch) != 2 or not all(isinstance(each, Tensor) for each in batch):
            raise ValueError("strategy pipeline takes batches of one tensor of inputs and one of targets")
        inputs, targets = batch
        pieces = count_pieces(len(inputs), self.microbatches, self.world_size)
        key = (pieces, *inputs.shape)
        if key not in self._schedules:
            self._schedules[key] = self._make_schedule(pieces)
        schedule, self._pieces, self._weight, self._loss_of = self._schedules[key], pieces, weight, loss_of
        losses: list[Tensor] = []
        last = self.rank == self.world_size - 1
        given = (inputs,) if self.rank == 0 else ()
        schedule.step(*given, **({"target": targets, "losses": losses} if last else {}), return_outputs=False)
        mean = torch.zeros((), dtype=torch.float64, device=self.device)
        if last and weight:
            mean += torch.stack([loss.detach().double() for loss in losses]).sum() / weight
        dist.broadcast(mean, self.world_size - 1)
        return mean

    def _make_schedule(self, pieces: int) -> Any:
        """A schedule for one shape of batches: buffers have fixed sizes."""
        numbers = range(self.rank, self.num_stages, self.world_size)
        stages = [
            PipelineStage(Stage(self._stages[number]), number, self.num_stages, self.device) for number in numbers
        ]

        def loss_fn(outputs: Tensor, targets: Tensor) -> Tensor:
            given = cast(nn.Module, lambda _: outputs)
            return self._loss_of(given, (outputs, targets)) * (self._weight / self._pieces)

        if self.schedule == "interleaved" and pieces % self.world_size == 0:
            return ScheduleInterleaved1F1B(cast(Any, stages), pieces, loss_fn, scale_grads=False)
        if self.schedule == "interleaved":
            raise ValueError(
                f"schedule=interleaved needs batches that {self.world_size} processes divide, not {pieces} pieces"
            )
        kind = Schedule1F1B if self.schedule == "1f1b" and pieces >= self.num_stages else ScheduleGPipe
        return kind(stages[0], pieces, loss_fn, scale_grads=False)

    def collect(self) -> None:
        """Add up the gradients of weights that several stages use."""
        for parameter in self._shared:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def norm(self, parts: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """The root of all squares; each process adds those of its own stages."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for part, value in zip(parts, values, strict=True):
            if self._owner_of[id(part)] == self.rank:
                total += torch.linalg.vector_norm(value).double().square()
        dist.all_reduce(total)
        return total.sqrt().to(values[0].dtype if values else torch.float32)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of their owners, in every process."""
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            base, _, slot = name.partition("/")
            first = self._tied.get(base, base)
            if not slot and first != base and first in found:  # a tied weight stays one tensor
                found[name] = found[first]
                continue
            found[name] = tensor.detach().clone()
            dist.broadcast(found[name], self._owners[first])
        return found

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of their owners."""
        for name, each in (*model.named_parameters(), *model.named_buffers()):
            dist.broadcast(each.detach(), self._owners[name])

    def sum(self, tensor: Tensor) -> Tensor:
        """Each process has seen all examples."""
        return tensor


def model_steps(model: nn.Module) -> list[Step]:
    """A model as functions one after the other: those of a sequence, of a language model, or of a chain of `CHAINS`.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(model, nn.Sequential):
        return [Step(layer, [layer]) for layer in model]
    if all(hasattr(model, name) for name in ("embed", "blocks", "norm", "head")):
        gpt = cast(Any, model)
        return [
            Step(gpt.embed, [gpt.embedding, gpt.positions, gpt.dropout]),
            *(Step(block, [block]) for block in gpt.blocks),
            Step(lambda x: gpt.head(gpt.norm(x)), [gpt.norm, gpt.head]),
        ]
    names = [name for name, _ in model.named_children()]
    if names in CHAINS:
        *body, last = model.children()
        found = [Step(each, [each]) for layer in body for each in _layers(layer)]
        first, *rest = _layers(last)
        return [*found, Step(lambda x: first(x.flatten(1)), [first]), *(Step(each, [each]) for each in rest)]
    raise ValueError(
        "strategy pipeline cannot cut this model, which is no sequence of layers, GPT, LeNet, ResNet or RegNet; "
        "use strategy=fsdp"
    )


def _layers(layer: nn.Module) -> list[nn.Module]:
    return list(layer) if isinstance(layer, nn.Sequential) else [layer]


def cut(sizes: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """The bounds of consecutive parts, none of them empty, whose largest sum is as small as it can be.

    Raises:
        ValueError: there are fewer sizes than parts.
    """
    n = len(sizes)
    if n < parts:
        raise ValueError(f"the model has {n} layers, fewer than the {parts} stages")
    sums = [0, *accumulate(sizes)]
    best: list[list[tuple[int, int]]] = [[(sums[i], 0) for i in range(n + 1)]]  # the largest sum, where the last begins
    for part in range(1, parts):
        row = []
        for high in range(n + 1):
            choices = [(max(best[-1][low][0], sums[high] - sums[low]), low) for low in range(part, high)]
            row.append(min(choices, default=(sums[-1] + 1, 0)))
        best.append(row)
    bounds: list[tuple[int, int]] = []
    high = n
    for row in reversed(best):
        bounds.append((row[high][1], high))
        high = row[high][1]
    return bounds[::-1]


def count_pieces(examples: int, wanted: int, processes: int) -> int:
    """Into how many pieces of one size a batch is cut: near what is wanted, and a multiple of the processes.

    Pieces of one example, which batch norm refuses, are the last resort.
    """
    divisors = [number for number in range(1, examples + 1) if examples % number == 0]
    enough = [number for number in divisors if number % processes == 0]
    enough = [number for number in enough if 2 * number <= examples] or enough
    enough = enough or [number for number in divisors if number >= processes] or divisors
    return min(enough, key=lambda number: (abs(number - wanted), number))


def pipeline(
    timeout: float = 300.0,
    schedule: ScheduleName = "1f1b",
    microbatches: int = 4,
    chunks: int = 2,
    device: torch.device | None = None,
) -> Pipeline:
    """Consecutive layers in different processes.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        schedule: gpipe, all forward passes, then all backward; 1f1b, in turns, which keeps fewer activations; or
            interleaved, in turns with several stages a process, which waits less.
        microbatches: pieces of a batch, about; they are of one size.
        chunks: stages of each process, with schedule=interleaved.
        device: this process's device.

    Raises:
        ValueError: this process belongs to no group.
    """
    return Pipeline(timeout, device, schedule, microbatches, chunks)
