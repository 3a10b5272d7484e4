"""The one training loop.  A task owns its step; the loop owns everything around it.

An update (a "step") is `accumulate` batches, or fewer at the end of an epoch, weighted by their examples, so that it
equals the step on one large batch.  Checkpoints and stops happen between updates, so a position never lies inside an
accumulation.
"""

import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from d2lcli.data.loader import Loader
from d2lcli.errors import NonFiniteError
from d2lcli.parallel.single import local
from d2lcli.training import nonfinite, signals
from d2lcli.training.build import Run
from d2lcli.training.checkpoint import Checkpoints, all_finite
from d2lcli.training.evaluate import Evaluation, Interrupted, evaluate_model
from d2lcli.training.logbook import Logbook
from d2lcli.training.meter import Meter
from d2lcli.training.pictures import write_png
from d2lcli.training.plan import Rest
from d2lcli.training.progress import Progress, numbers
from d2lcli.training.state import Position, capture
from d2lcli.training.updates import Updates

SAVE, STOP = 1, 2  # what signals ask for; beside STOP, the signal's number is shifted above the two


def _last_step(run: Run, rest: Rest | None) -> int:
    """The update after which the run ends or pauses."""
    if rest is None or rest.unit == "seconds":
        return run.total_steps
    updates = rest.amount * (run.steps_per_epoch if rest.unit == "epochs" else 1)
    return min(run.total_steps, max(1, round(updates)))


