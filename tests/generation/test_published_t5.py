"""`d2l generate weights=FOLDER` with a T5: folders made here, and random models of transformers with their answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import d2l
from safetensors.torch import load_file, save_file
from spiece import MARK, SPECIAL, charsmap_of, model_file, small_table
from torch import nn

from d2lcli.data.tokenizers.published import read_vocabulary
from d2lcli.errors import CheckpointError
from d2lcli.generation.beam import beam
from d2lcli.generation.greedy import greedy
from d2lcli.generation.published import find_published, open_published
from d2lcli.generation.text_to_text import TextToText, answer
from d2lcli.models.t5 import T5, t5

EXTRA = "transformers is not installed: pip install -c constraints.txt -e '.[slow]'"
CONFIG = {
    "model_type": "t5", "vocab_size": 128, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
    "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
NEWER = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
LETTERS = "etaoinshrdlu:."
PIECES = [*SPECIAL, (MARK, -2.5, 1), *((letter, -3.0 - i / 9, 1) for i, letter in enumerate(LETTERS))]
PROMPTS = ["translate: the sun", "a horse runs on  the road.", "no"]


def write(folder: Path, config: dict[str, Any], **options: Any) -> T5:
    """A folder with a drawn model in it, more certain of what it says than a fresh one."""
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "spiece.model").write_bytes(model_file(PIECES, charsmap_of(small_table())))
    torch.manual_seed(0)
    model = t5(vocab_size=128, dim=16, num_heads=2, head_dim=8, num_layers=2, hidden=32, **options)
    for position in (model.encoder_positions, model.decoder_positions):
        nn.init.normal_(position.table.weight)
    save_file({name: part.clone() for name, part in model.state_dict().items()}, folder / "model.safetensors")
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, CONFIG)
    return tmp_path


def opened(folder: Path) -> TextToText:
    found = open_published(find_published(folder))
    assert isinstance(found, TextToText)
    return found


def generate(folder: Path, *words: str, code: int = 0) -> Any:
    done = d2l("generate", f"weights={folder}", *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_t5_answers(folder: Path) -> None:
    asked = ("--prompt", PROMPTS[0], "--prompt", PROMPTS[1], "decoder=greedy", "decoder.max_tokens=12", "--json")
    first, second = json.loads(generate(folder, *asked))
    assert (first["source"], second["source"]) == (PROMPTS[0], PROMPTS[1]) and first["filled"] is None
    assert len(first["log_probs"]) in (len(first["tokens"]), len(first["tokens"]) + 1)
    assert json.loads(generate(folder, *asked, "--no-cache"))[0]["tokens"] == first["tokens"]
    assert generate(folder, "--prompt", PROMPTS[0], *asked[4:-1]) == first["text"] + "\n"
    drawn = json.loads(generate(folder, "--prompt", "no", "--num", "3", "decoder.max_tokens=9", "--json"))
    assert len({each["text"] for each in drawn}) == 3, "sampling where several are asked for"


def test_a_t5_fills_spans(folder: Path) -> None:
    """Each gap with what stands after its sentinel in the answer; what the model never says stays."""
    found = opened(folder)
    (done,) = answer(found, greedy(max_tokens=12), ["a <extra_id_0> on <extra_id_99>."])
    assert done.filled is not None and done.filled.startswith("a ") and done.shown == done.filled
    assert "a <extra_id_0>" in generate(folder, "--prompt", "a <extra_id_0>", "decoder.max_tokens=1")
    assert "the model has no <extra_id_7>" in said_without_sentinels(folder)


def said_without_sentinels(folder: Path) -> str:
    (folder / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 2}))
    return str(generate(folder, "--prompt", "a <extra_id_7>", code=2))


def test_answers_are_what_the_model_says_step_by_step(folder: Path) -> None:
    """Greedy, with the whole answer read again for each token; and of each number of copies."""
    found, model = opened(folder), write(folder, CONFIG)
    size = len(found.tokenizer)
    for prompt, done in zip(PROMPTS, answer(found, greedy(max_tokens=10), PROMPTS)):
        ids = torch.tensor([[*found.tokenizer.encode(prompt), 1]])
        tokens = [0]
        while len(tokens) < 11 and tokens[-1] != 1:
            logits = model(ids, torch.tensor([ids.shape[1]]), torch.tensor([tokens]))[0, -1, :size]
            tokens.append(int(logits.argmax()))
        assert [found.tokenizer.id_of(token) for token in done.tokens] == [each for each in tokens[1:] if each != 1]
    copies = answer(found, greedy(max_tokens=10), PROMPTS, num=2)
    assert [each.text for each in copies[::2]] == [each.text for each in copies[1::2]]
    assert [each.source for each in copies[::2]] == PROMPTS


def test_no_answer_holds_what_stands_for_no_token(folder: Path) -> None:
    """The head has rows for 128 numbers, and the vocabulary names fewer: those rows are left out."""
    weights = load_file(folder / "model.safetensors")
    found = opened(folder)
    size = len(found.tokenizer)
    assert size == len(PIECES) + 100 < 128 and found.model.head.weight.shape == (size, 16)
    weights["embedding.weight"][size:] *= 100
    weights["head.weight"] = weights["embedding.weight"].clone()
    save_file(weights, folder / "model.safetensors")
    assert all(each.tokens for each in answer(opened(folder), beam(max_tokens=5), PROMPTS))


def test_examples_stand_before_the_question(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("sun\tsol\nsea\tmar\n")
    shown = ("--examples", str(tmp_path / "pairs.tsv"), "--shots", "1", "--instruction", "translate:")
    (found,) = json.loads(generate(folder, "--prompt", "road", *shown, "decoder.max_tokens=3", "--json"))
    assert found["source"] == "translate:\nsun => sol\nroad =>"


def test_what_the_model_does_not_know_is_said(folder: Path) -> None:
    done = d2l("generate", f"weights={folder}", "--prompt", "\u4f60\u597d sun", "decoder.max_tokens=2")
    assert done.returncode == 0 and "note: the model does not know: \u4f60\u597d" in done.stderr


def test_version_1_1_has_a_gate_and_a_head_of_its_own(folder: Path) -> None:
    model = write(folder, CONFIG | NEWER, gated=True, tied=False, activation="gelu_tanh")
    found = opened(folder)
    assert torch.equal(found.model.head.weight, model.head.weight[: len(found.tokenizer)])
    assert not torch.equal(model.head.weight, model.embedding.weight)
    weights = load_file(folder / "model.safetensors")
    weights = {name.replace("embedding.", "shared."): part for name, part in weights.items() if "head" not in name}
    save_file(weights, folder / "model.safetensors")
    assert torch.equal(opened(folder).model.head.weight, model.embedding.weight[: len(found.tokenizer)]), "as saved"


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: change(folder, feed_forward_proj="gated-mish"), "does not describe a model: 'mish'"),
        (lambda folder: change(folder, d_ff=0), "'t5': hidden: 0 is out of range"),
        (lambda folder: change(folder, layer_norm_epsilon=1e-5), "layer_norm_epsilon is 1e-05, but d2l only knows"),
        (lambda folder: change(folder, eos_token_id=[1, 2]), "ends with [1, 2], which are not two numbers"),
        (lambda folder: change(folder, decoder_start_token_id=700), "the vocabulary has no tokens (700, 1)"),
        (lambda folder: change(folder, **NEWER), "they have no encoder.0.feed_forward.gate.weight"),
        (lambda folder: change(folder, vocab_size=64), "they have no"),
    ],
)
def test_a_folder_that_is_not_right_is_named(harm: Any, said: str, folder: Path) -> None:
    harm(folder)
    with pytest.raises(CheckpointError) as error:
        opened(folder)
    assert said in str(error.value) and "\n" not in str(error.value) and error.value.exit_code == 4


def test_a_vocabulary_that_is_missing_or_damaged_is_a_matter_of_data(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(b"no model")
    assert "no SentencePiece model" in generate(folder, "--prompt", "a", code=3)
    (folder / "spiece.model").unlink()
    assert "no vocabulary in it" in generate(folder, "--prompt", "a", code=3)


def test_what_makes_no_sense_is_refused(folder: Path) -> None:
    assert "nothing to answer" in generate(folder, code=2)
    assert "an answer ends by itself" in generate(folder, "--prompt", "a", "--stop", ".", code=2)
    assert "an empty prompt has no answer" in generate(folder, "--prompt", " ", code=2)
    assert "beam_size: 400 is wider" in generate(folder, "--prompt", "a", "decoder.beam_size=400", code=2)


def transformers_folder(folder: Path, newer: bool) -> tuple[Any, Any]:
    """A random T5 of transformers with its tokenizer, saved by them."""
    transformers = pytest.importorskip("transformers", reason=EXTRA)
    write(folder, CONFIG)
    own = read_vocabulary(folder)
    state = own.state()
    names = {"<eos>": "</s>"}
    vocabulary = [(names.get(token, token), score) for token, score in zip(state["tokens"], state["scores"])]
    tokenizer = transformers.T5Tokenizer(vocab=vocabulary, _spm_precompiled_charsmap=charsmap_of(small_table()))
    torch.manual_seed(2)
    options = NEWER if newer else {}
    sizes = {key: value for key, value in CONFIG.items() if key != "model_type"} | {"vocab_size": len(own)}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, **options)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "relative_attention_bias" in name:
                value.normal_()
            elif "layer_norm" not in name and "shared" not in name:
                value *= 2  # answers that differ from prompt to prompt
    for file in ("spiece.model", "config.json", "model.safetensors"):
        (folder / file).unlink()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("newer", [False, True])
def test_answers_are_those_of_transformers(newer: bool, tmp_path: Path) -> None:
    model, tokenizer = transformers_folder(tmp_path, newer)
    found, prompts = opened(tmp_path), [*PROMPTS, "sun <extra_id_0> on <extra_id_1>.", "\u4f60 t\u00e9\u0301 \ufb01"]
    searches = [
        (greedy(max_tokens=20), {}),
        (beam(max_tokens=20, beam_size=3, alpha=1.0), {"num_beams": 3, "early_stopping": "never"}),
    ]
    said = set()
    for decoder, options in searches:
        for prompt, done in zip(prompts, answer(found, decoder, prompts), strict=True):
            inputs = tokenizer(prompt, return_tensors="pt")
            expected = model.generate(**inputs, max_new_tokens=20, do_sample=False, **options)[0].tolist()[1:]
            expected = expected[: expected.index(1)] if 1 in expected else expected
            assert [found.tokenizer.id_of(token) for token in done.tokens] == expected, (prompt, options)
            said.add(tuple(expected))
    assert len(said) >= 5, "the answers differ from prompt to prompt"
