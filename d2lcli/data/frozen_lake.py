"""FrozenLake: from the start to the goal over ice with holes (d2l 17.2), as gymnasium's FrozenLake-v1."""

from collections.abc import Sequence
from typing import Literal

from d2lcli.data.dataset import Dataset
from d2lcli.data.environment import Environment, Objective, Outcome, environment_dataset, from_outcomes
from d2lcli.data.grid import plain_grid
from d2lcli.errors import clean

MAPS = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}
ACTIONS = ("left", "down", "right", "up")
MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))
LETTERS = "SFHG"
STEPS = {16: 100, 64: 200}  # gymnasium's limits for its two maps, by their cells


def frozen_lake(
    *,
    map: Literal["4x4", "8x8"] | Sequence[str] = "4x4",
    slippery: bool = False,
    objective: Objective = "episodes",
    episodes: int = 256,
) -> Dataset:
    """Walk over the ice; reaching the goal gives 1, everything else 0; holes and the goal end an episode.

    Args:
        map: 4x4, 8x8, or rows of letters: S start (several are equally likely), F ice, H hole, G goal.
        slippery: with probability 2/3 one slides to a side: every third to the left and to the right of the direction.
        objective: what a training example is, see `environment_dataset`.
        episodes: of an epoch.

    Raises:
        ValueError: rows of different lengths, unknown letters, no start, no goal, or a goal out of reach.

    Source: gymnasium 1.x, FrozenLake-v1; d2l 17.2.
    """
    rows = MAPS[map] if isinstance(map, str) else [str(row) for row in map]
    check_map(rows)
    found = f"made from a map of {len(rows)} x {len(rows[0])} cells"
    return environment_dataset("frozen_lake", lake(rows, slippery), objective, episodes, found)


def check_map(rows: Sequence[str]) -> None:
    """Refuse a map on which nothing can be learnt.

    Raises:
        ValueError: see `frozen_lake`.
    """
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"map: rows of {[len(row) for row in rows]} letters; give rows of one length")
    if unknown := sorted({*"".join(rows)} - {*LETTERS}):
        known = "S start, F ice, H hole, G goal"
        raise ValueError(f"map: unknown letter '{clean(unknown[0], 20)}' (known: {known})")
    for letter, what in (("S", "start"), ("G", "goal")):
        if letter not in "".join(rows):
            raise ValueError(f"map: there is no {what}, the letter {letter}")
    if not _reachable(rows):
        raise ValueError("map: no way leads from a start to a goal")


def _reachable(rows: Sequence[str]) -> bool:
    """Whether a goal can be reached."""
    cells = {
        (row, column) for row, letters in enumerate(rows) for column, letter in enumerate(letters) if letter == "S"
    }
    border = list(cells)
    while border:
        row, column = border.pop()
        if rows[row][column] == "G":
            return True
        for cell in (_moved(rows, row, column, action) for action in range(4)):
            if cell not in cells and rows[cell[0]][cell[1]] != "H":
                cells.add(cell)
                border.append(cell)
    return False


def _moved(rows: Sequence[str], row: int, column: int, action: int) -> tuple[int, int]:
    """The cell next to one, or the same at the border."""
    down, right = MOVES[action]
    return min(max(row + down, 0), len(rows) - 1), min(max(column + right, 0), len(rows[0]) - 1)


def lake(rows: Sequence[str], slippery: bool) -> Environment:
    """The environment of a map; states are its cells, row by row."""
    width, letters = len(rows[0]), "".join(rows)

    def outcomes(state: int, action: int) -> list[Outcome]:
        if letters[state] in "HG":
            return [(1.0, state, 0.0, True)]
        ways = [(action - 1) % 4, action, (action + 1) % 4] if slippery else [action]
        return [outcome(state, way, 1 / len(ways)) for way in ways]

    def outcome(state: int, way: int, probability: float) -> Outcome:
        row, column = _moved(rows, *divmod(state, width), way)
        letter = rows[row][column]
        return probability, row * width + column, float(letter == "G"), letter in "HG"

    table = [[outcomes(state, action) for action in range(4)] for state in range(len(letters))]
    starts, goals = [float(letter == "S") for letter in letters], [letter == "G" for letter in letters]
    max_steps = STEPS.get(len(letters), 100 + 2 * len(letters))
    return from_outcomes(table, starts, goals, ACTIONS, max_steps, plain_grid(rows))
