"""What an agent acts in, as tables of outcomes (d2l 17.1), and episodes as the examples of a data set.

Legend: S states, A actions, K outcomes that an action can have, n agents side by side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.grid import Grid
from d2lcli.data.loader import Loader, part, stream_seed
from d2lcli.nn.exploration import choose, choose_one, cumulative

MOST_STATES = 4096  # exact evaluations solve systems of as many equations
Objective = Literal["episodes", "states"]
Outcome = tuple[float, int, float, bool]  # probability, next state, reward, whether the episode ends


@dataclass(frozen=True)
class Environment:
    """A Markov decision process.  States in which an episode ends lead to themselves, without reward.

    Args:
        probabilities: float64 (S, A, K); the outcomes of an action add up to 1, and those that it does not have are 0.
        next_states: int64 (S, A, K).
        rewards: float64 (S, A, K).
        done: bool (S, A, K), whether the episode ends with that outcome.
        start: float64 (S,), how likely an episode begins in each state.
        goal: bool (S,): an episode that ends there is a success.
        actions: their names.
        max_steps: after which an episode is cut off.
        grid: how states are shown; None where nothing is known but their numbers.
    """

    probabilities: Tensor
    next_states: Tensor
    rewards: Tensor
    done: Tensor
    start: Tensor
    goal: Tensor
    actions: tuple[str, ...]
    max_steps: int
    grid: Grid | None = None
    _tables: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._tables["outcome"] = cumulative(self.probabilities.flatten(0, 1))  # (K - 1, S A)
        self._tables["start"] = cumulative(self.start[None])  # (S - 1, 1)

    @property
    def num_states(self) -> int:
        """S."""
        return self.probabilities.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.probabilities.shape[1]

    @property
    def final(self) -> Tensor:
        """Which states an episode has ended in, bool (S,): every action stays there and ends it."""
        own = torch.arange(self.num_states, device=self.done.device)[:, None, None]
        return ((self.done & (self.next_states == own)) | (self.probabilities == 0)).all(2).all(1)

    def expected(self) -> tuple[Tensor, Tensor]:
        """P, the probability of each next state (S, A, S), and R, the expected reward (S, A)."""
        size = (self.num_states, self.num_actions, self.num_states)
        transitions = torch.zeros(size, dtype=torch.float64, device=self.start.device)
        transitions.scatter_add_(2, self.next_states, self.probabilities)
        return transitions, (self.probabilities * self.rewards).sum(2)

    def to(self, device: torch.device) -> "Environment":
        """The same on another device."""
        names = ("probabilities", "next_states", "rewards", "done", "start", "goal")
        return replace(self, **{name: getattr(self, name).to(device) for name in names}, _tables={})

    def shown(self, state: int) -> str:
        """A state in characters."""
        return self.grid.text(state) if self.grid is not None else f"state {state}"

    # Many agents side by side.

    def begin(self, count: int, generator: torch.Generator) -> Tensor:
        """The states (n,) in which `count` episodes begin."""
        uniforms = torch.rand(count, generator=generator, dtype=torch.float64, device=self.start.device)
        return torch.searchsorted(self._tables["start"][:, 0], uniforms, right=True)

    def step(self, states: Tensor, actions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One step of each agent.

        Args:
            states, actions: int64 (n,).
            generator: decides the outcomes, where there are several.

        Returns:
            The next states, the rewards, and whether the episode is over, (n,) each.
        """
        places = states * self.num_actions + actions
        if (outcomes := self.probabilities.shape[2]) > 1:
            uniforms = torch.rand(len(states), generator=generator, dtype=torch.float64, device=states.device)
            places = places * outcomes + choose(self._tables["outcome"], places, uniforms)
        tables = (self.next_states, self.rewards, self.done)
        following, rewards, done = (table.view(-1).index_select(0, places) for table in tables)
        return following, rewards, done

    def keep(self, going_on: Tensor) -> None:
        """Forget the agents whose episode is over; a table has nothing to forget."""

    # One agent.

    def listed(self) -> "Listed":
        """The same as Python numbers."""
        chances = self.probabilities.tolist()
        facts = [table.tolist() for table in (self.next_states, self.rewards, self.done)]
        rows = [
            [
                [outcome for outcome in zip(*(table[state][action] for table in (chances, *facts))) if outcome[0] > 0]
                for action in range(self.num_actions)
            ]
            for state in range(self.num_states)
        ]
        starts = [(state, chance) for state, chance in enumerate(self.start.tolist()) if chance > 0]
        return Listed(rows, starts)


