"""What a parser can say about an artifact: observations, never judgements.

Every fact has a `kind` and a `subject`; rules match on these two. `REVIEWED` kinds are the ones
that a trust entry, a rule or a waiver must speak for: left alone, they keep a verdict from pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from weighbridge.location import Location
from weighbridge.records import dataclass, field
from weighbridge.symbols import Call, Event, Global, Items, Key, State, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something true of the bytes at `location`."""

    kind: ClassVar[str] = "fact"
    location: Location

    @property
    def subject(self) -> str:
        """What rules match and waivers name."""
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised(Fact):
    """Bytes were recognised as a format and are parsed as it; `size` is all of them."""

    kind = "format"
    format: str
    size: int

    @property
    def subject(self) -> str:
        """The format's name."""
        return self.format


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Fact):
    """A member of a container; `location` is where the container holds it.

    `type` is file, directory, symlink, hardlink, device, literal (a program inside a pickle's string), or
    trailing, prepended or hole (bytes that belong to no member); `stored` is its size inside the
    container, None when it is computed.
    """

    kind = "member"
    name: str
    size: int
    stored: int | None = None
    type: str = "file"
    target: str = ""

    @property
    def subject(self) -> str:
        """The member's type."""
        return self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Inert(Fact):
    """Bytes known to be plain data that no loader interprets, such as tensor data, and why."""

    kind = "inert"
    size: int
    reason: str


class _NewMember(Member):
    """A member while it is made: it has no fields of its own, so that it can turn into what it is."""

    __slots__ = ()
    __init__ = object.__init__
    __setattr__ = object.__setattr__


class _NewInert(Inert):
    """Inert bytes while they are made, as that of a member."""

    __slots__ = ()
    __init__ = object.__init__
    __setattr__ = object.__setattr__


def inert_member(location: Location, name: str, size: int, reason: str) -> tuple[Member, Inert]:
    """Return the facts of a stored member whose bytes are plain data.

    Archives have more of these than of any other fact, and making them this way takes a third of the time.
    """
    member = _NewMember()
    member.location = location
    member.name = name
    member.size = member.stored = size
    member.type = "file"
    member.target = ""
    member.__class__ = Member
    inert = _NewInert()
    inert.location = location
    inert.size = size
    inert.reason = reason
    inert.__class__ = Inert
    return member, inert


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Fact):
    """Bytes the parser could not read or does not understand; a scan with gaps cannot pass.

    `size` is how many bytes are unexamined, None for all the rest of the member or file;
    `limit` names the option to raise when a limit was hit.
    """

    kind = "gap"
    reason: str
    size: int | None = None
    limit: str = ""

    @property
    def subject(self) -> str:
        """The limit that was hit, or `gap`."""
        return self.limit or self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly(Fact):
    """Something no ordinary writer produces: a stable `code` and the particulars."""

    kind = "anomaly"
    code: str
    detail: str

    @property
    def subject(self) -> str:
        """The code."""
        return self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Native(Fact):
    """Machine code, byte code or a script inside a model artifact (elf, pe, macho, script, python …)."""

    kind = "native"
    type: str
    detail: str = ""

    @property
    def subject(self) -> str:
        """The type."""
        return self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor(Fact):
    """A tensor: its data are `size` bytes at `location`."""

    kind = "tensor"
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata(Fact):
    """A key and value that the file carries for people or programs to read."""

    kind = "metadata"
    key: str
    value: str

    @property
    def subject(self) -> str:
        """The key."""
        return self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator(Fact):
    """An operator that a graph uses, once per model: its first place and how many nodes have it.

    `version` is the operator set of its domain that the model imports, 0 when it imports none; `defined` says
    that a function of the model itself is its body. Whether anybody else knows it is not the parser's business.
    """

    kind = "operator"
    domain: str
    name: str
    version: int
    count: int = 1
    defined: bool = False

    @property
    def subject(self) -> str:
        """The domain and the name, `ai.onnx::Conv`; the domain that is written as nothing is `ai.onnx`."""
        return f"{self.domain or 'ai.onnx'}::{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalData(Fact):
    """A tensor whose data are in another file: `target` as the model writes it, bytes from `offset` on.

    `length` is what the model gives, or else what the shape of the tensor needs, None when nobody can say that: the
    data may go on to the end of that file. `checksum` is what the model claims, never what was found.
    """

    kind = "external-data"
    target: str
    offset: int = 0
    length: int | None = None
    checksum: str = ""
    tensor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder(Fact):
    """A text that names bytes kept somewhere else and stands where a version control system puts them.

    `type` is git-lfs or dvc; `digest` and `size` are what it declares of the bytes, `digest` with its algorithm and
    `size` None when it is not said; `name` is the path it gives them, empty when they take this file's place.
    """

    kind = "placeholder"
    type: str
    digest: str
    size: int | None = None
    name: str = ""

    @property
    def subject(self) -> str:
        """The type."""
        return self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer(Fact):
    """A value of a configuration that makes a loader import code or fetch something; `key` is the path to it.

    `type` is what the key means, in its own words without a path (auto_map, component, quant_method …); `target` is
    what is named. Which targets every library has by itself is data (`rules/config/vocabulary.json`), and no business
    of a parser.
    """

    kind = "pointer"
    type: str
    key: str
    target: str

    @property
    def subject(self) -> str:
        """The type and the target, `auto_map=modeling.Model`."""
        return f"{self.type}={self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Fact):
    """A template that a program renders, such as a chat template; `source` is all of it."""

    kind = "template"
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Fact):
    """Something that a template does, once per template: what it calls, filters with, looks up or includes.

    `type` is tag, name, attribute, item, call, method, filter, test or text (a literal that can name what a template
    must not reach).
    """

    kind = "step"
    type: str
    name: str

    @property
    def subject(self) -> str:
        """The type and the name, `filter:tojson`."""
        return f"{self.type}:{self.name}"


