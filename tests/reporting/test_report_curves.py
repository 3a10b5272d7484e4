"""Logs, thinning, smoothing and axes of reports."""

import json
import math
import random
from pathlib import Path

import pytest
from made_runs import make_run, row, rows

from d2lcli.reporting.curves import charts, smooth, thin
from d2lcli.reporting.log import read_log
from d2lcli.reporting.read import names_of, read_run
from d2lcli.reporting.scales import Scale, duration, figure, fit, labels, linear_ticks, log_ticks


def test_a_torn_last_line_is_silent_and_broken_lines_are_counted(tmp_path: Path) -> None:
    whole = [json.dumps(each) for each in rows(3)]
    text = "\n".join([whole[0], "{broken", "[1, 2]", '{"step": "x"}', "\xff" * 3, whole[1], whole[2][:20]])
    (tmp_path / "metrics.jsonl").write_text(text, encoding="latin-1")
    log = read_log(tmp_path / "metrics.jsonl")
    assert (log.rows, log.broken) == (2, 4)
    assert list(log.series["train", "loss"].values) == [2.0, 1.0]


def test_a_whole_last_row_counts_though_its_line_has_not_ended(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps(each) for each in rows(3)))
    log = read_log(tmp_path / "metrics.jsonl")
    assert (log.rows, log.broken, log.last_step) == (3, 0, 3)


def test_numbers_that_are_none_are_noted_with_their_step(tmp_path: Path) -> None:
    log = [row(1, "train", loss=1.0), row(2, "train", loss="nan"), row(3, "train", loss="inf"), row(4, "train", loss=2)]
    run = read_run(make_run(tmp_path / "run", log, result={}), "run")
    series = run.log.series["train", "loss"]
    assert (series.nonfinite, series.first_nonfinite) == (2, 2.0)
    assert [value if value == value else None for value in series.values] == [1.0, None, None, 2.0]


