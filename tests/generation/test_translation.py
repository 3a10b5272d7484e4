"""`d2l generate` on a small translation run, from outside."""

import json
from pathlib import Path
from typing import Any

import pytest
from runs import d2l, train

from d2lcli.generation.beam import beam
from d2lcli.generation.exhaustive import exhaustive
from d2lcli.generation.greedy import greedy
from d2lcli.generation.translation import open_translator, translate
from d2lcli.training.plan import changed_config

NUMBERS = {"one": "uno", "two": "dos", "three": "tres", "four": "cuatro"}
SENTENCES = [f"{a} {b} {c}" for a in NUMBERS for b in NUMBERS for c in ("", *NUMBERS)]
WORDS = (
    "model=transformer", "model.dim=32", "model.hidden=32", "model.num_layers=1", "model.num_heads=2",
    "data=parallel_text", "data.batch_size=8", "hardware=cpu", "optim=adam", "optim.lr=0.005", "scheduler=constant",
    "epochs=60", "model.dropout=0.0",
)  # fmt: skip


@pytest.fixture(scope="module", params=["sinusoidal", "learned"])
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    pairs = [(text.strip(), " ".join(NUMBERS[word] for word in text.split())) for text in SENTENCES]
    (folder / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    more = (f"data.path={folder / 'pairs.tsv'}", f"model.positions={request.param}", "model.max_len=6")
    train(folder / "run", *WORDS, *more)
    (folder / "pairs.tsv").unlink()  # the run folder is enough
    return folder / "run"


def generate(run: Path, *words: str, code: int = 0, **options: Any) -> tuple[str, str]:
    done = d2l("generate", run, *words, **options)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_what_was_learnt_is_translated_and_drawn(run: Path, tmp_path: Path) -> None:
    out, told = generate(
        run, "--prompt", "Two three one", "--prompt", "four one", "--attention", str(tmp_path / "a.png")
    )
    assert out == "dos tres uno\ncuatro uno\n" and str(tmp_path / "a.png") in told
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_sentences_of_all_lengths_side_by_side_are_as_one_by_one(run: Path) -> None:
    translator = open_translator(run, changed_config(run, []))
    sentences = [text.strip() for text in SENTENCES[:7]] + ["one"]
    for decoder in (greedy(max_tokens=5), beam(max_tokens=5, beam_size=3), exhaustive(max_tokens=3)):
        together = translate(translator, decoder, sentences)
        alone = [translate(translator, decoder, [sentence])[0] for sentence in sentences]
        assert [each.text for each in together] == [each.text for each in alone]
        for one, other in zip(together, alone, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_a_full_beam_finds_what_the_exhaustive_search_finds(run: Path) -> None:
    translator = open_translator(run, changed_config(run, []))
    size = len(translator.target)
    wide, all_of_them = beam(max_tokens=3, beam_size=size**2), exhaustive(max_tokens=3)
    found, expected = (translate(translator, each, ["one two", "three four one"]) for each in (wide, all_of_them))
    assert [each.text for each in found] == [each.text for each in expected]


def test_words_that_it_does_not_know_and_sentences_that_are_too_long_are_said(run: Path) -> None:
    out, told = generate(run, "--prompt", "one five", "--json")
    (found,) = json.loads(out)
    assert found["unknown"] == ["five"] and "does not know: five" in told
    out, told = generate(run, "--prompt", " ".join(["one"] * 9), "--json", "decoder.max_tokens=50")
    (found,) = json.loads(out)
    limited = changed_config(run, [])["model"]["positions"] == "learned"
    assert found["left_out"] == (4 if limited else 0)
    assert ("4 left out" in told) == limited and len(found["tokens"]) <= (6 if limited else 50)


def test_training_sentences_beyond_the_positions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("one two three\tuno dos tres\n" * 20)
    words = (*WORDS, f"data.path={tmp_path / 'pairs.tsv'}", "model.positions=learned", "model.max_len=3")
    done = d2l("train", *words, "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and "reads max_len=3 tokens, but the examples have 4" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to translate"),
        (["--prompt", " "], "empty sentence"),
        (["--prompt", "one", "--num", "2"], "one translation"),
        (["--prompt", "one", "decoder.beam_size=99"], "wider than the vocabulary"),
    ],
)
def test_mistakes_are_named(run: Path, words: list[str], said: str) -> None:
    assert said in generate(run, *words, code=2)[1]
