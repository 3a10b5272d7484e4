"""`d2l generate` on runs that tag words, answer questions or rate texts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import train
from torch import Tensor, nn

from d2lcli.__main__ import main
from d2lcli.data.marked import RESERVED
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.tokenizers.wordpiece import WordPieceTokenizer
from d2lcli.errors import ConfigError
from d2lcli.generation.answering import answer
from d2lcli.generation.asking import Encoder
from d2lcli.generation.tagging import tag

TEXT = "the cat saw a dog and the dog saw a bird"
BERT = (
    "model=bert_tiny", "model.num_layers=1", "model.max_len=24", "model.dropout=0.0", "data=jsonl", "data.num_steps=24",
    "data.tokenizer=lower_word", "data.batch_size=8", "hardware=cpu", "hardware.precision=fp32", "hardware.threads=1",
    "optim=adamw", "optim.lr=0.005", "scheduler=constant",
)  # fmt: skip
TASKS = {
    "tags": ("task=tagging", "data.text=words", "data.target=tags", "epochs=15"),
    "answers": (
        "task=question_answering", "data.kind=answer", "data.text=question", "data.pair=text", "data.target=answer",
        "epochs=40",
    ),
    "numbers": ("task=regression", "data.target=score", "epochs=1"),
}  # fmt: skip


class ByToken(nn.Module):
    """Outputs (n, t, C) that are a function of each token alone."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table  # (V, C)
        self.longest = 0

    def forward(self, tokens: Tensor, segments: Tensor, lengths: Tensor) -> Tensor:
        self.longest = max(self.longest, int(lengths.max()))
        return self.table[tokens]


def encoder(tokenizer: Any, outputs: dict[str, list[float]], num_steps: int, **facts: Any) -> Encoder:
    """An encoder whose outputs are told by token; those of other tokens are 0."""
    tokenizer = tokenizer.renewed(RESERVED)
    tokenizer.train([TEXT, "who was there ?"] * 9)
    table = torch.zeros(len(tokenizer), len(next(iter(outputs.values()))))
    for token, values in outputs.items():
        table[tokenizer.id_of(token)] = torch.tensor(values)
    values = {"task": {"max_answer": 3, "loss": "cross_entropy"}}
    return Encoder(ByToken(table), tokenizer, torch.device("cpu"), num_steps, facts, values, Path("checkpoint"))


# Answers.


@pytest.mark.parametrize(("num_steps", "windows"), [(32, 1), (15, 1), (14, 2), (12, 2)])
def test_an_answer_in_any_window(num_steps: int, windows: int) -> None:
    """The text has 11 tokens, the question and the marks around have 4."""
    source = encoder(WordTokenizer(), {"a": [3.0, 0.0], "bird": [0.0, 2.0]}, num_steps)
    (found,) = answer(source, [f"who\t{TEXT}"])
    assert (found.answer, found.start, found.score) == ("a bird", TEXT.index("a bird"), 5.0)
    assert found.windows == windows and source.model.longest <= num_steps  # type: ignore[operator]


def test_a_question_that_leaves_no_room() -> None:
    source = encoder(WordTokenizer(), {"bird": [3.0, 2.0]}, 12)
    with pytest.raises(ConfigError, match=r"the question 'who was there' has 3 tokens, .* no more than 12 of"):
        answer(source, [f"who was there\t{TEXT}"])


def test_windows_overlap_by_half_and_reach_the_end() -> None:
    """Room for 8 of 24 tokens: windows begin at 0, 4, 8, 12 and 16."""
    long = f"{'the dog saw a cat ' * 4}saw a bird and"
    for wanted, last in (("bird", "bird"), ("and", "and")):
        source = encoder(WordTokenizer(), {last: [9.0, 9.0]}, 12)
        (found,) = answer(source, [f"who\t{long}"])
        assert (found.answer, found.start, found.windows) == (wanted, long.index(wanted), 5)
        assert source.model.longest == 12


def test_an_answer_across_the_border_of_two_windows() -> None:
    long = "the dog saw a cat and the bird saw the dog and the cat saw a bird"
    source = encoder(WordTokenizer(), {"and": [5.0, 0.0], "bird": [0.0, 5.0]}, 12)
    (found,) = answer(source, [f"who\t{long}"])
    assert found.answer == "and the bird" and found.start == long.index("and the bird")


