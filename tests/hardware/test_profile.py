"""Profiles: kept per machine, whole or absent, and what is told from them."""

import json
from pathlib import Path

import pytest
from rows import MACHINE, row

from d2lcli.hardware.profile import bandwidth, bound, load_profile, peak, profile_path, save_profile, share_of_peak


def saved(folder: Path, *rows: object) -> Path:
    path = profile_path(MACHINE, folder)
    save_profile(path, MACHINE, [found.plain() for found in rows])  # type: ignore[attr-defined]
    return path


def test_a_profile_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = row(facts={"kind": "matmul", "m": 8})
    path = saved(tmp_path, written)
    found = load_profile(path)
    assert found is not None
    assert found["rows"] == [json.loads(json.dumps(written.plain()))]
    assert found["machine"] == MACHINE
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_new_measurement_takes_the_place_of_its_topic_alone(tmp_path: Path) -> None:
    saved(tmp_path, row("compute", "old"), row("memory", "kept"), row("compute", "other device", device="cuda:0"))
    path = saved(tmp_path, row("compute", "new"))
    found = load_profile(path)
    assert found is not None
    assert {entry["what"] for entry in found["rows"]} == {"kept", "other device", "new"}


@pytest.mark.parametrize("key", ["cpu", "torch", "threads", "gpus"])
def test_another_machine_has_another_file(key: str, tmp_path: Path) -> None:
    changed = MACHINE | {key: ["Other"] if key == "gpus" else 4 if key == "threads" else "other"}
    assert profile_path(changed, tmp_path) != profile_path(MACHINE, tmp_path)


def test_odd_names_make_plain_files(tmp_path: Path) -> None:
    path = profile_path(MACHINE | {"cpu": "../../Intel(R) Xeon\n@ 2.00GHz " * 9}, tmp_path)
    assert path.parent == tmp_path and len(path.name) < 120 and path.name.isascii()


def test_by_default_it_lies_in_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert profile_path(MACHINE).is_relative_to(tmp_path / "d2l" / "hardware")


def spoil(path: Path, how: str) -> None:
    found = json.loads(path.read_text())
    if how == "cut":
        path.write_text(path.read_text()[:50])
    elif how == "not text":
        path.write_bytes(b"\xff\xfe\x00")
    elif how == "list":
        path.write_text("[]")
    elif how == "version":
        path.write_text(json.dumps(found | {"version": 999}))
    elif how == "rows":
        path.write_text(json.dumps(found | {"rows": [{"topic": "compute"}]}))
    elif how == "figure":
        found["rows"][0]["median"] = "fast"
        path.write_text(json.dumps(found))
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "not text", "list", "version", "rows", "figure", "absent"])
def test_a_damaged_profile_is_none(how: str, tmp_path: Path) -> None:
    path = saved(tmp_path, row())
    spoil(path, how)
    assert load_profile(path) is None


@pytest.mark.parametrize("how", ["cut", "version", "figure"])
def test_a_damaged_profile_is_replaced(how: str, tmp_path: Path) -> None:
    path = saved(tmp_path, row("memory", "lost"))
    spoil(path, how)
    saved(tmp_path, row("compute", "new"))
    found = load_profile(path)
    assert found is not None and [entry["what"] for entry in found["rows"]] == ["new"]


PROFILE = {
    "rows": [
        row(median=100.0, facts={"kind": "matmul"}).plain(),
        row(median=50.0, facts={"kind": "matmul"}).plain(),
        row(median=400.0, dtype="bf16", facts={"kind": "mm"}).plain(),
        row(median=999.0, facts={"kind": "conv"}).plain(),
        row("memory", "triad", 30.0, "GB/s", facts={"kind": "bandwidth"}).plain(),
    ]
}


def test_the_peak_is_the_fastest_product_of_its_type_and_device() -> None:
    assert peak(PROFILE, "fp32") == 100e9
    assert peak(PROFILE, "bf16") == 400e9
    assert peak(PROFILE, "fp16") is None
    assert peak(PROFILE, "fp32", "cuda:0") is None
    assert bandwidth(PROFILE) == 30e9
    assert bandwidth(PROFILE, "cuda:0") is None


def test_no_share_exceeds_what_the_units_do_in_registers() -> None:
    """A library's convolution may be faster than its matrix product."""
    units = row(median=500.0, facts={"kind": "registers"}).plain()
    assert peak({"rows": [*PROFILE["rows"], units]}, "fp32") == 500e9


def test_the_share_of_the_peak_counts_a_multiply_add_as_two() -> None:
    assert share_of_peak(10e9, "fp32", "cpu", PROFILE) == pytest.approx(0.2)
    assert share_of_peak(10e9, "fp16", "cpu", PROFILE) is None
    assert share_of_peak(10e9, "fp32", "cpu", None) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "compute"),
        ({"bytes_moved": 30e9 * 0.9}, "memory"),
        ({"overhead": 0.6}, "overhead"),
        ({"waiting": 0.3, "overhead": 0.6}, "input"),
        ({"peak": None}, "unknown"),
        ({"bandwidth": None}, "unknown"),
        ({"peak": None, "waiting": 0.5}, "input"),
        ({"seconds": 0.0}, "unknown"),
    ],
)
def test_a_step_is_bound_by_what_alone_would_take_longest(changes: dict[str, float | None], expected: str) -> None:
    """A step of one second on a machine of 100 GFLOP/s and 30 GB/s."""
    given: dict[str, float | None] = {
        "seconds": 1.0, "flops": 80e9, "bytes_moved": 3e9, "peak": 100e9, "bandwidth": 30e9, "overhead": 0.1
    }  # fmt: skip
    limit, shares = bound(**(given | changes))  # type: ignore[arg-type]
    assert limit == expected
    if expected == "compute":
        assert shares == pytest.approx({"input": 0.0, "overhead": 0.1, "compute": 0.8, "memory": 0.1})