class NotKeptError(Exception):
    """What was kept of the facts of a file does not say what is asked for; the bytes have to be parsed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Fact):
    """One pickle stream, run by the abstract machine.

    `events` are in the order the loader would cause them; `size` counts the bytes from `location` to
    STOP or to where it broke; `reading` says how the bytes were read when readers differ. `nested` holds
    the identities of the literals that were examined as files of torch and hold a storage.

    When runs of values were taken in one step, `events` has a `Run` for each, and `exactly` returns the same program
    without any, None when a limit is hit on the way.
    """

    kind = "program"
    events: Sequence[Event] = field(repr=False, compare=False)
    result: Value = field(repr=False, compare=False)
    size: int
    complete: bool
    reading: str = ""
    nested: frozenset[int] = frozenset()
    protocol: int = 0
    exactly: Callable[[], Program | None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Fact):
    """An event of a program in words, which may outlive the program and cross to another process.

    `kind` and `name` are the event's kind and subject; `expression` is what it does as readable Python;
    `form` is the opcode of a call; `spelled` is the name as the stream has it, when that differs.
    """

    kind: str = "event"  # type: ignore[misc]
    name: str
    expression: str
    form: str = ""
    spelled: str = ""

    @property
    def subject(self) -> str:
        """The dotted name, or the kind of event when it has none."""
        return self.name


def named(event: Event) -> Global | None:
    """Return the import that an event uses: itself, what it calls, or what made the object it changes."""
    value: Value = event
    if isinstance(event, State | Items):
        value = event.target
    elif isinstance(event, Key):
        value = event.key
    if isinstance(value, Call):
        value = value.callable
    return value if isinstance(value, Global) else None


def observe(event: Event) -> Observed:
    """Return `event` in words."""
    from weighbridge.expression import express_event  # most files do nothing that is told

    source = named(event)
    renamed = source is not None and source.spelled != (source.module, source.name)
    return Observed(
        location=event.location,
        kind=event.kind,
        name=event.subject,
        expression=express_event(event),
        form=event.form if isinstance(event, Call) else "",
        spelled=" ".join(source.spelled) if source is not None and renamed else "",
    )


REVIEWED: Final = frozenset(
    {
        "import",
        "call",
        "state",
        "items",
        "key",
        "persistent-id",
        "computed-name",
        "extension",
        "anomaly",
        "native",
        "pointer",
        "step",
    }
)
# Why a call is doubtful that was reviewed but for a name it is given: that is told as an import of its own.
UNREVIEWED_PART: Final = "reviewed for other arguments: nobody has reviewed a name that it is given"
