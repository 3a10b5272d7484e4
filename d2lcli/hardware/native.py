"""The probes in C: compiled when they are first needed, where there is a compiler, into a folder of this process."""

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("probes.c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
PATIENCE = 60  # seconds
LINE = 64  # bytes of a cache line: one element of a chain in each
Chain = np.ndarray[tuple[int], np.dtype[np.uint64]]
Floats = np.ndarray[tuple[int], np.dtype[np.float32]]


class Probes:
    """The compiled functions.  ctypes lets go of Python's lock while they run, so that threads run side by side.

    Args:
        library: what the compiler made.
    """

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        self._chase, self._multiply_add, self._triad = loaded.chase, loaded.multiply_add, loaded.triad
        self._chase.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t]
        self._chase.restype = ctypes.c_uint64
        self._multiply_add.argtypes = [ctypes.c_size_t, ctypes.c_float, ctypes.c_float]
        self._multiply_add.restype = ctypes.c_float
        self._triad.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_float, ctypes.c_size_t]
        self.width: int = loaded.width()

    def chase(self, chain: Chain, place: int, steps: int) -> int:
        """Follow a chain that `make_chain` made, from a place on it; the place at the end."""
        return int(self._chase(chain.ctypes.data, place, steps))

    def multiply_add(self, steps: int) -> int:
        """Compute in registers only; how many operations it were."""
        self._multiply_add(steps, 0.999, 0.001)
        return 24 * self.width * steps

    def triad(self, a: Floats, b: Floats, c: Floats) -> None:
        """a = b + 3 c, of equally many numbers."""
        self._triad(a.ctypes.data, b.ctypes.data, c.ctypes.data, 3.0, min(a.size, b.size, c.size))


@cache
def probes() -> Probes | None:
    """The functions, or None where there is no compiler or it fails: then nobody can measure, and nobody guesses."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="d2l-probes-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "probes.so"
    try:
        command = [compiler, *FLAGS, "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        return Probes(library)
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None


def make_chain(size: int, seed: int = 0) -> Chain:
    """One cycle through all cache lines of `size` bytes in random order, which no hardware can guess.

    Args:
        size: bytes, at least those of two lines.
        seed: of the order.
    """
    stride = LINE // 8
    lines = max(2, size // LINE)
    order = np.random.default_rng(seed).permutation(lines).astype(np.uint64)
    chain = np.zeros(lines * stride, np.uint64)
    chain[order * stride] = np.roll(order, -1) * stride
    return chain
