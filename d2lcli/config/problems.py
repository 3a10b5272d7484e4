"""Gathers everything that is wrong with a config, so that it is told at once."""

from collections.abc import Callable

from d2lcli.errors import ConfigError

MOST = 10


class Problems:
    """The first problems in words, the rest as a number: two thousand bad keys are as quick to refuse as one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.hint = ""

    def add(self, problem: str | Callable[[], str], hint: str = "") -> None:
        """Note a problem.  One that is costly to word comes as a function, called only if it will be shown."""
        self.count += 1
        self.hint = self.hint or hint
        if len(self.lines) < MOST:
            self.lines.append(problem if isinstance(problem, str) else problem())

    def raise_any(self) -> None:
        """Raise a ConfigError that holds them, if there are any."""
        if self.count:
            more = [f"and {self.count - MOST:,} more problems"] if self.count > MOST else []
            raise ConfigError(self.lines + more, self.hint)
