"""A run's checkpoint, read to be asked for something new; the run folder alone is enough."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.training.build import build_model
from d2lcli.training.checkpoint import Checkpoints, Snapshot, read_snapshot
from d2lcli.training.device import pick_device, prepare
from d2lcli.training.state import load_weights


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was read, and the device that the run's config asks for.

    Args:
        values: the run's config.
        checkpoint: its folder.
        snapshot: its weights.
        device: is ready for the model.
    """

    values: dict[str, Any]
    checkpoint: Path
    snapshot: Snapshot
    device: torch.device

    @property
    def weights(self) -> dict[str, Tensor]:
        """By name."""
        return self.snapshot.weights

    def model(self, *sizes: Any) -> nn.Module:
        """The model with these weights, in evaluation mode.

        Args:
            sizes: what `d2lcli.training.build.build_model` wants between the config and the device, then behind it.

        Raises:
            CheckpointError: the weights are of another model.
        """
        shape, num_outputs, *vocabularies = sizes
        model = build_model(self.values, shape, num_outputs, self.device, *vocabularies)
        load_weights(model, self.snapshot.weights, self.snapshot)
        return model.eval()


def open_run(path: Path, values: dict[str, Any], checkpoint: str = "best") -> Opened:
    """Read a checkpoint of a run, and make the device ready.

    Args:
        path: the run folder.
        values: its config.
        checkpoint: best, last, a step, or a path.

    Raises:
        CheckpointError: no run, no such checkpoint, or a damaged one.
    """
    chosen = Checkpoints(path / "checkpoints").find(checkpoint)
    snapshot = read_snapshot(chosen, only=("model", "ema"))
    device = pick_device(values["hardware"])
    prepare(values, device)
    return Opened(values, chosen, snapshot, device)
