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
    _leave(signum, "at once" if state.requested else "outside of training")


def _leave(signum: int, how: str) -> None:
    try:
        os.write(2, f"stopped by {signal.Signals(signum).name} {how}\n".encode())
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

    Python runs a handler between two of its instructions, which may be minutes apart where one of them is a large
    kernel; so a thread reads the numbers of the signals as they come in, and ends the process at the second.
    A program that trains through the Python interface gets its own handlers back afterwards.
    """

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGUSR1)}
        install()
        state.requested, state.save_now, state.graceful = 0, False, True
        self._pipe = _watch_from_a_thread()

    def __exit__(self, *exc: object) -> None:
        state.graceful = False
        state.requested = 0
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._pipe)  # the thread reads the end of the pipe, and ends
        try:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        except (ValueError, TypeError):  # not the main thread, or a handler that was not set from Python
            pass


def _watch_from_a_thread() -> int | None:
    """Start the thread that ends the process at the second stop signal; the end of the pipe that signals write to."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        return None
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_count, args=(read,), name="d2l-signals", daemon=True).start()
    return write


def _count(read: int) -> None:
    seen = 0
    while numbers := os.read(read, 64):
        for number in numbers:
            seen += number in STOP_SIGNALS
            if seen == 2:
                _leave(number, "at once")
    os.close(read)


def _forget() -> None:
    """In a forked data worker: its signals are not ours to report."""
    try:
        signal.set_wakeup_fd(-1)
    except ValueError:  # forked from another thread: nothing was set
        pass


os.register_at_fork(after_in_child=_forget)