def test_no_answer_where_the_first_token_is_the_best() -> None:
    source = encoder(WordTokenizer(), {"<cls>": [4.0, 4.0], "bird": [3.0, 3.0]}, 32)
    (found,) = answer(source, [f"who\t{TEXT}"])
    assert (found.answer, found.start, found.score) == ("", None, -2.0)


def test_an_answer_stands_as_it_was_written() -> None:
    """The tokenizer lowers it, but the text is the user's."""
    source = encoder(WordPieceTokenizer(200, min_freq=1), {"dog": [3.0, 3.0]}, 32)
    (found,) = answer(source, ["who ?\tThe cat saw a DOG, and ran"])
    assert found.answer == "DOG" and found.start == 14


# Tags.


def test_every_word_has_the_tag_of_its_first_piece() -> None:
    source = encoder(WordTokenizer(), {"dog": [0.0, 2.0], "cat": [0.0, 3.0]}, 32, classes=["O", "ANIMAL"])
    found = tag(source, ["the dog", "a  cat saw the dog"])
    assert [each.tags for each in found] == [["O", "ANIMAL"], ["O", "ANIMAL", "O", "O", "ANIMAL"]]
    assert found[1].words == ["a", "cat", "saw", "the", "dog"]
    assert found[0].probabilities == pytest.approx([0.5, 1 / (1 + torch.tensor(-2.0).exp().item())])


@pytest.mark.parametrize("num_steps", [5, 7, 64])
def test_long_texts_are_tagged_part_by_part(num_steps: int) -> None:
    source = encoder(WordTokenizer(), {"dog": [0.0, 2.0]}, num_steps, classes=["O", "ANIMAL"])
    (found,) = tag(source, [f"{TEXT} {TEXT} wolf"])
    assert [word for word, name in zip(found.words, found.tags, strict=True) if name == "ANIMAL"] == ["dog"] * 4
    assert len(found.tags) == 23 and found.unknown == ["wolf"] and source.model.longest <= num_steps  # type: ignore[operator]


# Runs.


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges")
    lines = []
    for i in range(60):
        animal = ("cat", "dog", "bird", "fox", "hen")[i % 5]
        words = ["the", animal, "saw", f"number{i % 3}"]
        tags = ["O", "ANIMAL", "O", "NUMBER"]
        lines.append(
            {"words": words, "tags": tags, "text": " ".join(words), "question": "who saw", "answer": animal}
            | {"score": i / 4}
        )
    (folder / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, words in TASKS.items():
        train(folder / name, *BERT, *words, f"data.path={folder / 'texts.jsonl'}")
    return folder


def generate(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> tuple[int, str, str]:
    code = main(["generate", str(run), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_run_that_tags(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = generate(capsys, runs / "tags", "--prompt", "the hen saw number2")
    assert (code, out, err) == (0, "the/O hen/ANIMAL saw/O number2/NUMBER\n", "")
    code, out, _ = generate(capsys, runs / "tags", "--prompt", "the hen saw number2", "--json")
    (found,) = json.loads(out)
    assert found["tags"] == ["O", "ANIMAL", "O", "NUMBER"] and all(0.5 < p <= 1 for p in found["probabilities"])


def test_a_run_that_answers(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = generate(capsys, runs / "answers", "--prompt", "who saw\\tthe Fox saw number1")
    assert code == 0 and out.startswith("Fox  +") and out.endswith("  who saw\n")
    _, out, _ = generate(capsys, runs / "answers", "--prompt", "who saw\tthe Fox saw number1", "--json")
    (found,) = json.loads(out)
    assert (found["answer"], found["start"], found["windows"]) == ("Fox", 4, 1)
    code, _, err = generate(capsys, runs / "answers", "--prompt", "who saw")
    assert code == 2 and "reads two texts together, but 'who saw' has 1" in err


def test_a_run_that_rates(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = generate(capsys, runs / "numbers", "--prompt", "the fox saw number1", "--json")
    (found,) = json.loads(out)
    assert code == 0 and isinstance(found["value"], float)
    _, out, _ = generate(capsys, runs / "numbers", "--prompt", "the fox saw number1")
    assert out == f"{found['value']:.4g}  the fox saw number1\n"


def test_a_run_on_a_table_has_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "model=linear_regression", "steps=1", "hardware=cpu")
    code, _, err = generate(capsys, tmp_path / "run", "--prompt", "x")
    assert code == 2 and "which is no text" in err
