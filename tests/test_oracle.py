"""Whatever the real unpicklers do with a stream, the abstract machine has said so.

This is the one place where streams are unpickled: generated ones and our own, by a subclass whose `find_class` resolves
nothing. It hands out inert stand-ins that note what is done to them and do nothing.
"""

from __future__ import annotations

import io
import pickle
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import behaviours, differentials, forms, streams
from benchmarks.corpus.payloads import Sample
from fixtures import assemble, pickles
from fixtures.assemble import P0, P2, P4, Ops
from weighbridge.examination import Examination, Tally
from weighbridge.facts import Program
from weighbridge.formats.base import Context
from weighbridge.formats.pickle import FORMAT
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location
from weighbridge.reader import from_bytes
from weighbridge.symbols import Call, Event, Global, Items, Key, PersistentId, Run, State

# The unpicklers allocate by lengths and memo indices in the stream; beyond so many bytes they raise MemoryError.
ALLOCATED = 2 << 30
_STATM = Path("/proc/self/statm")

# What was done, and to what: ("call", "module name") counts calls of one import, ("call", "") those of anything else.
Deeds = Counter[tuple[str, str]]


class _Kind(type):
    """The type of stand-ins: calling one notes the call and returns an inert object."""

    deeds: Deeds
    spelled: str

    def __call__(cls, *arguments: object, **keywords: object) -> object:
        cls.deeds["call", cls.spelled] += 1
        made: object = object.__new__(cls)  # type: ignore[arg-type]
        return made


def _stand_in(deeds: Deeds, spelled: str) -> _Kind:
    """Return a class that may be called, made with `__new__`, given a state or items, hashed, and does none of it."""

    def note(kind: str) -> Callable[..., None]:
        def deed(*arguments: object, **keywords: object) -> None:
            deeds[kind, ""] += 1

        return deed

    def new(cls: Any, *arguments: object, **keywords: object) -> object:
        deeds["call", spelled if isinstance(cls, _Kind) else ""] += 1
        return object.__new__(cls)

    def call(self: object, *arguments: object, **keywords: object) -> object:
        deeds["call", ""] += 1
        return object.__new__(type(self))

    def hashed(self: object) -> int:
        deeds["key", ""] += 1
        return 1

    members = {
        "__new__": new,
        "__call__": call,
        "__hash__": hashed,
        "__eq__": lambda self, other: self is other,
        "__setstate__": staticmethod(note("state")),
        **{name: staticmethod(note("items")) for name in ("append", "extend", "add", "__setitem__")},
        "deeds": deeds,
        "spelled": spelled,
    }
    return _Kind("StandIn", (), members)


def _record(base: Any, file: Any) -> Deeds:
    """Return what the unpickler `base` does with every stream of a file, one after another."""
    deeds: Deeds = Counter()
    known: dict[tuple[str, str], _Kind] = {}

    class Recording(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> _Kind:
            deeds["import", f"{module} {name}"] = 1
            return known.setdefault((module, name), _stand_in(deeds, f"{module} {name}"))

        def persistent_load(self, pid: object) -> object:
            deeds["persistent-id", ""] += 1
            return None

    try:
        while True:
            Recording(file, encoding="latin-1").load()
    except Exception:  # noqa: BLE001 - a broken stream raises anything; what it did before counts
        pass
    return deeds


class _Lines(io.BytesIO):
    """A file that refuses a last line without its end, as the C unpickler does; the other one cuts it."""

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError
        return line


def _peeking(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))


