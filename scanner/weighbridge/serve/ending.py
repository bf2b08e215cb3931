"""What becomes of the copy when the command ends.

On Linux the command takes the place of this process, so that whoever started it keeps its process id, and a process
of ours, outside of its family, waits for its end and removes the copy. Elsewhere this process waits itself.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.serve.exposure import remove

# Python ignores these, and a program that is started by `exec` would go on to.
_RESTORED: Final = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")
_IGNORED: Final = ("SIGHUP", "SIGINT", "SIGTERM")


def watch(root: Path) -> bool:
    """Have `root` removed when this process, whatever it has become, has ended; tell whether this system can do that.

    To be called before anything is put there: a signal can end this process at any time.
    """
    if not hasattr(os, "pidfd_open"):
        return False
    _remove_after_this_process(root)
    return True


def become(
    program: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    root: Path,
    watched: bool,
    folder: Path | None,
) -> NoReturn:
    """Run a program in place of this one, in `folder` if one is given; remove `root` afterwards if nobody watches."""
    if folder is not None:
        os.chdir(folder)
    if watched:
        _execute(program, words, environment)
    sys.exit(_wait(program, words, environment, root))


def _execute(program: str, words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    for name in _RESTORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execve(program, list(words), dict(environment))  # noqa: S606 - no shell reads the words
    except OSError as error:
        raise UsageError(f"{printable(program)}: cannot be run: {error.strerror}") from error


def _remove_after_this_process(root: Path) -> None:
    """Leave a process behind that removes a folder when this process, whatever it has become, has ended."""
    process = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        os.close(process)
        os.waitpid(child, 0)
        return
    status = 1
    try:
        os.setsid()
        if os.fork() == 0:
            _await(process, root)
        status = 0
    finally:
        os._exit(status)


def _await(process: int, root: Path) -> None:
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    select.select([process], [], [])
    remove(root)


def _wait(program: str, words: Sequence[str], environment: Mapping[str, str], root: Path) -> int:
    """Run a program, pass signals on to it, and return its status as a shell has it."""
    running: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # signals from before there is somebody to pass them to

    def pass_on(number: int, _: object) -> None:
        if running:
            running[0].send_signal(number)
        else:
            early.append(number)

    for name in _IGNORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), pass_on)
    try:
        try:
            running.append(subprocess.Popen(words, executable=program, env=dict(environment)))  # noqa: S603 - no shell
        except OSError as error:
            raise UsageError(f"{printable(program)}: cannot be run: {error.strerror}") from error
        for number in early:
            running[0].send_signal(number)
        status = running[0].wait()
        return status if status >= 0 else 128 - status
    finally:
        remove(root)
