"""What of one program no trust entry covers, in the program's order.

A session follows the program's values: which result of a call has which tag, which object has its state, which names
stand among data. What it may ask of the entries is `Entries`; `weighbridge.trust` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, Protocol

from weighbridge.facts import UNREVIEWED_PART, Program
from weighbridge.formats.pickle.joblib import AS_OPCODES
from weighbridge.kept import imports_kept, set_in_results
from weighbridge.schema import Signature
from weighbridge.schema_words import WORK_LIMIT, WorkError
from weighbridge.symbols import (
    ELISIONS,
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
    Run,
    Set,
    Span,
    State,
    Value,
)
from weighbridge.trust_files import Entry, TrustFile

# What a module of torch looks up attributes in that it misses, while it takes its state too.
_TABLES: Final = frozenset({"_parameters", "_buffers", "_modules"})
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes, complex}) | ELISIONS

NO_ENTRY: Final = "no trust entry names it"
_UNREVIEWED: Final = "unreviewed"  # the tag of what a call without an entry results in, for entries to speak of


class Entries(Protocol):
    """What a session asks of trust entries."""

    def entry(self, module: str, name: str) -> Entry | None:
        """Return the entry of an import, None when there is none."""

    def file_of(self, package: str) -> TrustFile:
        """Return the file that speaks for a top-level package."""

    def is_ordinary(self, text: str) -> bool:
        """Tell whether a text of an ordinary pickle may be imported as a module without doing what a file chose."""


class DoubtError(Exception):
    """Another value than the one that stands for it might have been covered."""


class ProgramSession:
    """The judgement of one program: tags of trusted results, and what each name's entry is.

    A careful one raises DoubtError for any reason but that a name has no entry, whatever it is used for.
    """

    def __init__(self, trust: Entries, program: Program, *, careful: bool = False) -> None:
        self._trust = trust
        self._program = program
        self._careful = careful
        self._entries: dict[Global, Entry | None] = {}
        self._tags: dict[Value, str] = {}
        self._owners: dict[Value, Global] = {}
        self._taken_for: dict[Global, Global] = {}
        self._denied: set[Call] = set()
        self._filled: set[Call] = set()
        self._work = 0
        # While it supposes that names without an entry may stand among data, and what calls would result in then.
        self._supposing = False
        self._supposed: dict[Value, str] = {}
        self._plain_keys: list[Value] = []
        self._tables: list[int] = []

    def tag(self, value: Call | PersistentId) -> str | None:
        """Return the tag of what a trusted call or persistent id results in, None when it is not trusted."""
        found = self._tags.get(value)
        return self._supposed.get(value) if found is None and self._supposing else found

    def name(self, value: Value) -> Global | None:
        """Return the import that a value is, or the class for which a persistent id stands."""
        if type(value) is PersistentId:
            return self._owners.get(value)
        return value if type(value) is Global else None

    def refers(self, name: Global, kind: str) -> bool:
        """Tell whether a name may stand among data (`any`) or is a plain class (`class`)."""
        entry = self._entry(name)
        if entry is None:
            return self._supposing
        return entry.plain if kind == "class" else entry.storable

    def nested(self, value: Value) -> bool:
        """Tell whether a literal was examined as a file of torch of its own, which holds a storage."""
        return id(value) in self._program.nested

    def hashable(self, value: Value) -> bool:
        """Tell whether hashing and comparing a value runs nothing that was not reviewed."""
        parts: list[Value] = [value]
        while parts:
            part = parts.pop()
            if type(part) is tuple or type(part) is Set:
                self.spend(len(part))
                parts += part
            elif type(part) not in _PLAIN and not self._is_key(part):
                return False
        return True

    def _is_key(self, value: Value) -> bool:
        """Tell whether what is neither plain nor a tuple or set may be a key."""
        if type(value) is Global:
            return self._storable(value)
        if type(value) is Call and value in self._tags:
            owner = self._owner(value)
            keys = None if owner is None else self._trust.file_of(owner.module.partition(".")[0]).keys
            return keys is not None and keys(value, self)
        return type(value) is Span and value.kind != "bytearray"

    def members(self, value: Call) -> list[Value]:
        """Return the keys and values, by turns, that the program sets in the result of a call."""
        return self._members.get(value, [])

    @cached_property
    def _members(self) -> dict[Call, list[Value]]:
        return set_in_results(self._program)

    def spend(self, parts: int) -> None:
        """Count visited parts; raise WorkError over WORK_LIMIT."""
        self._work += parts
        if self._work > WORK_LIMIT:
            raise WorkError

    def judge(self) -> Iterator[tuple[Event, str]]:
        """Yield every event that is not covered, then every name that is stored where it may only be called.

        What happens to the result of a call that was yielded is part of that call, and not yielded again.
        """
        for event in self._program.events:
            if type(event) is Run:
                for part in event.events:
                    reason = self._verdict(part)
                    if reason:
                        yield Run(event.origin, event.offset, (part,), event.count), reason
            else:
                reason = self._verdict(event)
                if reason:
                    yield event, reason
        if any(entry is not None and not entry.storable for entry in self._entries.values()):
            for name in imports_kept(self._program, self._owners):
                entry = self._entry(name)
                if entry is not None and not entry.storable:
                    yield name, "may be called with reviewed arguments, but is stored or passed along here"

    def _verdict(self, event: Event) -> str:
        """Return why an event is not covered, or nothing; remember it for what happens to the result."""
        try:
            reason = _REASONS.get(type(event), _not_covered)(self, event)
        except WorkError:
            reason = f"its arguments take more than {WORK_LIMIT} steps to match"
        if reason:
            if self._careful and reason != NO_ENTRY:
                raise DoubtError
            if type(event) is Call:
                self._denied.add(event)
        return reason

    def _reason_of_import(self, name: Global) -> str:
        return "" if self._entry(name) is not None else NO_ENTRY

    def _entry(self, name: Global) -> Entry | None:
        try:
            return self._entries[name]
        except KeyError:
            entry = self._trust.entry(name.module, name.name)
            if entry is None and name.name == "dtype" and self._program.reading.startswith(AS_OPCODES):
                # In the pickle of an array of objects, plain pickle takes another text of the memo for the `numpy` of
                # `numpy.dtype`. A module by that name that has a `dtype` has it of numpy; without one, it raises.
                if not self._trust.is_ordinary(name.module):
                    self._entries[name] = None
                    return None
                self._taken_for[name] = Global(name.origin, name.offset, name.spelled, "numpy", "dtype")
                entry = self._trust.entry("numpy", "dtype")
            self._entries[name] = entry
            return entry

    def _storable(self, name: Global) -> bool:
        entry = self._entry(name)
        return entry is not None and entry.storable

    def _entry_of_callable(self, function: Value) -> Entry | None:
        name = self.name(function)
        if name is not None:
            return self._entry(name)
        if type(function) is Call and function in self._tags:
            owner = self._owner(function)
            if owner is not None:
                file = self._trust.file_of(owner.module.partition(".")[0])
                return file.entry(f"<{self._tags[function]}>")
        return None

    def _reason_of_call(self, call: Call) -> str:
        function = call.callable
        entry = self._entry(function) if type(function) is Global else self._entry_of_callable(function)
        if entry is None:
            if type(function) is not Global:
                return "what it calls is computed"
            self._supposed[call] = _UNREVIEWED
            return NO_ENTRY
        makes = call.form in _MAKING
        if makes and entry.plain and call.arguments == () and not call.keywords:
            self._tags[call] = "instance"
            return ""
        signatures = entry.new if makes else entry.call
        found = self._fitting(call, signatures)
        if found is not None:
            self._tags[call] = found.result
            if found.result == "@1" and type(call.arguments) is tuple:
                self._owners[call] = call.arguments[0]
                self._tags[call] = "instance"
            return ""
        if not signatures:
            return f"reviewed for other uses, not to be called by {call.form}"
        if self._fits_but_for_names(call, signatures):
            return UNREVIEWED_PART
        return f"its arguments do not fit {' or '.join(signature.text for signature in signatures)}"

    def _fitting(self, call: Call, signatures: tuple[Signature, ...]) -> Signature | None:
        """Return the first signature that the arguments of a call fit."""
        for signature in signatures:
            if signature.arguments(call.arguments, self) and (not call.keywords or self._keywords_fit(call, signature)):
                return signature
        return None

    def _fits_but_for_names(self, call: Call, signatures: tuple[Signature, ...]) -> bool:
        """Tell whether a call would be covered if every name without an entry might stand among data."""
        self._supposing = True
        try:
            found = self._fitting(call, signatures)
        finally:
            self._supposing = False
        if found is not None:
            self._supposed[call] = found.result
        return found is not None

    def _keywords_fit(self, call: Call, signature: Signature) -> bool:
        return signature.keywords is not None and signature.keywords(call.keywords, self)

    def _owner(self, call: Call) -> Global | None:
        """Return the class or callable that a trusted call's result belongs to."""
        owner = self._owners.get(call, call.callable)
        while type(owner) is Call or type(owner) is PersistentId:
            owner = self._owners.get(owner, owner.callable if type(owner) is Call else None)
        return self._taken_for.get(owner, owner) if type(owner) is Global else None

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
        # What a class looks up while it takes a state was reviewed for an object that has none yet.
        if target in self._filled:
            return "the object has a state already"
        self._filled.add(target)
        file = self._trust.file_of(owner.module.partition(".")[0])
        forms = file.state.of(owner.dotted) or file.state.of(f"<{tag}>")
        if forms is not None:
            for form in forms:
                if form.arguments(state, self):
                    self._tags[target] = form.result or tag
                    return ""
            return "its state does not fit what was reviewed"
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
        if keys != self._plain_keys:
            for key in keys:
                if type(key) is not str or (key.startswith("__") and key.endswith("__")):
                    return False
            self._plain_keys = keys
            self._tables = [2 * at + 1 for at, key in enumerate(keys) if key in _TABLES]
        return all(self._is_table(state[at]) for at in self._tables)

    def _is_table(self, value: Value) -> bool:
        """Tell whether a value is a dict or an OrderedDict of ordinary names."""
        pairs: list[Value] = []
        if type(value) is Dict:
            pairs = value
        elif type(value) is Call and value.subject == "collections.OrderedDict" and value in self._tags:
            given = value.arguments[0] if type(value.arguments) is tuple and value.arguments else []
            pairs = [*self.members(value), *(part for pair in given for part in pair)]
        else:
            return value is None
        return all(type(key) is str and not key.startswith("__") for key in pairs[::2])

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
        check = file.items.of(owner.dotted) or file.items.of(f"<{tag}>")
        if check is None:
            return "its class was not reviewed for items"
        values: Value = Dict(event.values) if event.opcode.startswith("SETITEM") else list(event.values)
        return "" if check(values, self) else "its items do not fit what was reviewed"

    def _reason_of_key(self, event: Key) -> str:
        if self._is_key(event.key):
            return ""
        code = "" if type(event.key) is Global else "runs code that "
        return f"hashing it {code}was not reviewed"

    def _reason_of_persistent(self, event: PersistentId) -> str:
        value = event.value
        for name in value if type(value) is tuple else ():
            if type(name) is Global:
                for signature in self._trust.file_of(name.module.partition(".")[0]).persistent:
                    if signature.arguments(value, self):
                        if signature.result == "@2":
                            self._owners[event] = name
                        else:
                            self._tags[event] = signature.result
                        return ""
        return "the loading program decides what this persistent id is"


_MAKING: Final = frozenset({Form.NEWOBJ, Form.NEWOBJ_EX})


def _not_covered(_: ProgramSession, __: Event) -> str:
    return "no trust entry covers this"


# Looked up, because asking an event for its type one by one takes as long as the answer.
_REASONS: Final[dict[type[Event], Callable[[ProgramSession, Any], str]]] = {
    Call: ProgramSession._reason_of_call,
    State: ProgramSession._reason_of_state,
    Global: ProgramSession._reason_of_import,
    Items: ProgramSession._reason_of_items,
    Key: ProgramSession._reason_of_key,
    PersistentId: ProgramSession._reason_of_persistent,
    ComputedName: lambda _, __: "the name is computed while loading",
    Extension: lambda _, __: "the extension registry of the loading process decides what this is",
}