def test_links_and_missing_files_are_empty_logs(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(json.dumps(row(1, "train", loss=1.0)) + "\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [read_log(tmp_path / name).rows for name in ("real", "link", "none")] == [1, 0, 0]


def test_thinning_keeps_every_extreme() -> None:
    """A single spike among 100,000 values survives, as do the ends and a break."""
    values = [math.sin(index / 5000) for index in range(100_000)]
    values[31_415], values[77_777], values[50_000] = 40.0, -40.0, math.nan
    kept = thin(values, 500)
    assert len(kept) <= 502
    assert {0, 31_415, 50_000, 77_777, 99_999} <= set(kept)
    assert kept == sorted(set(kept))


def test_few_values_are_all_kept() -> None:
    assert thin([3.0, 1.0, 2.0], 10) == [0, 1, 2]


def test_the_running_mean_of_a_constant_is_the_constant() -> None:
    assert smooth([3.0] * 20, 5) == pytest.approx([3.0] * 20)
    found = smooth([1.0, math.nan, 3.0], 2)  # weights 1/2 and 1: (.5 + 3) / 1.5
    assert found[0] == 1.0 and math.isnan(found[1]) and found[2] == pytest.approx(7 / 3)


def test_ticks_of_known_ranges() -> None:
    assert linear_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert linear_ticks(0.71, 0.93) == [0.75, 0.8, 0.85, 0.9]
    assert linear_ticks(-3, 3) == [-2, 0, 2]
    assert log_ticks(1e-4, 1) == [1e-4, 1e-3, 1e-2, 1e-1, 1]
    assert log_ticks(0.15, 30) == [0.2, 0.5, 1, 2, 5, 10, 20]


def test_ticks_of_any_range_are_round_few_and_within() -> None:
    dice = random.Random(0)
    for _ in range(2000):
        size = 10 ** dice.uniform(-12, 12)
        low = dice.uniform(-1, 1) * size
        high = low + size * 10 ** dice.uniform(-5, 1)
        ticks = linear_ticks(low, high)
        assert 2 <= len(ticks) <= 6 and low <= ticks[0] and ticks[-1] <= high * (1 + 1e-9) + 1e-300
        step = ticks[1] - ticks[0]
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
        assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-3
        ratio = 10 ** dice.uniform(1.7, 30)
        logs = log_ticks(size, size * ratio)
        assert 2 <= len(logs) <= 12 and size * (1 - 1e-8) <= logs[0] and logs[-1] <= size * ratio * (1 + 1e-8)


def test_labels_are_short() -> None:
    assert labels([0, 20_000, 40_000]) == ["0", "20k", "40k"]
    assert labels([0, 1e6, 2e6]) == ["0", "1M", "2M"]
    assert labels([0, 0.0005, 0.001]) == ["0", "0.0005", "0.001"]
    assert labels([1e-6, 1e-5]) == ["1e-6", "1e-5"]
    assert labels([0.05, 0.1]) == ["0.05", "0.1"]


def test_a_scale_is_straight_and_a_constant_lies_in_the_middle() -> None:
    assert Scale(0, 10, 100, 200)(5) == 150
    assert Scale(1, 100, 0, 2, log=True)(10) == pytest.approx(1)
    assert fit([7.0, 7.0], 0, 100)(7.0) == pytest.approx(50)
    assert fit([0.0], 0, 100)(0.0) == pytest.approx(50)


def test_times_and_figures() -> None:
    assert [duration(0.256), duration(41.3), duration(185), duration(7800)] == [
        "0.26 s",
        "41 s",
        "3:05 min",
        "2:10:00 h",
    ]
    assert [figure(0.123456789), figure(1234567), figure(241626.8), figure("nan")] == [
        "0.12346",
        "1,234,567",
        "241,627",
        "nan",
    ]


def test_names_are_as_short_as_tells_them_apart() -> None:
    assert names_of([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert names_of([Path("/x/run"), Path("/y/run")]) == ["x/run", "y/run"]


def test_three_runs_share_the_chart_of_the_loss_and_four_do_not(tmp_path: Path) -> None:
    runs = [read_run(make_run(tmp_path / str(number)), str(number)) for number in range(4)]
    few, many = charts(runs[:3])[0], charts(runs)[0]
    assert [chart.key for chart in few] == ["loss", "accuracy", "lr", "grad_norm"]
    assert [chart.key for chart in many] == ["loss_train", "loss_val", "accuracy", "lr", "grad_norm"]
    assert [line.style for line in few[0].lines] == ["line", "marked"] * 3


def test_rough_values_are_drawn_behind_their_mean_but_for_many_runs(tmp_path: Path) -> None:
    log = [row(step, "train", loss=float(step % 2)) for step in range(100)]
    runs = [read_run(make_run(tmp_path / str(number), log, result={}), str(number)) for number in range(9)]
    few, many = charts(runs[:2])[0][0], charts(runs)[0][0]
    assert [line.style for line in few.lines] == ["raw", "line"] * 2 and few.window == 5
    assert [line.style for line in many.lines] == ["line"] * 9
    assert few.lines[0].ys == [float(step % 2) for step in range(100)]
    assert 0.3 < few.lines[1].ys[-1] < 0.7


def test_scores_stay_linear_and_a_loss_over_decades_is_logarithmic(tmp_path: Path) -> None:
    log = [row(step, "val", loss=10.0**-step, accuracy=10.0**-step) for step in range(1, 6)]
    found = charts([read_run(make_run(tmp_path / "run", log), "run")])[0]
    assert {chart.key: chart.log for chart in found} == {"loss_val": True, "accuracy": False}


def test_the_best_is_marked_where_result_json_says_and_else_found_in_the_rows(tmp_path: Path) -> None:
    for name, result in (("ended", None), ("going", {})):
        run = read_run(make_run(tmp_path / name, result=result), name)
        assert (run.best.value, run.best.step) == (0.8125, 30)  # type: ignore[union-attr]
        accuracy = charts([run])[0][1].lines[0]
        assert accuracy.best is not None and accuracy.xs["step"][accuracy.best] == 30
        assert accuracy.ys[accuracy.best] == 0.8125


def test_a_run_that_went_on_is_not_described_by_its_old_result(tmp_path: Path) -> None:
    """result.json of a stop at step 20, rows up to step 40: what holds is in the rows."""
    result = {"status": "stopped", "best": {"accuracy": 0.52, "step": 20}, "steps": 20, "metrics": {"accuracy": 0.52}}
    run = read_run(make_run(tmp_path / "run", result=result), "run")
    assert (run.status, run.steps, run.last) == ("unfinished", 40, 0.54)
    assert run.best is not None and run.best.value == 0.8125


def test_an_unknown_metric_has_the_direction_of_what_was_called_best(tmp_path: Path) -> None:
    log = [row(step, "val", loss=1.0, reward=float(step)) for step in range(1, 4)]
    for best, larger in ((3.0, True), (1.0, False)):
        result = {"status": "finished", "best": {"reward": best, "step": 1}, "steps": 3, "metrics": {}}
        run = read_run(make_run(tmp_path / str(larger), log, result=result), "run")
        assert (run.monitor, run.higher_is_better) == ("reward", larger)
