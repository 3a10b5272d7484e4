"""Cliff walking: along the edge of a cliff, as gymnasium's CliffWalking-v1 (Sutton and Barto, example 6.6)."""

from d2lcli.data.dataset import Dataset
from d2lcli.data.environment import Environment, Objective, Outcome, environment_dataset, from_outcomes
from d2lcli.data.grid import plain_grid

ROWS = ("............", "............", "............", "SCCCCCCCCCCG")
ACTIONS = ("up", "right", "down", "left")
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
WIDTH = len(ROWS[0])
MOST_STEPS = 1000  # gymnasium has no limit


def cliff_walking(*, slippery: bool = False, objective: Objective = "episodes", episodes: int = 256) -> Dataset:
    """Each step costs 1; stepping off the cliff costs 100 and leads back to the start; the goal ends the episode.

    Args:
        slippery: with probability 2/3 one slides to a side.
        objective: what a training example is, see `environment_dataset`.
        episodes: of an epoch.

    Raises:
        ValueError: no episodes.

    Source: Sutton and Barto, 2018, example 6.6; gymnasium 1.x.
    """
    return environment_dataset("cliff_walking", cliff(slippery), objective, episodes, "made: 4 x 12 cells")


def cliff(slippery: bool) -> Environment:
    """The environment; states are its cells, row by row."""
    letters = "".join(ROWS)

    def outcomes(state: int, action: int) -> list[Outcome]:
        if letters[state] == "G":
            return [(1.0, state, 0.0, True)]
        ways = [(action - 1) % 4, action, (action + 1) % 4] if slippery else [action]
        return [outcome(state, way, 1 / len(ways)) for way in ways]

    def outcome(state: int, way: int, probability: float) -> Outcome:
        row, column = divmod(state, WIDTH)
        row, column = min(max(row + MOVES[way][0], 0), 3), min(max(column + MOVES[way][1], 0), WIDTH - 1)
        if ROWS[row][column] == "C":
            return probability, letters.index("S"), -100.0, False
        return probability, row * WIDTH + column, -1.0, ROWS[row][column] == "G"

    table = [[outcomes(state, action) for action in range(4)] for state in range(len(letters))]
    starts, goals = [float(letter == "S") for letter in letters], [letter == "G" for letter in letters]
    return from_outcomes(table, starts, goals, ACTIONS, MOST_STEPS, plain_grid(ROWS))
