"""Sentences of film reviews: their counts, their tokens, and a way to judge them that is not ours."""

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from d2lcli.data.dataset import Dataset
from d2lcli.data.examples import ExampleSplit
from d2lcli.data.masked import MaskedSplit
from d2lcli.data.movie_snippets import movie_snippets
from d2lcli.data.tokenizers.word import WordTokenizer


@pytest.fixture(scope="module")
def data() -> Dataset:
    return movie_snippets()


def test_it_has_its_counts(data: Dataset) -> None:
    assert data.classes == ("negative", "positive") and data.num_outputs == 2
    assert (data.train.targets.bincount() + data.val.targets.bincount()).tolist() == [5061, 4982]
    assert len(data.val) == 1004 and data.found == "embedded" and len(data.files) == 1


def test_texts_are_marked_and_cut(data: Dataset) -> None:
    assert data.tokenizer is not None and data.tokenizer.special == ("<unk>", "<pad>", "<cls>", "<sep>", "<mask>")
    for split in (data.train, data.val):
        assert isinstance(split, ExampleSplit) and isinstance(split.inputs, torch.Tensor)
        assert split.longest == 64 and data.shape == (64,) and split.segments.eq(0).all()
        ends = split.lengths.cumsum(0)
        assert split.inputs[ends - split.lengths].eq(data.tokenizer.id_of("<cls>")).all()
        assert split.inputs[ends - 1].eq(data.tokenizer.id_of("<sep>")).all()
        assert (split.inputs == 0).double().mean() < 1e-3  # <unk>
    assert movie_snippets(num_steps=16).shape == (16,)


def test_texts_and_labels_belong_together() -> None:
    """tf-idf and logistic regression, which reach 0.81 on the raw texts."""
    data = movie_snippets(tokenizer=WordTokenizer(), num_steps=128)
    texts = []
    for split in (data.train, data.val):
        assert isinstance(split, ExampleSplit) and isinstance(split.inputs, torch.Tensor) and data.tokenizer
        rows = split.inputs.split(split.lengths.tolist())
        texts.append([data.tokenizer.decode(row.tolist(), skip_special=True) for row in rows])
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    classifier = LogisticRegression(C=10.0).fit(words.fit_transform(texts[0]), data.train.targets.numpy())
    accuracy = classifier.score(words.transform(texts[1]), data.val.targets.numpy())
    assert accuracy == pytest.approx(0.81, abs=0.025)


def test_the_first_sentences_are_of_both_classes() -> None:
    """The file is sorted by class; `data.limit` takes the first of each split."""
    dataset = movie_snippets().head(200)
    for split in (dataset.train, dataset.val):
        assert 60 < int(split.targets.sum()) < 140


def test_masked_texts_are_the_same_splits_without_labels(data: Dataset) -> None:
    """A text after the other, so that no validation text is pre-trained on, and cut with the same pieces.

    Marks that close a sentence after its stop are not compared: they are lost between two sentences.
    """
    masked = movie_snippets(objective="masked", mask_share=0.4)
    assert masked.tokenizer is not None and data.tokenizer is not None
    assert masked.tokenizer.tokens == data.tokenizer.tokens and masked.num_outputs == len(data.tokenizer)
    whole = movie_snippets(num_steps=400)  # no text is cut
    marks = torch.tensor([data.tokenizer.id_of(token) for token in ("<cls>", "<sep>", "'", ")")])
    for split, labelled in ((masked.train, whole.train), (masked.val, whole.val)):
        assert isinstance(split, MaskedSplit) and isinstance(split.inputs, torch.Tensor)
        assert isinstance(labelled, ExampleSplit) and isinstance(labelled.inputs, torch.Tensor)
        found, wanted = (tokens[~torch.isin(tokens, marks)] for tokens in (split.inputs, labelled.inputs))
        assert torch.equal(found, wanted)
        assert split.num_steps == 64 and split.share == 0.4 and int(split.lengths.max()) <= (64 - 3) // 2
