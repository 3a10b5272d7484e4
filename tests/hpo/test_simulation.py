"""The simulated clock and its figures, and the curves in closed form."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from simulated import Line, numbered

from d2lcli.hpo.asha import asha
from d2lcli.hpo.random import random
from d2lcli.hpo.simulation import R_MAX, Synth, area, entries, incumbents, precision, simulate, time_to


def test_synth_is_what_its_description_says() -> None:
    draw, curves = random(Synth.space), Synth()
    configs = [config for trial in range(4096) if (config := draw(trial))]
    values = {epochs: [curves.value(config, epochs) for config in configs] for epochs in (1, 3, 9, 27, R_MAX)}
    found = [spearmanr(values[epochs], values[R_MAX]).statistic for epochs in (1, 3, 9, 27)]
    np.testing.assert_allclose(found, [0.63, 0.71, 0.84, 0.96], atol=0.02)
    last = np.array(values[R_MAX])
    assert np.mean(last <= last.min() + 0.01) == pytest.approx(1 / 80, abs=0.005)
    seconds = [curves.seconds(config, 1) for config in configs]
    assert (min(seconds), max(seconds)) == pytest.approx((0.38, 2.04), abs=0.01)
    assert np.mean(seconds) == pytest.approx(1, abs=0.02)


def test_one_configuration_in_twenty_diverges_and_stays_so() -> None:
    draw, curves = random(Synth.space), Synth(diverging=0.05)
    lost = 0
    for trial in range(2000):
        config = draw(trial)
        assert config is not None
        nans = [np.isnan(curves.value(config, epochs)) for epochs in (1, 3, 9, 27, R_MAX)]
        assert nans == sorted(nans)
        lost += nans[-1]
    assert lost / 2000 == pytest.approx(0.05, abs=0.015)


def test_figures_of_a_search_by_hand() -> None:
    """Two workers, rungs 1 and 3, three trials; trial 2 is the first worker's second job, and none goes on after it."""
    outcome = simulate(asha(numbered, 3, trials=3), Line(), 2)
    assert [(event.time, event.kind, event.trial, event.rung) for event in outcome.events] == [
        (0, "start", 0, 0), (0, "start", 1, 0), (1, "report", 0, 0), (1, "report", 1, 0),
        (1, "start", 2, 0), (2, "report", 2, 0), (2, "start", 0, 1), (4, "report", 0, 1),
    ]  # fmt: skip
    assert outcome.seconds == 4 and outcome.trained == 5 and outcome.redone == 0
    assert outcome.idle == 3  # the second worker from 1 on
    assert entries(outcome.events, 2) == [3, 1] and precision(outcome.events, 2, 3) == [1.0]


def test_a_resume_and_results_that_pile_up_cost_time() -> None:
    late = simulate(asha(numbered, 3, trials=3), Line(), 1, resume=0.5).events[-1].time
    assert late == 3 + 0.5 + 2
    piled = simulate(asha(numbered, 3, trials=3), Line(), 1, every=5)
    assert [event.time for event in piled.events if event.kind == "report"] == [5, 10, 15, 20]


def test_a_lost_worker_s_trial_goes_on_from_a_whole_epoch() -> None:
    outcome = simulate(asha(numbered, 9, eta=9, trials=9), Line(), 1, losses=0.5, seed=1)
    kinds = [event.kind for event in outcome.events]
    assert kinds.count("release") > 3 and kinds.count("report") == 10
    assert outcome.trained - outcome.redone == pytest.approx(9 + 8)
    assert 0 < outcome.redone < kinds.count("release")  # less than an epoch each


def test_without_checkpoints_the_epochs_before_a_rung_are_redone() -> None:
    outcome = simulate(asha(numbered, 3, trials=3), Line(), 1, checkpoints=False)
    assert outcome.trained == 3 + 3 and outcome.redone == 1


def test_every_epoch_gives_an_incumbent() -> None:
    values = {(0, 1): 0.9, (0, 2): 0.7, (0, 3): 0.8, (1, 1): 1.0, (2, 1): 0.95}
    outcome = simulate(asha(numbered, 3, trials=3), Line(values), 1)
    found = incumbents(outcome.events, Line(values))
    assert found == [(1, 0.9), (4, 0.7)]  # trial 0 goes on at 3; its last epoch is no better
    assert time_to(found, 0.8) == 4 and time_to(found, 0.1) == float("inf")
    assert area(found, 5) == pytest.approx((1 * 1 + 3 * 0.9 + 1 * 0.7) / 5)
