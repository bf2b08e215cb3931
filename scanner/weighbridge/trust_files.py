"""Trust files: what each says of a name, decoded when a stream brings that name.

A file has thousands of names, and a stream uses a few: reading all of torch's took 6 ms, a tenth of a scan. `read`
decodes everything, and so finds every error; `open_file` leaves that to the first look at an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Final, Generic, TypeVar

from weighbridge.documents import suggest
from weighbridge.errors import DocumentError
from weighbridge.names import normalise
from weighbridge.nodes import Node, compose, items, kind, pairs, scalar, where
from weighbridge.records import dataclass
from weighbridge.schema import SchemaError, Signature, compile_schema, compile_signature, compile_state
from weighbridge.schema_words import WORDS, Check

T = TypeVar("T")
Compiler = Callable[[str, Mapping[str, Check]], T]

_SECTIONS: Final = ("call", "new", "state", "items", "keys", "classes", "references", "persistent", "define")
_TEXTS: Final = ("framework", "packages", "reviewed", "stored", "words")


@dataclass(frozen=True, slots=True)
class Entry:
    """What trust says of one name."""

    name: str
    call: tuple[Signature, ...] = ()
    new: tuple[Signature, ...] = ()
    plain: bool = False
    reference: bool = False
    stored: bool = False

    @property
    def storable(self) -> bool:
        """Whether the name may stand among data, where whoever finds it may call it with anything."""
        return self.reference or (self.stored and (self.plain or bool(self.new)))


class Section(Mapping[str, T], Generic[T]):
    """What a section says of each name, decoded on the first look."""

    def __init__(self, nodes: Mapping[str, Node], decode: Callable[[Node], T]) -> None:
        self._nodes = nodes
        self._decode = decode
        self._decoded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._decoded:
            self._decoded[name] = self._decode(self._nodes[name])
        return self._decoded[name]

    def of(self, name: str) -> T | None:
        """Return what the section says of a name, None when it says nothing."""
        found = self._decoded.get(name)
        return self[name] if found is None and name in self._nodes else found

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


class TrustFile:
    """One framework's entries. Whatever is wrong in an entry is a DocumentError when it is decoded."""

    def __init__(self, name: str, nodes: Mapping[str, Node]) -> None:
        self._name = name
        self._nodes = nodes
        self._entries: dict[str, Entry] = {}
        self._compiled: dict[int, tuple[Signature, ...]] = {}
        self._words: dict[tuple[str, str], frozenset[str]] = {}
        self._defining: set[int] = set()
        self._defined = Section(dict(self._pairs("define")), self._definition)
        self._classes = dict(self._pairs("classes"))
        self._references = dict(self._pairs("references"))
        self.call = Section(self._named("call"), self._signatures)
        self.new = Section(self._named("new"), self._signatures)
        self.state = Section(self._named("state"), self._states)
        self.items = Section(self._named("items"), self._schema)

    @cached_property
    def framework(self) -> str:
        """Whose names these are."""
        return self._text("framework")

    @cached_property
    def reviewed(self) -> str:
        """How and why they were reviewed."""
        return self._text("reviewed")

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """The top-level packages that the file speaks for."""
        return tuple(scalar(node, self._name) for node in items(self._node("packages"), self._name))

    @cached_property
    def persistent(self) -> tuple[Signature, ...]:
        """The persistent ids that the framework writes."""
        return self._signatures(self._nodes["persistent"]) if "persistent" in self._nodes else ()

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """The modules whose classes may stand among data: to call one makes an object and does nothing else."""
        return tuple(f"{name}." for name in self._text("stored").split()) if "stored" in self._nodes else ()

    @cached_property
    def words(self) -> frozenset[str]:
        """Texts that another reading of a pickle of the framework may take for the name of a module."""
        return frozenset(self._text("words").split()) if "words" in self._nodes else frozenset()

    @cached_property
    def keys(self) -> Check | None:
        """Which results of the framework's calls may be hashed and compared, None when none may."""
        return self._schema(self._nodes["keys"]) if "keys" in self._nodes else None

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every entry, decoded, by its name.

        Raises DocumentError also for a name that is not written as it is normalised, which no stream could match.
        """
        found: dict[str, Entry] = {}
        for name, node in self._all_names():
            if not name.startswith("<"):
                module, _, last = name.rpartition(".")
                normal = ".".join(normalise(module, last))
                if normal != name:
                    raise DocumentError(where(node, self._name), f"write {name!r} as {normal!r}")
            entry = self.entry(name)
            if entry is not None:
                found[name] = entry
        return found

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a dotted name or a `<tag>`, None when there is none."""
        found = self._entries.get(name)
        if found is not None:
            return found
        plain, reference = self._lists("classes", name), self._lists("references", name)
        if not (plain or reference or name in self.call or name in self.new):
            return None
        stored = name.startswith(self.stored)
        entry = Entry(name, self.call.of(name) or (), self.new.of(name) or (), plain, reference, stored)
        self._entries[name] = entry
        return entry

    def check(self) -> None:
        """Decode everything; raise DocumentError with `file:line:column` when something is wrong."""
        for key, node in self._nodes.items():
            if key not in _SECTIONS + _TEXTS:
                near = suggest(key, [*_SECTIONS, *_TEXTS])
                raise DocumentError(where(node, self._name), f"unknown key {key!r}{near}")
        for word, node in self._pairs("define"):
            if word in WORDS:
                raise DocumentError(where(node, self._name), f"{word!r} is a word of the schema language")
        sections: tuple[Mapping[str, object], ...] = (self._defined, self.state, self.items, self.entries)
        for section in sections:
            for name in section:
                section[name]
        _ = self.framework, self.reviewed, self.packages, self.persistent, self.keys, self.stored, self.words

    def _all_names(self) -> Iterator[tuple[str, Node]]:
        for section in ("call", "new"):
            yield from self._named(section).items()
        for role in (self._classes, self._references):
            for module, node in role.items():
                for word in scalar(node, self._name).split():
                    yield f"{module}.{word}", node

    def _lists(self, role: str, name: str) -> bool:
        """Tell whether a list of modules and their names has a dotted name, wherever its module ends."""
        modules = self._classes if role == "classes" else self._references
        end = name.find(".")
        while end > 0:
            module = name[:end]
            if module in modules:
                words = self._words.get((role, module))
                if words is None:
                    words = frozenset(scalar(modules[module], self._name).split())
                    self._words[role, module] = words
                if name[end + 1 :] in words:
                    return True
            end = name.find(".", end + 1)
        return False

    def _named(self, section: str) -> dict[str, Node]:
        return {name: node for key, node in self._pairs(section) for name in _names(key)}

    def _pairs(self, section: str) -> Iterator[tuple[str, Node]]:
        if section in self._nodes:
            yield from pairs(self._nodes[section], self._name)

    def _node(self, key: str) -> Node:
        if key not in self._nodes:
            raise DocumentError(self._name, f"missing key {key!r}")
        return self._nodes[key]

    def _text(self, key: str) -> str:
        return scalar(self._node(key), self._name)

    def _schema(self, node: Node) -> Check:
        return self._compile(node, compile_schema)

    def _definition(self, node: Node) -> Check:
        if id(node) in self._defining:
            raise DocumentError(where(node, self._name), "a definition that goes back to itself")
        self._defining.add(id(node))
        return self._schema(node)

    def _signatures(self, node: Node) -> tuple[Signature, ...]:
        return self._several(node, compile_signature)

    def _states(self, node: Node) -> tuple[Signature, ...]:
        return self._several(node, compile_state)

    def _several(self, node: Node, compiler: Compiler[Signature]) -> tuple[Signature, ...]:
        """Compile a signature or a list of them, once for all the names of a set."""
        found = self._compiled.get(id(node))
        if found is None:
            nodes = items(node, self._name) if kind(node) == "sequence" else [node]
            found = self._compiled[id(node)] = tuple(self._compile(one, compiler) for one in nodes)
        return found

    def _compile(self, node: Node, compiler: Compiler[T]) -> T:
        try:
            return compiler(scalar(node, self._name), self._defined)
        except SchemaError as error:
            raise DocumentError(where(node, self._name), str(error)) from error


def _names(key: str) -> list[str]:
    """Return the dotted names of a key: one, or every name of a set such as `@{pkg: a b; pkg.sub: c}`."""
    if not key.startswith("@{"):
        return [key]
    parts = (part.partition(":") for part in key[2:].rstrip("}").split(";"))
    return [f"{module.strip()}.{name}" for module, _, names in parts for name in names.split()]


def open_file(text: str, name: str) -> TrustFile:
    """Return a trust file whose entries are decoded as they are asked for."""
    return TrustFile(name, dict(pairs(compose(text, name), name)))


def read(text: str, name: str) -> TrustFile:
    """Return a trust file that is decoded to the end; raise DocumentError with `file:line:column`."""
    file = open_file(text, name)
    file.check()
    return file
