"""Progress on a terminal: one line on standard error that is written over and gone in the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from weighbridge.report.base import sized

if TYPE_CHECKING:
    from weighbridge.store import Progress

EVERY: Final = 0.1  # seconds between two lines
_ERASE: Final = "\r\x1b[K"
# The rate is that of about the last so many seconds.
_MEMORY: Final = 5.0


class Meter:
    """How far a download is: what has arrived, how fast, and how long the rest will take at that rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown = clock()
        self._samples: list[tuple[float, int]] = [(clock(), 0)]

    def line(self, progress: Progress) -> str | None:
        """Return the line for a state, None when it is too early for another one."""
        now = self._clock()
        if now - self._shown < EVERY:
            return None
        self._shown = now
        self._samples.append((now, progress.received))
        while now - self._samples[0][0] > _MEMORY and len(self._samples) > 2:
            del self._samples[0]
        (begun, before), left = self._samples[0], progress.total - progress.present - progress.received
        rate = (progress.received - before) / (now - begun) if now > begun else 0.0
        text = f"{sized(progress.present + progress.received)} of {sized(progress.total)}"
        if rate < 1:
            return text
        return f"{text}, {sized(int(rate))}/s, {lasting(left / rate)} left"


def lasting(seconds: float) -> str:
    """Return a time in the two units that matter.

    >>> lasting(5), lasting(65), lasting(7300)
    ('5 s', '1 min 05 s', '2 h 01 min')
    """
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def received(*, quiet: bool) -> Callable[[Progress], None] | None:
    """Return what shows a download on a terminal, or nothing when there is none to show it on."""
    if quiet or not sys.stderr.isatty():
        return None
    meter = Meter()

    def show(progress: Progress) -> None:
        if progress.present + progress.received == progress.total:
            sys.stderr.write(_ERASE)
        elif (line := meter.line(progress)) is not None:
            sys.stderr.write(f"{_ERASE}{line}")
        sys.stderr.flush()

    return show


def scanned(*, quiet: bool) -> Callable[[int, int], None] | None:
    """Return what shows progress on a terminal, or nothing when there is none to show it on."""
    if quiet or not sys.stderr.isatty():
        return None
    last = 0.0

    def show(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == of:
            sys.stderr.write(_ERASE)
        elif now - last > EVERY:
            sys.stderr.write(f"{_ERASE}{done} of {of} files")
            last = now
        sys.stderr.flush()

    return show
