"""Trust entries: which callables a file may use, in which form and with which arguments.

Everything is denied that no entry covers. Entries are data, one file per framework under `rules/trust/`; a file is read
only when a stream names one of its packages. Nothing here depends on what is installed.

A name has roles: it may be called (`call`), made by `__new__` (`new`, `classes`), given a state (`state`, `classes`),
given items (`items`), or passed along as data (`references`, `classes`, `new`). To be imported it needs any one of
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from weighbridge import documents
from weighbridge.documents import Node
from weighbridge.errors import DocumentError
from weighbridge.facts import Program
from weighbridge.names import normalise
from weighbridge.records import dataclass
from weighbridge.schema import (
    WORDS,
    WORK_LIMIT,
    Check,
    SchemaError,
    Signature,
    WorkError,
    compile_schema,
    compile_signature,
)
from weighbridge.symbols import (
    Call,
    ComputedName,
    Dict,
    Event,
    Extension,
    Form,
    Global,
    Items,
    Key,
    PersistentId,
    Set,
    State,
    Value,
)

STANDARD: Final = "python"  # the file of the standard library, for every package that no other file claims
_PACKAGES: Final = re.compile(r"^packages:\s*\[([^\]]*)\]", re.MULTILINE)
_HEAD: Final = 2048  # bytes of a trust file in which `packages` stands
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes, complex})
_SECTIONS: Final = ("call", "new", "state", "items", "classes", "references", "persistent", "define")
_TEXTS: Final = ("framework", "packages", "reviewed")


@dataclass(slots=True)
class Entry:
    """What trust says of one name."""

    name: str
    call: tuple[Signature, ...] = ()
    new: tuple[Signature, ...] = ()
    plain: bool = False
    reference: bool = False

    @property
    def storable(self) -> bool:
        """Whether the name may stand among data."""
        return self.reference or self.plain or bool(self.new)


@dataclass(slots=True)
class TrustFile:
    """One framework's entries."""

    framework: str = ""
    packages: tuple[str, ...] = ()
    reviewed: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    state: dict[str, Check] = field(default_factory=dict)
    items: dict[str, Check] = field(default_factory=dict)
    persistent: tuple[Signature, ...] = ()

    def entry(self, dotted: str) -> Entry:
        """Return the entry of a name, made on first use; the name must be written as it is normalised."""
        return self.entries.setdefault(dotted, Entry(dotted))


def read(text: str, name: str) -> TrustFile:
    """Decode a trust file; raise DocumentError with `file:line:column`."""
    file, nodes = TrustFile(), {}
    for key, node in documents.pairs(documents.compose(text, name), name):
        if key not in _SECTIONS + _TEXTS:
            near = documents.suggest(key, [*_SECTIONS, *_TEXTS])
            raise DocumentError(documents.where(node, name), f"unknown key {key!r}{near}")
        nodes[key] = node
    for key in _TEXTS:
        if key not in nodes:
            raise DocumentError(name, f"missing key {key!r}")
    file.framework = documents.scalar(nodes["framework"], name)
    file.reviewed = documents.scalar(nodes["reviewed"], name)
    file.packages = tuple(documents.scalar(node, name) for node in documents.items(nodes["packages"], name))
    _Reading(name, file, nodes).decode()
    return file


def _names(key: str) -> list[str]:
    """Return the dotted names of a key: one, or every name of a set such as `@{pkg: a b; pkg.sub: c}`."""
    if not key.startswith("@{"):
        return [key]
    parts = (part.partition(":") for part in key[2:].rstrip("}").split(";"))
    return [f"{module.strip()}.{name}" for module, _, names in parts for name in names.split()]


