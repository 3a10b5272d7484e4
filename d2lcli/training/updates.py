"""One update of a run: backward passes and a step of the optimizer, or what the task does itself."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from d2lcli.optim.constraints import add_penalties, project_ball
from d2lcli.training import nonfinite
from d2lcli.training.build import Run
from d2lcli.training.meter import Meter
from d2lcli.training.parts import naming_key
from d2lcli.training.state import Position

Batch = tuple[Tensor, ...]


def backward(loss: Tensor, one: Tensor) -> None:
    """`loss.backward()` without the bookkeeping around it, a fifth of the time of a step of a small model.

    Args:
        loss: a scalar.
        one: a scalar 1 of the same type and device, made once.
    """
    if loss.dtype != one.dtype:
        loss.backward()  # type: ignore[no-untyped-call]
        return
    torch.autograd.Variable._execution_engine.run_backward(
        (loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


class Updates:
    """Changes the weights of a run, batch by batch.

    There are three ways: one loss, whose gradients may be added up over batches; turns, where `task.losses` gives one
    loss after the other and each has a step of its own (a GAN); and `task.advance`, where the task changes the model
    without gradients.

    Args:
        run: live objects.
        position: where the run is; gets the losses.
        meter: gets the losses that a device is still computing.
        folder: the run folder, where a batch is kept whose loss is not finite.

    Attributes:
        take: (batch, its number, whether an update ends with it, whether to measure the gradient) -> None.
        grad_norm: of the last update that was measured.
        rate: the learning rate in use.
    """

    def __init__(self, run: Run, position: Position, meter: Meter, folder: Path) -> None:
        self.run, self.at, self.meter, self.folder = run, position, meter, folder
        self.values = run.values
        self.on_cpu = run.device.type == "cpu"
        self.several = run.strategy.grouped
        self.weighted = self.several or run.accumulate > 1
        self.second_order = getattr(run.optimizer, "backward", None)  # where it needs more than the gradient
        self.plain = not (self.weighted or run.autocast or run.scaler or self.second_order)
        self.one = torch.ones((), device=run.device)
        self.params = run.strategy.parts([each for each in run.model.parameters() if each.requires_grad])
        self.grad_norm: Tensor | None = None
        self.rate = math.nan  # differs from every rate, so that the first one is set even where it is 0
        ways: dict[str, Callable[[Batch, int, bool, bool], None]] = {
            "loss": self._loss, "turns": self._turns, "advance": self._advance,
        }  # fmt: skip
        self.take = ways[run.way]

    def set_rate(self, rate: float) -> None:
        """Use this learning rate from now on."""
        if rate != self.rate:
            self.rate = rate
            for group in self.run.optimizer.param_groups:
                group["lr"] = rate * group.get("lr_mult", 1.0)

    # The three ways.

    def _loss(self, batch: Batch, index: int, last: bool, measure: bool) -> None:
        self._backward(batch, index, last)
        if not last:
            return
        if self.several:
            self.run.strategy.collect()
        if self._step(measure) and self.run.ema is not None:
            self.run.ema.update()

    def _turns(self, batch: Batch, index: int, last: bool, measure: bool) -> None:
        run = self.run
        losses, total = run.task.losses(run.module, batch), self.one * 0
        while True:
            with run.autocast() if run.autocast else nullcontext():
                loss = next(losses, None)
            if loss is None:
                break
            if self.on_cpu:
                self._check(loss, batch)
            total += loss.detach()
            (run.scaler.scale(loss) if run.scaler else loss).backward()
            self._step(measure)
        self._note(total, batch, index)
        if run.ema is not None:
            run.ema.update()

    def _advance(self, batch: Batch, index: int, last: bool, measure: bool) -> None:
        with torch.no_grad():
            loss = self.run.task.advance(self.run.model, batch, self.rate)
        self._note(loss, batch, index)
        if self.run.ema is not None:
            self.run.ema.update()

    # One loss.

    def _backward(self, batch: Batch, index: int, last: bool) -> None:
        """Forward and backward of one batch; the loss is checked before anything depends on it."""
        run = self.run
        if self.plain:
            loss = run.task.train_loss(run.module, batch)
            self._note(loss, batch, index)
            backward(loss, self.one)
            return
        if run.strategy.drives:
            with run.autocast() if run.autocast else nullcontext():
                scale = run.scaler.value if run.scaler else 1.0
                loss = run.strategy.step(run.task.train_loss, batch, self._weight(index) * scale)
            self._note(loss, batch, index)
            return
        hold = nullcontext() if last else run.strategy.hold(run.module)
        with hold:
            with run.autocast() if run.autocast else nullcontext():
                loss = run.task.train_loss(run.module, batch)
            self._note(loss, batch, index)
            if self.weighted:
                loss = loss * self._weight(index)
            if self.second_order:
                with naming_key("optim"):
                    self.second_order(loss)
            else:
                (run.scaler.scale(loss) if run.scaler else loss).backward()

    def _note(self, loss: Tensor, batch: Batch, index: int) -> None:
        """Add a loss to the running mean; on the CPU, where reading it costs nothing, refuse one that is not finite."""
        size = self.run.train.local_size(index)
        if self.on_cpu:
            self.at.loss_sum += self._check(loss, batch) * size
            self.at.loss_count += size
        else:  # nobody waits for the device: what it computed is read at the logging interval
            self.meter.defer(loss.detach(), size, index)

    def _check(self, loss: Tensor, batch: Batch) -> float:
        """The value of a loss, which must be finite."""
        value = loss.item()
        if not math.isfinite(value):
            nonfinite.keep(self.folder, self.run, self.at, batch)
            ending = " before the update" if self.run.way == "loss" else ""
            raise nonfinite.error(self.folder, self.run, self.at.step, f"the loss is {value}", self.rate, ending)
        return value

    def _weight(self, index: int) -> float:
        """What a batch's mean loss counts in its update, so that the update is the mean over all its examples."""
        loader, accumulate = self.run.train, self.run.accumulate
        local = loader.local_size(index)
        start = index - index % accumulate
        group = range(start, min(start + accumulate, len(loader)))
        total = sum(loader.global_size(other) for other in group)
        strategy = self.run.strategy
        return local * strategy.data_size * strategy.factor / total  # the strategy takes the mean over the parts

    # One step.

    def _step(self, measure: bool) -> bool:
        """Unscale, add penalties, clip, step, project; False where the gradient overflowed and nothing was changed."""
        run, values = self.run, self.values
        if run.scaler is not None and self._agree(int(run.scaler.unscale_(self.params))):
            run.scaler.update(True)
            run.optimizer.zero_grad()
            self.grad_norm = None  # not that of an update before
            return False
        if values["l1"] or values["l2"]:
            add_penalties(run.decaying, values["l1"], values["l2"])
        if values["clip_value"] is not None:
            torch.nn.utils.clip_grad_value_(self.params, values["clip_value"])
        if values["clip_norm"] is not None:
            self.grad_norm = self._norm()
            torch.nn.utils.clip_grads_with_norm_(self.params, values["clip_norm"], self.grad_norm)
        elif measure:
            self.grad_norm = self._norm()
        run.optimizer.step()
        run.optimizer.zero_grad()
        if values["max_norm"] is not None:
            project_ball(run.decaying, values["max_norm"], run.strategy.norm if self.several else None)
        if run.scaler is not None:
            run.scaler.update(False)
        return True

    def _agree(self, flags: int) -> int:
        return self.run.strategy.agree(flags) if self.several else flags

    def _norm(self) -> Tensor:
        """The norm of the whole gradient."""
        used = [part for part in self.params if part.grad is not None]
        return self.run.strategy.norm(used, [cast(Tensor, part.grad) for part in used])
