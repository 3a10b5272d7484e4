"""The diagnosis of a run: what is measured on a few of its training batches, as plain values."""

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.diagnosis.curvature import Curvature, curvature
from d2lcli.diagnosis.findings import Finding, findings
from d2lcli.diagnosis.signals import Batch, LayerSignals, noise_scale, observe
from d2lcli.errors import ConfigError
from d2lcli.training.build import Run, build
from d2lcli.training.checkpoint import Checkpoints, read_snapshot
from d2lcli.training.state import load_optimizer, load_weights

LARGE = 1_000_000  # parameters from which the curvature is that of fewer batches, found in fewer steps
FEW, FEWER_STEPS = 2, 20
LARGEST_SIDE = 2048  # of a weight matrix whose singular values are computed
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(frozen=True)
class WeightFacts:
    """One trainable weight or bias.

    Args:
        name: in the model.
        norm: Euclidean.
        step: size of the optimizer's next update over `norm`; None where it is not known.
        largest, smallest: singular values of the weight as an (outputs, rest) matrix; None for a bias or a huge one.
        equal_rows: all rows are equal, so that the units stay copies of one another.
    """

    name: str
    norm: float
    step: float | None
    largest: float | None
    smallest: float | None
    equal_rows: bool


@dataclass(frozen=True)
class Diagnosis:
    """All that was measured.

    Args:
        step: updates that the weights have had.
        rate: the learning rate at that point.
        loss, gradient_norm: of the batches together.
        noise_scale: see `signals.noise_scale`.
        curvature_batches: how many of the batches the curvature was measured on; few for a large model, since one of
            its products takes as long as several updates.
        batch_size: examples of an update.
    """

    run: str
    checkpoint: str
    step: int
    optimizer: str
    rate: float
    batch_size: int
    loss: float
    gradient_norm: float
    noise_scale: float | None
    layers: list[LayerSignals]
    weights: list[WeightFacts]
    curvature: Curvature
    curvature_batches: int
    findings: list[Finding]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(path: Path, values: dict[str, Any], *, checkpoint: str = "last", batches: int = 8) -> Diagnosis:
    """Rebuild a run from its folder, which is only read, and measure it.

    Dropout is off; batch norm uses the statistics of each batch, as in training.

    Args:
        path: the run folder.
        values: its config, perhaps changed.
        checkpoint: best, last, a step number, or the path of a checkpoint folder.
        batches: training batches to look at, the first of a new pass.

    Raises:
        CheckpointError: no run, no such checkpoint, a damaged one, or one of another model.
    """
    chosen = Checkpoints(path / "checkpoints").find(checkpoint)
    snapshot = read_snapshot(chosen)
    alone = {"strategy": {"name": "single"}, "hardware": values["hardware"] | {"compile": False, "precision": "fp32"}}
    run = build(values | alone, fresh=False, stored=path)
    if run.way != "loss":
        task = values["task"]["name"]
        raise ConfigError(f"task '{task}' does not follow the gradient of one loss: there is nothing to diagnose")
    load_weights(run.model, snapshot.tensors["model"], snapshot)
    load_optimizer(run, snapshot)
    run.model.train()
    for module in run.model.modules():
        if isinstance(module, DROPOUTS):
            module.eval()
        elif isinstance(getattr(module, "dropout", None), float):  # recurrent layers and attention have it as a number
            module.dropout = 0.0  # type: ignore[assignment]
    seen = list(itertools.islice(run.train.batches(0), batches))
    layers, gradients = observe(run.model, run.task, seen)
    mean = [torch.stack(parts).mean(0) for parts in zip(*gradients, strict=True)]
    params = [p for p in run.model.parameters() if p.requires_grad]
    large = sum(p.numel() for p in params) >= LARGE
    some = seen[:FEW] if large else seen
    progress = snapshot.state["progress"]
    rate = run.schedule(progress["step"] if run.interval == "step" else progress["epoch"])
    found = Diagnosis(
        run=str(path),
        checkpoint=str(chosen),
        step=snapshot.step,
        optimizer=values["optim"]["name"],
        rate=rate,
        batch_size=values["data"]["batch_size"] * run.accumulate,
        loss=_loss(run, seen).item(),
        gradient_norm=torch.cat([gradient.flatten() for gradient in mean]).norm().item(),
        noise_scale=noise_scale(gradients[:-1], len(seen[0][1])),  # the last batch may be shorter
        layers=layers,
        weights=_weight_facts(run, mean, rate),
        curvature=curvature(lambda: _loss(run, some), params, steps=FEWER_STEPS if large else 40),
        curvature_batches=len(some),
        findings=[],
    )
    found.findings.extend(findings(found))
    return found


def _loss(run: Run, batches: list[Batch]) -> Tensor:
    """The mean training loss of all examples."""
    losses = [run.task.train_loss(run.model, batch) * len(batch[1]) for batch in batches]
    return torch.stack(losses).sum() / sum(len(batch[1]) for batch in batches)


def _weight_facts(run: Run, gradients: list[Tensor], rate: float) -> list[WeightFacts]:
    trainable = [(name, param) for name, param in run.model.named_parameters() if param.requires_grad]
    before = [param.detach().clone() for _, param in trainable]
    steps = _next_steps(run, [param for _, param in trainable], gradients, rate)
    facts = []
    for (name, _), weight, step in zip(trainable, before, steps, strict=True):
        norm = weight.norm().item()
        relative = step / norm if step is not None and norm > 0 else None
        matrix = weight.flatten(1).double() if weight.ndim >= 2 else None
        largest = smallest = None
        if matrix is not None and min(matrix.shape) <= LARGEST_SIDE:
            singular = torch.linalg.svdvals(matrix)
            largest, smallest = singular[0].item(), singular[-1].item()
        equal = matrix is not None and len(matrix) > 1 and bool((matrix == matrix[0]).all())
        facts.append(WeightFacts(name, norm, relative, largest, smallest, equal))
    return facts


def _next_steps(run: Run, params: list[nn.Parameter], gradients: list[Tensor], rate: float) -> list[float | None]:
    """The norm of what the optimizer, with its state, would change in each parameter; the weights are put back."""
    if hasattr(run.optimizer, "backward"):  # it needs second derivatives
        return [None] * len(params)
    before = [param.detach().clone() for param in params]
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group.get("lr_mult", 1.0)
    run.optimizer.step()
    run.optimizer.zero_grad()
    sizes: list[float | None] = []
    with torch.no_grad():
        for param, old in zip(params, before, strict=True):
            sizes.append((param - old).norm().item())
            param.copy_(old)
    return sizes
