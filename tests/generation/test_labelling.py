"""`d2l generate` on classifiers of texts and of pairs: the classes of given sentences."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import train

from d2lcli.__main__ import main
from d2lcli.data.marked import Marks, mark
from d2lcli.errors import ConfigError
from d2lcli.generation.asking import Encoder, open_encoder
from d2lcli.generation.labelling import classify
from d2lcli.training.plan import changed_config

COMMON = (
    "data=jsonl", "data.tokenizer=lower_word", "data.batch_size=8", "hardware=cpu", "hardware.threads=1",
    "optim.lr=0.02", "scheduler=constant",
)  # fmt: skip
RUNS = {
    "textcnn": ("model=textcnn", "epochs=6", "data.num_steps=12"),
    "birnn": ("model=birnn_classifier", "model.hidden_size=8", "steps=2"),
    "bert": ("model=bert", "model.dim=16", "model.num_heads=2", "model.hidden=16", "task=classification", "steps=2"),
    "gpt": ("model=transformer_lm", "model.dim=16", "model.num_heads=2", "task=classification", "steps=2"),
    "pairs": ("model=decomposable_attention", "data.pair=pair", "steps=2"),
    "questions": ("model=textcnn", "task.loss=binary_cross_entropy", "steps=2"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind, whose data is gone by the time they are asked."""
    folder = tmp_path_factory.mktemp("labels")
    kinds = [("bad", "no"), ("good", "yes"), ("so so", "hm")] * 15
    lines = [
        {"text": f"It is {word}, number {i}", "pair": f"{i} of", "label": label}
        for i, (word, label) in enumerate(kinds)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, words in RUNS.items():
        train(folder / name, *words, *COMMON, f"data.path={folder / 'texts.jsonl'}")
    (folder / "texts.jsonl").unlink()
    return folder


def opened(run: Path) -> Encoder:
    return open_encoder(run, changed_config(run, []), "best", None)


def generate(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> tuple[int, str, str]:
    code = main(["generate", str(run), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_class_and_its_probability(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ("--prompt", "It is good, number 7", "--prompt", "it is BAD")
    code, out, _ = generate(capsys, runs / "textcnn", *texts)
    first, second = out.splitlines()
    assert code == 0 and first.startswith("yes ") and first.endswith("  It is good, number 7")
    assert second.startswith("no ") and second.endswith("  it is BAD")
    code, out, _ = generate(capsys, runs / "textcnn", *texts, "--json")
    found = json.loads(out)
    assert [each["label"] for each in found] == ["yes", "no"] and found[0]["texts"] == ["It is good, number 7"]
    for each, line in zip(reversed(found), (second, first)):
        shares = each["probabilities"]
        assert set(shares) == {"no", "yes", "hm"} and sum(shares.values()) == pytest.approx(1)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert f" {shares[each['label']]:.3f} " in line
    _, out, _ = generate(capsys, runs / "textcnn", *texts[:2], "--num", "2")
    best, next_best = list(shares)[:2]
    assert out.split() == [best, f"{shares[best]:.3f}", next_best, f"{shares[next_best]:.3f}", *texts[1].split()]


@pytest.mark.parametrize("name", ["textcnn", "birnn", "bert", "gpt", "pairs"])
def test_probabilities_are_the_model_s_on_each_text_alone(name: str, runs: Path) -> None:
    source = opened(runs / name)
    prompts = ["It is good", "It is so so, number 3, and bad", "bad"]
    if name == "pairs":
        prompts = [f"{prompt}\tof {i}" for i, prompt in enumerate(prompts)]
    found = classify(source, prompts)
    assert source.classes == ("hm", "no", "yes")
    for each in found:
        ids = [source.tokenizer.encode(text) for text in each.texts]
        tokens, segments = (torch.tensor([row]) for row in mark(Marks.of(source.tokenizer), *ids))
        with torch.no_grad():
            shares = source.model(tokens, segments, torch.tensor([tokens.shape[1]])).softmax(1)[0]
        wanted = dict(zip(source.classes, shares.tolist(), strict=True))
        assert each.probabilities == pytest.approx(wanted, abs=1e-5)
        assert each.label == max(wanted, key=lambda label: wanted[label])


def test_many_texts_keep_their_order(runs: Path) -> None:
    source = opened(runs / "birnn")
    prompts = [f"{'it is good ' * (1 + i % 7)} {i}" for i in range(150)]
    whole = classify(source, prompts)
    assert [each.texts for each in whole] == [[prompt] for prompt in prompts]
    for i in (0, 64, 149):
        assert classify(source, [prompts[i]])[0].probabilities == pytest.approx(whole[i].probabilities, abs=1e-5)


def test_two_texts_are_parted_by_a_tab(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    real = generate(capsys, runs / "pairs", "--prompt", "It is good\t3 of")
    assert real[0] == 0 and real[1].endswith("  It is good  |  3 of\n")
    assert generate(capsys, runs / "pairs", "--prompt", "It is good\\t3 of") == real
    (tmp_path / "pairs.tsv").write_text("It is good\t3 of\nIt is bad\t4 of\n")
    code, out, _ = generate(capsys, runs / "pairs", "--file", str(tmp_path / "pairs.tsv"))
    assert code == 0 and out.startswith(real[1]) and len(out.splitlines()) == 2


def test_a_class_of_its_own_question_has_its_own_probability(runs: Path) -> None:
    """Of binary cross-entropy: they do not add up to 1."""
    (found,) = classify(opened(runs / "questions"), ["It is good"])
    assert abs(sum(found.probabilities.values()) - 1) > 1e-3


def test_what_the_model_did_not_read_is_told(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = generate(capsys, runs / "textcnn", "--prompt", "It is a Wonder")
    assert code == 0 and "note: the model does not know: a, wonder" in err
    code, _, err = generate(capsys, runs / "textcnn", "--prompt", "good " * 14)
    assert code == 0 and "note: the model reads no more than 12 tokens: 4 left out" in err


MISTAKES: list[tuple[str, list[str], str]] = [
    ("textcnn", [], "there is no text to judge"),
    ("textcnn", ["--prompt", "  "], "there is no word in '  '"),
    ("textcnn", ["--prompt", "good\tbad"], "reads single texts, but there is a tab"),
    ("textcnn", ["--prompt", "good", "decoder=beam"], "decoder=beam: that is for models that write"),
    ("textcnn", ["--prompt", "good", "--stop", "x"], "--stop: that is for models that write"),
    ("pairs", ["--prompt", "good"], "reads two texts together, but 'good' has 1"),
    ("pairs", ["--prompt", "a\tb\tc"], "has 3"),
    ("pairs", ["--prompt", "\tgood"], "there is no word in ''"),
]


@pytest.mark.parametrize(("run", "words", "said"), MISTAKES)
def test_what_cannot_be_classified_is_named(
    run: str, words: list[str], said: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = generate(capsys, runs / run, *words)
    assert code == 2 and out == "" and said in err


def test_a_model_of_pairs_refuses_single_texts(runs: Path) -> None:
    with pytest.raises(ConfigError, match="compares two texts, and an example of data 'movie_snippets' is one"):
        train(runs / "single", "model=decomposable_attention", "data=movie_snippets", "steps=1", "data.batch_size=4")


def test_a_run_that_does_not_tell_its_classes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta: dict[str, Any] = json.loads((runs / "gpt" / "meta.json").read_text())
    assert meta["data"]["classes"] == ["hm", "no", "yes"] and meta["data"]["pairs"] is False
    del meta["data"]["classes"]
    (runs / "gpt" / "meta.json").write_text(json.dumps(meta))
    code, _, err = generate(capsys, runs / "gpt", "--prompt", "good")
    assert code == 4 and "meta.json does not tell the names of the classes" in err
