"""How the states of a small world of cells are shown: in characters, and where the things in it are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Place = tuple[int, int]  # row, column
COLOURS = {"F": "#d6ecfa", "H": "#3b5568", "G": "#8fd19e", "S": "#fff3c4", "C": "#8a6a4f"}


@dataclass(frozen=True)
class Grid:
    """A world of cells.

    Args:
        letters: a row of text for each row of cells: what is on the ground.
        things: state -> where each thing is; one of them is the "agent".
        captions: state -> a line below the cells; empty for none.
        walls: cells with a wall between them and the cell to their right.
        panels: maps of all states: titles, and the state of each cell as long as nothing else changes.
        colours: of the ground, by its letter.
    """

    letters: Sequence[str]
    things: Callable[[int], Mapping[str, Place]]
    captions: Callable[[int], str]
    walls: frozenset[Place]
    panels: Sequence[tuple[str, Sequence[Sequence[int]]]]
    colours: Mapping[str, str]

    def text(self, state: int) -> str:
        """The cells in characters, the agent's in brackets."""
        agent = self.things(state)["agent"]
        lines = []
        for row, letters in enumerate(self.letters):
            cells = [
                f"[{letter}]" if (row, column) == agent else f" {letter} " for column, letter in enumerate(letters)
            ]
            fences = ["|" if (row, column) in self.walls else " " for column in range(len(letters))]
            lines.append("".join(cell + fence for cell, fence in zip(cells, fences)).rstrip())
        caption = self.captions(state)
        return "\n".join([*lines, *([caption] if caption else [])])


def plain_grid(letters: Sequence[str]) -> Grid:
    """A world in which a state is the agent's cell, row by row: of ice, holes, cliffs, starts and goals."""
    width = len(letters[0])
    numbers = [[row * width + column for column in range(width)] for row in range(len(letters))]
    panels = [("", numbers)]
    return Grid(letters, lambda state: {"agent": divmod(state, width)}, lambda state: "", frozenset(), panels, COLOURS)
