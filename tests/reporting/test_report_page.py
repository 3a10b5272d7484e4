"""What a report's page says, and that it loads nothing and runs nothing."""

import base64
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from made_runs import assert_offline, make_run, read_page, row, rows

from d2lcli.reporting import samples
from d2lcli.reporting.curves import charts
from d2lcli.reporting.find import find
from d2lcli.reporting.page import page

EVIL = "</title><script>alert('x')</script><img src=http://evil.example/a onerror=alert(1)>\u202e"


def made(*folders: Path) -> str:
    found = find(folders)
    return page(found, *charts(found.runs))


def png(width: int, height: int, shade: int = 0) -> bytes:
    """A grey PNG of one shade."""
    lines = (b"\0" + bytes([shade]) * width) * height
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_run_s_page_has_its_numbers(tmp_path: Path) -> None:
    html = made(make_run(tmp_path / "run"))
    found = read_page(html)
    assert_offline(found, html)
    for words in (
        "mlp",
        "made_up",
        "finished",
        "0.8125 at step 30",
        "last accuracy \u2191 0.54",
        "40 4 epochs",
        "12 s",
    ):
        assert words in found.text, words
    assert "4,321" in found.text and "123,456" in found.text and "cpu, fp32" in found.text
    assert "37% bound by memory" in found.text
    assert "d2l train model=mlp" in found.text and "torch 2.13.0" in found.text
    assert "images.gz" in found.text and "/a/b" not in html and "ab" * 32 in found.text
    assert "val" in found.text and found.tags["svg"] == 4 * 3  # loss, accuracy, rate, norm; by step, epoch, seconds


def test_every_evaluation_s_value_is_a_tooltip_with_all_its_digits(tmp_path: Path) -> None:
    log = rows()
    log[-1]["values"]["accuracy"] = 0.6180339887498949
    titles = read_page(made(make_run(tmp_path / "run", log))).titles
    for each in log:
        for name in ("accuracy", "loss") if each["split"] == "val" else ():
            said = f": {each['values'][name]!r}, step {each['step']}"
            assert any(said in title for title in titles), said
    assert any("0.8125, step 30, best" in title for title in titles)
    assert any(title.startswith("step 17\nrun, training: 0.11765") for title in titles)  # 2 / 17


def test_several_runs_are_compared(tmp_path: Path) -> None:
    """Differences of configs, and the better run's value set off."""
    better = {"status": "finished", "best": {"accuracy": 0.9, "step": 40}, "metrics": {"accuracy": 0.9}, "steps": 40}
    paths = make_run(tmp_path / "first"), make_run(tmp_path / "second", result=better, lr="1.0e-03", model="lenet")
    html = made(*paths)
    found = read_page(html)
    assert_offline(found, html)
    assert "<strong>0.9</strong>" in html and "<strong>0.8125</strong>" not in html
    differences = html.partition("What differs")[2].partition("</table>")[0]
    assert "optim.lr" in differences and "0.1" in differences and "0.001" in differences and "lenet" in differences
    assert "seed" not in differences and "hidden" not in differences
    assert html.count('type="checkbox"') == 2


def test_equal_configs_are_said_to_be_equal(tmp_path: Path) -> None:
    assert "The configs are the same." in made(make_run(tmp_path / "a"), make_run(tmp_path / "b"))


