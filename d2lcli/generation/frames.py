"""Pictures of episodes: the cells of a small world, and where the agent is in them; as an animation and as a strip."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from d2lcli.data.grid import Grid
from d2lcli.training.files import replace_file

CELL = 48  # pixels
LINE = 20  # of a line of text
ACROSS = 8  # frames of a strip side by side
INK = "#20303a"
THINGS = {"agent": "#d1495b", "passenger": "#2e7dd1", "destination": "#b03ab0"}


def draw_state(grid: Grid | None, shown: str, state: int, below: str) -> Image.Image:
    """One moment.

    Args:
        grid: the cells; None draws the state in characters.
        shown: the state in characters.
        state: its number.
        below: a line of text.
    """
    above = shown.splitlines() if grid is None else [line for line in [grid.captions(state)] if line]
    lines = [*above, below]
    rows, columns = (len(grid.letters), len(grid.letters[0])) if grid is not None else (0, 6)
    image = Image.new("RGB", (columns * CELL, rows * CELL + LINE * len(lines) + 4), "white")
    pen = ImageDraw.Draw(image)
    if grid is not None:
        _draw_cells(pen, grid)
        _draw_things(pen, grid, state)
    font = ImageFont.load_default(14)
    for number, line in enumerate(lines):
        pen.text((4, rows * CELL + LINE * number), line, fill=INK, font=font)
    return image


def _draw_cells(pen: ImageDraw.ImageDraw, grid: Grid) -> None:
    font = ImageFont.load_default(14)
    for row, letters in enumerate(grid.letters):
        for column, letter in enumerate(letters):
            x, y = column * CELL, row * CELL
            pen.rectangle(
                (x, y, x + CELL - 1, y + CELL - 1), fill=grid.colours.get(letter, "#f3f3f3"), outline="#b8c4cc"
            )
            pen.text((x + 4, y + 2), letter.strip("."), fill=INK if letter != "H" else "white", font=font)
    for row, column in grid.walls:
        x, y = (column + 1) * CELL, row * CELL
        pen.line((x, y, x, y + CELL), fill=INK, width=5)


def _draw_things(pen: ImageDraw.ImageDraw, grid: Grid, state: int) -> None:
    """The destination as a frame, others as discs, each smaller than the one before."""
    things = grid.things(state)
    for name in ("destination", "agent", "passenger"):
        if name not in things:
            continue
        row, column = things[name]
        x, y = column * CELL, row * CELL
        if name == "destination":
            pen.rectangle((x + 3, y + 3, x + CELL - 4, y + CELL - 4), outline=THINGS[name], width=3)
        else:
            inset = 12 if name == "agent" else 18
            pen.ellipse((x + inset, y + inset, x + CELL - inset, y + CELL - inset), fill=THINGS[name])


def write_animation(images: Sequence[Image.Image], path: Path, seconds: float) -> Path:
    """A GIF that shows each image for so long, the last three times as long, without end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wait = max(20, round(1000 * seconds))
    encoded = BytesIO()
    durations = [wait] * (len(images) - 1) + [3 * wait]
    images[0].save(encoded, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    replace_file(path, encoded.getvalue())
    return path


def write_strip(images: Sequence[Image.Image], path: Path) -> Path:
    """All images in one PNG file, eight in a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = images[0].width + 8, images[0].height + 8
    across = min(ACROSS, len(images))
    strip = Image.new("RGB", (across * width, -(-len(images) // across) * height), "white")
    for number, image in enumerate(images):
        strip.paste(image, (number % across * width + 4, number // across * height + 4))
    encoded = BytesIO()
    strip.save(encoded, format="PNG")
    replace_file(path, encoded.getvalue())
    return path
