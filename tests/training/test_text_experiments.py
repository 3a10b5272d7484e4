"""What the experiments with classifiers of texts promise in their first lines; minutes each."""

import os
from pathlib import Path

import pytest
from runs import train

PLACES = os.environ.get("D2L_DATA", "")  # read when this file is imported: a fixture clears it for each test
SICK = any((Path(place) / "sick").is_dir() for place in PLACES.split(os.pathsep) if place)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["textcnn", "birnn"])
def test_from_scratch_they_come_near_to_tf_idf(name: str, tmp_path: Path) -> None:
    """tf-idf and logistic regression have an accuracy of .809; .03 below is near."""
    result = train(tmp_path / "run", f"experiment={name}_movie_snippets", "hardware=cpu")
    assert result["best"]["accuracy"] > 0.779


@pytest.mark.slow
@pytest.mark.skipif(not SICK, reason="sick is not on this machine: put it into a folder of $D2L_DATA")
def test_pairs_are_told_from_the_commonest_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has a share of .567."""
    monkeypatch.setenv("D2L_DATA", PLACES)
    result = train(tmp_path / "run", "experiment=decomposable_attention_sick", "hardware=cpu")
    assert result["best"]["accuracy"] > 0.7
