"""Answers as spans of tokens: the best one is that of a search through all, and padding counts nothing."""

import pytest
import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.tasks.losses import cross_entropy
from d2lcli.tasks.metrics import accuracy
from d2lcli.tasks.question_answering import best_spans, ends, exact_match, may_answer, question_answering, token_f1


class Fixed(nn.Module):
    """The same logits whatever is asked."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, tokens: Tensor, segments: Tensor, lengths: Tensor) -> Tensor:
        return self.logits


def questions(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Segments (b, 12) and lengths of <cls> question <sep> text <sep> padding, and logits (b, 12, 2)."""
    question = torch.randint(1, 4, (count,), generator=generator)
    text = torch.randint(1, 6, (count,), generator=generator)
    lengths = question + text + 3
    places = torch.arange(12)
    segments = ((places >= question[:, None] + 2) & (places < lengths[:, None])).long()
    return segments, lengths, torch.randn(count, 12, 2, generator=generator)


@pytest.mark.parametrize("max_answer", [1, 2, 3, 30])
def test_the_best_span_is_that_of_a_search_through_all(max_answer: int) -> None:
    segments, lengths, logits = questions(200, torch.Generator().manual_seed(0))
    found = best_spans(*ends(logits, lengths), may_answer(segments, lengths), max_answer)
    for row, (own, length, scores) in enumerate(zip(segments.tolist(), lengths.tolist(), logits.tolist())):
        inside = [place for place in range(length - 1) if own[place] == 1]
        spans = [(0, 0)] + [(i, j) for i in inside for j in inside if i <= j < i + max_answer]
        best = max(spans, key=lambda span: scores[span[0]][0] + scores[span[1]][1])
        assert tuple(found[row].tolist()) == best


def test_every_kind_of_span_is_found() -> None:
    segments, lengths, logits = questions(200, torch.Generator().manual_seed(1))
    found = best_spans(*ends(logits, lengths), may_answer(segments, lengths), 3)
    sizes = found[:, 1] - found[:, 0] + 1
    assert found[:, 0].eq(0).any() and {1, 2, 3} == set(sizes.tolist())


def test_the_loss_is_the_mean_of_two_choices_among_the_tokens() -> None:
    """By the definition of the softmax, over the tokens before the padding."""
    segments, lengths, logits = questions(5, torch.Generator().manual_seed(2))
    targets = torch.stack([lengths - 3, lengths - 2], 1)
    targets[0] = 0
    batch = ((segments, segments, lengths), targets)
    expected = []
    for scores, length, target in zip(logits.double(), lengths.tolist(), targets):
        shares = scores[:length].exp() / scores[:length].exp().sum(0)
        expected.append(-(shares[target[0], 0].log() + shares[target[1], 1].log()).item() / 2)
    task, model = question_answering(cross_entropy, [exact_match(), token_f1()]), Fixed(logits)
    losses, spans, right = task.eval_step(model, batch)
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    assert spans.shape == right.shape == (5, 2)
    loss = task.train_loss(model, batch)
    assert loss.item() == pytest.approx(sum(expected) / 5, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    padding = torch.arange(12) >= lengths[:, None]
    assert model.logits.grad is not None and model.logits.grad.isfinite().all()
    assert model.logits.grad[padding].eq(0).all() and model.logits.grad[~padding].ne(0).all()


def test_padding_changes_nothing() -> None:
    segments, lengths, logits = questions(6, torch.Generator().manual_seed(3))
    targets = torch.stack([lengths - 2, lengths - 2], 1)
    task = question_answering(cross_entropy)
    one = task.eval_step(Fixed(logits), ((segments, segments, lengths), targets))
    for filler in (50.0, -torch.inf):
        wide = torch.cat([logits, torch.full((6, 3, 2), filler)], 1)
        more = torch.cat([segments, torch.zeros(6, 3, dtype=torch.int64)], 1)
        other = task.eval_step(Fixed(wide), ((more, more, lengths), targets))
        torch.testing.assert_close(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_metrics_compare_places() -> None:
    outputs = torch.tensor([[3, 5], [0, 0], [0, 0], [4, 9], [2, 3]])
    targets = torch.tensor([[3, 5], [0, 0], [4, 4], [8, 11], [4, 6]])
    exact, overlap = exact_match(), token_f1()
    for metric in (exact, overlap):
        metric.update(outputs, targets)
    assert exact.compute() == 2 / 5
    precision, recall = 2 / 6, 2 / 4  # of 4..9 for 8..11
    assert overlap.compute() == pytest.approx((1 + 1 + 0 + 2 * precision * recall / (precision + recall) + 0) / 5)


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (torch.tensor([1, 2]), "the first and the last token"),
        (torch.tensor([[1.0, 2.0]]), "the first and the last token"),
        (torch.tensor([[3, 2]]), "ends before it begins"),
        (torch.tensor([[-1, 2]]), "ends before it begins"),
        (torch.zeros(0, 2, dtype=torch.int64), "no examples"),
    ],
)
def test_other_targets_are_refused(targets: Tensor, problem: str) -> None:
    task = question_answering(cross_entropy)
    task.check((12,), 2, torch.tensor([[0, 0], [3, 4]]))
    with pytest.raises(DataError, match=problem):
        task.check((12,), 2, targets)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="max_answer=0 must be at least 1"):
        question_answering(cross_entropy, max_answer=0)
    with pytest.raises(ValueError, match="'accuracy' is not one of answers, such as exact_match and token_f1"):
        question_answering(cross_entropy, [accuracy()])
