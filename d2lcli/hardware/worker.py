"""One process of a job of several: `python -m d2lcli.hardware.worker FILE` reads it from a file."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from d2lcli.hardware import collectives, scaling

Job = Callable[[torch.device, dict[str, Any]], Any]
JOBS: dict[str, Job] = {"collectives": collectives.job, "scaling": scaling.job}


def main() -> None:
    """Join the others, do the job, and let the first one write down what it found."""
    task = json.loads(Path(sys.argv[1]).read_text())
    rank, world_size, folder = task["rank"], task["world_size"], Path(task["folder"])
    device = torch.device("cuda", rank) if task["on_gpu"] else torch.device("cpu")
    if task["on_gpu"]:
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    dist.init_process_group(
        "nccl" if task["on_gpu"] else "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size
    )
    try:
        found = JOBS[task["job"]](device, task["options"])
        if rank == 0:
            (folder / "result").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