class _Reading:
    """The decoding of one trust file, section by section."""

    def __init__(self, name: str, file: TrustFile, nodes: Mapping[str, Node]) -> None:
        self.name = name
        self.file = file
        self.nodes = nodes
        self.defined: dict[str, Check] = {}

    def decode(self) -> None:
        """Decode every section of the file."""
        for word, node in self._pairs("define"):
            if word in WORDS:
                raise DocumentError(documents.where(node, self.name), f"{word!r} is a word of the schema language")
            self.defined[word] = self._schema(node)
        self._decode_signatures()
        self._decode_names()
        for section, checks in (("state", self.file.state), ("items", self.file.items)):
            for key, node in self._pairs(section):
                checks.update(dict.fromkeys(_names(key), self._schema(node)))
        if "persistent" in self.nodes:
            self.file.persistent = self._signatures(self.nodes["persistent"])

    def _decode_signatures(self) -> None:
        for key, node in self._pairs("call"):
            signatures = self._signatures(node)
            for dotted in _names(key):
                self._entry(dotted, node).call = signatures
        for key, node in self._pairs("new"):
            signatures = self._signatures(node)
            for dotted in _names(key):
                self._entry(dotted, node).new = signatures

    def _decode_names(self) -> None:
        for role in ("classes", "references"):
            for module, node in self._pairs(role):
                for word in documents.scalar(node, self.name).split():
                    entry = self._entry(f"{module}.{word}", node)
                    entry.plain = entry.plain or role == "classes"
                    entry.reference = entry.reference or role == "references"

    def _pairs(self, section: str) -> Iterator[tuple[str, Node]]:
        if section in self.nodes:
            yield from documents.pairs(self.nodes[section], self.name)

    def _entry(self, dotted: str, node: Node) -> Entry:
        if dotted.startswith("<"):
            return self.file.entry(dotted)
        module, _, last = dotted.rpartition(".")
        normal = ".".join(normalise(module, last))
        if normal != dotted:
            raise DocumentError(documents.where(node, self.name), f"write {dotted!r} as {normal!r}")
        return self.file.entry(dotted)

    def _schema(self, node: Node) -> Check:
        try:
            return compile_schema(documents.scalar(node, self.name), self.defined)
        except SchemaError as error:
            raise DocumentError(documents.where(node, self.name), str(error)) from error

    def _signatures(self, node: Node) -> tuple[Signature, ...]:
        nodes = documents.items(node, self.name) if documents.kind(node) == "sequence" else [node]
        try:
            return tuple(compile_signature(documents.scalar(one, self.name), self.defined) for one in nodes)
        except SchemaError as error:
            raise DocumentError(documents.where(node, self.name), str(error)) from error


class Trust:
    """The trust entries of a directory, read file by file as streams ask for them."""

    def __init__(self, directory: Path) -> None:
        self._paths: dict[str, Path] = {}
        self._files: dict[Path, TrustFile] = {}
        for path in sorted(directory.glob("*.yaml")):
            with path.open(encoding="utf-8") as file:
                found = _PACKAGES.search(file.read(_HEAD))
            for package in found[1].split(",") if found else ():
                self._paths.setdefault(package.strip(), path)
            self._paths.setdefault(path.stem, path)

    def files(self) -> Iterator[TrustFile]:
        """Yield every file, for listings and tests."""
        for path in dict.fromkeys(self._paths.values()):
            yield self._load(path)

    def file_of(self, package: str) -> TrustFile:
        """Return the file that speaks for a top-level package."""
        path = self._paths.get(package) or self._paths.get(STANDARD)
        return TrustFile() if path is None else self._load(path)

    def _load(self, path: Path) -> TrustFile:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = read(path.read_text(encoding="utf-8"), f"trust/{path.name}")
        return file

    def untrusted(self, program: Program) -> Iterator[tuple[Event, str]]:
        """Yield every event of a program that no entry covers, with the reason, in the program's order."""
        return _Session(self, program).judge()


