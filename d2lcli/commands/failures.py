"""The one place where an exception becomes an exit code and a line for people."""

import errno
import os
import sys
import tempfile
import traceback

from d2lcli.commands.suggestions import PipeClosed
from d2lcli.commands.terminal import discard, print_error
from d2lcli.errors import ConfigError, D2LError, DataError, MemoryFullError, clean, nearest
from d2lcli.training.signals import Stopped

BROKEN_PIPE = 128 + 13  # what a shell reports for a program that SIGPIPE ended
INTERRUPTED = 128 + 2
_CPU_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate memory")


def report(error: BaseException, debug: bool) -> int:
    """Tell the user what happened; the exit code.

    Args:
        error: what ended the command.
        debug: show the traceback too.
    """
    if isinstance(error, BrokenPipeError | PipeClosed):
        discard(sys.stdout)
        return BROKEN_PIPE
    if isinstance(error, ConfigError | DataError) and os.environ.get("RANK", "0") != "0":
        return error.exit_code  # every process of the group finds the same; the first one says it
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, Stopped):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        print_error(["interrupted"])
        return INTERRUPTED
    if isinstance(error, D2LError):
        print_error(error.lines, error.hint)
        return error.exit_code
    if is_usage(error):
        return _report_usage(error)
    if _is_memory(error):
        text = clean(str(error).partition("\n")[0]) or "the machine has no more memory to give"
        print_error([f"out of memory: {text}"], "try a smaller data.batch_size, or a smaller model")
        return MemoryFullError.exit_code
    if isinstance(error, OSError):
        return _report_os(error)
    return _report_bug(error, debug)


def is_usage(error: BaseException) -> bool:
    """Whether this is Typer's own: a bad option, command or argument.  Known by its method, as its class has moved."""
    return callable(getattr(error, "format_message", None))


def _report_usage(error: BaseException) -> int:
    context = getattr(error, "ctx", None)
    message: str = error.format_message()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return 0
    if option := getattr(error, "option_name", None):
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        if type(error).__name__ == "NoSuchOption":
            message = f"unknown option '{clean(option, 80)}'{nearest(option, [*known, '--debug', '--plugin'])}"
    path = getattr(context, "command_path", "d2l")
    print_error([message.replace("\n", " ")], f"see: {clean(path)} --help")
    return 2


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_MEMORY)


def _report_os(error: OSError) -> int:
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF):
        discard(sys.stdout)
    names = [clean(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    reason = error.strerror or clean(error) or type(error).__name__
    hint = "make room and run it again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    print_error([f"{' -> '.join(map(str, names))}: {reason}" if names else reason], hint)
    return 1


def _report_bug(error: BaseException, debug: bool) -> int:
    what = f"{type(error).__name__}: {clean(str(error).partition(chr(10))[0])}"
    if debug:
        print_error([f"a bug in d2l: {what}"])
        return 1
    try:
        descriptor, path = tempfile.mkstemp(prefix="d2l-crash-", suffix=".txt")  # readable by its owner alone
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"Python {sys.version}\n\n")
            traceback.print_exception(error, file=file)
        print_error([f"a bug in d2l: {what}; the traceback is in {path}"], "please report it with that file")
    except OSError as failure:
        print_error([f"a bug in d2l: {what}; the traceback could not be saved: {failure.strerror}"], "run with --debug")
    return 1
