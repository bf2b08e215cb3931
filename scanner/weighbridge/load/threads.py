"""Work shared among threads: reading and hashing leave Python's lock, so that two processors hash twice as fast."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from weighbridge.refusals import LoadError

_MOST: Final = 16  # what feeds a fast disk; more threads only wait for Python's lock
T = TypeVar("T")


def workers() -> int:
    """Return how many threads are worth starting: one for each processor that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST)


def share(work: Callable[[T], None], items: Sequence[T]) -> None:
    """Do the work for every item, in threads.

    When it fails for some, the rest is left and the error of the first of them in the order of the items is raised,
    among those that were begun.
    """
    count = min(workers(), len(items))
    if count < 2:
        for item in items:
            work(item)
        return
    failed: list[tuple[int, Exception]] = []
    stopped = threading.Event()

    def run(first: int) -> None:
        for index in range(first, len(items), count):
            if stopped.is_set():
                return
            try:
                work(items[index])
            except (LoadError, OSError) as error:
                failed.append((index, error))
                stopped.set()

    with ThreadPoolExecutor(count, "load") as threads:
        try:
            for future in [threads.submit(run, first) for first in range(count)]:
                future.result()
        finally:
            stopped.set()
    if failed:
        raise min(failed, key=lambda pair: pair[0])[1]
