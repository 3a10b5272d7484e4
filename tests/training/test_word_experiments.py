"""Skip-gram on the whole of WikiText-2 is as good as its experiment says; `benchmarks/word2vec.py` times it."""

import os
from pathlib import Path
from typing import Any

import pytest

from d2lcli.config.composition import compose
from d2lcli.tasks.word_similarity import analogy_hits
from d2lcli.training.build import build

PLACES = os.environ.get("D2L_DATA", "")  # read when this file is imported: a fixture clears it for each test
WIKITEXT2 = any((Path(place) / "wikitext2").is_dir() for place in PLACES.split(":") if place)


@pytest.mark.slow
@pytest.mark.skipif(not WIKITEXT2, reason="wikitext2 is not on this machine: put it into a folder of $D2L_DATA")
def test_what_skipgram_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2L_DATA", PLACES)
    run: Any = build(compose(["experiment=skipgram_wikitext2", "hardware=cpu", "hardware.threads=1"]).values)
    assert run.way == "advance" and run.precision == "fp32"
    step = 0
    for epoch in range(5):
        for batch in run.train.batches(epoch):
            run.task.advance(run.model, batch, run.schedule(step)).item()
            step += 1
    vectors, tests = run.model.vectors().detach(), run.dataset.word_tests
    for metric, least in zip(run.task.metrics.values(), (0.38, 0.17)):
        metric.reset()
        metric.update(vectors)
        assert metric.compute() > least
    assert analogy_hits(vectors, tests.analogies.words, tests.analogies.answers).double().mean() > 0.04
