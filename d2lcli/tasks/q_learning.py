"""Q-learning: Q(s, a) <- (1 - alpha) Q(s, a) + alpha (r + gamma (1 - done) max_a' Q(s', a')) (Watkins, 1989; d2l 17.3).

alpha is the learning rate of the run.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from d2lcli.nn.exploration import epsilon_greedy, epsilon_greedy_row, softmax_policy, softmax_row
from d2lcli.tasks.metrics import Metric
from d2lcli.tasks.playing import Rules, play_greedily, play_many, play_one
from d2lcli.tasks.returns import COLUMNS
from d2lcli.tasks.supervised import Batch, Loss
from d2lcli.tasks.tabular import Tabular, table_of

Explore = Literal["eps_greedy", "softmax"]


class QLearning(Tabular):
    """A batch is episodes, played side by side with one table; the options are those of `q_learning`.

    Chance is a function of the batch, which brings a seed: a run that goes on in the middle of an epoch is the same.
    """

    def __init__(
        self,
        loss: Loss,
        metrics: Sequence[Metric],
        gamma: float,
        explore: Explore,
        epsilon: tuple[float, float, float],
        tau: float,
        max_steps: int | None,
    ) -> None:
        super().__init__(loss, metrics, gamma)
        if not all(0 <= each <= 1 for each in epsilon):
            raise ValueError(f"epsilon, epsilon_decay and epsilon_min, {epsilon}, must be from 0 to 1")
        if not tau > 0:
            raise ValueError(f"tau={tau!r} must be above 0")
        self.explore, self.epsilon, self.tau, self.max_steps = explore, epsilon, tau, max_steps

    def bind(self, dataset: Any, device: torch.device) -> None:
        """Take the environment, and solve it where it has tables.

        Where it can only be played, metrics that need tables are left out.

        Raises:
            ValueError: the data set has no environment, or the only metrics are those.
        """
        super().bind(dataset, device)
        self.listed = self.environment.listed() if self.tabular else None
        if self.tabular:
            return
        known = {name: metric for name, metric in self.metrics.items() if not getattr(metric, "tabular", False)}
        if self.metrics and not known:
            raise ValueError(f"metrics: {', '.join(self.metrics)} need tables of outcomes; use [start_value]")
        self.metrics = known

    @property
    def tabular(self) -> bool:
        """Whether the outcomes of actions are known."""
        return hasattr(self.environment, "probabilities")

    def rate_of_exploration(self, episode: int) -> float:
        """epsilon for an episode, counted from the beginning of the run."""
        first, decay, least = self.epsilon
        return max(min(first, least), first * decay**episode)

    def rules(self, episode: int, rate: float) -> Rules:
        """How an agent acts and learns in an episode."""
        rest = (rate, self.gamma, self.max_steps or self.environment.max_steps)
        if self.explore == "softmax":
            return Rules(partial(softmax_policy, tau=self.tau), partial(softmax_row, tau=self.tau), *rest)
        epsilon = self.rate_of_exploration(episode)
        return Rules(partial(epsilon_greedy, epsilon=epsilon), partial(epsilon_greedy_row, epsilon=epsilon), *rest)

    def advance(self, model: nn.Module, batch: Batch, rate: float) -> Tensor:
        """Play the episodes of a batch, and learn from each step.

        Args:
            model: with a table Q.
            batch: numbers of episodes (b,), all of which explore as the first one does; and a seed.
            rate: alpha.

        Returns:
            The mean loss over the steps, each before its update.
        """
        numbers, seed = batch
        table, rules = table_of(model), self.rules(int(numbers[0]), rate)
        if len(numbers) == 1 and self.listed is not None:
            generator = torch.Generator().manual_seed(int(seed))
            played = play_one(self.listed, table, rules, self.loss, generator)
        else:
            here = table if self.tabular else table.cpu()  # what can only be played is played by the processor
            generator = torch.Generator(here.device).manual_seed(int(seed))
            played = play_many(self.environment, here, rules, self.loss, len(numbers), generator)
            table.copy_(here)
        self.noted = {"return": played.earned / len(numbers), "episode_steps": played.steps / len(numbers)}
        if self.explore == "eps_greedy":
            self.noted["epsilon"] = self.rate_of_exploration(int(numbers[0]))
        return played.loss

    def eval_step(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """See `Tabular`; where nothing is known of the outcomes, the returns of the greedy policy in played episodes.

        The loss of such an episode is what it lacks, the negative return.
        """
        if self.tabular:
            return super().eval_step(model, batch)
        numbers, seed = batch
        table, steps = table_of(model), self.max_steps or self.environment.max_steps
        returns = []
        for number in numbers.tolist():
            generator = torch.Generator().manual_seed((int(seed) + number) % 2**63)
            returns.append(play_greedily(self.environment, table.cpu(), self.gamma, steps, generator))
        found = torch.tensor(returns, dtype=torch.float64, device=table.device)
        rows = torch.full((len(found), len(COLUMNS)), torch.nan, dtype=torch.float64, device=table.device)
        rows[:, COLUMNS.index("value")] = found
        return -found, rows, torch.ones_like(found)


def q_learning(
    loss: Loss,
    metrics: Sequence[Metric] = (),
    gamma: float = 0.95,
    explore: Explore = "eps_greedy",
    epsilon: float = 0.9,
    epsilon_decay: float = 0.98,
    epsilon_min: float = 0.05,
    tau: float = 0.1,
    max_steps: int | None = None,
) -> QLearning:
    """The task of learning the values of actions from episodes, without knowing what actions lead to.

    Args:
        loss: of values and targets, for the log.
        metrics: those of `d2lcli.tasks.returns`.
        gamma: the discount, from 0 to 1.
        explore: eps_greedy: a random action with probability epsilon, else the best one; softmax: actions with
            probabilities proportional to exp(Q / tau).
        epsilon: in the first episode.
        epsilon_decay: the factor of epsilon from one episode to the next; 1 for none, as in the book.
        epsilon_min: epsilon does not fall below it.
        tau: the temperature of softmax.
        max_steps: cut an episode off after so many; null is the environment's own limit.

    Raises:
        ValueError: a number out of range, or two metrics of one name.
    """
    return QLearning(loss, metrics, gamma, explore, (epsilon, epsilon_decay, epsilon_min), tau, max_steps)
