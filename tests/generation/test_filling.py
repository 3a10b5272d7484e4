"""`d2l generate` on runs that fill gaps: BERT's masks, T5's spans; and prompts with examples."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import d2l, train

from d2lcli.data.pairs import RESERVED
from d2lcli.data.spans import SPAN_RESERVED
from d2lcli.data.tokenizers.bpe import bpe
from d2lcli.generation.prompting import few_shot, read_examples
from d2lcli.generation.spans import encode_spans, fill_spans

TEXT = "the cat sat on the mat. and then the dog sat on the log. " * 40
SIZES = ("model.dim=32", "model.num_heads=2", "model.hidden=64", "model.num_layers=2", "model.dropout=0.0")
WORDS = ("data=text_file", "data.batch_size=8", "hardware=cpu", "optim=adam", "optim.lr=0.005", "scheduler=constant")


def generate(run: Path, *words: str, code: int = 0, **options: Any) -> str:
    done = d2l("generate", run, *words, **options)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def masked(text: Path) -> Path:
    more = ("data.tokenizer={name: wordpiece, vocab_size: 60}", "data.num_steps=24", "epochs=12")
    train(text.parent / "bert", "model=bert", *SIZES, *WORDS, *more, f"data.path={text}")
    return text.parent / "bert"


@pytest.fixture(scope="module")
def spans(text: Path) -> Path:
    more = ("model.head_dim=16", "data.tokenizer={name: word}", "data.num_steps=16", "epochs=40")
    train(text.parent / "t5", "model=t5", *SIZES, *WORDS, *more, f"data.path={text}")
    return text.parent / "t5"


def test_each_mask_gets_its_most_probable_token(masked: Path) -> None:
    asked = ("--prompt", "the cat <mask> on the mat. and then the [MASK] sat on the log.")
    (found,) = json.loads(generate(masked, *asked, "--num", "3", "--json"))
    first, second = (row[0].removeprefix("##") for row in found["tokens"])
    assert generate(masked, *asked) == f"the cat {first} on the mat. and then the {second} sat on the log.\n"
    assert all(len(row) == 3 and not any(token.startswith("<") for token in row) for row in found["tokens"])
    for row in found["probabilities"]:
        assert row == sorted(row, reverse=True) and 0.1 < sum(row) <= 1.0 + 1e-9
    shown = generate(masked, *asked, "--num", "2").splitlines()
    for line, row in zip(shown[1:], found["tokens"], strict=True):
        assert line.split()[::2] == row[:2]


def test_each_span_gets_what_stands_after_its_sentinel(spans: Path) -> None:
    before, after = "the cat sat on the mat . and then ", " sat on the log ."
    asked = ("--prompt", f"{before}<extra_id_0>{after}", "decoder.max_tokens=12")
    (plain,) = json.loads(generate(spans, *asked, "--json"))
    assert plain["tokens"][0] == "<extra_id_0>" and plain["left_out"] == 0
    words = plain["tokens"][1:]
    end = next((i for i, word in enumerate(words) if word.startswith("<extra_id")), len(words))
    assert words[:end] and set(words[:end]) <= {*TEXT.replace(".", " . ").split()}
    assert plain["filled"] == before + " ".join(words[:end]) + after
    assert generate(spans, *asked) == generate(spans, *asked, "--no-cache") == plain["filled"] + "\n"


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("masked", ["--prompt", "the cat"], "no <mask>"),
        ("masked", [], "nothing to fill"),
        ("masked", ["--prompt", "the <mask>", "decoder=beam"], "without a decoder"),
        ("masked", ["--prompt", "the <mask>", "--stop", "."], "--stop"),
        ("masked", ["--prompt", "<mask> " * 600], "reads no more than 512"),
        ("masked", ["--prompt", "<mask>", "--shots", "1"], "are for language models"),
        ("spans", ["--prompt", "the cat"], "no <extra_id_0>"),
    ],
)
def test_mistakes_are_named(kind: str, words: list[str], said: str, request: pytest.FixtureRequest) -> None:
    assert said in generate(request.getfixturevalue(kind), *words, code=2)


def test_spans_and_their_sentinels() -> None:
    tokenizer = bpe(500, reserved=SPAN_RESERVED)
    tokenizer.train([TEXT])
    ids = encode_spans(tokenizer, "the <extra_id_0> sat<extra_id_1>")
    assert tokenizer.decode(ids) == "the <extra_id_0> sat<extra_id_1>"
    first, second = (tokenizer.id_of(f"<extra_id_{i}>") for i in range(2))
    answer = [first, *tokenizer.encode("cat"), second, *tokenizer.encode(" on"), tokenizer.id_of("<extra_id_2>")]
    assert fill_spans(tokenizer, "the <extra_id_0> sat<extra_id_1>", answer) == "the cat sat on"
    assert fill_spans(tokenizer, "the <extra_id_0> sat<extra_id_1>", answer[:2]) == "the c sat<extra_id_1>"
    assert len(SPAN_RESERVED) == len(RESERVED) + 100


def test_prompts_with_no_one_and_a_few_examples() -> None:
    """The layout of Brown et al., 2020, figure 2.1."""
    instruction, examples = "Translate English to French:", [("sea otter", "loutre de mer"), ("plush", "peluche")]
    assert few_shot("cheese") == "cheese =>"
    assert few_shot("cheese", [], instruction) == "Translate English to French:\ncheese =>"
    assert few_shot("cheese", examples, instruction) == (
        "Translate English to French:\nsea otter => loutre de mer\nplush => peluche\ncheese =>"
    )
    assert read_examples("sea otter\tloutre de mer\n\nplush\tpeluche\n") == examples
    for broken in ("sea otter", "sea\t", "\tmer"):
        with pytest.raises(ValueError, match="line 1 is not INPUT, tab, OUTPUT"):
            read_examples(broken)


def test_examples_before_a_prompt_change_no_weight(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one => uno\ntwo => dos\nthree => tres\n" * 200)
    words = ("model=rnn_lm", "model.hidden_size=64", *WORDS, "data.num_steps=16", "epochs=8")
    train(tmp_path / "run", *words, f"data.path={tmp_path / 'text.txt'}")
    (tmp_path / "pairs.tsv").write_text("one\tuno\ntwo\tdos\n")
    before = (tmp_path / "run" / "checkpoints" / "last" / "model.safetensors").read_bytes()
    asked = ("--prompt", "three", "--examples", str(tmp_path / "pairs.tsv"), "decoder=greedy", "--json")
    (found,) = json.loads(generate(tmp_path / "run", *asked))
    assert found["prompt"] == "one => uno\ntwo => dos\nthree =>" and found["completion"] == " tres"
    (found,) = json.loads(generate(tmp_path / "run", *asked, "--shots", "1"))
    assert found["prompt"] == "one => uno\nthree =>"
    assert "there are 2 examples" in generate(tmp_path / "run", *asked, "--shots", "3", code=2)
    (tmp_path / "pairs.tsv").write_text("one uno\n")
    assert "line 1 is not INPUT, tab, OUTPUT" in generate(tmp_path / "run", *asked, code=3)
    assert (tmp_path / "run" / "checkpoints" / "last" / "model.safetensors").read_bytes() == before


def test_the_probabilities_of_a_gap_are_those_of_the_model(masked: Path) -> None:
    from d2lcli.generation.filling import fill_gaps
    from d2lcli.generation.text import open_text_model
    from d2lcli.training.plan import changed_config

    source = open_text_model(masked, changed_config(masked, []))
    (found,) = fill_gaps(source, ["the cat <mask> on"], num=4)
    ids = [source.tokenizer.id_of(token) for token in ("<cls>", "the", "cat", "<mask>", "on", "<sep>")]
    with torch.no_grad():
        logits = source.model(torch.tensor([ids]))[0][0, 3]
    logits[[source.tokenizer.id_of(token) for token in source.tokenizer.special]] = -torch.inf
    assert found.probabilities[0] == pytest.approx(logits.softmax(0).topk(4).values.tolist(), rel=1e-4)
