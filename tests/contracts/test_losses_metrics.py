"""What every registered loss and metric must do."""

import math

import pytest
import torch
from torch import Tensor

from d2lcli.registry import LOSSES, METRICS
from d2lcli.tasks.metrics import Metric

LABELLED = {"cross_entropy", "binary_cross_entropy", "accuracy", "top_k", "confusion_matrix"}
LABELLED |= {"perplexity", "bits_per_character", "bits_per_byte", "next_sentence_accuracy"}
LABELLED |= {"negative_sampling", "full_softmax"}
SPANS = {"exact_match", "token_f1"}


def batch(name: str, n: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if name in LABELLED:
        return torch.randn(n, 6, generator=generator, dtype=torch.float64), torch.randint(6, (n,), generator=generator)
    if name in SPANS:
        first, size, shift = torch.randint(4, (3, n), generator=generator)
        shift = shift.clamp(min=2) - 2  # half of the spans are the right ones
        return torch.stack([first + shift, first + size + shift], 1), torch.stack([first, first + size], 1)
    targets = 2 + torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return targets + 0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64), targets


def built(name: str) -> Metric:
    """A metric that knows how many bytes each of six tokens stands for, if that matters to it."""
    metric: Metric = METRICS.build(name)
    metric.bind_tokens(torch.tensor([0, 1, 1, 2, 3, 7]))
    return metric


def perfect(name: str) -> tuple[Tensor, Tensor]:
    targets = batch(name)[1]
    return (
        (torch.nn.functional.one_hot(targets, 6).double() * 100 - 50, targets)
        if name in LABELLED
        else (targets, targets)
    )


PATHS = ["hierarchical_softmax"]  # of nodes of a tree, not of classes: tests/tasks/test_word_objectives.py
every_loss = pytest.mark.parametrize("name", [name for name in LOSSES.names() if name not in PATHS])
TEXTS = ["bleu", "bleu4"]  # metrics of texts have tests of their own
POLICIES = ["start_value", "optimality_gap", "success_rate", "bellman_residual", "value_error"]  # and those of policies
TEXTS += POLICIES
TEXTS += ["frechet_distance", "generated_moments", "discriminator_loss", "generator_loss"]  # and those of GANs
TEXTS += ["wordsim353", "simlex999"]  # and those of word vectors
every_metric = pytest.mark.parametrize("name", [name for name in METRICS.names() if name not in TEXTS])


@every_loss
def test_one_value_an_example_averages_to_the_mean(name: str) -> None:
    loss, (outputs, targets) = LOSSES.get(name), batch(name)
    values = loss(outputs, targets, reduction="none")
    assert values.shape == (60,)
    torch.testing.assert_close(values.mean(), loss(outputs, targets))
    assert loss(outputs, targets).ndim == 0


@every_loss
def test_the_gradient_of_a_loss(name: str) -> None:
    loss, (outputs, targets) = LOSSES.get(name), batch(name, n=5)
    outputs.requires_grad_()
    for reduction in ("mean", "none"):
        assert torch.autograd.gradcheck(lambda x, how=reduction: loss(x, targets, reduction=how), [outputs])


@every_loss
def test_a_loss_is_least_where_the_outputs_are_right(name: str) -> None:
    loss = LOSSES.get(name)
    right, wrong = loss(*perfect(name)).item(), loss(*batch(name)).item()
    least = 0.5 * math.log(2 * math.pi) if name == "gaussian_nll" else 0.0  # a density, at its peak
    assert right == pytest.approx(least, abs=1e-9) and wrong > least


@every_metric
def test_states_of_shards_add_up(name: str) -> None:
    outputs, targets = batch(name)
    whole, left, right = (built(name) for _ in range(3))
    for metric, part in ((whole, slice(None)), (left, slice(0, 23)), (right, slice(23, None))):
        metric.bind(6 if name in LABELLED else 1)
        metric.reset("cpu")
        metric.update(outputs[part], targets[part])
    left.state += right.state
    assert left.state.dtype == torch.float64
    torch.testing.assert_close(left.state, whole.state, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.tensor(left.compute()), torch.tensor(whole.compute()))


@every_metric
def test_the_interval_contains_the_value_and_grows_with_confidence(name: str) -> None:
    metric = built(name)
    metric.update(*batch(name))
    interval = metric.interval()
    if not metric.scalar:
        assert interval is None
        return
    value, wide = metric.compute(), metric.interval(0.99)
    assert isinstance(value, float) and interval is not None and wide is not None
    assert wide[0] < interval[0] < value < interval[1] < wide[1]


@every_metric
def test_the_interval_of_a_mean_covers_as_often_as_it_says(name: str) -> None:
    metric = built(name)
    if not metric.scalar:
        assert metric.interval() is None
        return
    metric.update(*batch(name, n=20_000, seed=99))
    truth = metric.compute()
    covered = 0
    for seed in range(200):
        metric.reset("cpu")
        metric.update(*batch(name, seed=seed))
        low, high = metric.interval(0.9) or (0.0, 0.0)
        covered += low <= truth <= high
    assert 160 <= covered <= 196  # 180 expected, standard deviation 4.2; skewed values cover a little less


@every_metric
def test_better_outputs_give_a_better_value(name: str) -> None:
    metric = built(name)
    assert metric.name == name
    metric.update(*perfect(name))
    best = metric.compute()
    if not metric.scalar:
        assert torch.equal(torch.tensor(best), torch.diag(torch.bincount(perfect(name)[1], minlength=6)))
        return
    metric.reset("cpu")
    metric.update(*batch(name))
    value = metric.compute()
    assert isinstance(best, float) and isinstance(value, float)
    assert best > value if metric.higher_is_better else best < value


@pytest.mark.parametrize("name", METRICS.names())
def test_the_table_knows_which_direction_is_better(name: str) -> None:
    assert METRICS.describe(name).higher_is_better == METRICS.build(name).higher_is_better
