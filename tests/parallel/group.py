"""Runs the cases of a test file in one process group: importing torch costs seconds, a case milliseconds.

A case is a function named `case_...` in the test file; each process calls all of them in their order and prints what
they return as JSON.  `python group.py FILE` is one such process.
"""

import importlib.util
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from runs import environment

HERE = Path(__file__).parent


def run_cases(file: str, count: int, folder: Path, timeout: float = 100) -> dict[str, list[Any]]:
    """case -> what it returned in each of `count` processes, by rank.

    Raises:
        AssertionError: a process failed; its output is shown.
    """
    paths = f"{HERE.parents[1]}:{HERE.parent}:{HERE}"
    common = {"WORLD_SIZE": str(count), "D2L_MEETING": str(folder / f"meeting-{count}"), "PYTHONPATH": paths}
    running = [
        subprocess.Popen(
            [sys.executable, str(HERE / "group.py"), file],
            env=environment() | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        ended = [process.communicate(timeout=timeout) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert all(process.returncode == 0 for process in running), "\n".join(told for _, told in ended)
    found = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    return {name: [each[name] for each in found] for name in found[0]}


def _main(path: str) -> None:
    spec = importlib.util.spec_from_file_location("cases", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.begin()
    found = {}
    for name, case in list(vars(module).items()):
        if name.startswith("case_"):
            try:
                found[name.removeprefix("case_")] = case()
            except Exception:
                traceback.print_exc()
                print(f"in {name}", file=sys.stderr)
                sys.stderr.flush()
                os._exit(1)  # at once: the others wait for this one
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1])
