"""What every registered schedule must do."""

import math
from collections.abc import Callable

import pytest

from d2lcli.errors import ConfigError
from d2lcli.registry import SCHEDULERS

FAR = [10**6, 10**12]


def build(name: str, lr: float = 0.3, max_update: int = 120) -> Callable[[int], float]:
    options = {"max_update": max_update} if "max_update" in SCHEDULERS.parameters(name) else {}
    schedule: Callable[[int], float] = SCHEDULERS.build(name, lr=lr, **options)
    return schedule


every_schedule = pytest.mark.parametrize("name", SCHEDULERS.names())


@every_schedule
def test_rates_are_finite_and_not_negative(name: str) -> None:
    rates = [build(name)(step) for step in [*range(200), *FAR]]
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
    assert max(rates) == pytest.approx(0.3)


@every_schedule
def test_a_rate_depends_on_the_step_alone(name: str) -> None:
    schedule = build(name)
    forwards = [schedule(step) for step in range(150)]
    backwards = [schedule(step) for step in reversed(range(150))]
    assert forwards == backwards[::-1] == [build(name)(step) for step in range(150)]


@every_schedule
def test_rates_are_proportional_to_the_learning_rate(name: str) -> None:
    small, large = build(name, lr=0.1), build(name, lr=1.0)
    for step in (0, 1, 50, 119, 120, 500 if name != "factor" else 100):  # the floor of factor does not depend on lr
        assert large(step) == pytest.approx(10 * small(step))


@every_schedule
def test_a_schedule_that_ended_stays_where_it_is(name: str) -> None:
    if name in ("sqrt", "factor", "exponential", "polynomial", "step"):
        assert build(name)(10**6) <= build(name)(500) < build(name)(100)  # these go on falling
        return
    schedule = build(name)
    assert len({schedule(step) for step in [120, 121, 240, *FAR]}) == 1


@every_schedule
def test_a_bad_option_is_refused(name: str) -> None:
    options = {"max_update": 120} if "max_update" in SCHEDULERS.parameters(name) else {}
    with pytest.raises(ConfigError, match="lr"):
        SCHEDULERS.build(name, lr=-1.0, **options)
    with pytest.raises(ValueError, match="lr"):
        SCHEDULERS.get(name)(lr=math.nan, **options)
    with pytest.raises(ConfigError, match="unknown option 'stepz'"):
        SCHEDULERS.build(name, lr=1.0, stepz=1, **options)
