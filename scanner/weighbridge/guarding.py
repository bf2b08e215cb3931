"""A tripwire against pickles: inside of `guard()`, this thread loads none that names anything.

Python tells an audit hook of every name that a pickle looks up (`pickle.find_class`), whichever unpickler asks and
however its caller got hold of it: `pickle`, `_pickle`, the one written in Python, numpy's with `allow_pickle=True`,
torch's with `weights_only=False`, joblib's, and subclasses that end in `super().find_class`. A name is what code needs
to run; a pickle of plain data looks none up and loads as before. Two ways round are known: a subclass whose
`find_class` imports by itself, and an entry of copyreg's extension registry that was looked up before.

A hook cannot be taken off again. It is set by the first `guard()`; after that each event that Python audits (a file is
opened, a module imported, a name of a pickle looked up) costs 0.3 µs more, and everything else nothing.

Source: https://docs.python.org/3/library/audit_events.html, PEP 578.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from weighbridge.location import printable
from weighbridge.refusals import PickleRefused


class _Guarded(threading.local):
    """The guards that this thread is inside of, one entry each."""

    def __init__(self) -> None:
        self.open: list[None] = []


_GUARDED: Final = _Guarded()
_SETTING: Final = threading.Lock()
_hooked = False


@contextmanager
def guard() -> Iterator[None]:
    """Refuse pickles in this thread while the context is open; contexts may be nested.

    Whatever loads one raises PickleRefused then, before the name is imported. Threads that run beside, and those that
    are started inside, are not concerned.

    >>> import pickle
    >>> with guard():
    ...     pickle.loads(b"cbuiltins\\nlen\\n.")
    Traceback (most recent call last):
    weighbridge.refusals.PickleRefused: a pickle: it looks up builtins.len [LOAD_PICKLE]; convert the file, …
    """
    _set_hook()
    mine = _GUARDED.open
    mine.append(None)
    try:
        yield
    finally:
        mine.pop()  # of the thread that entered, whichever thread leaves


def _set_hook() -> None:
    global _hooked
    with _SETTING:
        if not _hooked:
            sys.addaudithook(_refuse)
            _hooked = True


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise PickleRefused when a pickle of a guarded thread looks a name up."""
    if event == "pickle.find_class" and _GUARDED.open:
        module, name = arguments[:2]
        named = printable(f"{module}.{name}")
        raise PickleRefused("a pickle", f"it looks up {named}", "convert the file, or load it outside of the guard")
