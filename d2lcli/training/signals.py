"""Stop signals: the first one finishes the step and saves, the second ends at once.  Standard library only.

Installed before anything heavy is imported.  Until a training loop says that it looks at `requested`, there is nothing
to finish, and a signal ends the process at once with the code that a shell expects (128 + signal number).
"""

import os
import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """The run was stopped by a signal after saving.

    Args:
        signum: the signal's number; the exit code is 128 + signum.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class _State:
    requested = 0  # the number of the first stop signal, 0 for none
    save_now = False  # SIGUSR1: save and go on
    graceful = False  # a loop is running that looks at the two above


state = _State()


def _on_stop(signum: int, frame: FrameType | None) -> None:
    if state.graceful and not state.requested:
        state.requested = signum
        return
    name = signal.Signals(signum).name
    text = f"stopped by {name} at once\n" if state.requested else f"stopped by {name}: no training was going on\n"
    try:
        os.write(2, text.encode())
    except OSError:
        pass
    os._exit(128 + signum)


def _on_save(signum: int, frame: FrameType | None) -> None:
    state.save_now = True


def install() -> None:
    """Take over SIGINT, SIGTERM, SIGHUP and SIGUSR1.  A signal that the parent ignores (nohup) stays ignored."""
    try:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _on_stop)
        signal.signal(signal.SIGUSR1, _on_save)
    except ValueError:  # not the main thread: the program that embeds d2l keeps its own handlers
        pass


def ignore() -> None:
    """The command is done, its exit code decided: a late signal is not worth more."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class watching:
    """Within this block signals are noted and left to the loop, and the count starts afresh.

    A program that trains through the Python interface gets its own handlers back afterwards.
    """

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGUSR1)}
        install()
        state.requested, state.save_now, state.graceful = 0, False, True

    def __exit__(self, *exc: object) -> None:
        state.graceful = False
        state.requested = 0
        try:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        except (ValueError, TypeError):  # not the main thread, or a handler that was not set from Python
            pass