def test_1_is_not_true_and_no_key_is_not_null(tmp_path: Path) -> None:
    html = made(make_run(tmp_path / "a", lr=1), make_run(tmp_path / "b", lr="true"))
    assert "optim.lr" in html.partition("What differs")[2]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """In a folder's name, in values of the config, in names of metrics, in errors, samples and commands."""
    name = EVIL.replace("/", "_")
    log = [row(1, "train", **{"loss": 1.0, EVIL: 2.0}), row(2, "val", **{"loss": 1.0, EVIL: 2.0, "accuracy": 0.1})]
    result = {
        "status": EVIL,
        "error": EVIL,
        "device": EVIL,
        "precision": EVIL,
        "best": {EVIL: 2.0, "step": 2},
        "steps": 2,
    }
    run = make_run(
        tmp_path / name[:200], log, result=result, model=json.dumps(EVIL), lr=json.dumps(EVIL), seed=json.dumps(EVIL)
    )
    meta = {"command": [EVIL], "versions": {EVIL: EVIL}, "data": {"name": EVIL, "found": EVIL, "sha256": {EVIL: EVIL}}}
    (run / "meta.json").write_text(json.dumps(meta | {"git": {"commit": EVIL}, "weights": {EVIL: EVIL}, "seed": EVIL}))
    (run / "samples").mkdir()
    (run / "samples" / "text.txt").write_text(EVIL)
    (run / "samples" / f"{name[:80]}.png").write_bytes(png(4, 4))
    (run / "diagnosis.json").write_text(json.dumps({"findings": [{"severity": 3, "text": EVIL, "advice": EVIL}]}))
    (run / "evaluation.json").write_text(json.dumps({"split": EVIL, "metrics": {f"confusion{EVIL}": [[1, 0], [0, 1]]}}))
    html = made(run, make_run(tmp_path / "calm"))
    found = read_page(html)
    assert_offline(found, html)
    assert "script" not in found.tags and found.tags["img"] == 1
    assert "<script>alert('x')</script>" in found.text  # as text
    assert "\u202e" not in html


def test_a_study_s_hostile_text_stays_text(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    result = json.loads((study / "result.json").read_text())
    result |= {"search": EVIL, "metric": EVIL, "resource": EVIL, "status": EVIL, "trials": {EVIL: 3}}
    result["best"] |= {"command": EVIL, "trial": EVIL, "value": EVIL}
    (study / "result.json").write_text(json.dumps(result))
    html = made(study)
    assert_offline(read_page(html), html)


def test_a_run_that_has_logged_nothing_says_so(tmp_path: Path) -> None:
    html = made(make_run(tmp_path / "run", [], result={}))
    found = read_page(html)
    assert "has logged nothing yet" in found.text and "unfinished" in found.text
    assert "svg" not in found.tags and 'id="curves"' not in html


def test_failures_and_numbers_that_are_none_stand_in_the_notes(tmp_path: Path) -> None:
    log = [*rows(), row(41, "train", loss="nan", lr=0.1), row(42, "val", loss="inf", accuracy=0.1)]
    run = make_run(tmp_path / "run", log, result={"status": "failed", "error": "the loss is nan", "metrics": {}})
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text() + "{oops\n")
    found = read_page(made(run))
    assert "failed: the loss is nan" in found.text
    assert "train loss: 1 of 41 rows are not finite, the first at step 41" in found.text
    assert "val loss: 1 of 5 rows are not finite, the first at step 42" in found.text
    assert "1 lines of metrics.jsonl are no rows" in found.text


def test_only_numbers_that_are_none_leave_no_chart_but_a_page(tmp_path: Path) -> None:
    log = [row(1, "train", loss="nan"), row(2, "train", loss="nan")]
    html = made(make_run(tmp_path / "run", log, result={}))
    assert "no finite value" in read_page(html).text


@pytest.mark.parametrize("file", ["config.yaml", "meta.json", "result.json"])
def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path: Path, file: str) -> None:
    run = make_run(tmp_path / "run")
    (run / file).write_bytes(b"\xff\x00{[")
    found = read_page(made(run))
    assert file in found.text.partition("Runs")[0]
    assert found.tags["svg"] == 12


def test_the_confusion_matrix_is_a_table_of_shares(tmp_path: Path) -> None:
    log = rows()
    log[-1]["values"]["confusion_matrix"] = [[8, 2], [1, 9]]
    html = made(make_run(tmp_path / "run", log))
    found = read_page(html)
    assert 'class="h16 right" title="true 0, predicted 0: 8 (80.0%)">8<' in html  # level 16 of 20 is 80 %
    assert 'title="true 1, predicted 0: 1 (10.0%)">1<' in html
    assert "17 of 20 are right (85.0%)" in found.text and "0 taken for 1 (2), 1 taken for 0 (1)" in found.text


