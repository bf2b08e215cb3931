"""What a registry is: a reference becomes an artifact at an immutable revision, and its files become bytes by range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol, runtime_checkable

from weighbridge.artifact import Artifact, File
from weighbridge.digest import Digest
from weighbridge.records import dataclass, field

# How many pieces of a stream that lends its memory can be used at a time: the last ones.
LENT: Final = 4


class Remote(Protocol):
    """The bytes of a remote file, pinned to one version of it.

    Every method raises SourceError when the server answers with anything but the bytes that were asked for: another
    length, range, total, version or encoding, or too late.
    """

    @property
    def size(self) -> int:
        """How many bytes the file has, as the registry declared before the first read."""

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes at `offset`, in one request."""

    def stream(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `begin` up to `end` in pieces as they arrive, in one request."""


@runtime_checkable
class Lender(Protocol):
    """A remote that can receive into memory which it uses again, and knows whether its server gives parts."""

    @property
    def whole_only(self) -> bool:
        """Whether the server has sent the whole file for a range, without a word about ranges."""

    def lend(self, begin: int, end: int) -> Iterator[bytes | memoryview]:
        """Yield what `stream` yields; when a piece is asked for, only the LENT - 1 before it can still be used.

        Costs the connection, and far less of a processor than `stream`: for what is large.
        """


class Reading(Protocol):
    """What is done with the files of this machine while they are digested."""

    def begin(self, artifact: Artifact) -> None:
        """Be shown what is there: it has no revision yet, and its files no claims."""

    def digest(self, file: File, descriptor: int) -> Digest:
        """Return the sha256 of an open file, from its first byte to its last; several threads may ask."""


@runtime_checkable
class Near(Protocol):
    """A registry that reads all of its files to resolve a reference, so that whoever wants the bytes takes them then.

    What may be asked of it then is the same as of others.
    """

    def resolve_reading(self, reference: str, reading: Reading) -> Artifact:
        """Do what `Registry.resolve` does, and have `reading` digest the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to talk to registries.

    `tokens` maps an origin (`https://host[:port]`) to what is sent to it and to no other; `timeout` is in seconds, for
    connecting and between two pieces of an answer; `retries` is how often a request is repeated; `offline` refuses
    every connection; `notice` is told what a person should know (a moving reference was pinned).
    """

    timeout: float = 30.0
    retries: int = 4
    offline: bool = False
    tokens: dict[str, str] = field(default_factory=dict)
    notice: Callable[[str], None] = field(default=lambda _: None, compare=False)


class Registry(Protocol):
    """One kind of registry, made with `Settings`."""

    def resolve(self, reference: str) -> Artifact:
        """Return the artifact that a reference means now.

        Raises UsageError when the reference cannot be read, SourceError when the registry does not answer, does not
        have it, or answers with something impossible.
        """

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Return the bytes of a file of an artifact that this registry resolved."""
