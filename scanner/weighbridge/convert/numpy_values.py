"""numpy's arrays in a pickle's symbolic result: where their bytes are, and how they are laid out.

An array is rebuilt from its bytes (`_reconstruct` and a state; `_frombuffer` since protocol 5), or its bytes follow the
pickle of a wrapper (joblib). Protocols before 3 have no bytes: they write them as a text of the same code points.

Source: numpy/_core/src/multiarray/methods.c, `array_reduce` and `array_setstate`, and numpy/_core/numeric.py,
`_frombuffer`, numpy 1.0 to 2.4; joblib/numpy_pickle.py, `NumpyArrayWrapper`, joblib 0.10 to 1.6.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from math import prod
from typing import Final

from weighbridge.convert.dtypes import BITS, NUMPY, TORCH, UNCONVERTIBLE
from weighbridge.convert.sources.base import Inputs
from weighbridge.convert.sources.pickled import Held
from weighbridge.convert.torch_tensors import DIMENSIONS, StorageId, Unfit, View, number
from weighbridge.errors import ArtifactError
from weighbridge.formats.pickle.joblib import WRAPPERS, fields
from weighbridge.reader import Reader, from_bytes, spool
from weighbridge.records import dataclass
from weighbridge.symbols import Call, Event, Global, Items, Span, State, Value

PIECE: Final = 1 << 20  # bytes of a text decoded at once
_WORDS: Final = {word: name for name, word in TORCH.items()}
_ADVICE: Final = "save it as an array of numbers"
# What an array is rebuilt as; another class may keep more than its numbers.
_PLAIN: Final = frozenset(("numpy.ndarray", "numpy.memmap"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """An array's type, shape and order as its pickle says them; none of it is believed yet."""

    dtype: Value
    shape: Value
    fortran: bool
    kind: Value = None