@dataclass(frozen=True)
class Listed:
    """The outcomes of an environment as Python numbers, for a loop that takes one step at a time.

    Args:
        rows: state -> action -> its outcomes.
        starts: states in which an episode may begin, with their probabilities.
    """

    rows: Sequence[Sequence[Sequence[Outcome]]]
    starts: Sequence[tuple[int, float]]

    def begin(self, uniform: float) -> int:
        """The state in which an episode begins."""
        return self.starts[choose_one([chance for _, chance in self.starts], uniform)][0]

    def step(self, state: int, action: int, uniform: float) -> Outcome:
        """The outcome of an action."""
        outcomes = self.rows[state][action]
        if len(outcomes) == 1:
            return outcomes[0]
        return outcomes[choose_one([outcome[0] for outcome in outcomes], uniform)]


def from_outcomes(
    rows: Sequence[Sequence[Sequence[Outcome]]],
    start: Sequence[float],
    goal: Sequence[bool],
    actions: Sequence[str],
    max_steps: int,
    grid: Grid | None = None,
) -> Environment:
    """An environment from lists: state -> action -> outcomes."""
    most = max(len(outcomes) for row in rows for outcomes in row)
    padded = [
        [[*outcomes, *[(0.0, state, 0.0, True)] * (most - len(outcomes))] for outcomes in row]
        for state, row in enumerate(rows)
    ]
    kinds = (torch.float64, torch.int64, torch.float64, torch.bool)
    probabilities, next_states, rewards, done = (
        torch.tensor([[[outcome[part] for outcome in outcomes] for outcomes in row] for row in padded], dtype=kind)
        for part, kind in enumerate(kinds)
    )
    chances = torch.tensor(start, dtype=torch.float64)
    return Environment(
        probabilities,
        next_states,
        rewards,
        done,
        chances / chances.sum(),
        torch.tensor(goal),
        tuple(actions),
        max_steps,
        grid,
    )


@dataclass(frozen=True)
class EpisodeSplit(Split):
    """Episodes that are still to be played: an example is the number of one."""

    def head(self, n: int) -> "EpisodeSplit":
        """The first `n` episodes."""
        return episode_split(min(n, len(self)), self.name)


def episode_split(count: int, name: str) -> EpisodeSplit:
    """A split of so many episodes."""
    numbers = torch.arange(count)
    return EpisodeSplit(numbers, numbers, name=name, source="the environment")


class EpisodeLoader(Loader):
    """Batches (numbers (b,), seed ()): numbers that go on from epoch to epoch, and what decides all chance of a batch.

    The seed is another one for each batch of training; in an evaluation, whose episodes are told apart by their numbers
    alone, it is the same for all, so that no batch size changes what is measured.
    """

    def _open(self, device: torch.device, channels_last: bool, workers: int) -> None:
        pass

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        if not 0 <= start <= len(self):
            raise ValueError(f"start is {start}; the epoch has {len(self)} batches")
        for index in range(start, len(self)):
            low, high = part(self.global_size(index), self.rank, self.world_size)
            if high > low:
                first = epoch * len(self.split) + index * self.batch_size
                stream = f"{self.split.name} episodes" + (f" {index}" if self.shuffle else "")
                seed = stream_seed(self.seed, epoch, stream)
                yield torch.arange(first + low, first + high), torch.tensor(seed)


@dataclass(frozen=True)
class StateSplit(Split):
    """All states: an example is one of them, as a row of the identity matrix.  Its targets are the expected rewards."""

    def head(self, n: int) -> "StateSplit":
        """All of them: what is computed from the tables is exact, and needs them all."""
        return self


def state_split(environment: Environment, name: str) -> StateSplit:
    """The states (S, S) and the expected rewards (S, A) of an environment."""
    rewards = (environment.probabilities * environment.rewards).sum(2)
    return StateSplit(torch.eye(environment.num_states), rewards.float(), name=name, source="the environment")


def environment_dataset(
    name: str, environment: Environment, objective: Objective, episodes: int, found: str
) -> Dataset:
    """A data set of an environment.

    Args:
        name: the registry's name.
        environment: the tables.
        objective: what an example is in training: an episode, or a state of a sweep over all of them.
        episodes: of an epoch.
        found: where the environment comes from, in words.

    Raises:
        ValueError: there are too many states, or no episodes.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; it must be at least 1")
    if (states := environment.num_states) > MOST_STATES:
        raise ValueError(f"the environment has {states:,} states; tables are for at most {MOST_STATES:,}")
    train: Split = episode_split(episodes, "train") if objective == "episodes" else state_split(environment, "train")
    return Dataset(
        name=name,
        train=train,
        val=state_split(environment, "val"),
        shape=(states,),
        num_outputs=environment.num_actions,
        found=found,
        environment=environment,
    )
