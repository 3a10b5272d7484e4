"""Sampling with replacement, and a schedule that runs behind."""

import math

import pytest
import torch

from d2lcli.config import compose
from d2lcli.data.dataset import Split
from d2lcli.data.loader import Loader
from d2lcli.errors import ConfigError
from d2lcli.training.build import build
from d2lcli.training.rates import learning_rates


def test_with_replacement_1_over_e_of_the_examples_are_missed() -> None:
    """An example is missed with probability (1 - 1/n)^n."""
    n = 2000
    split = Split(torch.arange(n).float()[:, None], torch.arange(n))
    loader = Loader(split, batch_size=100, seed=0, shuffle=True, sampler="replacement")
    missed = []
    for epoch in range(10):
        seen = torch.cat([y for _, y in loader.batches(epoch)])
        assert len(seen) == n
        missed.append(1 - len(seen.unique()) / n)
    assert sum(missed) / 10 == pytest.approx((1 - 1 / n) ** n, abs=0.01) == pytest.approx(math.exp(-1), abs=0.011)
    late = [y.clone() for _, y in loader.batches(3)][7:]
    assert all(torch.equal(a, y) for a, (_, y) in zip(late, loader.batches(3, start=7), strict=True))


def test_windows_are_not_drawn_with_replacement() -> None:
    with pytest.raises(ConfigError, match="stand alone"):
        build(compose(["model=rnn_lm", "data.sampler=replacement"]).values)


def test_a_lag_of_one_is_the_book_s_loop() -> None:
    """There the first epoch has the optimizer's rate, and each later one that of the epoch before."""
    words = ["scheduler=warmup", "scheduler.interval=epoch", "scheduler.warmup_steps=5", "optim.lr=0.4", "epochs=9"]
    plain, late = (learning_rates(compose([*words, f"scheduler.lag={lag}"]).values).rates for lag in (0, 1))
    assert late == [0.4, *plain[:-1]] and plain[0] < 0.4
