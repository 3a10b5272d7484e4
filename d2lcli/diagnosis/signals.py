"""What flows through a network: activations and gradients of each layer on a few training batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SATURATING = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
RECTIFIED = (nn.ReLU, nn.ReLU6)
FLAT = 0.1  # a unit counts as saturated where the slope is below this share of its largest

Batch = tuple[Tensor, ...]


@dataclass
class LayerSignals:
    """One layer without parts.

    Args:
        name, type: its path in the model, its class.
        mean, std: of its outputs.
        gradient: root mean square of the loss's gradient by its outputs, times the batch size, so that it is that of an
            example's own loss.
        saturated: share of the outputs of a sigmoid or tanh where its slope is below a tenth of the largest, else None.
        dead: share of the units of a ReLU that are 0 for every example seen, else None.
        weight_gradient: Euclidean norm of the gradient of its own parameters; None for a layer without any.
    """

    name: str
    type: str
    mean: float = 0.0
    std: float = 0.0
    gradient: float = 0.0
    saturated: float | None = None
    dead: float | None = None
    weight_gradient: float | None = None


class _Record:
    """Sums over the calls of one layer."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.count = 0
        self.flat = 0
        self.sums = torch.zeros(3, dtype=torch.float64)  # outputs, their squares, squared gradients
        self.alive: Tensor | None = None

    def see(self, output: Tensor) -> None:
        values = output.detach().double()
        self.count += values.numel()
        self.sums[0] += values.sum().cpu()
        self.sums[1] += values.square().sum().cpu()
        limits = SATURATING.get(type(self.module))
        if limits:
            low, high = limits
            slope = 4 * (values - low) * (high - values) / (high - low) ** 2  # over its largest
            self.flat += int((slope < FLAT).sum())
        if isinstance(self.module, RECTIFIED):
            if values.ndim != 3:  # of tokens (b, t, d) the units are last already, of images (b, c, h, w) second
                values = values.movedim(1, -1) if values.ndim > 1 else values[:, None]
            alive = (values.flatten(0, -2) > 0).any(0)
            self.alive = alive if self.alive is None else self.alive | alive

    def see_gradient(self, gradient: Tensor) -> None:
        self.sums[2] += (gradient.detach().double() * gradient.shape[0]).square().sum().cpu()

    def result(self, name: str) -> LayerSignals:
        mean, square, gradient = (self.sums / max(self.count, 1)).tolist()
        found = LayerSignals(
            name, type(self.module).__name__, mean, max(0.0, square - mean * mean) ** 0.5, gradient**0.5
        )
        if type(self.module) in SATURATING:
            found.saturated = self.flat / max(self.count, 1)
        if self.alive is not None:
            found.dead = 1 - self.alive.double().mean().item()
        return found


@contextmanager
def _recording(model: nn.Module) -> Iterator[dict[str, _Record]]:
    """Records of all layers without parts, by name, in the order of their first calls."""
    records: dict[str, _Record] = {}
    handles = []

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                record = records.setdefault(name, _Record(module))
                record.see(output)
                if output.requires_grad:
                    output.register_hook(record.see_gradient)  # type: ignore[no-untyped-call]

        return hook

    for name, module in model.named_modules():
        if not any(True for _ in module.children()):
            # An activation that works in place would change what the layer before it has shown.
            if getattr(module, "inplace", False):
                module.inplace = False
            handles.append(module.register_forward_hook(watch(name, module)))
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def observe(model: nn.Module, task: Any, batches: Sequence[Batch]) -> tuple[list[LayerSignals], list[list[Tensor]]]:
    """Run the batches forward and backward; the model's mode, weights and buffers are the caller's business.

    Args:
        model: as it is; its parameters' gradients are overwritten and dropped.
        task: gives the training loss.
        batches: inputs and targets on the model's device.

    Returns:
        The layers in the order in which they are called, and for each batch the gradients of the trainable parameters.
    """
    params = [param for param in model.parameters() if param.requires_grad]
    gradients: list[list[Tensor]] = []
    with _recording(model) as records:
        for batch in batches:
            loss = task.train_loss(model, batch)
            found = torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True)
            gradients.append([gradient.detach() for gradient in found])
    layers = [record.result(name) for name, record in records.items()]
    _add_weight_gradients(model, layers, gradients)
    return layers, gradients


def _add_weight_gradients(model: nn.Module, layers: list[LayerSignals], gradients: list[list[Tensor]]) -> None:
    """The norm of the mean gradient of each layer's own parameters."""
    names = [name for name, param in model.named_parameters() if param.requires_grad]
    means = {name: torch.stack(parts).mean(0) for name, parts in zip(names, zip(*gradients, strict=True), strict=True)}
    for layer in layers:
        own = [gradient for name, gradient in means.items() if name.rpartition(".")[0] == layer.name]
        if own:
            layer.weight_gradient = torch.cat([gradient.flatten() for gradient in own]).norm().item()


def noise_scale(gradients: list[list[Tensor]], batch_size: int) -> float | None:
    """tr(Sigma) / |G|^2, the batch size beyond which larger batches help little (McCandlish et al., 2018).

    Sigma is the covariance of one example's gradient, G the true one; both from the squared norms of the gradients of
    single batches and of their mean, without bias.

    Returns:
        The scale in examples; None with fewer than two batches, or where the estimate of |G|^2 is not above 0.
    """
    if len(gradients) < 2:
        return None
    flat = torch.stack([torch.cat([part.flatten() for part in parts]).double() for parts in gradients])
    small, large = batch_size, batch_size * len(flat)
    small_square, large_square = flat.square().sum(1).mean().item(), flat.mean(0).square().sum().item()
    signal = (large * large_square - small * small_square) / (large - small)
    noise = (small_square - large_square) / (1 / small - 1 / large)
    return noise / signal if signal > 0 else None
