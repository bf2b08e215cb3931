"""Plain data out of the values of the pickle machine: what a checkpoint holds beside its tensors.

Numbers, texts, bytes, `None`, lists, tuples, sets and dicts of these, exactly as a loader would have them; a size of
torch is a tuple, a device or dtype its name. Whatever is the same object at two places is so here. Anything else is
refused by its name: nothing is imported to find out what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from weighbridge.convert.symbolic import Walker
from weighbridge.convert.torch_tensors import Unfit, View, tensor
from weighbridge.location import printable
from weighbridge.reader import Reader
from weighbridge.refusals import UnsupportedFormat
from weighbridge.symbols import (
    ELISIONS,
    Call,
    ComputedName,
    Dict,
    Event,
    Extension,
    Global,
    Opaque,
    PersistentId,
    Set,
    Span,
    Value,
    owner,
)

DEPTH: Final = 64  # containers inside containers, the limit of conversions too
_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
_FIX: Final = "convert the weights alone with `weighbridge convert`, or name their group: state_dict=…"

Make = Callable[[View], Any]


class Builder:
    """Builds the result of one stream; `make` makes a tensor of a view, `where` names the file in messages."""

    def __init__(self, events: list[Event], reader: Reader, walker: Walker, make: Make, where: str) -> None:
        self._events = events
        self._reader = reader
        self._walker = walker
        self._make = make
        self._where = where
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()

    def build(self, value: Value) -> Any:
        """Return the object; raise UnsupportedFormat for the first thing that is not plain data."""
        for event in self._events:
            if isinstance(event, Extension | ComputedName):
                raise self._refusal(f"{event.kind} of the stream")
        found = self._value(value, 0)
        for name in self._walker.unseen():
            raise self._refusal(f"a call of {name}, whose result nothing holds")
        return found

    def _refusal(self, what: str) -> UnsupportedFormat:
        return UnsupportedFormat(self._where, f"not tensors and plain data: {printable(what)}", _FIX)

    def _value(self, value: Value, depth: int) -> Any:
        if type(value) in _ATOMS:
            return value
        if id(value) in self._made:
            return self._made[id(value)]
        if depth > DEPTH or id(value) in self._open:
            raise self._refusal("a container that holds itself" if id(value) in self._open else "too deep a container")
        self._open.add(id(value))
        made = self._made[id(value)] = self._new(value, depth)
        self._open.discard(id(value))
        return made

    def _new(self, value: Value, depth: int) -> Any:
        found = tensor(value, self._walker.around)
        if isinstance(found, View):
            if found.notes:
                raise self._refusal(f"a tensor with {found.notes[0]}")
            return self._make(found)
        if isinstance(found, Unfit):
            raise self._refusal(f"{found.reason}; {found.advice}" if found.advice else found.reason)
        flat = self._walker.mapping(value)
        if flat is not None:
            keys = [self._key(key, depth) for key in flat[::2]]
            return dict(zip(keys, (self._value(one, depth + 1) for one in flat[1::2]), strict=True))
        if type(value) is list or type(value) is tuple:
            return type(value)([self._value(one, depth + 1) for one in value])
        if type(value) is Set:
            return {self._key(one, depth) for one in value}
        if isinstance(value, Span):
            return self._span(value)
        return self._known(value, depth)

    def _key(self, value: Value, depth: int) -> Any:
        """Return a key of a dict or a member of a set: something that can be one, and runs no code as one."""
        made = self._value(value, depth + 1)
        if type(made) not in _ATOMS and not (type(made) is tuple and all(type(one) in _ATOMS for one in made)):
            raise self._refusal(f"a key that is a {type(made).__name__}")
        return made

    def _span(self, span: Span) -> Any:
        """Return a literal that was too large to keep."""
        data = self._reader.read(span.offset, span.size)
        match span.kind:
            case "str":
                return data.decode("utf-8", "surrogatepass")
            case "int":
                return int.from_bytes(data, "little", signed=True)
            case "bytearray":
                return bytearray(data)
        return data

    def _known(self, value: Value, depth: int) -> Any:
        """Return what the few names mean that stand for data."""
        match value:
            case Global(module="torch", name=name):
                return f"torch.{name}"
            case Call(callable=Global(dotted="torch.device"), arguments=(str(device), *index), keywords=None):
                return ":".join([device, *(str(one) for one in index if type(one) is int)])
            case Call(callable=Global(dotted="torch.Size"), arguments=(list() | tuple() as sides,)):
                return tuple(self._value(one, depth + 1) for one in sides)
            case Call(callable=Global(dotted="builtins.set" | "builtins.frozenset"), arguments=(list() as members,)):
                return {self._key(one, depth) for one in members}
            case Call(callable=Global(dotted="builtins.complex"), arguments=(float(real), float(imaginary))):
                return complex(real, imaginary)
            case Call(callable=Global(dotted="_codecs.encode"), arguments=(str(text), "latin1")):
                return text.encode("latin-1", "replace")
            case Call(callable=Global(dotted="builtins.bytearray"), arguments=(bytes(data),)):
                return bytearray(data)
        raise self._refusal(_name(value))


def _name(value: Value) -> str:
    """Return what a value is, by its name."""
    match value:
        case Opaque(reason=reason):
            return reason
        case Global():
            return value.dotted
        case PersistentId():
            return "a persistent id that is no storage of a tensor"
        case Call():
            return f"an object of {owner(value)}"
        case Dict():
            return "a dict with a state of its own"
    return "a value that was not kept" if type(value) in ELISIONS else owner(value)
