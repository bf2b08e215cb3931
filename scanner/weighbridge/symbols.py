"""The values of the abstract pickle machine: what a stream builds, without building it.

Strings, numbers, `None`, tuples and lists stand for themselves. Everything else is one of the
classes below. Containers are shared by identity, exactly as the real machine shares them.

No value here is ever hashed by content, compared or printed with `repr`: a hostile stream
makes such walks exponential (a tuple that holds another one twice, forty levels deep).
`weighbridge.expression` is the bounded way to show a value.

`Global`, `Call` and the other `Event` classes are facts and values at once, and slotted classes
instead of dataclasses: a stream may make millions of them, and a frozen dataclass takes three times as
long to create (0.5 µs against 0.15 µs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import ClassVar, Final

from weighbridge.location import Location

Value = object


class Form(StrEnum):
    """The opcode that makes a call; trust is granted per form.

    NEWOBJ_EX is also what protocols 2 and 3 write for it, which do not have the opcode.
    """

    REDUCE = "REDUCE"
    NEWOBJ = "NEWOBJ"
    NEWOBJ_EX = "NEWOBJ_EX"
    OBJ = "OBJ"
    INST = "INST"


class Event:
    """Something a stream does when it is loaded; `origin` locates byte 0 of its window."""

    __slots__ = ("offset", "origin")
    kind: ClassVar[str] = "event"

    origin: Location
    offset: int

    def __init__(self, origin: Location, offset: int) -> None:
        self.origin = origin
        self.offset = offset

    @property
    def location(self) -> Location:
        """Where the opcode stands."""
        return self.origin.at(self.origin.offset + self.offset)

    @property
    def subject(self) -> str:
        """What rules match and waivers name."""
        return self.kind


class Global(Event):
    """An imported name; one object per name and stream. `module` and `name` are normalised.

    `dotted` is the normalised name as it is written in rules and trust entries.
    """

    __slots__ = ("dotted", "module", "name", "spelled")
    kind = "import"

    def __init__(self, origin: Location, offset: int, spelled: tuple[str, str], module: str, name: str) -> None:
        self.origin = origin
        self.offset = offset
        self.spelled = spelled
        self.module = module
        self.name = name
        self.dotted = f"{module}.{name}"

    @property
    def subject(self) -> str:
        """The normalised dotted name."""
        return self.dotted


class Call(Event):
    """A call the stream makes, and the object it would return.

    `arguments` is a tuple as a rule; a stream may put anything there. `state` is what BUILD gave it last.
    """

    __slots__ = ("arguments", "callable", "form", "keywords", "state")
    kind = "call"

    def __init__(
        self, origin: Location, offset: int, function: Value, arguments: Value, keywords: Value, form: Form
    ) -> None:
        self.origin = origin
        self.offset = offset
        self.callable = function
        self.arguments = arguments
        self.keywords = keywords
        self.form = form
        self.state: Value = None

    @property
    def subject(self) -> str:
        """The dotted name of what is called, or `<computed>`."""
        return self.callable.dotted if isinstance(self.callable, Global) else "<computed>"


class State(Event):
    """BUILD: `target.__setstate__(state)`, or its `__dict__` updated with it."""

    __slots__ = ("state", "target")
    kind = "state"

    def __init__(self, origin: Location, offset: int, target: Value, state: Value) -> None:
        self.origin = origin
        self.offset = offset
        self.target = target
        self.state = state

    @property
    def subject(self) -> str:
        """The dotted name of the class or callable whose result gets the state."""
        return owner(self.target)


class Items(Event):
    """Items or attributes set on something that is not a fresh container.

    `opcode` is SETITEM(S), APPEND(S), ADDITEMS, or BUILD for the one value that joblib reads behind a wrapper; `values`
    is flat (key, value, key, value …) for the first.
    """

    __slots__ = ("opcode", "target", "values")
    kind = "items"

    def __init__(self, origin: Location, offset: int, target: Value, values: list[Value], opcode: str) -> None:
        self.origin = origin
        self.offset = offset
        self.target = target
        self.values = values
        self.opcode = opcode

    @property
    def subject(self) -> str:
        """The dotted name of the class, callable or global that is changed."""
        return owner(self.target)


class Key(Event):
    """An object used as a dict key or set member: loading calls its `__hash__` and `__eq__`."""

    __slots__ = ("key",)
    kind = "key"

    def __init__(self, origin: Location, offset: int, key: Value) -> None:
        self.origin = origin
        self.offset = offset
        self.key = key

    @property
    def subject(self) -> str:
        """The dotted name of what made the key."""
        return owner(self.key)


class PersistentId(Event):
    """A persistent id: the loading program decides what it means."""

    __slots__ = ("value",)
    kind = "persistent-id"

    def __init__(self, origin: Location, offset: int, value: Value) -> None:
        self.origin = origin
        self.offset = offset
        self.value = value


class ComputedName(Event):
    """STACK_GLOBAL on operands that are not literal strings: the name is known only when it runs."""

    __slots__ = ("module", "name")
    kind = "computed-name"

    def __init__(self, origin: Location, offset: int, module: Value, name: Value) -> None:
        self.origin = origin
        self.offset = offset
        self.module = module
        self.name = name


class Extension(Event):
    """EXT1/2/4: an entry of the process-wide copyreg extension registry."""

    __slots__ = ("code",)
    kind = "extension"

    def __init__(self, origin: Location, offset: int, code: int) -> None:
        self.origin = origin
        self.offset = offset
        self.code = code


class Run(Event):
    """What each of `count` values of one shape does, which stand one after another; `events` are those of any of them.

    What an operand decides is elided in them: an elided value fits what every value of its type fits.
    """

    __slots__ = ("count", "events")
    kind = "run"

    def __init__(self, origin: Location, offset: int, events: tuple[Event, ...], count: int) -> None:
        self.origin = origin
        self.offset = offset
        self.events = events
        self.count = count


class Dict(list[Value]):
    """A dict as the flat list of its keys and values in the order they were set; nothing is ever hashed."""

    __slots__ = ()


class Set(list[Value]):
    """A set or frozenset as the list of its members."""

    __slots__ = ()


class Span:
    """A large literal: only where it lies and what it is (`bytes`, `bytearray`, `str` or `int`)."""

    __slots__ = ("kind", "offset", "size")

    def __init__(self, offset: int, size: int, kind: str) -> None:
        self.offset = offset
        self.size = size
        self.kind = kind


class Opaque:
    """A value of which nothing is known, and why."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Elided(float):
    """A float in a long run of floats, whose value nothing depends on."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "…"


class ElidedInt(int):
    """An int in a run of records, whose value nothing depends on: it fits `int`, but no range."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "…"


