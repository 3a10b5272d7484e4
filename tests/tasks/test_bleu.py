"""BLEU against the book's formula by hand, and against sacrebleu."""

import math
import random

import pytest
import torch

from d2lcli.tasks.bleu import CorpusBleu, bleu, bleu4, sentence_bleu


@pytest.mark.parametrize(
    ("predicted", "reference", "k", "expected"),
    [
        ("go .", "va !", 2, 0.0),
        ("va !", "va !", 2, 1.0),
        ("A B B C D", "A B C D E F", 2, math.exp(1 - 6 / 5) * (4 / 5) ** 0.5 * (3 / 4) ** 0.25),  # the source's example
        ("A B", "A B C D E F", 2, math.exp(1 - 6 / 2)),
        ("A B C D E F G", "A B C", 1, (3 / 7) ** 0.5),
        ("A A A", "A B", 1, (1 / 3) ** 0.5),  # clipped
        ("A", "A", 4, 1.0),  # n-grams longer than the prediction are left out
        ("", "A", 2, 0.0),
    ],
)
def test_the_book_s_formula_by_hand(predicted: str, reference: str, k: int, expected: float) -> None:
    assert sentence_bleu(predicted.split(), reference.split(), k) == pytest.approx(expected)


def padded(texts: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, texts))
    return torch.tensor([text + [-1] * (longest - len(text)) for text in texts])


def corpus(seed: int) -> tuple[list[list[int]], list[list[int]]]:
    generator = random.Random(seed)
    references = [[generator.randrange(6) for _ in range(generator.randrange(4, 12))] for _ in range(30)]
    predicted = [
        [token if generator.random() < 0.8 else 9 for token in text][: generator.randrange(4, 13)]
        for text in references
    ]
    return predicted, references


@pytest.mark.parametrize("seed", range(4))
def test_corpus_bleu_equals_sacrebleu(seed: int) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    predicted, references = corpus(seed)
    metric = bleu4()
    metric.update(padded(predicted[:11]), padded(references[:11]))
    metric.update(padded(predicted[11:]), padded(references[11:]))
    texts = [[" ".join(f"w{token}" for token in text) for text in side] for side in (predicted, references)]
    expected = sacrebleu.corpus_bleu(texts[0], [texts[1]], tokenize="none", smooth_method="none").score / 100
    assert metric.compute() == pytest.approx(expected, rel=1e-9)
    assert 0.2 < expected < 1


def test_the_mean_over_sentences_and_shards_add_up() -> None:
    predicted, references = corpus(0)
    whole, left, right = bleu(), bleu(), bleu()
    whole.update(padded(predicted), padded(references))
    left.update(padded(predicted[:7]), padded(references[:7]))
    right.update(padded(predicted[7:]), padded(references[7:]))
    left.state += right.state
    expected = sum(sentence_bleu(p, r) for p, r in zip(predicted, references, strict=True)) / 30
    assert whole.compute() == pytest.approx(expected) and left.compute() == pytest.approx(expected)


def test_no_match_and_no_examples() -> None:
    metric = CorpusBleu()
    with pytest.raises(ValueError, match="no examples"):
        metric.compute()
    metric.update(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[5, 6, 7, 8]]))
    assert metric.compute() == 0.0
    with pytest.raises(ValueError, match="k=0"):
        bleu(0)
