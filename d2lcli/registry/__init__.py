"""Every model, optimizer, schedule, strategy, data set, task, metric, ... by name.  Standard library only."""

from d2lcli.registry.core import Entry, Registry
from d2lcli.registry.datasets import DATASETS
from d2lcli.registry.decoders import DECODERS
from d2lcli.registry.initializers import INITIALIZERS
from d2lcli.registry.losses import LOSSES
from d2lcli.registry.metrics import METRICS
from d2lcli.registry.models import MODELS
from d2lcli.registry.optimizers import OPTIMIZERS
from d2lcli.registry.schedulers import SCHEDULERS
from d2lcli.registry.searchers import SEARCHERS
from d2lcli.registry.strategies import STRATEGIES
from d2lcli.registry.tasks import TASKS
from d2lcli.registry.tokenizers import TOKENIZERS

REGISTRIES: dict[str, Registry] = {
    registry.kind: registry
    for registry in (
        MODELS, OPTIMIZERS, SCHEDULERS, STRATEGIES, DATASETS, TASKS, LOSSES, METRICS,
        TOKENIZERS, DECODERS, SEARCHERS, INITIALIZERS,
    )
}  # fmt: skip

__all__ = [
    "DATASETS", "DECODERS", "INITIALIZERS", "LOSSES", "METRICS", "MODELS", "OPTIMIZERS", "REGISTRIES", "SCHEDULERS",
    "SEARCHERS", "STRATEGIES", "TASKS", "TOKENIZERS", "Entry", "Registry",
]  # fmt: skip
