"""SLURM: tasks that `srun` started become the processes of one group.  Imports no torch."""

import os
import re
from collections.abc import MutableMapping

FIRST_PORT, PORTS = 20_000, 20_000  # below those that systems hand out by themselves


def join_slurm(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Set what torch reads (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) from what SLURM has set.

    What is set already stays, so that torchrun within a SLURM job has its own way, and a MASTER_PORT can be given.

    Args:
        environment: SLURM_PROCID and SLURM_NTASKS, and where they are there SLURM_LOCALID, SLURM_JOB_NODELIST and
            SLURM_JOB_ID.

    Returns:
        Whether this is one of several tasks of SLURM.
    """
    if "RANK" in environment or int(environment.get("SLURM_NTASKS", 1)) < 2 or "SLURM_PROCID" not in environment:
        return False
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    job = int(re.sub(r"\D", "", environment.get("SLURM_JOB_ID", "")) or 0)
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = environment["SLURM_NTASKS"]
    alone = environment.get("CUDA_VISIBLE_DEVICES", "").isdecimal()  # --gpus-per-task=1: the task sees its own GPU only
    environment.setdefault("LOCAL_RANK", "0" if alone else environment.get("SLURM_LOCALID", "0"))
    environment.setdefault("MASTER_ADDR", first_node(nodes))
    environment.setdefault("MASTER_PORT", str(FIRST_PORT + job % PORTS))
    return True


def first_node(nodes: str) -> str:
    """The first of a list of nodes as SLURM writes it: node[007-009,012],other -> node007."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    if match is None:
        return nodes
    head, number, tail = match.groups("")
    return f"{head}{number}{tail}"
