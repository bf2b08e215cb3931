"""How far a file has been written, for those who read right behind the writer."""

from __future__ import annotations

import threading


class StoppedError(Exception):
    """The other side has given up, and says why itself."""


class Front:
    """The place in a file up to which it is written."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self.reached = 0
        self._ended: BaseException | None = None

    def advance(self, position: int) -> None:
        """Say that everything before `position` is written; raise StoppedError when nobody wants the rest."""
        with self._moved:
            if self._ended is not None:
                raise StoppedError
            self.reached = position
            self._moved.notify_all()

    def wait(self, position: int) -> None:
        """Wait until everything before `position` is written; raise what `stop` was told when it will not be."""
        with self._moved:
            while self.reached < position:
                if self._ended is not None:
                    raise self._ended
                self._moved.wait()

    def stop(self, error: BaseException | None = None) -> None:
        """Have both sides give up."""
        with self._moved:
            self._ended = self._ended or error or StoppedError()
            self._moved.notify_all()
