"""Taxi: fetch a passenger and bring them where they want to go, as gymnasium's Taxi (Dietterich, 2000)."""

import itertools
from collections.abc import Mapping

from d2lcli.data.dataset import Dataset
from d2lcli.data.environment import Environment, Objective, Outcome, environment_dataset, from_outcomes
from d2lcli.data.grid import Grid, Place

ROWS = ("R...G", ".....", ".....", ".....", "Y..B.")
STOPS = "RGYB"
PLACES = ((0, 0), (0, 4), (4, 0), (4, 3))
RIDING = 4  # where the passenger is when they are in the taxi
WALLS = frozenset({(0, 1), (1, 1), (3, 0), (3, 2), (4, 0), (4, 2)})
ACTIONS = ("down", "up", "right", "left", "pick up", "drop off")
MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))
MOST_STEPS = 200
COLOURS = {"R": "#f6c1c1", "G": "#c4e6c4", "Y": "#f7eab0", "B": "#c3d6f5"}


def taxi(*, objective: Objective = "episodes", episodes: int = 256) -> Dataset:
    """A step costs 1, picking up or dropping off where that is wrong 10; the right drop-off gives 20 and ends it.

    A state is (row, column, passenger, destination); an episode begins in any of those where the passenger waits at
    another place than they want to go to.

    Args:
        objective: what a training example is, see `environment_dataset`.
        episodes: of an epoch.

    Raises:
        ValueError: no episodes.

    Source: Dietterich, 2000; gymnasium 1.x, Taxi-v3 and v4.
    """
    return environment_dataset("taxi", city(), objective, episodes, "made: 5 x 5 cells, 500 states")


def number(row: int, column: int, passenger: int, destination: int) -> int:
    """The number of a state."""
    return ((row * 5 + column) * 5 + passenger) * 4 + destination


def parts(state: int) -> tuple[int, int, int, int]:
    """Row, column, passenger and destination of a state."""
    rest, destination = divmod(state, 4)
    rest, passenger = divmod(rest, 5)
    return *divmod(rest, 5), passenger, destination


def outcome(state: int, action: int) -> Outcome:
    """What an action leads to; nothing is left to chance."""
    row, column, passenger, destination = parts(state)
    if passenger == destination:  # they have arrived
        return 1.0, state, 0.0, True
    place, reward, done = (row, column), -1.0, False
    if action < len(MOVES):
        row, column = _moved(place, action)
    elif action == ACTIONS.index("pick up"):
        if passenger != RIDING and place == PLACES[passenger]:
            passenger = RIDING
        else:
            reward = -10.0
    elif passenger == RIDING and place == PLACES[destination]:
        passenger, reward, done = destination, 20.0, True
    elif passenger == RIDING and place in PLACES:
        passenger = PLACES.index(place)
    else:
        reward = -10.0
    return 1.0, number(row, column, passenger, destination), reward, done


def _moved(place: Place, action: int) -> Place:
    """The cell next to one, or the same where a wall or the border is between."""
    (row, column), (down, right) = place, MOVES[action]
    if (right == 1 and place in WALLS) or (right == -1 and (row, column - 1) in WALLS):
        return place
    return min(max(row + down, 0), 4), min(max(column + right, 0), 4)


def city() -> Environment:
    """The environment."""
    states = range(500)
    table = [[[outcome(state, action)] for action in range(len(ACTIONS))] for state in states]
    waiting = [passenger not in (RIDING, destination) for *_, passenger, destination in map(parts, states)]
    arrived = [passenger == destination for *_, passenger, destination in map(parts, states)]
    return from_outcomes(table, [float(each) for each in waiting], arrived, ACTIONS, MOST_STEPS, _grid())


def _grid() -> Grid:
    def things(state: int) -> Mapping[str, Place]:
        row, column, passenger, destination = parts(state)
        waiting = {} if passenger == RIDING else {"passenger": PLACES[passenger]}
        return {"agent": (row, column), "destination": PLACES[destination]} | waiting

    def caption(state: int) -> str:
        *_, passenger, destination = parts(state)
        where = "in the taxi" if passenger == RIDING else f"at {STOPS[passenger]}"
        return f"passenger {where}, to {STOPS[destination]}"

    panels = [
        (
            caption(number(0, 0, passenger, destination)),
            [[number(row, column, passenger, destination) for column in range(5)] for row in range(5)],
        )
        for passenger, destination in itertools.product(range(5), range(4))
        if passenger != destination
    ]
    return Grid(ROWS, things, caption, WALLS, panels, COLOURS)
