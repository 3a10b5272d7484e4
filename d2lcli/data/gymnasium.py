"""Gymnasium's environments of numbered states and actions: as tables where they have them, else to be played."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from d2lcli.data.dataset import Dataset
from d2lcli.data.environment import Environment, Objective, environment_dataset, episode_split, from_outcomes
from d2lcli.errors import DataError, clean

MOST_STEPS = 1000  # of an episode, where the environment has no limit
MOST_VALUES = 1 << 24  # states times actions

Option = str | bool | int | float


def gymnasium(
    *,
    env: str | None = None,
    options: Mapping[str, Option] | None = None,
    objective: Objective = "episodes",
    episodes: int = 256,
    num_val: int = 100,
) -> Dataset:
    """An environment by its ID; observations are numbers (Discrete), or several together (Tuple, MultiDiscrete).

    Args:
        env: the ID, FrozenLake-v1 or Blackjack-v1.
        options: of the environment, {is_slippery: false}.
        objective: what a training example is, see `environment_dataset`.
        episodes: of an epoch.
        num_val: episodes that an evaluation plays, where the environment has no tables.

    Raises:
        ValueError: no such environment, or one with other observations or actions.
        DataError: gymnasium is not installed.
    """
    if env is None:
        raise ValueError("env is not given: the ID of an environment, as in data.env=Blackjack-v1")
    made = _make(env, options or {})
    states, actions = _sizes(made, env)
    found = f"gymnasium's {clean(env)}"
    tables = _tables(made, actions)
    if tables is not None:
        return environment_dataset("gymnasium", tables, objective, episodes, f"{found}, its tables")
    if objective == "states":
        raise ValueError(f"'{clean(env)}' has no tables of outcomes, it can only be played: use model=q_table")
    if episodes < 1 or num_val < 1:
        raise ValueError(f"episodes={episodes} and num_val={num_val} must be at least 1")
    if states * actions > MOST_VALUES:
        raise ValueError(f"'{clean(env)}' has {states:,} states and {actions:,} actions, too many for a table")
    return Dataset(
        name="gymnasium",
        train=episode_split(episodes, "train"),
        val=episode_split(num_val, "val"),
        shape=(states,),
        num_outputs=actions,
        found=f"{found}, to be played",
        environment=Simulated(lambda: _make(env, options or {}), states, actions),
    )


def _make(env: str, options: Mapping[str, Option]) -> Any:
    """An environment of the library."""
    if ":" in env:
        raise ValueError(f"env '{clean(env)}': an ID names no module; import it with --plugin MODULE")
    try:
        import gymnasium as library
    except ImportError as error:
        raise DataError("gymnasium is not installed", "pip install 'd2lcli[rl]'") from error
    make: Any = library.make
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer version of it, say
        try:
            return make(env, **options)
        except Exception as error:  # of any kind: it may be anybody's environment
            raise ValueError(f"env '{clean(env)}': {clean(error)}") from None


def _sizes(made: Any, env: str) -> tuple[int, int]:
    """How many states and actions there are."""
    import gymnasium as library

    if not isinstance(made.action_space, library.spaces.Discrete):
        raise ValueError(f"'{clean(env)}' has no numbered actions, but {clean(made.action_space, 80)}")
    states = math.prod(size for size, _ in _parts(made.observation_space, env))
    return states, int(made.action_space.n)


def _parts(space: Any, env: str) -> list[tuple[int, int]]:
    """Size and first number of each part of an observation."""
    import gymnasium as library

    if isinstance(space, library.spaces.Discrete):
        return [(int(space.n), int(space.start))]
    if isinstance(space, library.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return [(int(size), int(first)) for size, first in zip(space.nvec, space.start)]
    if isinstance(space, library.spaces.Tuple) and all(isinstance(each, library.spaces.Discrete) for each in space):
        return [part for each in space for part in _parts(each, env)]
    raise ValueError(f"'{clean(env)}' has no numbered states, but observations {clean(space, 80)}")


def _tables(made: Any, actions: int) -> Environment | None:
    """The outcomes that the environment states itself, if it does and if they are all that happens."""
    inner = made.unwrapped
    table, start = getattr(inner, "P", None), getattr(inner, "initial_state_distrib", None)
    if not isinstance(table, dict) or start is None or getattr(inner, "fickle_passenger", False):
        return None
    rows = [
        [
            [(float(p), int(to), float(reward), bool(done)) for p, to, reward, done in table[state][action]]
            for action in range(actions)
        ]
        for state in range(len(table))
    ]
    ends = {to for row in rows for outcomes in row for _, to, reward, done in outcomes if done and reward > 0}
    names = [str(action) for action in range(actions)]
    goal = [state in ends for state in range(len(rows))]
    return from_outcomes(rows, [float(each) for each in start], goal, names, _limit(made))


def _limit(made: Any) -> int:
    return int(getattr(made.spec, "max_episode_steps", None) or MOST_STEPS)


class Simulated:
    """An environment that can be played, and of whose outcomes nothing else is known.

    Args:
        make: a new copy of it, for one more agent.
        num_states, num_actions: how many there are.
    """

    grid = None

    def __init__(self, make: Callable[[], Any], num_states: int, num_actions: int) -> None:
        self.make, self.num_states, self.num_actions = make, num_states, num_actions
        self._copies = [make()]
        self._playing: list[Any] = []
        self._sizes = _parts(self._copies[0].observation_space, "")
        self._first = int(self._copies[0].action_space.start)
        self.actions = tuple(str(self._first + action) for action in range(num_actions))
        self.max_steps = _limit(self._copies[0])

    def _number(self, observation: Any) -> int:
        """The state of an observation: its parts as the digits of a number."""
        parts = observation if len(self._sizes) > 1 else [observation]
        state = 0
        for part, (size, first) in zip(parts, self._sizes):
            state = state * size + int(part) - first
        return state

    def shown(self, state: int) -> str:
        """An observation in characters."""
        parts = []
        for size, first in reversed(self._sizes):
            state, part = divmod(state, size)
            parts.append(part + first)
        return "state " + ", ".join(str(part) for part in reversed(parts))

    def begin(self, count: int, generator: torch.Generator) -> Tensor:
        """Begin `count` episodes, each with a seed of its own: the states (n,)."""
        while len(self._copies) < count:
            self._copies.append(self.make())
        self._playing = self._copies[:count]
        seeds = torch.randint(2**31, (count,), generator=generator).tolist()
        return torch.tensor([self._number(copy.reset(seed=seed)[0]) for copy, seed in zip(self._playing, seeds)])

    def step(self, states: Tensor, actions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One step of each agent; see `Environment.step`.  Chance is that of the seeds with which they began."""
        found = [copy.step(self._first + action)[:3] for copy, action in zip(self._playing, actions.tolist())]
        following = torch.tensor([self._number(observation) for observation, _, _ in found], dtype=torch.int64)
        rewards = torch.tensor([float(reward) for _, reward, _ in found], dtype=torch.float64)
        return following, rewards, torch.tensor([bool(done) for _, _, done in found], dtype=torch.bool)

    def keep(self, going_on: Tensor) -> None:
        """Leave the agents whose episode is over."""
        self._playing = [copy for copy, goes_on in zip(self._playing, going_on.tolist()) if goes_on]

    def to(self, device: torch.device) -> "Simulated":
        """Itself: it is played by the processor."""
        return self
