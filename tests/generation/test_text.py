"""`d2l generate` on a small run, from outside."""

import json
from pathlib import Path
from typing import Any

import pytest
from runs import d2l, train

WORDS = ("model=rnn_lm", "data=text_file", "data.num_steps=8", "data.batch_size=16", "hardware=cpu", "optim=adam")
TEXT = "the cat sat on the mat and the dog sat on the log. " * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(TEXT)
    more = (f"data.path={folder / 'text.txt'}", "model.hidden_size=64", "optim.lr=0.01", "epochs=15")
    train(folder / "run", *WORDS, *more)
    (folder / "text.txt").unlink()  # the run folder is enough
    return folder / "run"


def generate(run: Path, *words: str, code: int = 0, **options: Any) -> str:
    done = d2l("generate", run, *words, **options)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_text_that_was_learnt_goes_on(run: Path) -> None:
    found = generate(run, "--prompt", "the cat sat on the ", "decoder=greedy", "decoder.max_tokens=20")
    assert found.rstrip("\n") == "the cat sat on the " + found[19:-1] and len(found) == 40
    assert "sat on the" in TEXT and all(word in TEXT for word in found.split()[:-1])


def test_the_same_seed_gives_the_same_text_and_another_seed_another(run: Path) -> None:
    words = ("--prompt", "the ", "decoder.max_tokens=60", "decoder.temperature=2")
    first, again = generate(run, *words), generate(run, *words)
    assert first == again != generate(run, *words, "decoder.seed=1")


def test_a_cache_changes_no_text(run: Path) -> None:
    words = ("--prompt", "and ", "decoder=beam", "decoder.max_tokens=30")
    assert generate(run, *words) == generate(run, *words, "--no-cache")


def test_json_has_log_probabilities(run: Path) -> None:
    found = json.loads(
        generate(run, "--prompt", "the ", "--prompt", "a", "--num", "2", "decoder.max_tokens=7", "--json")
    )
    assert [each["prompt"] for each in found] == ["the ", "the ", "a", "a"]
    for each in found:
        assert each["text"] == each["prompt"] + each["completion"] and len(each["tokens"]) == 7
        assert len(each["log_probs"]) == 7 and max(each["log_probs"]) <= 0
    assert found[0]["completion"] != "" and "".join(found[0]["tokens"]) == found[0]["completion"]


def test_prompts_from_a_file_and_from_stdin(run: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("the cat\n\nthe dog\n")
    words = ("decoder=greedy", "decoder.max_tokens=4", "--json")
    found = json.loads(generate(run, "--file", str(tmp_path / "prompts"), *words))
    assert [each["prompt"] for each in found] == ["the cat", "the dog"]
    again = json.loads(generate(run, "--file", "-", *words, input="the cat\nthe dog\n"))
    assert again == found


def test_a_stop_text_ends_it(run: Path) -> None:
    found = json.loads(generate(run, "--prompt", "the cat ", "--stop", "sat", "decoder=greedy", "--json"))[0]
    assert "sat" not in found["completion"] and len(found["tokens"]) < 100
    assert "".join(found["tokens"]).startswith(found["completion"])
    shown = generate(run, "--prompt", "the cat ", "--stop", "sat", "decoder=greedy")
    assert shown == found["text"] + "\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", "caf\u00e9"], "does not know 'f'"),
        (["--prompt", ""], "empty prompt"),
        (["--prompt", "t", "decoder=bea"], "did you mean 'beam'"),
        (["--prompt", "t", "decoder.temperatur=1"], "did you mean 'temperature'"),
        (["--prompt", "t", "decoder=beam", "decoder.beam_size=5000"], "wider than the vocabulary"),
        (["--prompt", "t", "decoder=exhaustive", "decoder.max_tokens=20"], "too many to try"),
        (["--prompt", "t", "decoder.top_p=2"], "top_p"),
        (["--prompt", "t", "optimm.lr=1"], "optimm"),
    ],
)
def test_mistakes_are_named(run: Path, words: list[str], said: str) -> None:
    assert said in generate(run, *words, code=2)


def test_a_prompt_may_be_a_key(run: Path) -> None:
    words = ("decoder=greedy", "decoder.max_tokens=8")
    assert generate(run, "prompt=the m", *words) == generate(run, "--prompt", "the m", *words)
    assert "promt: unknown key" in generate(run, "promt=the", *words, code=2)


def test_a_file_that_is_no_text_and_a_run_that_cannot_generate(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in generate(run, "--file", str(tmp_path / "bad"), code=3)
    train(tmp_path / "other", "model=linear_regression", "epochs=1", "data.limit=64")
    assert "which is no text" in generate(tmp_path / "other", "--prompt", "a", code=2)
    assert "no run" in generate(tmp_path / "nothing", "--prompt", "a", code=4)


def test_a_lost_tokenizer_is_named(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy, symlinks=True)
    (copy / "tokenizer.json").unlink()
    assert "tokenizer.json is missing" in generate(copy, "--prompt", "a", code=4)
    (copy / "tokenizer.json").write_text("{}")
    assert "tokenizer" in generate(copy, "--prompt", "a", code=3)


def test_a_transformer_goes_on_beyond_what_it_reads_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    words = ("model=transformer_lm", "model.max_len=12", *WORDS[1:], f"data.path={tmp_path / 'text.txt'}")
    sizes = ("model.dim=32", "model.hidden=64", "model.num_layers=2", "optim.lr=0.01", "epochs=15")
    train(tmp_path / "run", *words, *sizes)
    asked = ("--prompt", "the cat sat on the ", "decoder=greedy", "decoder.max_tokens=60")
    found = generate(tmp_path / "run", *asked)
    assert len(found) == 19 + 60 + 1 and all(word in TEXT for word in found.split()[:-1])
    assert generate(tmp_path / "run", *asked, "--no-cache") == found
    refused = d2l("train", *words, "data.num_steps=13", "--run-dir", tmp_path / "other")
    assert refused.returncode == 2 and "reads max_len=12 tokens, but the examples have 13" in refused.stderr
