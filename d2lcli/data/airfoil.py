"""NASA's airfoil self-noise (Brooks et al., 1989; UCI): the table on which the book compares optimizers (d2l 12.5)."""

from d2lcli.data.dataset import Dataset, Split
from d2lcli.data.download import Progress, obtain
from d2lcli.data.sources import AIRFOIL
from d2lcli.data.table import encode_features, read_table

ROWS = 1500  # of 1,503, as in the book, so that batches of 1,500, 100 and 10 fit


def airfoil(*, root: str | None = None, progress: Progress | None = None) -> Dataset:
    """1,500 measurements: noise in decibels from frequency, angle, chord, speed and thickness, all standardised.

    Mean and standard deviation are those of all 1,503 rows, and the rows that are trained on are also those that are
    evaluated: as in the book, where optimizers are compared by the objective that they minimise.

    Args:
        root: a folder to look in first, for airfoil_self_noise.dat.
        progress: told how far a download is.

    Raises:
        ValueError: `root` is not a folder.
        DataError: the file is not here and cannot be downloaded, or is damaged.
    """
    content, digest, path, place = obtain(AIRFOIL, root, progress)
    table = read_table(content, str(path), delimiter="\t", header=False)
    values = encode_features(table, table.names, range(len(table.rows)))[:ROWS]
    inputs, targets = values[:, :-1].contiguous(), values[:, -1:].contiguous()
    return Dataset(
        "airfoil",
        Split(inputs, targets, name="train", source=place),
        Split(inputs, targets, name="val", source=place),
        (inputs.shape[1],),
        1,
        files={str(path): digest},
        found=place,
    )
