"""`d2l generate` with tokens that are words or parts of words: the text on the screen is the text in the JSON."""

import json
from pathlib import Path

import pytest
from runs import d2l, train

TEXT = "the cat sat on the mat and the dog sat on the log. " * 20


@pytest.mark.parametrize("tokenizer", ["word", "{name: bpe, vocab_size: 280}", "{name: wordpiece, vocab_size: 40}"])
def test_a_stream_shows_the_same_text_as_json(tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    data = ("data=text_file", f"data.path={tmp_path / 'text.txt'}", "data.num_steps=8", "data.batch_size=16")
    train(tmp_path / "run", "model=rnn_lm", *data, f"data.tokenizer={tokenizer}", "hardware=cpu", "epochs=2")
    words = ("generate", tmp_path / "run", "--prompt", "the cat sat", "decoder=greedy", "decoder.max_tokens=9")
    shown = d2l(*words).stdout
    (found,) = json.loads(d2l(*words, "--json").stdout)
    assert shown == found["text"] + "\n" and len(found["tokens"]) == 9
    if tokenizer == "word":
        assert found["completion"] == " " + " ".join(found["tokens"])