class ElidedUint(ElidedInt):
    """Such an int that is not negative and has at most 31 bits."""

    __slots__ = ()


class ElidedText(str):
    """A short string in a run of records, whose value nothing depends on: it fits `str`, but no other text."""

    __slots__ = ()


class ElidedBytes(bytes):
    """Short bytes in a run of records, whose value nothing depends on."""

    __slots__ = ()


class ElidedConstant:
    """`None`, `True` or `False` in a run of records, whichever it is."""

    __slots__ = ()


ELIDED: Final = Elided()
ELIDED_INT: Final = ElidedInt()
ELIDED_UINT: Final = ElidedUint()
ELIDED_TEXT: Final = ElidedText("…")
ELIDED_BYTES: Final = ElidedBytes()
ELIDED_CONSTANT: Final = ElidedConstant()
# What stands for a value is told as what it stands for; which constant it was is not known, and None is the commonest.
_ELIDED_KINDS: Final[dict[type, type]] = {
    Elided: float,
    ElidedInt: int,
    ElidedUint: int,
    ElidedText: str,
    ElidedBytes: bytes,
    ElidedConstant: type(None),
}
ELISIONS: Final = frozenset({Elided, ElidedInt, ElidedUint, ElidedText, ElidedBytes, ElidedConstant})


def each_event(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events, those of a `Run` once each."""
    for event in events:
        if type(event) is Run:
            yield from event.events
        else:
            yield event


def owner(value: Value) -> str:
    """Return the dotted name of the callable that made `value`, of `value` itself, or its type in <>.

    >>> owner([])
    '<list>'
    """
    if isinstance(value, Global):
        return value.dotted
    if isinstance(value, Call):
        return value.subject
    kind = type(value)
    return f"<{(kind if kind not in ELISIONS else _ELIDED_KINDS[kind]).__name__.lower()}>"
