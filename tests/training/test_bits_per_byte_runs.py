"""Bits per byte of whole runs, against the number computed at once from the model and the text."""

import math
import os
from pathlib import Path

import pytest
import torch
from runs import LINEAR, train

import d2lcli
from d2lcli.errors import ConfigError
from d2lcli.training.judge import rebuild
from d2lcli.training.plan import changed_config

# Read when this file is imported: a fixture of this folder clears $D2L_DATA for each test.
PLACES = [Path(place) for place in os.environ.get("D2L_DATA", "").split(":") if place]
BOOKS = [path for place in PLACES for path in (place / "timemachine.txt", place / "book" / "timemachine.txt")]
BOOK = next((path for path in BOOKS if path.is_file()), None)

GPT = (
    "model=gpt_tiny", "model.num_layers=1", "data.num_steps=16", "steps=2", "hardware=cpu", "hardware.precision=fp32",
    "hardware.threads=1", "optim=sgd", "scheduler=constant",
)  # fmt: skip
METRICS = "task.metrics=[perplexity,bits_per_byte,bits_per_character]"
BPE = ("data=botchan", "data.tokenizer={name: bpe, vocab_size: 500}")
LETTERS = ("data=botchan", "data.tokenizer=char", "data.letters_only=true")


def test_it_is_the_cost_of_the_whole_text_over_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = train(folder, *GPT, *BPE, "task.metrics=[perplexity,bits_per_byte]")
    run = rebuild(folder, changed_config(folder, []), "last")
    tokenizer, tokens = run.dataset.tokenizer, run.dataset.val.targets
    assert tokenizer is not None
    count = (len(tokens) - 1) // 16
    windows = tokens[: 16 * count].view(count, 16), tokens[1 : 16 * count + 1].view(count, 16)
    with torch.no_grad():
        chosen = run.model.eval()(windows[0]).double().log_softmax(2).gather(2, windows[1][..., None])
    size = len(tokenizer.decode(windows[1].flatten().tolist()).encode())
    expected = -chosen.sum().item() / math.log(2) / size
    assert count > 600 and size > 1.5 * 16 * count
    assert result["metrics"]["bits_per_byte"] == pytest.approx(expected, rel=1e-6)


def test_an_evaluation_measures_it_although_the_training_did_not(tmp_path: Path) -> None:
    """The tokens of the split are as many bits, whatever they are divided by."""
    folder = tmp_path / "run"
    train(folder, *GPT, *BPE)
    found = d2lcli.evaluate(folder, [METRICS])
    values, (low, high) = found["metrics"], found["intervals"]["bits_per_byte"]
    assert low < values["bits_per_byte"] < high
    assert 1.5 < values["bits_per_character"] / values["bits_per_byte"] < 6  # bytes of a token


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LETTERS, id="botchan"),
        pytest.param(
            ("data=time_machine", f"data.root={BOOK and BOOK.parent}", "data.num_val=200"),
            marks=pytest.mark.skipif(BOOK is None, reason="timemachine.txt is not below $D2L_DATA"),
            id="time_machine",
        ),
    ],
)
def test_of_letters_and_spaces_each_is_a_byte(data: tuple[str, ...], tmp_path: Path) -> None:
    metrics = train(tmp_path / "run", *GPT, *data, METRICS)["metrics"]
    assert metrics["bits_per_byte"] == metrics["bits_per_character"] == pytest.approx(math.log2(metrics["perplexity"]))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (LINEAR, "metric 'bits_per_byte' is about the tokens of a text, and this data has no tokenizer"),
        (
            ("model=bert_tiny", "data=movie_snippets", "task=classification", "hardware=cpu"),
            "metric 'bits_per_byte' needs one output for each of the .* tokens, and there are 2",
        ),
    ],
)
def test_data_that_is_not_about_the_next_token_is_refused(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        train(tmp_path / "run", *words, "task.metrics=[bits_per_byte]")
    assert not (tmp_path / "run").exists()
