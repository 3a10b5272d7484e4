"""Runs the app: signal handlers first, then the command, then one handler for whatever it raised."""

from __future__ import annotations

import sys

from d2lcli.training.signals import ignore, install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run `d2l ARGS...` and return its exit code.

    Args:
        args: the words after `d2l`; the process's own where None.
    """
    install()  # before anything slow is imported: Ctrl-C must never meet a traceback

    from d2lcli.commands.failures import report
    from d2lcli.commands.options import take_common
    from d2lcli.commands.terminal import prepare_streams

    prepare_streams()
    words = sys.argv[1:] if args is None else args
    try:
        common = take_common(words)
        code = _run(common.words, common.plugins)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        return report(error, debug="--debug" in words)


def _run(words: Sequence[str], plugins: Sequence[str]) -> int:
    if words[:1] == ["--complete"]:
        from d2lcli.commands.completion import print_candidates

        print_candidates(words[1:])
        return 0
    if words[:1] == ["--hpo-worker"]:
        from d2lcli.hpo.worker import serve

        return serve()
    if plugins:
        from d2lcli.registry.plugins import import_plugin

        for module in plugins:
            import_plugin(module)

    from d2lcli.commands.app import app

    code = app(list(words), prog_name="d2l", standalone_mode=False)
    return code if isinstance(code, int) else 0


def entry() -> int:
    """The console script: `main`, and nothing that arrives while Python takes itself down changes the exit code."""
    code = main()
    ignore()
    from d2lcli.commands.terminal import settle_stderr

    settle_stderr()  # or Python, which cannot write the rest of it, would end with 120
    return code


if __name__ == "__main__":
    sys.exit(entry())