def test_classes_have_the_names_that_the_data_gives_them(tmp_path: Path) -> None:
    log = rows()
    log[-1]["values"]["confusion_matrix"] = [[8, 2], [1, 9]]
    run = make_run(tmp_path / "run", log)
    meta = json.loads((run / "meta.json").read_text())
    meta["data"]["classes"] = ["blame", "<b>praise</b>"]
    (run / "meta.json").write_text(json.dumps(meta))
    found = read_page(made(run))
    assert "0 blame taken for 1 <b>praise</b> (2)" in found.text


def test_what_evaluate_has_left_is_shown_and_the_same_matrix_only_once(tmp_path: Path) -> None:
    log = rows()
    log[-1]["values"]["confusion_matrix"] = [[8, 2], [1, 9]]
    run = make_run(tmp_path / "run", log)
    document = {"split": "test", "step": 40, "metrics": {"confusion_matrix": [[8, 2], [1, 9]]}}
    (run / "evaluation.json").write_text(json.dumps(document))
    assert made(run).count('class="heat"') == 1
    document["metrics"]["confusion_matrix"] = [[7, 3], [1, 9]]  # type: ignore[index]
    (run / "evaluation.json").write_text(json.dumps(document))
    assert "test confusion matrix at step 40, from evaluation.json" in made(run)


def test_other_tables_of_numbers_are_plain_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    log = rows()
    log[-1]["values"] |= {"generated_moments": [[0.25, -1.5]], "ragged": [[1], [2, 3]], "words": [["a"]], "empty": []}
    html = made(make_run(tmp_path / "run", log))
    assert "<td>0.25</td><td>-1.5</td>" in html and 'class="heat"' not in html
    assert "ragged" not in html and "words" not in html


def test_a_diagnosis_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    found = {"step": 40, "findings": [{"severity": 3, "text": "gradients vanish", "advice": "use relu"}]}
    (run / "diagnosis.json").write_text(json.dumps(found))
    html = made(run)
    assert '<li class="bad">gradients vanish<br><span class="dim">try: use relu</span></li>' in html


def test_pictures_and_texts_lie_in_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "samples" / "below").mkdir(parents=True)
    (run / "plots").mkdir()
    gif = b"GIF89a\x10\x00\x10\x00rest"
    (run / "samples" / "below" / "episode.gif").write_bytes(gif)
    (run / "plots" / "values.png").write_bytes(png(16, 16))
    (run / "samples" / "neighbours.txt").write_text("tree: wood, leaf")
    html = made(run)
    found = read_page(html)
    embedded = [base64.b64decode(link.partition(",")[2]) for link in found.links if link.startswith("data:")]
    assert embedded == [gif, png(16, 16)]
    assert "samples/below/episode.gif" in found.text and "tree: wood, leaf" in found.text


def test_what_is_no_picture_a_link_or_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    (run / "samples").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (run / "samples" / "a.png").write_text("<svg onload=alert(1)>")
    (run / "samples" / "b.txt").symlink_to(tmp_path / "secret.txt")
    (run / "samples" / "c.png").write_bytes(png(64, 64))
    os.mkfifo(run / "samples" / "d.png")
    (run / "samples" / "e.png").mkdir()
    monkeypatch.setattr(samples, "LARGEST", len(png(64, 64)) - 1)
    html = made(run)
    assert "data:image" not in html and "secret" not in html
    assert "2 more files are in samples/" in html


