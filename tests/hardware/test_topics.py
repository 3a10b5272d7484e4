"""Each topic on this machine with next to no time: that it gives sound rows.  Nothing here depends on its speed."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from d2lcli.hardware import (
    compute,
    launch,
    layers,
    machine,
    memory,
    models,
    native,
    precision,
    roofline,
    sequence,
    storage,
    topics,
    transfer,
)
from d2lcli.hardware.bench import Bench, Row
from d2lcli.hardware.measure import exactly
from d2lcli.hardware.run import PROBES

TINY = Bench(torch.device("cpu"), threads=1, processes=1, cores=2, quick=True, seconds=1e-4)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which everything takes milliseconds."""
    monkeypatch.setattr(compute, "SQUARES", {True: (8, 16)})
    monkeypatch.setattr(compute, "LARGE", {True: 64})
    monkeypatch.setattr(compute, "SIDE", 8)
    monkeypatch.setattr(compute, "BLOCK", 4)
    monkeypatch.setattr(compute, "ELEMENTS", 2)
    monkeypatch.setattr(compute, "CHAIN", 100)
    monkeypatch.setattr(memory, "array_bytes", lambda on_gpu: 4096)
    monkeypatch.setattr(roofline, "array_bytes", lambda on_gpu: 4096)
    monkeypatch.setattr(memory, "cache_sizes", lambda: {1: 1 << 14, 2: 1 << 15})
    monkeypatch.setattr(layers, "PRODUCTS", ((2, 3, 4),))
    monkeypatch.setattr(layers, "BATCHES_OF_PRODUCTS", ((2, 2, 3, 4),))
    monkeypatch.setattr(layers, "CONVOLUTIONS", ((1, 2, 3, 4, 1, 1), (2, 2, 3, 4, 2, 1)))
    monkeypatch.setattr(layers, "ATTENTION", ((4, 2),))
    monkeypatch.setattr(layers, "NUMBERS", (1 << 12,))
    monkeypatch.setattr(models, "CASES", (models.Case("mlp", {}, (2, 1, 28, 28), 10),))
    monkeypatch.setattr(sequence, "LENGTHS", {True: (4, 8)})
    monkeypatch.setattr(storage, "LARGE", {True: 8192})


Probe = Callable[[Bench], Iterator[Row | str]]
LOCAL: dict[str, Probe] = {name: PROBES[name] for name in topics.TOPICS if name not in ("collectives", "scaling")}


@pytest.mark.parametrize("topic", LOCAL)
def test_a_topic_gives_sound_rows(topic: str) -> None:
    found = list(LOCAL[topic](TINY))
    assert found
    for row in found:
        if isinstance(row, str):
            assert ":" in row
            continue
        assert row.topic == topic
        parts = (row.figure.median, row.figure.best, row.figure.low, row.figure.high)
        assert all(math.isfinite(part) for part in parts), row
        assert row.figure.n == 0 or min(parts) > 0, row
        assert row.figure.low <= row.figure.median <= row.figure.high
        assert row.workers and row.dtype and row.device == "cpu"


def test_every_topic_has_a_probe() -> None:
    assert set(PROBES) == set(topics.TOPICS)


def test_the_book_s_figures_stand_beside_the_four_ways() -> None:
    found = [row for row in compute.rows(TINY) if isinstance(row, Row) and row.source]
    assert [row.source for row in found] == ["0.013", "0.159", "1.258", "3.2"]


def test_a_type_that_torch_cannot_multiply_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("addmm: no kernel for Half\nand more")

    monkeypatch.setattr(compute, "product", lambda *_: refuse)
    assert compute.matmul(TINY, 8, "fp16") == "matrix product, fp16: not on this device (addmm: no kernel for Half)"


def test_products_are_counted_as_two_n_cubed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "time", lambda self, function: exactly(2.0))
    row = compute.matmul(TINY, 100, "fp32")
    assert isinstance(row, Row)
    assert (row.figure.median, row.unit) == (1e-3, "GFLOP/s")


def test_the_stream_kernels_move_what_they_say() -> None:
    found = {name: moved for name, (_, moved) in memory.kernels(4096, torch.device("cpu")).items()}
    assert found == {"copy": 2 * 4096, "scale": 2 * 4096, "add": 3 * 4096, "triad": 3 * 4096}


def test_working_sets_fit_their_caches() -> None:
    caches = {1: 32 << 10, 2: 1 << 20, 3: 32 << 20}
    assert [memory.level_of(size, caches) for size in (1024, 33 << 10, 2 << 20, 33 << 20)] == [1, 2, 3, 4]
    assert memory.level_of(1024, {}) == 4
    sizes = memory.working_sets(caches, quick=True)
    assert [memory.level_of(size, caches) for size in sizes] == [1, 2, 3, 4]
    assert memory.working_sets(caches, quick=False)[0] == 8192


