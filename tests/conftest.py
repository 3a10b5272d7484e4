"""What all rooms share: the handlers of the process that runs the tests stay as they were."""

import signal
from collections.abc import Iterator

import pytest

from d2lcli.training import signals

GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "D2L_MEETING", "D2L_LAUNCHED", "D2L_DATA")


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