def test_of_many_pictures_some_from_first_to_last_are_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "samples").mkdir()
    for step in range(100, 10_100, 100):
        (run / "samples" / f"step-{step:08d}.png").write_bytes(png(4, 4, step // 100))
    html = made(run)
    assert html.count("<img") == samples.MOST
    assert "step-00000100.png" in html and "step-00010000.png" in html and "88 more files" in html


def test_all_pictures_together_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    (run / "plots").mkdir()
    for name in "abc":
        (run / "plots" / f"{name}.png").write_bytes(png(32, 32))
    monkeypatch.setattr(samples.Purse, "left", 2 * len(png(32, 32)))
    monkeypatch.setattr(samples.Purse.__init__, "__defaults__", (2 * len(png(32, 32)),))
    html = made(run)
    assert html.count("<img") == 2 and "1 more files are in plots/" in html


def test_many_runs_share_colours_in_other_dashes(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / f"run{number:02d}", lr=number / 100) for number in range(30)]
    html = made(*paths)
    found = read_page(html)
    assert_offline(found, html)
    assert 'class="marked k0 d1 r7"' in html and 'class="marked k1 d1 r29"' in html
    assert all(f"run{number:02d}" in found.text for number in range(30))
    assert len(html) < 3_000_000


def make_study(folder: Path) -> Path:
    """Two trials; the second one, trained to 3 epochs, is the best."""

    def event(kind: str, trial: int, time: float, **more: object) -> dict[str, object]:
        return {"kind": kind, "trial": trial, "time": time, "resource": 1.0, "value": None, "config": None} | more

    events = [
        event("start", 0, 10.0, config={"optim.lr": 0.125}),
        event("report", 0, 12.0, value=-0.5),
        event("start", 1, 12.0, config={"optim.lr": 0.25}),
        event("report", 1, 13.0, value=-0.6),
        event("start", 1, 14.0, resource=3.0),
        event("report", 1, 17.5, value=-0.75, resource=3.0),
        event("start", 2, 18.0, config={"optim.lr": 4.0}),
        event("fail", 2, 19.0, reason="the loss is nan"),
    ]
    result = {
        "study": "study", "search": "asha", "metric": "accuracy", "mode": "max", "resource": "epochs", "status": "done",
        "seconds": 9.0, "trials": {"finished": 1, "resting": 1, "failed": 1, "total": 3},
        "best": {"trial": 1, "value": 0.75, "resource": 3.0, "command": "d2l train optim.lr=0.25"},
        "incumbents": [{"seconds": 2.0, "trial": 0, "value": 0.5}, {"seconds": 7.5, "trial": 1, "value": 0.75}],
    }  # fmt: skip
    for trial in range(2):
        make_run(folder / "trials" / f"{trial:04d}", lr=(trial + 1) / 8)
    (folder / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events) + '{"kind": "st')
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "plots").mkdir()
    (folder / "plots" / "importances.png").write_bytes(png(600, 4))
    return folder


def test_a_study_has_its_trials_and_its_best_value_over_time(tmp_path: Path) -> None:
    html = made(make_study(tmp_path / "study"))
    found = read_page(html)
    assert_offline(found, html)
    assert "asha, largest accuracy; 1 finished, 1 resting, 1 failed; 9 s; done" in found.text
    assert "trial 1, accuracy 0.75 after 3 epochs" in found.text and "d2l train optim.lr=0.25" in found.text
    table = read_page(html.partition("<h3>Trials</h3>")[2].partition("</table>")[0] + "</table></div>").text
    assert table == (
        "trial optim.lr 1 epochs 3 epochs state time 0001 0.25 0.6 0.75 finished 4.5 s 0000 0.125 0.5 resting 2 s "
        "0002 4 failed the loss is nan 1 s"
    )
    assert "best accuracy so far" in found.text and "plots/importances.png" in found.text
    assert found.text.index("0001", found.text.index("Runs")) < found.text.index("0000", found.text.index("Runs"))


def test_a_study_that_has_not_ended_is_known_by_its_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    for name in ("result.json", "events.jsonl"):
        (study / name).unlink()
    found = read_page(made(study))
    assert "the search has not ended" in found.text and "0000" in found.text and found.tags["svg"] == 12
