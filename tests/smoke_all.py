"""`d2l train model=X --smoke` for every registered model, in one process so that torch is imported once."""

import sys
import tempfile
import time
from pathlib import Path

import d2lcli
from d2lcli.registry import MODELS


def main() -> int:
    """Train every model for two updates; say how long each took."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS.names():
            start = time.perf_counter()
            try:
                result = d2lcli.train([f"model={name}"], run_dir=Path(folder) / name, smoke=True)
                status = result["status"]
            except Exception as error:
                status = f"FAILED: {type(error).__name__}: {error}"
            print(f"smoke {name:<24} {status}  {time.perf_counter() - start:.1f} s", flush=True)
            if status != "finished":
                failed.append(name)
    print(f"{len(MODELS.names()) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
