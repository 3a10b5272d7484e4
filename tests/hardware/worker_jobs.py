"""Processes of a test: the collectives of `d2l bench` beside torch's, each rank saying what it found."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from d2lcli.hardware.collectives import collectives, naive_all_reduce, ring_all_reduce


def main() -> None:
    rank, ranks, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    found = {}
    for size in (1, 3, 7, 1000):
        mine = torch.randn(size, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
        expected = mine.clone()
        dist.all_reduce(expected)
        for name, ours in (("naive", naive_all_reduce), ("ring", ring_all_reduce)):
            x = mine.clone()
            ours(x)
            found[f"{name} {size}"] = [torch.allclose(x, expected, rtol=1e-14, atol=1e-14), x.tolist()]
    x = torch.full((4 * ranks,), float(rank + 1))
    functions = collectives(x)
    functions["all_gather"]()
    found["gathered"] = [True, x.tolist()]
    x = torch.arange(2.0 * ranks) + rank
    parts = collectives(x)["reduce_scatter"]
    parts()
    found["scattered"] = [True, parts.__closure__[0].cell_contents.tolist()]  # type: ignore[attr-defined]
    (folder / f"found-{rank}").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
