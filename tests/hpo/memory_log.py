"""The log of a study in memory, for tests of what stands on it."""

from collections.abc import Iterator
from contextlib import contextmanager

from d2lcli.hpo.events import Event


class Shared:
    """What a database would hold."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last: list[bool] = []
        self.dead: set[str] = set()
        self.settled = False


class Log:
    """One process's view of it."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.seen, self.held = shared, 0, False

    @contextmanager
    def locked(self) -> Iterator[None]:
        assert not self.held
        self.held = True
        yield
        self.held = False

    def read(self) -> list[Event]:
        found = self.shared.events[self.seen :]
        self.seen = len(self.shared.events)
        return found

    def append(self, event: Event, *, last: bool = False) -> None:
        assert self.held
        self.shared.events.append(event)
        self.shared.last.append(last)

    def lost(self) -> list[str]:
        return sorted(self.shared.dead)

    def settle(self) -> None:
        assert self.held
        self.shared.settled = True
