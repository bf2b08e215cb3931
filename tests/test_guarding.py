"""The tripwire against pickles."""

from __future__ import annotations

import _pickle
import contextvars
import copyreg
import io
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest

import weighbridge
from weighbridge.guarding import guard
from weighbridge.refusals import PickleRefused

NAMED = pickle.dumps(Fraction(1, 2))
PLAIN = pickle.dumps({"a": [1, 2.5, "text", b"bytes", None]})


class _Passing(pickle.Unpickler):
    """An unpickler that looks names up in its own way first, as those of torch and joblib do."""

    def find_class(self, module: str, name: str, /) -> Any:
        return super().find_class(module, name)


def _numpy() -> Any:
    data = io.BytesIO()
    numpy.save(data, numpy.array([Fraction(1, 2)], dtype=object), allow_pickle=True)
    return numpy.load(io.BytesIO(data.getvalue()), allow_pickle=True)


LOADERS: dict[str, Callable[[], Any]] = {
    "pickle.loads": lambda: pickle.loads(NAMED),
    "pickle.load": lambda: pickle.load(io.BytesIO(NAMED)),
    "_pickle": lambda: _pickle.loads(NAMED),
    "in Python": lambda: pickle._Unpickler(io.BytesIO(NAMED)).load(),
    "a subclass": lambda: _Passing(io.BytesIO(NAMED)).load(),
    "numpy": _numpy,
    "protocol 0": lambda: pickle.loads(b"cos\nsystem\n(S'true'\ntR."),
}


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_a_pickle_that_names_anything_is_refused(loader: Callable[[], Any]) -> None:
    loader()
    with guard(), pytest.raises(PickleRefused, match=r"it looks up \S+ \[LOAD_PICKLE\]"):
        loader()
    loader()


def test_a_reference_taken_before_is_refused_too() -> None:
    loads = pickle.loads
    with guard(), pytest.raises(PickleRefused):
        loads(NAMED)


def test_plain_data_are_loaded() -> None:
    with guard():
        assert pickle.loads(PLAIN) == {"a": [1, 2.5, "text", b"bytes", None]}


def test_guards_nest_and_end_after_an_error() -> None:
    with guard():
        with pytest.raises(KeyError), guard():
            raise KeyError
        with pytest.raises(PickleRefused):
            pickle.loads(NAMED)
    assert pickle.loads(NAMED) == Fraction(1, 2)


def test_other_threads_are_not_concerned() -> None:
    with guard(), ThreadPoolExecutor(1) as other:
        assert other.submit(pickle.loads, NAMED).result() == Fraction(1, 2)


def test_a_copied_context_does_not_leave_the_guard() -> None:
    context = contextvars.copy_context()
    with guard(), pytest.raises(PickleRefused):
        context.run(pickle.loads, NAMED)


def test_the_guard_of_a_thread_ends_with_it() -> None:
    entered, checked = threading.Event(), threading.Event()

    def hold() -> None:
        with guard():
            entered.set()
            checked.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    try:
        assert pickle.loads(NAMED) == Fraction(1, 2)
    finally:
        checked.set()
        thread.join()


def test_an_extension_is_refused() -> None:
    copyreg.add_extension("fractions", "Fraction", 240)
    try:
        named = pickle.dumps(Fraction, protocol=2)
        copyreg._extension_cache.pop(240, None)  # type: ignore[attr-defined]
        with guard(), pytest.raises(PickleRefused):
            pickle.loads(named)
    finally:
        copyreg.remove_extension("fractions", "Fraction", 240)


def test_hostile_names_are_printable() -> None:
    with guard(), pytest.raises(PickleRefused) as refused:
        pickle.loads(b"\x8c\x04\x1b[2Jos\x94\x8c\x03a\nb\x94\x93.".replace(b"\x04", b"\x06"))
    assert str(refused.value).isprintable()


def test_torch_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.zeros(2)}, tmp_path / "a.pt")
    with guard():
        with pytest.raises(PickleRefused):
            torch.load(tmp_path / "a.pt", weights_only=False)
        assert torch.load(tmp_path / "a.pt", weights_only=True)["w"].tolist() == [0, 0]


def test_joblib_is_refused(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump({"array": numpy.zeros(4), "fraction": Fraction(1, 2)}, tmp_path / "a.joblib")
    with guard(), pytest.raises(PickleRefused):
        joblib.load(tmp_path / "a.joblib")


def test_it_is_there_for_the_asking() -> None:
    assert weighbridge.guard is guard
