"""What all rooms share: slow tests wait for `-m slow`, and the tests' own process keeps its signal handlers."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch

from d2lcli.training import signals

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of `pytest -n 2` share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "D2L_MEETING", "D2L_LAUNCHED", "D2L_DATA")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out where nobody has chosen tests by marker or name."""
    chosen = config.option.markexpr or config.option.keyword or any("::" in word for word in config.args)
    slow = [] if chosen else [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


@pytest.fixture(autouse=True)
def _no_trace_of_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`main` installs handlers that end the process; the tests go on."""
    for name in GROUP:
        monkeypatch.delenv(name, raising=False)
    numbers = (*signals.STOP_SIGNALS, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signals.state.requested, signals.state.save_now, signals.state.graceful = 0, False, False
