"""Distribution shift where the truth is known in closed form."""

import pytest
import torch

from d2lcli.tasks.shift import PageHinkley, covariate_weights, label_shift


def test_weights_between_two_gaussians() -> None:
    """p = N(0, 1) and q = N(1, 1): q/p = exp(x - 1/2)."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(4000, 1, generator=generator)
    target = 1 + torch.randn(2000, 1, generator=generator)
    weights = covariate_weights(source, target, largest=1000.0)
    expected = torch.exp(source[:, 0] - 0.5)
    middle = source[:, 0].abs() < 1.5
    assert (weights / expected)[middle].log().abs().max() < 0.2
    assert (weights * source[:, 0]).mean().item() == pytest.approx(1.0, abs=0.1)  # the mean under q
    assert weights.mean().item() == pytest.approx(1.0)


def test_equal_domains_weigh_the_same_and_large_weights_are_cut() -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1000, 3, generator=generator)
    torch.testing.assert_close(covariate_weights(inputs, inputs.clone()), torch.ones(1000), atol=1e-4, rtol=0)
    apart = covariate_weights(inputs, inputs + 8, largest=5.0)  # separable
    assert apart.isfinite().all() and apart.max() <= 5.0 / apart.clamp(max=5.0).mean() * 1000
    with pytest.raises(ValueError, match="not of one kind"):
        covariate_weights(inputs, inputs[:, :2])


def test_label_shift_solves_for_the_shares() -> None:
    """C = [[.8, .1], [.2, .9]] and p = [.4, .6] give mu = [.38, .62]; the source had equal shares."""
    confusion = torch.tensor([[80, 20], [10, 90]])
    shares, weights = label_shift(confusion, torch.tensor([38, 62]))
    assert shares.tolist() == pytest.approx([0.4, 0.6])
    assert weights.tolist() == pytest.approx([0.8, 1.2])


def test_label_shift_with_a_useless_classifier_and_bad_input() -> None:
    shares, _ = label_shift(torch.tensor([[50, 50], [50, 50]]), torch.tensor([50, 50]))  # singular: least squares
    assert shares.tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="class 1 has no validation example"):
        label_shift(torch.tensor([[9, 1], [0, 0]]), torch.tensor([5, 5]))
    with pytest.raises(ValueError, match="do not belong together"):
        label_shift(torch.eye(3), torch.ones(2))


def test_an_alarm_soon_after_the_switch_and_none_before() -> None:
    """Errors of a model: 10 % of 2,000 examples, then 40 %."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        before = (torch.rand(2000, generator=generator) < 0.1).double().tolist()
        after = (torch.rand(500, generator=generator) < 0.4).double().tolist()
        detector = PageHinkley()
        assert not any([detector.update(value) for value in before])
        first = next(i for i, value in enumerate(after) if detector.update(value))
        assert first < 150
