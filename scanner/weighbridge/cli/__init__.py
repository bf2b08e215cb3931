"""The command line: options in, one library call, the report to standard output, an exit status.

This module is the edge of the process. It keeps start-up short, because a gate runs the command once per file, and
turns what went wrong into one line and a status that cannot be taken for a verdict.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable
from typing import IO, Final, NoReturn

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_SOURCE: Final = 4
EXIT_INTERNAL: Final = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED: Final = 130  # what a shell reports for SIGINT

PLAIN: Final = frozenset({"--no-digest", "--quiet", "-q"})  # the flags of a scan that click need not read

# Facts live until the verdict, so young collections find little; still often enough for cycles in pickles.
_COLLECT_EVERY: Final = 200_000


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.disable()  # nothing that starting creates is garbage; 5 ms of 60
    if sys.stderr is None:  # closed: what is said goes nowhere, and is no error
        sys.stderr = io.StringIO()
    status = _run(_start, sys.argv[1:])
    gc.freeze()  # and what is left now is no garbage to look for when the interpreter ends
    sys.exit(status)


def _start(arguments: list[str]) -> int:
    """Import what a command line needs, and run it: an installation that is broken is an error, and no verdict."""
    if is_plain(arguments):
        from weighbridge.cli.plain import run
    else:
        from weighbridge.cli.group import run

        _unwind_when_terminated()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)
    gc.enable()
    return run(arguments)


class _TerminatedError(BaseException):
    """Somebody has asked this process to end, by SIGTERM."""


def _unwind_when_terminated() -> None:
    """Have SIGTERM leave as little behind as Ctrl-C does; a process that was forked from this one just ends."""
    import signal

    owner = os.getpid()

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:
            os.kill(os.getpid(), number)
        raise _TerminatedError

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


def is_plain(arguments: list[str]) -> bool:
    """Tell whether the command line is a scan of paths with at most the flags for which `plain` is enough."""
    paths = [argument for argument in arguments[1:] if argument not in PLAIN]
    return arguments[:1] == ["scan"] and bool(paths) and not any(p.startswith("-") or "://" in p for p in paths)


def _run(run: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Return the exit status of a command; every error that can happen ends here."""
    from weighbridge.errors import DocumentError, Refusal, SourceError, UsageError

    try:
        return run(arguments)
    except (DocumentError, UsageError) as error:
        return _say(f"error: {error}", EXIT_USAGE)
    except SourceError as error:
        return _say(f"error: {error}", EXIT_SOURCE)
    except Refusal as error:
        return _say(f"refused: {error}", EXIT_REFUSED)
    except KeyboardInterrupt:
        return _say("interrupted", EXIT_INTERRUPTED)
    except _TerminatedError:
        return _end_as_asked()
    except Exception as error:  # noqa: BLE001 - the process edge: a crash must not look like a verdict
        if isinstance(error, FileNotFoundError) and _is_nowhere():
            return _say("error: the current folder was removed; change to one that is there", EXIT_USAGE)
        if "--verbose" in arguments or "-v" in arguments:
            import traceback

            mutter(traceback.format_exc())
        hint = "; --verbose shows where"
        return _say(f"internal error: {type(error).__name__}: {_printable(str(error))}{hint}", EXIT_INTERNAL)


def _end_as_asked() -> int:
    """End by the signal that asked for it, which is what the parent waits for; the status is for where that is late."""
    import signal

    say("terminated")
    os.kill(os.getpid(), signal.SIGTERM)
    return 128 + signal.SIGTERM


def _is_nowhere() -> bool:
    """Tell whether the current folder was removed: no relative path leads anywhere then."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than a small scan
    except FileNotFoundError:
        return True
    return False


def say(text: str) -> None:
    """Write a line to standard error."""
    mutter(f"weighbridge: {text}\n")


def mutter(text: str) -> None:
    """Write text to standard error; that nobody reads it, or that there is no room for it, changes no status."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def silence(stream: IO[str]) -> None:
    """Let what a stream still holds go nowhere: Python flushes it once more when it ends, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str, status: int) -> int:
    say(text)
    return status


def _printable(text: str) -> str:
    from weighbridge.location import printable

    return printable(text)