class Trainer:
    """Trains a built run from a position to its end.

    Args:
        run: live objects.
        val: loader of the validation split.
        folder: the run folder.
        checkpoints: where snapshots go.
        logbook: where rows go; None in all processes but the first.
        progress: what a person sees.
        position: where to start.
        rest: where to pause; None trains to the end.
    """

    def __init__(
        self,
        run: Run,
        val: Loader,
        folder: Path,
        checkpoints: Checkpoints,
        logbook: Logbook | None,
        progress: Progress,
        position: Position,
        rest: Rest | None = None,
    ) -> None:
        self.run, self.val, self.folder = run, val, folder
        self.checkpoints, self.progress = checkpoints, progress
        self.at = position
        self.meter = Meter(run, position, logbook)
        self.updates = Updates(run, position, self.meter, folder)
        self.values = run.values
        self.several = run.strategy.grouped
        self.saved: tuple[int, ...] | None = position.mark if position.step else None
        self.flags = 0
        self.rest_seconds = rest.amount if rest and rest.unit == "seconds" else math.inf
        self.last_step = _last_step(run, rest)

    # The course of a run.

    def fit(self) -> None:
        """Train to the end.

        Raises:
            Stopped: by a signal, after saving.
            NonFiniteError: the loss is NaN or infinite; the weights before that update are kept.
        """
        self.meter.start()
        with signals.watching():
            while not self.done:
                self._train_epoch()
                self._end_epoch()
            if self.at.evaluated != self.at.step:  # a resume between the last update and its evaluation
                self._end_epoch()
            self._save_if_new()

    @property
    def complete(self) -> bool:
        """Whether the run has had all its updates, or has stopped improving."""
        patience = self.values["patience"]
        return self.at.step >= self.run.total_steps or (patience is not None and self.at.waiting >= patience)

    @property
    def done(self) -> bool:
        """Whether the run is complete, or is to pause here."""
        return self.complete or self.at.step >= self.last_step or self.at.seconds >= self.rest_seconds

    def _train_epoch(self) -> None:
        """From the current batch to the end of the pass, or of the run."""
        run, at, loader, updates = self.run, self.at, self.run.train, self.updates
        accumulate, per_batch = run.accumulate, run.interval == "step"
        log_every, every = self.values["log_every"], self.values["checkpoint_every"]
        batches, total = len(loader), self.last_step
        next_tick = time.perf_counter() + self.progress.every
        run.model.train()
        if run.module is not run.model:
            run.module.train()
        for layer in run.still:
            layer.eval()
        updates.set_rate(run.schedule(at.step if per_batch else at.epoch))
        for batch in loader.batches(at.epoch, at.batch):
            index = at.batch
            at.batch += 1
            last = at.batch == batches or accumulate == 1 or at.batch % accumulate == 0
            logs = last and (at.step + 1) % log_every == 0
            updates.take(batch, index, last, logs)
            if not last:
                continue
            at.step += 1
            self.flags = self._agree(self._wishes())
            if logs:
                self._log()
            if per_batch:
                updates.set_rate(run.schedule(at.step))
            if time.perf_counter() >= next_tick:
                self.progress.tick(at.step, self.meter.recent(), self.meter.speed())
                next_tick = time.perf_counter() + self.progress.every
            if every and at.step % every == 0 and at.batch < batches and at.step < total:
                self._save()
            if self.flags:
                self._obey()
            if at.step >= total:
                return

    def _end_epoch(self) -> None:
        """Evaluate, judge, save.  The evaluation of a stopped run is made after its resume."""
        at, batches = self.at, len(self.run.train)
        whole = at.batch >= batches
        due = (at.epoch + 1) % self.values["eval_every"] == 0 and whole
        better = False
        if (due or self.done) and at.evaluated != at.step:
            better = self._judge(self._evaluate())
            self._picture()
        if whole:
            at.epoch, at.batch = at.epoch + 1, 0
        every = self.values["checkpoint_every"]
        if better or self.done or every is None or at.step % every == 0:
            self._save_if_new()
        self.flags = self._agree(self._wishes())
        if self.flags and not self.done:
            self._obey()

    # Signals.

    def _wishes(self) -> int:
        """What this process was asked to do by signals, as flags."""
        state = signals.state
        return (STOP | state.requested << 3 if state.requested else 0) | (SAVE if state.save_now else 0)

    def _agree(self, flags: int) -> int:
        return self.run.strategy.agree(flags) if self.several else flags

    def _obey(self) -> None:
        """Save, and stop where a signal asked for it."""
        signals.state.save_now = False
        self._save(stop=True)
        if self.flags & STOP:
            raise signals.Stopped(self.flags >> 3)

    # Evaluation and logs.

    def _evaluate(self) -> Evaluation:
        run = self.run
        stop = None if self.several else lambda: signals.state.requested != 0
        averaged = run.ema.swap(run.model) if run.ema else nullcontext()
        self.meter.lap(training=True)
        try:
            with averaged, run.strategy.evaluating(run.model):
                run.strategy.share_buffers(run.model)  # within: the averages of the first process count too
                found = evaluate_model(
                    run.model, run.task, self.val, run.strategy, device=run.device, autocast=run.autocast, stop=stop
                )
        except Interrupted:
            self.flags = self._wishes()
            self._obey()
            raise
        self.meter.lap(training=False)
        return found

    def _judge(self, found: Evaluation) -> bool:
        """Log an evaluation; say whether it is the best so far.

        Of equal values the one with the lower loss is the better: BLEU or accuracy may long be 0.  Only a better value
        starts the count for `patience` anew.
        """
        at = self.at
        at.evaluated, at.last = at.step, found.values
        self.meter.row("val", found.values)
        monitor, largest = self.monitor()
        value = found.values[monitor]
        sign = 1.0 if largest else -1.0
        higher = math.isfinite(value) and (at.best is None or sign * (value - at.best) > self.values["min_delta"])
        better = higher or (value == at.best and at.best_loss is not None and found.values["loss"] < at.best_loss)
        if better:
            at.best, at.best_step, at.best_loss = value, at.step, found.values["loss"]
        at.waiting = 0 if higher else at.waiting + 1
        mark = "  best so far" if better else ""
        self.progress.say(
            f"epoch {self.meter.epochs():g}  step {at.step}/{self.run.total_steps}  {numbers(self.meter.recent())}  "
            f"val {numbers(found.values)}  {self.meter.speed():,.0f} examples/s{mark}"
        )
        return better

    def _picture(self) -> None:
        """Keep what the task draws of its model, in `samples/` and in TensorBoard."""
        draw = getattr(self.run.task, "picture", None)
        if draw is None or self.meter.logbook is None:
            return
        averaged = self.run.ema.swap(self.run.model) if self.run.ema else nullcontext()
        with averaged, torch.no_grad():
            image = draw(self.run.model)
        write_png(self.folder / "samples" / f"step-{self.at.step:08d}.png", image)
        self.meter.logbook.image(self.at.step, "samples", image)

    def monitor(self) -> tuple[str, bool]:
        """The value that decides which checkpoint is best, and whether larger is better."""
        task, name = self.run.task, self.values["monitor"]
        if name is None or name == task.monitor:
            return task.monitor, task.mode == "max"
        if name == "loss":
            return "loss", False
        return name, task.metrics[name].higher_is_better

    def _log(self) -> None:
        """Write the mean loss since the last row, and start the next interval."""
        self._check_deferred()
        loss = self.meter.close_interval()
        if not math.isfinite(loss):  # that of another process, which has kept its batch
            raise self._stopped(f"the loss is {loss}")
        values = {"loss": loss, "lr": self.updates.rate}
        if self.updates.grad_norm is not None:
            values["grad_norm"] = float(self.updates.grad_norm)
        noted = getattr(self.run.task, "noted", {})  # what the last training loss consisted of
        values |= {name: float(value) for name, value in noted.items()}
        self.meter.row("train", values)

    # Saving.

    def _save_if_new(self) -> None:
        if self.saved != self.at.mark:
            self._save()

    def _save(self, *, stop: bool = False) -> None:
        """Write a checkpoint of this position."""
        if stop and self.saved == self.at.mark:
            return
        self._check_deferred()
        weights = {name: local(each) for name, each in self.run.model.state_dict().items()}
        if self._agree(int(not all_finite(weights))):
            raise self._stopped("the weights are not finite")
        snapshot = capture(self.run, self.at, self.meter.settle())
        if self.run.strategy.rank == 0:
            self.checkpoints.save(snapshot, stop=stop, best=self.at.best_step)
        elif snapshot.spread is not None:
            snapshot.spread(None)
        self.saved = self.at.mark

    def _check_deferred(self) -> None:
        """Read the losses that a device has computed; find the batch again where one of them is not finite.

        A batch is a function of its position, so it need not have been kept.  The weights have moved on since then:
        those before it are in the last checkpoint.
        """
        found = self.meter.read_deferred()
        if found is not None:
            value, epoch, index = found
            nonfinite.keep(self.folder, self.run, self.at, next(self.run.train.batches(epoch, index)))
            raise self._stopped(f"the loss is {value} in batch {index} of epoch {epoch}")

    def _stopped(self, what: str, ending: str = "") -> NonFiniteError:
        return nonfinite.error(self.folder, self.run, self.at.step, what, self.updates.rate, ending)
