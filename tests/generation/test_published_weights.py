"""`d2l generate weights=FOLDER`: folders laid out as on Hugging Face, made here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import d2l, train
from safetensors.torch import load_file, save_file

from d2lcli.data.tokenizers.bpe import SYMBOLS
from d2lcli.models.bert import bert
from d2lcli.models.gpt import transformer_lm

GPT2 = {"model_type": "gpt2", "vocab_size": 259, "n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 32}
BERT = {
    "model_type": "bert", "vocab_size": 9, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2,
    "intermediate_size": 32, "max_position_embeddings": 16,
}  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat"]


def generate(folder: Path, *words: str, code: int = 0) -> str:
    done = d2l("generate", f"weights={folder}", *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(GPT2))
    tokens = [*SYMBOLS, "th", "the", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    torch.manual_seed(0)
    model = transformer_lm(
        vocab_size=259, dim=16, num_heads=2, num_layers=2, hidden=64, max_len=32, activation="gelu_tanh"
    )
    save_file({name: part.clone() for name, part in model.state_dict().items()}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.manual_seed(0)
    model = bert(vocab_size=9, dim=16, num_heads=2, num_layers=2, hidden=32, max_len=16)
    save_file({name: part.clone() for name, part in model.state_dict().items()}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_gpt2_goes_on(gpt2: Path) -> None:
    asked = ("--prompt", "the cat", "decoder=greedy", "decoder.max_tokens=12")
    (found,) = json.loads(generate(gpt2, *asked, "--json"))
    assert found["prompt"] == "the cat" and len(found["tokens"]) == 12
    assert generate(gpt2, *asked, "--no-cache") == generate(gpt2, *asked)
    (few,) = json.loads(generate(gpt2, *asked, "--instruction", "Say on", "--json"))
    assert few["prompt"] == "Say on\nthe cat =>"


def test_a_bert_fills_gaps(masked: Path) -> None:
    (found,) = json.loads(generate(masked, "--prompt", "the [MASK] sat", "--num", "2", "--json"))
    assert len(found["tokens"]) == 1 and {*found["tokens"][0]} <= {"the", "cat", "##s", "sat"}


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "there is no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "does not describe a model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "does not describe a model"),
        (lambda folder: change(folder, model_type="llama"), "unknown model_type 'llama' (known: gpt2, bert, t5)"),
        (lambda folder: change(folder, n_embd="wide"), "does not describe a model"),
        (lambda folder: change(folder, activation_function="mish"), "does not describe a model"),
        (lambda folder: change(folder, n_embd=32), "nothing fits this model"),
        (lambda folder: change(folder, vocab_size=100), "they have no"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "damaged"),
        (lambda folder: (folder / "model.safetensors").unlink(), "there is no model.safetensors"),
    ],
)
def test_a_folder_that_is_not_right_is_named(harm: Any, said: str, gpt2: Path) -> None:
    harm(gpt2)
    assert said in generate(gpt2, "--prompt", "the", code=4)


def test_a_vocabulary_that_is_missing_is_a_matter_of_data(gpt2: Path) -> None:
    (gpt2 / "merges.txt").unlink()
    assert "merges.txt" in generate(gpt2, "--prompt", "the", code=3)


def test_an_encoder_without_its_head_says_nothing(masked: Path) -> None:
    kept = {name: part for name, part in load_file(masked / "model.safetensors").items() if "masked" not in name}
    save_file(kept, masked / "model.safetensors")
    assert "they have no masked." in generate(masked, "--prompt", "the [MASK]", code=4)


def test_a_run_or_weights_and_nothing_else(gpt2: Path) -> None:
    assert "name a run, or one folder of published weights" in d2l("generate", "decoder=greedy").stderr
    assert d2l("generate", f"weights={gpt2}", "data.num_steps=3").returncode == 2


def test_a_run_that_begins_with_published_weights_reads_with_their_vocabulary(masked: Path) -> None:
    (masked / "text.txt").write_text("the cats sat. the cat sat. " * 40)
    sizes = ("model.dim=16", "model.num_heads=2", "model.num_layers=2", "model.hidden=32", "model.max_len=16")
    words = ("data=text_file", f"data.path={masked / 'text.txt'}", "data.num_steps=16", "steps=2", "hardware=cpu")
    result = train(masked / "run", "model=bert", *sizes, *words, f"weights={masked}", "scheduler=constant")
    assert result["status"] == "finished"
    stored = json.loads((masked / "run" / "tokenizer.json").read_text())
    assert stored["tokens"] == ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "the", "cat", "##s", "sat"]
    facts = json.loads((masked / "run" / "meta.json").read_text())
    assert "model.safetensors" in json.dumps(facts)
