"""Runs that fine-tune an encoder: every kind of target, resume, updates in parts, and what else reads such batches."""

import json
from pathlib import Path

import pytest
import torch
from runs import assert_equal, d2l, outcome, resume, stop_at, train, weights
from safetensors.torch import load_file
from torch import nn

from d2lcli.errors import ConfigError, NonFiniteError
from d2lcli.training import signals
from d2lcli.training.label_shift import Reweighted

BERT = (
    "model=bert_tiny", "model.num_layers=1", "model.max_len=24", "data=jsonl", "data.num_steps=24",
    "data.tokenizer=word", "data.val_share=0.2", "data.batch_size=16", "hardware=cpu", "hardware.precision=fp32",
    "optim=sgd", "optim.lr=0.1", "scheduler=constant", "epochs=2", "checkpoint_every=2", "hardware.threads=1",
)  # fmt: skip
PLAIN = ("model.dropout=0.0", "epochs=1", "data.limit=48")
TASKS = {
    "label": ("task=classification",),
    "number": ("task=regression", "data.target=score"),
    "tags": ("task=tagging", "data.text=words", "data.target=tags"),
    "answer": (
        "task=question_answering", "data.kind=answer", "data.text=question", "data.pair=text", "data.target=answer",
    ),
}  # fmt: skip
WORDS = ("sun", "rain", "snow", "wind", "fog", "hail", "storm")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """60 lines that have a target of every kind."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    lines = []
    for i in range(60):
        words = [WORDS[(i * k) % 7] for k in range(1, 2 + i % 9)] + [f"n{i}"]
        answer = words[i % len(words)] if i % 5 else ""
        lines.append(
            {"text": " ".join(words), "words": words, "label": i % 3, "score": i / 4, "question": f"which {i % 4}"}
            | {"tags": [word[0] for word in words], "answer": answer}
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize("kind", TASKS)
def test_a_stopped_run_ends_like_one_that_was_not(
    kind: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*BERT, *TASKS[kind], f"data.path={file}")
    result = train(tmp_path / "whole", *words)
    assert result["status"] == "finished" and (tmp_path / "whole" / "tokenizer.json").is_file()
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(signals.Stopped):
            train(tmp_path / "part", *words)
    resume(tmp_path / "part")
    assert_equal(tmp_path / "part", outcome(tmp_path / "whole"))


@pytest.mark.parametrize("kind", ["label", "tags", "answer"])
def test_an_accumulated_update_weighs_what_the_loss_counts(kind: str, file: str, tmp_path: Path) -> None:
    """48 texts in one batch, and in three that are added up: the same update."""
    words = (*BERT, *PLAIN, *TASKS[kind], f"data.path={file}")
    train(tmp_path / "one", *words, "data.batch_size=48")
    train(tmp_path / "three", *words, "accumulate=3")
    one, three = weights(tmp_path / "one"), weights(tmp_path / "three")
    for name, value in one.items():
        torch.testing.assert_close(three[name], value, rtol=1e-4, atol=1e-6)


def test_two_processes_share_the_tags_of_a_batch(file: str, tmp_path: Path) -> None:
    words = (*BERT, *PLAIN, *TASKS["tags"], f"data.path={file}")
    ddp = ("hardware=ddp", "hardware.device=cpu", "hardware.precision=fp32", "hardware.devices=2")
    done = d2l("train", *(word for word in words if word != "hardware=cpu"), *ddp, "--run-dir", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    train(tmp_path / "one", *words)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "task"), [("tags", "classification"), ("label", "tagging"), ("number", "tagging")])
def test_a_task_for_other_targets_is_named(kind: str, task: str, file: str, tmp_path: Path) -> None:
    right = TASKS[kind][0].partition("=")[2]
    words = (*BERT, *TASKS[kind][1:], f"task={task}", f"data.path={file}")
    with pytest.raises(ConfigError, match=f"task '{task}' on data 'jsonl': its targets are for {right}") as caught:
        train(tmp_path / "run", *words)
    assert f"set task={right}" in caught.value.hint


def test_a_batch_without_a_finite_loss_is_kept_whole(file: str, tmp_path: Path) -> None:
    words = (*BERT, *TASKS["number"], f"data.path={file}", "optim.lr=1e30", "epochs=5")
    with pytest.raises(NonFiniteError):
        train(tmp_path / "run", *words)
    (path,) = (tmp_path / "run" / "nonfinite").rglob("batch.safetensors")
    kept = load_file(path)
    assert set(kept) == {"inputs0", "inputs1", "inputs2", "targets"}
    assert kept["inputs0"].shape == kept["inputs1"].shape and len(kept["inputs2"]) == len(kept["targets"])


def test_diagnosis_reads_texts(file: str, tmp_path: Path) -> None:
    train(tmp_path / "run", *BERT, *TASKS["label"], f"data.path={file}", "epochs=1")
    done = d2l("diagnose", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 3


def test_corrected_predictions_are_those_of_texts() -> None:
    """P'(j | x) is proportional to P(j | x) w_j, whatever the model reads."""

    class Sum(nn.Module):
        def forward(self, tokens: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
            return torch.log(tokens + segments)

    parts = torch.tensor([[0.25, 0.25]]), torch.tensor([[0.25, 0.25]])
    found = torch.softmax(Reweighted(Sum(), torch.tensor([3.0, 1.0]))(*parts), 1)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25]]))


def test_masked_texts_then_their_labels(tmp_path: Path) -> None:
    """The same data without labels and with them: what was pre-trained, and its pieces, go on to the fine-tuned run."""
    data = ("data=movie_snippets", "data.num_steps=24", "data.limit=32", "data.batch_size=16")
    words = (*BERT[:3], *data, "hardware=cpu", "optim=sgd", "scheduler=constant", "epochs=1")
    masked = ("task=masked_language_model", "task.next_sentence=0", "data.mask_share=0.4")
    pieces = "data.tokenizer={name: wordpiece, vocab_size: 300}"
    train(tmp_path / "first", *words, *masked, pieces)
    train(tmp_path / "second", *words, f"weights={tmp_path / 'first'}", "model.pool=mean", "optim.lr=0.0")
    files = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    shared = before.keys() & after.keys()
    assert {name for name in after if name not in shared} == {"head.weight", "head.bias"}
    assert all(torch.equal(before[name], after[name]) for name in shared)