READERS: dict[str, tuple[Any, Callable[[bytes], Any]]] = {
    "C, from a file": (pickle.Unpickler, io.BytesIO),
    "C, from a file that reads ahead": (pickle.Unpickler, _peeking),
    "Python": (pickle._Unpickler, _Lines),
}


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    # What other tests of this process have imported, such as torch, takes gigabytes of addresses.
    taken = int(_STATM.read_text().split()[0]) * resource.getpagesize() if _STATM.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (taken + ALLOCATED, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def _deed(event: Event) -> tuple[str, str]:
    match event:
        case Global():
            return "import", " ".join(event.spelled)
        case Call(callable=Global(spelled=spelled)):
            return "call", " ".join(spelled)
        case Call():
            return "call", ""
        case PersistentId() | State() | Items() | Key():
            return event.kind, ""
    return event.kind, "?"


def _programs(data: bytes) -> list[Program]:
    reader = from_bytes(data, Location(("file",)))
    budget = Budget(Limits())
    context = Context(budget=budget, examine=Examination(budget, [Tally(reader.size)]).examine)
    return [fact for fact in FORMAT.parse(reader, context) if isinstance(fact, Program)]


def _said(data: bytes) -> list[Deeds]:
    """Return what the machine says of a file: once for each way to read it."""
    programs = _programs(data)
    readings = {program.reading for program in programs}
    return [_told(p for p in programs if p.reading in ("", one)) for one in readings] + [_told(programs)]


def _told(programs: Iterable[Program]) -> Deeds:
    told: Deeds = Counter()
    for program in programs:
        for event in program.events:
            times = event.count if isinstance(event, Run) else 1
            for part in event.events if isinstance(event, Run) else (event,):
                # A loader adds items one by one, or all at once.
                told[_deed(part)] += times * (max(1, len(part.values)) if isinstance(part, Items) else 1)
    return told


def _missing(data: bytes, reader: str) -> Deeds:
    """Return what an unpickler did and no reading of the machine tells."""
    base, opened = READERS[reader]
    did = _record(base, opened(data))
    return min((did - said for said in _said(data)), key=lambda left: left.total())


_WORDS = st.sampled_from(["m", "os", "a.b", "f", "g.h", "x"])
_SPELL_TEXT = st.sampled_from(
    [
        assemble.text,
        assemble.short_text,
        assemble.text_line,
        assemble.quoted,
        assemble.old_text,
        assemble.long_old_text,
        assemble.long_text,
    ]
)
_TEXTS = st.builds(lambda spell, word: spell(word), _SPELL_TEXT, _WORDS)
_IMPORTS = st.one_of(
    st.builds(assemble.global_line, _WORDS, _WORDS),
    st.builds(lambda module, name: Ops(module + name + b"\x93"), _TEXTS, _TEXTS),
)
_GETS = st.integers(0, 3).map(lambda index: Ops([b"h%c" % index, b"g%d\n" % index, b"j%c\0\0\0" % index][index % 3]))
_LEAVES = st.one_of(
    st.sampled_from(
        [b"N", b"\x88", b"I01\n", b"I7\n", b"I0x10\n", b"L5L\n", b"F1.5\n", b"K\x05", b"M\x00\x01", b"J\1\0\0\0"]
    ),
    st.sampled_from(
        [b"G?\xf0\0\0\0\0\0\0", b"\x8a\x01\x7f", b"C\x02ab", b"B\2\0\0\0ab", b"]", b"}", b")", b"\x8f", b"Pid\n"]
    ),
    st.sampled_from([b"\x96\2\0\0\0\0\0\0\0ab", b"\x8e\2\0\0\0\0\0\0\0ab"]),
).map(Ops)


def _nodes(inner: st.SearchStrategy[Ops]) -> st.SearchStrategy[Ops]:
    """Return code made of smaller code: every opcode that takes values."""
    some = st.lists(inner, max_size=3).map(b"".join)
    pair = st.tuples(inner, inner)
    callee = st.one_of(_IMPORTS, inner)
    return st.one_of(
        st.builds(lambda f, items: Ops(f + b"(" + items + b"tR"), callee, some),
        st.builds(lambda f, items: Ops(f + b"(" + items + b"t\x81"), callee, some),
        st.builds(lambda f, items, value: Ops(f + b"(" + items + b"t}" + value + b"Ns\x92"), callee, some, _TEXTS),
        st.builds(lambda f, items: Ops(b"(" + f + items + b"o"), callee, some),
        st.builds(
            lambda m, n, items: Ops(b"(" + items + b"i" + m.encode() + b"\n" + n.encode() + b"\n"), _WORDS, _WORDS, some
        ),
        pair.map(lambda two: Ops(two[0] + two[1] + b"b")),
        pair.map(lambda two: Ops(two[0] + two[1] + b"a")),
        pair.map(lambda two: Ops(two[0] + two[1] + b"\x86")),
        pair.map(lambda two: Ops(two[0] + two[1] + b"0")),
        pair.map(lambda two: Ops(two[0] + b"(" + two[1] + b"1")),
        pair.map(lambda two: Ops(two[0] + two[1] + b"\x93")),
        st.builds(lambda target, two: Ops(target + two[0] + two[1] + b"s"), inner, pair),
        st.builds(lambda target, two: Ops(target + b"(" + two[0] + two[1] + b"u"), inner, pair),
        st.builds(lambda target, items: Ops(target + b"(" + items + b"e"), inner, some),
        st.builds(lambda target, items: Ops(target + b"(" + items + b"\x90"), inner, some),
        some.map(lambda items: Ops(b"(" + items + b"t")),
        some.map(lambda items: Ops(b"(" + items + b"l")),
        some.map(lambda items: Ops(b"(" + items + b"d")),
        some.map(lambda items: Ops(b"(" + items + b"\x91")),
        inner.map(lambda value: Ops(value + b"\x85")),
        inner.map(lambda value: Ops(value + b"Q")),
        inner.map(lambda value: Ops(value + b"2\x86")),
        inner.map(lambda value: Ops(value + b"\x94")),
        st.builds(lambda value, index: Ops(value + b"q%c" % index), inner, st.integers(0, 3)),
        st.builds(lambda value, index: Ops(value + b"p%d\n" % index), inner, st.integers(0, 3)),
        inner.map(lambda value: Ops(assemble.frame(value))),
        st.builds(lambda value, size: Ops(assemble.frame(value, size)), inner, st.integers(0, 40)),
        inner.map(lambda value: Ops(b"\x80\x04" + value)),
    )


_CODE = st.recursive(st.one_of(_LEAVES, _TEXTS, _IMPORTS, _GETS), _nodes, max_leaves=12)
_HEADS = st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"\x80\x05"])
_STREAMS = st.builds(
    lambda head, parts: head + b"0".join(parts) + b".", _HEADS, st.lists(_CODE, min_size=1, max_size=5)
)
_KNOWN = [
    *(data for name, data in pickles.files().items() if "bomb" not in name and len(data) < 2000),
    *(
        pickle.dumps([{"id": n, "text": f"row {n}", "tags": ["x"]} for n in range(6)], protocol)
        for protocol in range(6)
    ),
    *(spell.stream({"a": [1, (2.5, None)], "b": spell.call("m:f", "x")}) for spell in (P0, P2, P4)),
]


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Return a real pickle with a few bytes changed, left out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(_KNOWN)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del data[at : at + draw(st.integers(1, 4))]
            case 2:
                data[at:at] = draw(st.sampled_from([b"0", b"(", b"1", b"2", b"R", b"t", b"h\0", b"q\0", b"\x94", b"."]))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 12))]
    return bytes(data)


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=300)
@given(data=_STREAMS)
def test_no_unpickler_does_more_than_the_machine_says(reader: str, data: bytes) -> None:
    assert not _missing(data, reader)


