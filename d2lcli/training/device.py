"""Where a run computes, in which precision, and what that makes global to the process."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from d2lcli.errors import ConfigError
from d2lcli.training.seeding import make_deterministic, seed_everything


def pick_device(hardware: Mapping[str, Any]) -> torch.device:
    """The device that the hardware profile names; `auto` is the GPU where there is one.

    Raises:
        ConfigError: the device is not here.
    """
    name = hardware["device"]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    index = int(name.partition(":")[2] or os.environ.get("LOCAL_RANK", 0))
    if index >= count:
        seen = f"has {count} GPU{'s' if count != 1 else ''}" if count else "has no GPU that torch can use"
        raise ConfigError(
            f"hardware.device: '{name}' is not here: this machine {seen}", "use hardware=cpu or hardware=auto"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def pick_precision(name: str, device: torch.device, model: nn.Module, task: Any = None) -> str:
    """`auto` is bf16 where the hardware multiplies it natively and the model is large enough to gain from it.

    A task may want float32: `full_precision`.
    """
    if name != "auto":
        return name
    if getattr(task, "full_precision", False):
        return "fp32"
    large = sum(parameter.numel() for parameter in model.parameters()) >= 1_000_000
    if device.type == "cuda":
        return "bf16" if large and torch.cuda.is_bf16_supported() else "fp32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if large and native else "fp32"


def prepare(values: Mapping[str, Any], device: torch.device) -> None:
    """Threads, deterministic kernels, seed: all that is global to the process."""
    if values["hardware"]["threads"]:
        torch.set_num_threads(values["hardware"]["threads"])
    make_deterministic(device)
    seed_everything(values["seed"])  # the same on all ranks, so that they draw the same weights
