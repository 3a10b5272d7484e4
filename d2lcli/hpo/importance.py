"""How much each key of a space matters, by PED-ANOVA (Watanabe et al., 2023), which Optuna has."""

import json
from typing import Any

from d2lcli.hpo.search import Trial
from d2lcli.hpo.space import Choice, Dimension, Float, Int, Space

LEAST = 8  # trials, below which shares are noise


def importances(space: Space, trials: list[Trial]) -> dict[str, float]:
    """The share of each key in what sets the best trials apart, the largest first; empty for too few trials.

    Trials are compared at the rung that most of them have reached, which is the first one of most searches.

    Args:
        space: what was searched.
        trials: those without a value do not count.
    """
    reached = [rung for trial in trials for rung in trial.values]
    if not reached:
        return {}
    rung = max(sorted(set(reached)), key=reached.count)
    points = [(trial.config, trial.values[rung]) for trial in trials if rung in trial.values]
    if len(points) < LEAST or len({value for _, value in points}) < 2:
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    distributions = {key: _distribution(dimension) for key, dimension in space.items()}
    for config, value in points:
        params = {key: _value(space[key], config[key]) for key in space}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Float):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return CategoricalDistribution([_value(dimension, value) for value in dimension.values])


def _value(dimension: Dimension, value: Any) -> Any:
    """Choices as text: Optuna has none that are lists."""
    return json.dumps(value) if isinstance(dimension, Choice) else value