# What a value of a run is made of, and what may come between or behind them: changes to the value before, uses of the
# memo, odd values. The rest of a stream has to be long before the machine looks for runs.
_RUNNING = st.sampled_from(
    [
        *(
            b"h\x01)\x81",
            b"h\x01)\x81\x94}\x94(h\x02K\1h\x02K\2ub",
            b"h\x01\x8c\x01x\x85R",
            b"h\x01K\5\x85R\x94K\1K\2\x86b",
        ),
        *(b"X\1\0\0\0x\x94", b"h\x01X\1\0\0\0x\x94\x85\x94R\x94", b"N\x8c\x01x\x94", b"\x8c\x01x\x94h\2"),
        *(b"K\1\x8c\x01x\x94\x86", b"]\x94(K\1K\2e", b"}\x94\x8c\x01aK\1s", b"h\x01)R(\x8c\x01kK\1u", b"\x8c\x01x\x94"),
        *(b"h\x01]\x85R", b"\x8f\x94(K\1K\2\x90", b"h\3h\x01\x86", b"h\x01h\3\x85\x81Nb", b"C\1x\x94", b"\x8a\1\1"),
    ]
)
_BETWEEN = st.sampled_from(
    [
        *(b"0", b"}b", b"Nb", b"K\1a", b"(K\1e", b"2", b"\x85", b"\x86", b"R", b"h\x01", b"h\x20", b"q\x20", b"q\1"),
        *(b"h\x20K\1a", b"j\x80\0\0\0", b"K\1", b"(", b"e", b"u", b"(u", b"1", b"h\x01)R", b"\x94", b""),
        *(b"\x95\x40\0\0\0\0\0\0\0", b"0}b", b"00Nb", b"0K\1a", b"02b"),
    ]
)
_HEAD = b"\x80\x04\x8c\x01m\x8c\x01f\x93\x94\x94\x8c\x04name\x94]\x94"
_NAMES = st.sampled_from([b"", b"run on", b"run on", b"run on", b"skip one", b"one again", b"short"])
_TAIL = b"B\0\x20\0\0" + bytes(1 << 13) + b"00h\0."