class _Session:
    """The judgement of one program: tags of trusted results, and what each name's entry is."""

    def __init__(self, trust: Trust, program: Program) -> None:
        self._trust = trust
        self._program = program
        self._entries: dict[Global, Entry | None] = {}
        self._tags: dict[Call, str] = {}
        self._owners: dict[Call | PersistentId, Global] = {}
        self._denied: set[Call] = set()
        self._work = 0
        self._plain_keys: list[Value] = []

    def tag(self, value: Call) -> str | None:
        """Return the tag of a trusted call's result, None when the call is not trusted."""
        return self._tags.get(value)

    def refers(self, name: Global, kind: str) -> bool:
        """Tell whether a name may stand among data (`any`) or is a plain class (`class`)."""
        entry = self._entry(name)
        return entry is not None and (entry.plain if kind == "class" else entry.storable)

    def nested(self, value: Value) -> bool:
        """Tell whether a literal was examined as a program of its own."""
        return id(value) in self._program.nested

    def spend(self, parts: int) -> None:
        """Count visited parts; raise WorkError over WORK_LIMIT."""
        self._work += parts
        if self._work > WORK_LIMIT:
            raise WorkError

    def judge(self) -> Iterator[tuple[Event, str]]:
        """Yield every event that is not covered, then every name that is stored where it may only be called.

        What happens to the result of a call that was yielded is part of that call, and not yielded again.
        """
        call_only = False
        for event in self._program.events:
            try:
                reason = self._reason(event)
            except WorkError:
                reason = f"its arguments take more than {WORK_LIMIT} steps to match"
            if reason:
                if type(event) is Call:
                    self._denied.add(event)
                yield event, reason
            elif type(event) is Global:
                entry = self._entry(event)
                call_only = call_only or (entry is not None and not entry.storable)
        if call_only:
            for name in self._stored():
                yield name, "may be called with reviewed arguments, but is stored or passed along here"

    def _reason(self, event: Event) -> str:
        """Return why an event is not trusted, or nothing."""
        match event:
            case Call():
                return self._reason_of_call(event)
            case State():
                return self._reason_of_state(event)
            case Global():
                return "" if self._entry(event) is not None else "no trust entry names it"
            case Items():
                return self._reason_of_items(event)
            case Key():
                return self._reason_of_key(event)
            case PersistentId():
                return self._reason_of_persistent(event)
            case ComputedName():
                return "the name is computed while loading"
            case Extension():
                return "the extension registry of the loading process decides what this is"
        return "no trust entry covers this"

    def _entry(self, name: Global) -> Entry | None:
        try:
            return self._entries[name]
        except KeyError:
            package = name.module.partition(".")[0]
            entries = self._trust.file_of(package).entries
            entry = self._entries[name] = entries.get(name.dotted) or entries.get(f"{package}.*")
            return entry

    def _entry_of_callable(self, function: Value) -> Entry | None:
        if type(function) is PersistentId:
            function = self._owners.get(function)
        if type(function) is Global:
            return self._entry(function)
        if type(function) is Call and function in self._tags:
            owner = self._owner(function)
            if owner is not None:
                file = self._trust.file_of(owner.module.partition(".")[0])
                return file.entries.get(f"<{self._tags[function]}>")
        return None

    def _reason_of_call(self, call: Call) -> str:
        entry = self._entry_of_callable(call.callable)
        if entry is None:
            return "no trust entry names it" if type(call.callable) is Global else "what it calls is computed"
        makes = call.form is Form.NEWOBJ or call.form is Form.NEWOBJ_EX
        if makes and entry.plain and call.arguments == () and not call.keywords:
            self._tags[call] = "instance"
            return ""
        signatures = entry.new if makes else entry.call
        for signature in signatures:
            if signature.arguments(call.arguments, self) and self._keywords_fit(call, signature):
                self._tags[call] = signature.result
                if signature.result == "@1" and type(call.arguments) is tuple:
                    self._owners[call] = call.arguments[0]
                    self._tags[call] = "instance"
                return ""
        if not signatures:
            return f"reviewed for other uses, not to be called by {call.form}"
        return f"its arguments do not fit {' or '.join(signature.text for signature in signatures)}"

    def _keywords_fit(self, call: Call, signature: Signature) -> bool:
        if not call.keywords:
            return True
        return signature.keywords is not None and signature.keywords(call.keywords, self)

    def _owner(self, call: Call) -> Global | None:
        """Return the class or callable that a trusted call's result belongs to."""
        owner = self._owners.get(call, call.callable)
        while type(owner) is Call or type(owner) is PersistentId:
            owner = self._owners.get(owner, owner.callable if type(owner) is Call else None)
        return owner if type(owner) is Global else None

    def _reason_of_state(self, event: State) -> str:
        target, state = event.target, event.state
        if type(target) is not Call:
            return "the state of something that is not a fresh object is replaced"
        if target in self._denied:
            return ""
        tag = self._tags.get(target)
        owner = self._owner(target)
        if tag is None or owner is None:
            return "the object it belongs to is not trusted"
        file = self._trust.file_of(owner.module.partition(".")[0])
        check = file.state.get(owner.dotted) or file.state.get(f"<{tag}>")
        if check is not None:
            return "" if check(state, self) else "its state does not fit what was reviewed"
        entry = self._entry(owner)
        if entry is None or not entry.plain:
            return "its class was not reviewed for a state"
        return "" if self._is_plain_state(state) else "its state is more than a dict of ordinary attribute names"

    def _is_plain_state(self, state: Value) -> bool:
        if state is None:
            return True
        if type(state) is not Dict:
            return False
        keys = state[::2]
        # Objects of one class share the strings of their keys, so this compares pointers.
        if keys == self._plain_keys:
            return True
        for key in keys:
            if type(key) is not str or (key.startswith("__") and key.endswith("__")):
                return False
        self._plain_keys = keys
        return True

    def _reason_of_items(self, event: Items) -> str:
        target = event.target
        if type(target) is not Call:
            return "something that is not a fresh container is changed"
        if target in self._denied:
            return ""
        tag, owner = self._tags.get(target), self._owner(target)
        if tag is None or owner is None:
            return "the object it belongs to is not trusted"
        file = self._trust.file_of(owner.module.partition(".")[0])
        check = file.items.get(owner.dotted) or file.items.get(f"<{tag}>")
        if check is None:
            return "its class was not reviewed for items"
        values: Value = Dict(event.values) if event.opcode.startswith("SETITEM") else list(event.values)
        return "" if check(values, self) else "its items do not fit what was reviewed"

    def _reason_of_key(self, event: Key) -> str:
        key = event.key
        if type(key) is Call and key in self._tags:
            return ""
        if type(key) is Global:
            entry = self._entry(key)
            return "" if entry is not None and entry.storable else "hashing it was not reviewed"
        return "hashing it runs code that was not reviewed"

    def _reason_of_persistent(self, event: PersistentId) -> str:
        value = event.value
        for name in value if type(value) is tuple else ():
            if type(name) is Global:
                for signature in self._trust.file_of(name.module.partition(".")[0]).persistent:
                    if signature.arguments(value, self):
                        if signature.result == "@2":
                            self._owners[event] = name
                        return ""
        return "the loading program decides what this persistent id is"

    def _stored(self) -> Iterator[Global]:
        """Yield, once each, the imports found among data that may only be called."""
        found: set[Global] = set()
        seen: set[int] = set()
        for parts in self._roots():
            while parts:
                part = parts.pop()
                if type(part) is Global:
                    entry = self._entry(part)
                    if part not in found and entry is not None and not entry.storable:
                        found.add(part)
                        yield part
                elif isinstance(part, tuple | list | Set) and id(part) not in seen:
                    seen.add(id(part))
                    if not _PLAIN.issuperset(map(type, part)):
                        parts += part

    def _roots(self) -> Iterator[list[Value]]:
        """Yield what the program keeps: its result, states, items and the containers among arguments.

        A name that is an argument itself was matched by the schema of the call.
        """
        yield [self._program.result]
        for event in self._program.events:
            if type(event) is Call:
                arguments = event.arguments
                direct = arguments if type(arguments) is tuple else (arguments,)
                yield [part for part in (*direct, event.keywords) if isinstance(part, tuple | list)]
            elif type(event) is State:
                yield [event.state]
            elif type(event) is Items:
                yield list(event.values)
