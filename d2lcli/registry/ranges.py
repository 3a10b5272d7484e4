"""Which values a number of a given name may have.  One table for every builder and for the config's own keys."""

import re
from dataclasses import dataclass

LARGEST_INT = 2**53  # the largest integer that a float64, and so JSON, holds exactly
LARGEST_FLOAT = 3.4e38  # the largest float32
MANY = 10**9


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; an open end is not itself allowed."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies inside."""
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return self.high is None or value < self.high or (value == self.high and not self.high_open)

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'>' if self.low_open else '>='} {self.low:,}"
        high = "" if self.high is None else f"{'<' if self.high_open else '<='} {self.high:,}"
        return " and ".join(part for part in (low, high) if part)


_COUNT = Range(1, MANY)
_NOT_NEGATIVE = Range(0)
_POSITIVE = Range(0, low_open=True)
_SHARE = Range(0, 1)
_DECAY = Range(0, 1, high_open=True)

RANGES: dict[str, Range] = {
    # optimizers
    "lr": _NOT_NEGATIVE,
    "momentum": _DECAY,
    "dampening": _SHARE,
    "weight_decay": _NOT_NEGATIVE,
    "l2": _NOT_NEGATIVE,
    "betas": _DECAY,
    "beta1": _DECAY,
    "beta2": _DECAY,
    "eps": _POSITIVE,
    "gamma": _SHARE,  # a discount; rmsprop refuses 1 itself
    "rho": _DECAY,
    "initial": _NOT_NEGATIVE,
    "damping": _NOT_NEGATIVE,
    "history": Range(1, 1000),
    "l1": _NOT_NEGATIVE,
    # schedules
    "final_lr": _NOT_NEGATIVE,
    "warmup_begin_lr": _NOT_NEGATIVE,
    "warmup_steps": Range(0, MANY),
    "milestones": Range(0, MANY),
    "head_lr_mult": _POSITIVE,
    "layer_lr_decay": Range(0, 1, low_open=True),
    "factor": _NOT_NEGATIVE,
    "factors": _NOT_NEGATIVE,
    "min_lr": _NOT_NEGATIVE,
    "decay": _NOT_NEGATIVE,
    "beta": _NOT_NEGATIVE,
    "every": _COUNT,
    "max_update": _COUNT,
    "lag": _NOT_NEGATIVE,
    # losses
    "delta": _POSITIVE,
    "variance": _POSITIVE,
    "class_weights": _NOT_NEGATIVE,
    # the run
    "seed": Range(0, LARGEST_INT),
    "cv": Range(2, MANY),
    "epochs": _COUNT,
    "steps": _COUNT,
    "accumulate": Range(1, 10**6),
    "max_norm": _POSITIVE,
    "clip_norm": _POSITIVE,
    "clip_value": _POSITIVE,
    "ema": Range(0, 1, low_open=True, high_open=True),
    "patience": _COUNT,
    "min_delta": _NOT_NEGATIVE,
    "keep": Range(1, 10**6),
    "threads": Range(1, 4096),
    "head": _COUNT,
    "devices": Range(1, 65_536),
    # data
    "workers": Range(0, 1024),
    "limit": _COUNT,
    "noise": _NOT_NEGATIVE,
    "val_noise": _NOT_NEGATIVE,
    "val_share": Range(0, 1, low_open=True, high_open=True),
    "mask_share": Range(0, 1, low_open=True, high_open=True),
    "crop_padding": Range(0, 65_536),
    "random_resized_crop": Range(0, 1, low_open=True),
    "color_jitter": _NOT_NEGATIVE,
    "cutout": Range(1, 65_536),
    "mixup": _NOT_NEGATIVE,
    "cutmix": _NOT_NEGATIVE,
    "fold": Range(0, MANY),
    "folds": Range(2, MANY),
    "k_folds": Range(2, MANY),
    "image_size": Range(1, 65_536),
    # searches
    "eta": Range(1, 1e6, low_open=True),
    "r_min": _POSITIVE,
    "r_max": _POSITIVE,
    "budget": _POSITIVE,
    "brackets": Range(1, 10**6),
    "trials": Range(1, 10**6),
    "max_failures": _COUNT,
    "max_attempts": _COUNT,
    # text and its generation
    "min_freq": _COUNT,
    "temperature": _NOT_NEGATIVE,
    "top_k": _COUNT,
    "top_p": Range(0, 1, low_open=True),
    "min_p": _SHARE,
    "repetition_penalty": _POSITIVE,
    "tbptt": _COUNT,
    "tbptt_keep": _SHARE,
    "margin": _NOT_NEGATIVE,
    "teacher_forcing": _SHARE,
    "num_steps": _COUNT,
    # word embeddings
    "window": _COUNT,
    "subsample": _POSITIVE,
    "num_negatives": _COUNT,
    "noise_power": _NOT_NEGATIVE,
    "x_max": _POSITIVE,
    # agents
    "epsilon": _SHARE,
    "epsilon_decay": _SHARE,
    "epsilon_min": _SHARE,
    "tau": _POSITIVE,
    "frame_seconds": _POSITIVE,
    "episodes": _COUNT,
    "sweeps": _COUNT,
    # processes
    "timeout": _POSITIVE,
    "bucket_megabytes": _POSITIVE,
    "max_restarts": Range(0, 1000),
    "servers": Range(1, 65_536),
    "microbatches": _COUNT,
    "chunks": _COUNT,
    # models, losses, initialisers
    "dropout": _SHARE,
    "hidden_dropout": _SHARE,
    "label_smoothing": _SHARE,
    "auxiliary_weight": _NOT_NEGATIVE,
    "std": _NOT_NEGATIVE,
    "padding": Range(0, 65_536),
    "k": _COUNT,
    "width": _POSITIVE,
    "lengthscale": _POSITIVE,
    "ls2": _POSITIVE,
    "period": _POSITIVE,
    "depth": _COUNT,
    "groups": _COUNT,
    "stride": _COUNT,
}  # fmt: skip

_COUNTS = re.compile(
    r"(num|max)_\w+|\w+_(size|features|channels|outputs|classes|every|layers|heads)|hidden\w*|channels|layers"
)


def range_of(name: str) -> Range | None:
    """The range of the parameter `name`: by the table, else by the shape of the name (`num_...`, `..._size`)."""
    if name in RANGES:
        return RANGES[name]
    return _COUNT if _COUNTS.fullmatch(name) else None