@st.composite
def _runs(draw: st.DrawFn) -> bytes:
    """Return a stream with runs of values of one shape in a list or dict, and odd things between them."""
    container, closer = draw(st.sampled_from([(b"]", b"e"), (b"]", b"e"), (b"}", b"u"), (b"\x8f", b"\x90")]))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from([b"\x8c\x01k\x94", b"K\7"])) if closer == b"u" else b""
        parts.append((key + draw(_RUNNING)) * draw(st.sampled_from([2, 12, 40, 60])))
        parts += draw(st.lists(_BETWEEN, max_size=3))
    code = (
        _HEAD + container + b"\x94(" + b"".join(parts) + closer + b"".join(draw(st.lists(_BETWEEN, max_size=3))) + _TAIL
    )
    return _numbered(code, draw(_NAMES), draw(st.integers(0, 300)))


def _numbered(code: bytes, names: bytes, odd: int) -> bytes:
    """Return code that names its memo entries by number, as protocol 2 does; the entry `odd` otherwise."""
    if not names:
        return code
    pieces = code.split(b"\x94")
    result = pieces[0]
    for n, piece in enumerate(pieces[1:]):
        number = n + (names == b"skip one" and n >= odd) - (names == b"one again" and n >= odd > 0)
        short = number < 256 and (names != b"short" or n != odd)
        result += (b"q%c" % number if short else b"r" + number.to_bytes(4, "little")) + piece
    return result


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=400)
@given(data=_runs())
def test_no_unpickler_does_more_with_a_run(reader: str, data: bytes) -> None:
    assert not _missing(data, reader)


@settings(max_examples=400)
@given(data=_runs())
def test_runs_do_what_their_values_do_one_by_one(data: bytes) -> None:
    for program in _programs(data):
        if program.exactly is not None:
            exact = program.exactly()
            assert exact is not None
            assert _told([program]) == _told([exact])
            assert program.complete == exact.complete


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=300)
@given(data=_mutated())
def test_no_unpickler_does_more_with_a_damaged_pickle(reader: str, data: bytes) -> None:
    assert not _missing(data, reader)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("family", [streams, forms, behaviours, differentials], ids=lambda module: module.__name__)
def test_no_unpickler_does_more_with_a_hostile_stream(family: Any, reader: str) -> None:
    samples: list[Sample] = [one for one in family.samples() if one.name.endswith((".pkl", ".joblib"))][::3]
    for sample in samples:
        assert not _missing(sample.make(), reader), sample.name


@pytest.mark.parametrize("name", ["frame_straddle", "frame_nested"])
def test_the_call_hidden_by_a_frame_is_one_that_the_machine_tells(name: str) -> None:
    """Whether this interpreter still runs it (before 3.13.15 and 3.14.7) or not."""
    data = pickles.HOSTILE[name]
    assert any(("call", "os system") in said for said in _said(data))
    assert not _missing(data, "C, from a file")