@pytest.mark.parametrize("size", [128, 4096, 100_000])
def test_a_chain_passes_every_line_once(size: int) -> None:
    chain = native.make_chain(size)
    lines, place, seen = len(chain) // 8, 0, set()
    for _ in range(lines):
        seen.add(place)
        place = int(chain[place])
    assert place == 0 and len(seen) == lines
    assert {entry % 8 for entry in seen} == {0}


def test_the_probes_in_c_compute_what_they_say() -> None:
    probes = native.probes()
    if probes is None:
        pytest.skip("no C compiler")
    chain = native.make_chain(4096)
    assert probes.chase(chain, 0, len(chain) // 8) == 0
    assert probes.chase(chain, 0, 1) == chain[0]
    b, c = (np.random.default_rng(seed).random(1000, np.float32) for seed in (0, 1))
    a = np.zeros_like(b)
    probes.triad(a, b, c)
    np.testing.assert_allclose(a, b + np.float32(3) * c, rtol=1e-6)
    assert probes.multiply_add(10) == 240 * probes.width


def test_without_a_compiler_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native.probes.__wrapped__() is None
    for module in (memory, compute):
        monkeypatch.setattr(module, "probes", lambda: None)
    for probe in (memory.rows, compute.rows):
        found = list(probe(TINY))
        assert any(isinstance(row, str) and "not measured, there is no C compiler" in row for row in found)
        assert not any(isinstance(row, Row) and row.facts.get("kind") in ("latency", "registers") for row in found)


def test_a_compiler_that_fails_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "SOURCE", tmp_path / "absent.c")
    assert native.probes.__wrapped__() is None


def test_caches_are_read_as_the_system_writes_them(tmp_path: Path) -> None:
    for index, (level, kind, size) in enumerate([(1, "Data", "48K"), (1, "Instruction", "64K"), (3, "Unified", "32M")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, content in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{content}\n")
    assert machine.cache_sizes(tmp_path) == {1: 48 << 10, 3: 32 << 20}
    assert machine.cache_sizes(tmp_path / "absent") == {}


def test_the_header_names_what_figures_depend_on() -> None:
    found = machine.machine(2) | {"gpus": ["H100"], "gpu_bytes": [80 << 30], "cuda": "13.0"}
    text = "\n".join(machine.describe(found))
    for word in (found["cpu"], "cores", torch.__version__, "BLAS", "2 threads", "load average", "1 x H100, 80 GiB"):
        assert word in text


def test_limits_are_those_of_ieee_and_bfloat16() -> None:
    found = {(row.what, row.dtype): row.figure.median for row in precision.limits(TINY)}
    assert found["largest number", "fp16"] == 65504
    assert found["smallest normal", "fp16"] == 2.0**-14
    assert found["epsilon", "bf16"] == 2.0**-7
    assert found["largest number", "bf16"] == (2 - 2.0**-7) * 2.0**127
    assert found["largest number", "int8"] == 127


def test_the_parts_of_a_step_add_up() -> None:
    found = {row.facts["kind"]: row for row in models.rows(TINY) if isinstance(row, Row)}
    assert set(found) == {"training", "forward", "backward", "optimizer", "inference"}
    shares = [float(found[part].note.partition("%")[0]) for part in ("forward", "backward", "optimizer")]
    assert sum(shares) == pytest.approx(100, abs=2)
    # Two layers of 784 x 256 and 256 x 10: forward, and back to the weights of both and the inputs of the second.
    assert found["training"].facts["flops"] == 2 * 2 * (2 * (784 * 256 + 256 * 10) + 256 * 10)


def test_a_synced_file_holds_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    storage.write_synced(path, b"x" * (3 << 20))
    storage.forget(path)
    assert storage.read_file(path) == path.stat().st_size == 3 << 20


def test_the_loader_s_figure_is_in_examples() -> None:
    bench = Bench(torch.device("cpu"), seconds=1e-4, load=lambda: (lambda: time.sleep(0.01), 50))
    (row,) = [row for row in storage.rows(bench) if isinstance(row, Row) and row.facts["kind"] == "loader"]
    assert 50 / 1 < row.figure.median <= 50 / 0.01


def test_what_needs_a_gpu_says_so_without_one() -> None:
    assert ["no GPU" in str(row) for row in transfer.rows(TINY)] == [True]
    assert any("there is none on a CPU" in str(row) for row in launch.rows(TINY))


def test_a_picture_of_the_roof_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = [row.plain() for row in roofline.rows(TINY) if isinstance(row, Row)]
    picture = roofline.plot_roofline(found, tmp_path / "new" / "roofline.png")
    assert picture.read_bytes()[:4] == b"\x89PNG"
