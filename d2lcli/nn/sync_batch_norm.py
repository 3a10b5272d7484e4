"""Batch norm over the examples of all processes, on any device (d2l 8.5 and 13.6); torch's own needs a GPU.

n examples of a process, N of all, c channels, ... further axes.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


class _AllSum(torch.autograd.Function):
    """The sum over all processes.  Each of them depends on every part, so that gradients are added up as well."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = part.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _all_sum(part: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    return cast(Tensor, _AllSum.apply(part, group))  # type: ignore[no-untyped-call]


class SyncBatchNorm(_BatchNorm):
    """(x - m) / sqrt(v + eps) * weight + bias with m and v over the N examples of all processes, for each channel.

    The parts may differ in size.  The variance is taken around the common mean, in a second exchange, so that nothing
    cancels.  In evaluation it is plain batch norm, and so are the names and shapes of its tensors.

    Args:
        num_features: c.
        eps: what is added to the variance.
        momentum: of the running statistics; None for the mean over all batches so far.
        affine: whether there are a weight and a bias.
        track_running_stats: whether there are running statistics.
        group: the processes; None is all of them.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.group = group

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, ...) -> (n, c, ...)."""
        if not self.training and self.running_mean is not None:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = (1, -1, *[1] * (x.ndim - 2))
        count = x.new_full((1,), x.numel() / x.shape[1])
        sums = _all_sum(torch.cat([x.sum(axes), count]), self.group)  # (c + 1,)
        total = sums[-1].detach()
        mean = sums[:-1] / total  # (c,)
        centred = x - mean.view(shape)
        squares = _all_sum(centred.square().sum(axes), self.group)  # (c,)
        variance = squares / total
        self._follow(mean.detach(), variance.detach(), total)
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        """Take a batch into the running statistics; the variance there is the unbiased one."""
        if self.running_mean is None or self.running_var is None or not self.training:
            return
        counter = cast(Tensor, self.num_batches_tracked)
        counter += 1
        share = self.momentum if self.momentum is not None else 1 / float(counter)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * total / (total - 1)).to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected inputs (n, c, ...), but they have {input.ndim} axes")


def synchronise_batch_norms(model: nn.Module, group: dist.ProcessGroup | None = None) -> nn.Module:
    """The model with every batch norm replaced by one over all processes, of the same tensors.

    On a GPU that is torch's own layer, elsewhere `SyncBatchNorm`.

    Args:
        model: on its device; changed in place, unless it is itself a batch norm.
        group: the processes; None is all of them.
    """
    if next((True for parameter in model.parameters() if parameter.is_cuda), False):
        return cast(nn.Module, nn.SyncBatchNorm.convert_sync_batchnorm(model, group))  # type: ignore[no-untyped-call]
    if isinstance(model, _BatchNorm):
        return _like(model, group)
    for name, layer in model.named_children():
        setattr(model, name, synchronise_batch_norms(layer, group))
    return model


def _like(layer: _BatchNorm, group: dist.ProcessGroup | None) -> SyncBatchNorm:
    new = SyncBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats, group)
    new.weight, new.bias = layer.weight, layer.bias
    new.running_mean, new.running_var = layer.running_mean, layer.running_var
    new.num_batches_tracked = layer.num_batches_tracked
    return new.train(layer.training)
