"""How often each class occurs in data without labels, and what that means for a trained classifier (d2l 4.7)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2lcli.errors import ConfigError
from d2lcli.tasks.shift import label_shift
from d2lcli.training.judge import measure, rebuild


class Reweighted(nn.Module):
    """A classifier under other class frequencies: softmax(o)_j times w_j, that is o_j + log w_j.

    Args:
        model: inputs, or several parts of them, -> logits (n, C).
        weights: w, (C,), at least 0.
    """

    shift: Tensor

    def __init__(self, model: nn.Module, weights: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("shift", weights.clamp(min=1e-12).log())

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(*inputs)
        return logits + self.shift.to(logits.dtype)


def assess_label_shift(
    path: Path, own: dict[str, Any], other: dict[str, Any], *, checkpoint: str = "best", split: str = "val"
) -> dict[str, Any]:
    """Estimate the class frequencies of other data by a run's predictions, and correct the predictions by them.

    The labels of the other data are used for the accuracies alone.

    Args:
        path: the run folder.
        own: the run's config; its validation split tells how each class is predicted.
        other: a config with the other data.
        checkpoint, split: see `evaluate`; the split is that of the other data.

    Returns:
        shares and weights by class, and the accuracies before and after the correction.

    Raises:
        ConfigError: the run is no classifier, or classes differ in number.
    """
    if own["task"]["name"] != "classification":
        raise ConfigError("--label-shift is about classes, and this run predicts none")
    metrics = {"task": own["task"] | {"metrics": ["accuracy", "confusion_matrix"]}}
    known = rebuild(path, own | metrics, checkpoint)
    confusion = torch.tensor(measure(known, own, "val").values["confusion_matrix"])
    run = rebuild(path, other | metrics, checkpoint)
    before = measure(run, other, split)
    counts = torch.tensor(before.values["confusion_matrix"]).sum(0)
    try:
        shares, weights = label_shift(confusion, counts)
    except ValueError as error:
        raise ConfigError(f"--label-shift: {error}") from None
    corrected = Reweighted(run.model, weights.float()).to(run.device)
    after = measure(run, other, split, corrected)
    return {
        "run": str(path),
        "checkpoint": str(run.checkpoint),
        "split": split,
        "examples": before.examples,
        "classes": list(run.dataset.classes),
        "shares": shares.tolist(),
        "weights": weights.tolist(),
        "accuracy": before.values["accuracy"],
        "corrected_accuracy": after.values["accuracy"],
    }
