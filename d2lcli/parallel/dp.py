"""Data parallel in one process over the GPUs of one machine (nn.DataParallel; d2l 13.5, 13.6).

Kept for comparison: the model is copied and the outputs are gathered at each step, under one Python interpreter; ddp is
faster in all but toy cases.
"""

import torch
from torch import nn

from d2lcli.parallel.single import Single


class LocalGpus(Single):
    """One process that hands parts of each batch to the GPUs; the first has the model, and gathers the outputs.

    Args:
        devices: numbers of the GPUs; with fewer than two it is `single`.
    """

    name = "dp"

    def __init__(self, devices: list[int]) -> None:
        self.devices = devices
        if len(devices) < 2:
            self.note = (
                f"strategy dp: {len(devices)} GPUs are here, and it needs two or more: trained as strategy=single"
            )
        else:
            self.note = f"strategy dp: parts of each batch on GPUs {', '.join(map(str, devices))}"

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model within torch's DataParallel."""
        return nn.DataParallel(model, self.devices) if len(self.devices) > 1 else model


def dp(device: torch.device | None = None) -> LocalGpus:
    """Data parallel over the GPUs of this machine, in one process.

    Args:
        device: the first of them, which holds the model; a CPU leaves the strategy nothing to do.
    """
    if device is None or device.type != "cuda":
        return LocalGpus([])
    first = device.index or 0
    return LocalGpus([first, *(i for i in range(torch.cuda.device_count()) if i != first)])