class Arrays:
    """Recognises the arrays of one stream, and keeps where their bytes are, by keys of its own.

    `reader` has the stream, whose bytes are in the store `store` of `inputs`.
    """

    def __init__(self, inputs: Inputs, reader: Reader, store: int, events: list[Event]) -> None:
        self.held: dict[str, Held] = {}
        self._inputs = inputs
        self._reader = reader
        self._store = store
        self._states: dict[int, list[State]] = {}
        self._views: dict[int, View | Unfit | None] = {}
        self._changed = {id(event.target) for event in events if type(event) is Items}
        for event in events:
            if type(event) is State and type(event.target) is Call:
                self._states.setdefault(id(event.target), []).append(event)

    def leaf(self, value: Value) -> View | Unfit | None:
        """Return the array that a value is, None when it is something else; always the same for the same value."""
        if type(value) is not Call or not isinstance(value.callable, Global):
            return None
        if id(value) not in self._views:
            found = self._array(value, value.callable)
            if found is not None and id(value) in self._changed:
                found = Unfit(location=value.location, reason="items are set on the array, which no writer does")
            self._views[id(value)] = found
        return self._views[id(value)]

    def _array(self, call: Call, function: Global) -> View | Unfit | None:
        states = self._states.get(id(call), [])
        if function.dotted in WRAPPERS:
            return self._wrapped(call, states)
        if function.dotted == "numpy._core.multiarray._reconstruct":
            return self._reconstructed(call, states)
        if function.dotted == "builtins.tuple":
            return self._named(call)
        if states:
            return None
        match function.dotted, call.arguments:
            case "numpy._core.numeric._frombuffer", (data, dtype, shape, ("C" | "F") as order):
                return self._made(call, _Layout(dtype=dtype, shape=shape, fortran=order == "F"), data)
            case "numpy._core.multiarray.scalar", (dtype, data):
                return self._made(call, _Layout(dtype=dtype, shape=(), fortran=False), data)
        return None

    def _named(self, call: Call) -> View | Unfit | None:
        """A tensor of Paddle: a pair of its name and its array."""
        match call.arguments:
            case ((str(), inner),):
                return self.leaf(inner)
        return None

    def _reconstructed(self, call: Call, states: list[State]) -> View | Unfit | None:
        match states:
            case [State(state=(int(), shape, dtype, bool(fortran), data))]:
                kind = call.arguments[0] if isinstance(call.arguments, tuple) and call.arguments else None
                return self._made(call, _Layout(dtype=dtype, shape=shape, fortran=fortran, kind=kind), data)
        return Unfit(location=call.location, reason="an array without one state of its own", advice=_ADVICE)

    def _wrapped(self, call: Call, states: list[State]) -> View | Unfit:
        """An array of joblib: its bytes follow the opcode that gives its wrapper a state, perhaps after padding."""
        if len(states) != 1:
            return Unfit(location=call.location, reason="an array without one state of its own", advice=_ADVICE)
        items = fields(states[0].state)
        order = items.get("order")
        layout = _Layout(
            dtype=items.get("dtype"), shape=items.get("shape"), fortran=order == "F", kind=items.get("subclass")
        )
        found = self._view(call, layout)
        if isinstance(found, View):
            begin = states[0].offset + 1
            if items.get("numpy_array_alignment_bytes") is not None:
                begin += 1 + self._reader.read(begin, 1)[0]
            self._hold(call, Span(begin, found.storage.size, "bytes"))
        return found

    def _made(self, call: Call, layout: _Layout, data: Value) -> View | Unfit:
        found = self._view(call, layout)
        if isinstance(found, View) and not self._hold(call, data):
            return Unfit(location=call.location, reason="an array whose bytes are not in the file", advice=_ADVICE)
        return found

    def _view(self, call: Call, layout: _Layout) -> View | Unfit:
        """Return an array as a view of a storage of its own."""
        here, shape = call.location, layout.shape
        if not isinstance(shape, tuple) or len(shape) > DIMENSIONS or not all(map(number, shape)):
            return Unfit(location=here, reason="an array whose shape is not made of numbers")
        sides = tuple(side for side in shape if isinstance(side, int))
        word, fault, advice = _word(layout.dtype)
        if len(self._states.get(id(layout.dtype), [])) > 1:  # arrays before and after would differ in their type
            fault = "an array whose type gets more than one state, which no writer gives it"
        if fault:
            return Unfit(location=here, reason=fault, advice=advice, shape=sides)
        item = BITS[TORCH[word]] // 8
        size = item * prod(sides)
        strides = [prod(sides[:index]) if layout.fortran else prod(sides[index + 1 :]) for index in range(len(sides))]
        kind = layout.kind
        notes = (f"class {kind.dotted}",) if isinstance(kind, Global) and kind.dotted not in _PLAIN else ()
        return View(
            location=here,
            storage=StorageId(key=_key(call), dtype=word, size=size),
            dtype=word,
            item=item,
            offset=0,
            shape=sides,
            strides=tuple(strides),
            notes=notes,
        )

    def _hold(self, call: Call, data: Value) -> bool:
        """Note where the bytes of an array are; tell whether they are anywhere."""
        store, begin, size = self._store, 0, 0
        if id(data) in self._changed:
            return False
        match data:
            case Span(kind="bytes" | "bytearray"):
                begin, size = data.offset, data.size
            case bytes():
                store, size = self._inputs.add_computed(from_bytes(data, call.location)), len(data)
            case Call(callable=Global(dotted="builtins.bytes"), arguments=()):
                pass  # how protocols before 3 write no bytes at all
            case Call(callable=Global(dotted="_codecs.encode"), arguments=(text, "latin1" | "latin-1")):
                decoded = self._decoded(text, call)
                if decoded is None:
                    return False
                store, size = self._inputs.add_computed(decoded), decoded.size
            case _:
                return False
        self.held[_key(call)] = Held(begin=begin, size=size, member="", location=call.location, store=store)
        return True

    def _decoded(self, text: Value, call: Call) -> Reader | None:
        """Return the bytes that a text stands for, None when it stands for none."""
        if type(text) is str:
            return from_bytes(_latin(text, call), call.location)
        if isinstance(text, Span) and text.kind == "str":
            return spool(self._pieces(text, call), call.location)
        return None

    def _pieces(self, text: Span, call: Call) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        for begin in range(text.offset, text.offset + text.size, PIECE):
            end = min(begin + PIECE, text.offset + text.size)
            try:
                piece = decoder.decode(self._reader.read(begin, end - begin), end == text.offset + text.size)
            except UnicodeDecodeError as error:
                raise ArtifactError(self._reader.at(begin), "an array's text is not UTF-8") from error
            data = _latin(piece, call)
            self._inputs.budget.spend_unpacked(call.location, len(data))
            yield data


def _key(call: Call) -> str:
    return f"array {call.offset}"


def _latin(text: str, call: Call) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ArtifactError(call.location, "an array's text has characters that are no bytes") from error


def _word(dtype: Value) -> tuple[str, str, str]:
    """Return torch's name of a pickled dtype, or why it has none and what to do."""
    match dtype:
        case Call(callable=Global(dotted="numpy.dtype"), arguments=(name, *_), state=state):
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        case _:
            return "", "an array whose type cannot be told", _ADVICE
    if isinstance(name, Global) and name.module == "ml_dtypes" and name.name in TORCH:
        found = name.name
    elif type(name) is str and name.lstrip("<>|=") in NUMPY:
        found = _WORDS[NUMPY[name.lstrip("<>|=")]]
    else:
        return _unfit(name)
    if (order == ">" or str(name).startswith(">")) and BITS[TORCH[found]] > 8:
        return "", "an array of big-endian numbers", "save it as array.astype(array.dtype.newbyteorder('<'))"
    if order not in ("<", "|", "=", ">"):
        return "", "an array whose order of bytes cannot be told", _ADVICE
    return found, "", ""


def _unfit(name: Value) -> tuple[str, str, str]:
    told = name.lstrip("<>|=") if type(name) is str else ""
    if told.startswith("O"):
        return "", "an array of objects", _ADVICE
    if told in ("c16", "c32"):
        return "", "complex numbers of more than 64 bits have no equivalent", UNCONVERTIBLE["complex128"]
    shown = repr(told) if told else name.dotted if isinstance(name, Global) else "unknown"
    return "", f"an array of type {shown}, which has no equivalent in safetensors", _ADVICE
