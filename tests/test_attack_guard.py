"""Attacks on the tripwire: ways of loading a pickle that names something while a guard is open."""

from __future__ import annotations

import copyreg
import io
import pickle
import shelve
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from weighbridge.guarding import guard
from weighbridge.refusals import PickleRefused

HOSTILE = b"cbuiltins\nlen\n."


def entered_elsewhere() -> Any:
    """Return a guard that another thread has entered, as frameworks do that run the halves of a context in a pool."""
    opened = guard()
    thread = threading.Thread(target=opened.__enter__)
    thread.start()
    thread.join()
    return opened


def test_a_guard_that_another_thread_opened_takes_nothing_from_this_one() -> None:
    entered_elsewhere().__exit__(None, None, None)
    assert pickle.loads(HOSTILE) is len
    with guard(), pytest.raises(PickleRefused):
        pickle.loads(HOSTILE)
    with guard():
        entered_elsewhere().__exit__(None, None, None)
        with pytest.raises(PickleRefused):
            pickle.loads(HOSTILE)


def _from_shelf(place: Path) -> object:
    with shelve.open(str(place / "shelf")) as shelf:
        return shelf["a"]


def _fill_shelf(place: Path) -> None:
    with shelve.open(str(place / "shelf")) as shelf:
        shelf.dict[b"a"] = HOSTILE  # type: ignore[attr-defined]
    numpy.save(place / "a.npy", numpy.array([len], dtype=object), allow_pickle=True)


class _Plain(pickle.Unpickler):
    pass


class _Overriding(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name)


@pytest.mark.parametrize(
    "load",
    [
        lambda _: pickle.loads(HOSTILE),
        lambda _: pickle._loads(HOSTILE),  # type: ignore[attr-defined]
        lambda _: _Plain(io.BytesIO(HOSTILE)).load(),
        lambda _: _Overriding(io.BytesIO(HOSTILE)).load(),
        lambda _: pickle.Unpickler(io.BytesIO(HOSTILE)).load(),
        lambda _: pickle.loads(pickle.dumps(pickle.loads), fix_imports=False),
        lambda _: pickle.loads(b"\x80\x04\x8c\x08builtins\x8c\x03len\x93."),
        lambda _: pickle.loads(b"(ibuiltins\nlen\n."),
        lambda place: numpy.load(place / "a.npy", allow_pickle=True),
        _from_shelf,
    ],
)
def test_every_way_to_a_name_is_refused(load: Callable[[Path], object], tmp_path: Path) -> None:
    _fill_shelf(tmp_path)
    with guard(), pytest.raises(PickleRefused):
        load(tmp_path)


def test_a_name_by_its_number_is_refused_when_it_was_not_looked_up_before() -> None:
    copyreg.add_extension("builtins", "abs", 77)
    try:
        with guard(), pytest.raises(PickleRefused):
            pickle.loads(b"\x82\x4d.")
    finally:
        copyreg.remove_extension("builtins", "abs", 77)


def test_an_error_inside_ends_the_guard_and_no_other() -> None:
    with guard():
        with pytest.raises(ZeroDivisionError), guard():
            raise ZeroDivisionError
        with pytest.raises(PickleRefused):
            pickle.loads(HOSTILE)
    assert pickle.loads(HOSTILE) is len
