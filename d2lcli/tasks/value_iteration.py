"""Value iteration: V <- max_a sum_s' P(s'|s, a) (r + gamma V(s')), sweep by sweep (d2l 17.2)."""

from collections.abc import Sequence

from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.supervised import Loss
from d2lcli.tasks.tabular import Sweeping


def value_iteration(loss: Loss, metrics: Sequence[Metric] = (), gamma: float = 0.95) -> Sweeping:
    """The task of finding the best values; on a table of action values it is Q <- sum P (r + gamma max Q).

    Args:
        loss: of the table and what a sweep makes of it.
        metrics: those of `d2lcli.tasks.returns`.
        gamma: the discount, from 0 to 1; each sweep brings the values nearer by this factor.

    Raises:
        ValueError: gamma outside [0, 1], or two metrics of one name.
    """
    return Sweeping(loss, metrics, gamma)
