"""Files whose values are of any type make a page all the same: a report is for runs that went wrong, too."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_runs import assert_offline, make_run, read_page, row, rows
from test_report_page import made, make_study

ODD: tuple[Any, ...] = (None, True, -1, 0, 1e308, 10**400, "nan", "<b>", [], {}, [[]], [{}], {"a": {"b": [1]}})


def changed(value: Any) -> Iterator[Any]:
    """`value` with one of its parts, at any depth, or the whole of it, replaced by something odd."""
    yield from ODD
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            for part in changed(value[key]):
                other = copy.copy(value)
                other[key] = part
                yield other


def check(*folders: Path) -> None:
    html = made(*folders)
    assert_offline(read_page(html), html)


@pytest.mark.parametrize("file", ["result.json", "meta.json"])
def test_odd_json(tmp_path: Path, file: str) -> None:
    run = make_run(tmp_path / "run", rows(10), result={"best": {"accuracy": 0.51, "step": 10}, "steps": 10})
    whole = json.loads((make_run(tmp_path / "whole") / file).read_text())
    for content in changed(whole):
        (run / file).write_text(json.dumps(content))
        check(run)


def test_odd_configs(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "run", rows(10)), make_run(tmp_path / "other", rows(10))
    for content in [*changed(yaml.safe_load((run / "config.yaml").read_text()))][::2]:
        if isinstance(content, dict):
            (run / "config.yaml").write_text(json.dumps(content))  # JSON is YAML
            check(run, other)


def test_odd_rows(tmp_path: Path) -> None:
    kinds = [row(2, "train", loss=1.0), row(2, "val", loss=1.0, accuracy=0.5, confusion_matrix=[[1, 2], [3, 4]])]
    log = [row(1, "val", loss=1.0, accuracy=0.25), *(each for kind in kinds for each in changed(kind))]
    check(make_run(tmp_path / "run", log, result={}))
    for number, each in enumerate(log):
        check(make_run(tmp_path / str(number), [each], result={}))


def test_odd_findings_and_evaluations(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", rows(10))
    document = {"step": 1, "split": "val", "metrics": {"confusion_matrix": [[1, 2], [3, 4]]}}
    document |= {"findings": [{"severity": 2, "text": "x", "advice": "y"}]}
    for content in changed(document):
        (run / "evaluation.json").write_text(json.dumps(content))
        check(run)


def test_odd_studies(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    result, events = (study / "result.json").read_text(), (study / "events.jsonl").read_text()
    for content in [*changed(json.loads(result))][::5]:
        (study / "result.json").write_text(json.dumps(content))
        check(study)
    (study / "result.json").write_text(result)
    begun, reported = (json.loads(line) for line in events.splitlines()[:2])
    for kind in (begun, reported):
        odd = "\n".join(json.dumps(each) for each in changed(kind))
        (study / "events.jsonl").write_text(f"{events}\n{odd}\n")
        check(study)


def test_odd_cross_validations(tmp_path: Path) -> None:
    cv = tmp_path / "cv"
    make_run(cv / "fold-0", rows(10))
    for content in changed({"cv": 1, "metrics": {"loss": 0.25}, "std": {"loss": 0.5}}):
        (cv / "result.json").write_text(json.dumps(content))
        check(cv)
