"""What the abstract pickle machine does rarely: imports, literals, text operands, frames, keys.

`Recorder` holds the machine's inputs and what it has found so far; `Loop` adds the opcodes, `Machine` how they are run.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from weighbridge.errors import LimitError
from weighbridge.facts import Anomaly
from weighbridge.formats.pickle import joblib, literals
from weighbridge.formats.pickle.embedded import PROGRAM_LENGTH, PROGRAM_STARTS, begins
from weighbridge.formats.pickle.raising import is_no_text
from weighbridge.limits import Budget
from weighbridge.location import Location
from weighbridge.names import normalise
from weighbridge.symbols import (
    ELIDED,
    ELISIONS,
    ComputedName,
    Dict,
    Event,
    Global,
    Items,
    Key,
    Opaque,
    Set,
    Span,
    Value,
)

KEPT_BYTES: Final = 256  # longer bytes stay in the file as a Span
KEPT_TEXT: Final = 4096  # longer strings too
KEPT_FLOATS: Final = 100_000  # floats of one run that are kept when they are wanted
_SHORT_LINE: Final = 256  # bytes in which nearly every text operand ends
LINE_LIMIT: Final = 1 << 20  # a text operand; CPython has no limit, no pickler writes more
HASH_LIMIT: Final = 10_000  # parts of one key; CPython hashes a shared tuple again at each mention
_LOOKED: Final = 64  # characters in which a text shows whether it begins as a program does
HUGE_INT: Final = 1 << 16  # bytes of one integer; no model holds such a number
PROTOCOL: Final = 5
PARTIAL_PROTOCOLS: Final = (2, 3)  # have no opcode NEWOBJ_EX, and call a partial in its place
PARTIAL: Final = ("functools", "partial")
# Whose lists are too short to crash whoever calls it only as they are then: a stream can fill them afterwards.
MEASURED: Final = frozenset({"pyarrow.lib._restore_array"})
WINDOW: Final = 1 << 22  # bytes of a stream held at once; a large file is never copied whole
MARGIN: Final = 1 << 17  # more than any operand that is kept
ANOMALIES_PER_CODE: Final = 8  # a stream of nothing but odd integers needs no million facts

_FLOAT: Final = Struct(">xd")
PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes, complex}) | ELISIONS
# Length of the length field of opcodes that have one, for reading frames as C reads them from a file.
PREFIXES: Final = {
    **{0x58: 4, 0x42: 4, 0x54: 4, 0x55: 1, 0x43: 1, 0x8C: 1, 0x8D: 8, 0x8E: 8, 0x96: 8, 0x8A: 1, 0x8B: 4},
    0x95: 8,
}


# How C takes frames from a file. Before 3.8 an operand that crosses the end of its frame made it drop the frame's rest,
# whatever the operand; since then it reads bytes on across the end (`_Unpickler_ReadInto`) and drops it for others.
FRAMES: Final = "frames as C reads them from a file"
OLD_FRAMES: Final = "frames as C before 3.8 reads them from a file"
_TWO_LINES: Final = b"ci"  # GLOBAL, INST
_READ_ON: Final = frozenset({0x42, 0x43, 0x8E, 0x96})  # BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8


def as_now(arguments: Value) -> Value:
    """Return arguments in which the lists of a tuple are copies, which what follows in the stream does not change."""
    if type(arguments) is not tuple:
        return arguments
    return tuple([tuple(map(_copied, part)) if type(part) is tuple else _copied(part) for part in arguments])


def _copied(value: Value) -> Value:
    return value[:] if type(value) is list else value


@lru_cache(maxsize=1024)  # one module after another imports the same
def _spelling(module: str, name: str) -> tuple[tuple[str, str], bool]:
    """Return the normal spelling of an import, and whether it is written in printable ASCII."""
    return normalise(module, name), (module + name).isascii() and (module + name).isprintable()


class Recorder:
    """One stream of `view` from `start`: what to read, and what was found.

    `buffer` is the window of the view that is being read, from `base` on; when there is more behind it, the last
    `margin` bytes are left for the next window. `shift` is what lies between an offset in the view and one in the file.

    `interleaved` reads arrays behind joblib's wrappers as joblib does. `framed` (FRAMES or OLD_FRAMES) reads frames as
    the C unpickler does from a file. `records` takes runs of values in one step; `skipped` counts the memo entries
    that this leaves out. `exact` keeps the values of runs of floats that are not long. `wanted` is where the last long
    literal ends, or would end. `apart` is from where on plain pickle reads something else than joblib does,
    `inner_end` where the first pickle for an array of objects ends, and plain pickle with it.
    """

    def __init__(
        self,
        view: memoryview,
        start: int,
        origin: Location,
        budget: Budget,
        *,
        interleaved: bool = True,
        framed: str = "",
        records: bool = True,
        exact: bool = False,
    ) -> None:
        self.view = view
        self.start = start
        self.origin = origin
        self.budget = budget
        self.interleaved = interleaved
        self.framed = framed
        self.records = records
        self.exact = exact
        self._reset()

    def _reset(self) -> None:
        """Forget what was found, to run from the start."""
        self.buffer = b""
        self.base = 0
        self.margin = 0
        self.height = 0
        self.skipped = 0
        self.elided = False
        self.wanted = 0
        self.position = self.start
        self.shift = 0
        self.events: list[Event] = []
        self.anomalies: list[Anomaly] = []
        self.literals: list[tuple[int, int, Value]] = []
        self.arrays: list[tuple[int, int]] = []
        self.apart: int | None = None
        self.inner_end: int | None = None
        self.result: Value = None
        self.complete = False
        self.straddles = False
        self.broken = ""
        self.limit: LimitError | None = None
        self.protocol = 0
        self._globals: dict[tuple[str, str], Global] = {}
        self._codes: dict[str, int] = {}
        self.wrappers: set[int] = set()
        self.measured: set[int] = set()

    def _window(self, base: int) -> bytes:
        """Return the bytes of the stream from `base` on and make them the buffer."""
        size = len(self.view) - base
        window = size if self.framed or size <= WINDOW else WINDOW
        self.base = base
        self.margin = MARGIN if window < size else 0
        self.buffer = bytes(self.view[base : base + window])
        return self.buffer

    def _at(self, pos: int) -> int:
        """Return the offset in the file of an offset in the buffer."""
        return pos + self.base + self.shift

    def _run_inner(self, start: int) -> tuple[int, Value]:
        """Run the pickle that joblib reads for an object array; return where it ends and what it results in."""
        raise NotImplementedError

    def _anomaly(self, code: str, offset: int, detail: str) -> None:
        seen = self._codes[code] = self._codes.get(code, 0) + 1
        if seen <= ANOMALIES_PER_CODE:
            at = self.origin.at(self.origin.offset + self._at(offset))
            self.anomalies.append(Anomaly(location=at, code=code, detail=detail))

    def _line(self, i: int) -> tuple[bytes, int]:
        """Return the text up to the next newline and the offset behind it."""
        end = self.buffer.find(b"\n", i, i + _SHORT_LINE)
        if end >= 0:
            return self.buffer[i:end], end + 1
        size = _SHORT_LINE
        while True:
            text = bytes(self.view[self.base + i : self.base + i + size])
            end = text.find(b"\n")
            if end >= 0:
                return text[:end], i + end + 1
            if len(text) < size:
                raise EOFError
            if size >= LINE_LIMIT:
                raise ValueError(f"a text operand over {LINE_LIMIT} bytes")
            size *= 16

    def _global(self, module: str, name: str, pos: int) -> Global:
        """Return the import of `module : name`; the first one is an event."""
        found = self._globals.get((module, name))
        if found is None:
            normal, ordinary = _spelling(module, name)
            found = Global(self.origin, self._at(pos), (module, name), *normal)
            self._globals[module, name] = found
            self.events.append(found)
            if not ordinary:
                self._anomaly("pickle-name-encoding", pos, f"{module!r} {name!r}")
            if found.dotted in joblib.WRAPPERS:
                self.wrappers.add(id(found))
            elif found.dotted in MEASURED:
                self.measured.add(id(found))
        return found

    def _stack_global(self, module: Value, name: Value, pos: int) -> Value:
        if type(module) is str and type(name) is str:
            return self._global(module, name, pos)
        self.events.append(ComputedName(self.origin, self._at(pos), module, name))
        if is_no_text(module) or is_no_text(name):
            raise ValueError("the name of an import is no text")
        return Opaque("computed import")

    def _proto(self, protocol: int, pos: int) -> None:
        if protocol > PROTOCOL:
            raise ValueError(f"unsupported pickle protocol {protocol}")
        if pos + self.base != self.start:
            self._anomaly("pickle-proto", pos, "PROTO inside a stream")
        self.protocol = max(self.protocol, protocol)

    def _frame(self, pos: int, size: int, frame_end: int) -> int:
        """Note what is odd about a FRAME and return where its content begins."""
        left = len(self.view) - self.base - pos - 9
        if frame_end and pos < frame_end:
            self._anomaly("pickle-frame-nested", pos, "a frame opens inside a frame")
            if pos + 9 + size > frame_end:
                self.straddles = True
                if self.framed:
                    self._splice(pos, frame_end)
        if size > left:
            self._anomaly("pickle-frame-length", pos, f"a frame of {size} bytes, {left} left")
        return pos + 9

    def _straddle(self, pos: int, frame_end: int) -> None:
        self.straddles = True
        opcode = self.buffer[pos]
        self._anomaly(
            "pickle-frame-straddle", pos, f"opcode {opcode:#04x} crosses the end of its frame at {frame_end:#x}"
        )

    def _reads_on(self, pos: int, frame_end: int) -> bool:
        """Tell whether the operand at `pos` is read across the end of its frame without losing anything."""
        opcode = self.buffer[pos]
        whole_prefix = pos + 1 + PREFIXES.get(opcode, 0) <= frame_end
        return self.framed == FRAMES and opcode in _READ_ON and whole_prefix

    def _splice(self, pos: int, frame_end: int) -> bytes:
        """Drop the rest of a frame as C does when an operand crosses its end; return the new buffer.

        What C has read of the operand before stays: its length, or the first of two lines.
        """
        prefix = PREFIXES.get(self.buffer[pos], 0)
        if self.buffer[pos] in _TWO_LINES:
            prefix = max(0, self.buffer.find(b"\n", pos, frame_end) - pos)
        kept = pos + 1 + prefix if pos + 1 + prefix <= frame_end else pos + 1
        self.buffer = self.buffer[:kept] + self.buffer[frame_end:]
        self.view = memoryview(self.buffer)
        self.shift += self.base + frame_end - kept
        self.base = 0
        return self.buffer

    def _index(self, text: bytes, pos: int) -> int:
        value, canonical = literals.index(text)
        if not canonical:
            self._noncanonical(text, pos)
        return value

    def _far_index(self, index: int, pos: int) -> None:
        """Note a memo index larger than the bytes before it, for which CPython allocates a table of that size.

        Picklers count from 0, so an index is never larger than the number of opcodes before it.
        """
        self._anomaly("pickle-memo-index", pos, f"memo index {index} after {self._at(pos)} bytes")

    def _noncanonical(self, text: bytes, pos: int) -> None:
        code = "pickle-nul-operand" if b"\0" in text else "pickle-noncanonical"
        self._anomaly(code, pos, f"operand {text[:40]!r}, which no pickler writes")

    def _text(self, op: int, text: bytes, pos: int) -> Value:
        """Return the value of INT, LONG, FLOAT, STRING or UNICODE."""
        if op == 0x56:
            value: Value = str(text, "raw-unicode-escape")
        elif op == 0x53:
            value = literals.quoted(text)
        else:
            parse = literals.integer if op == 0x49 else literals.long if op == 0x4C else literals.floating
            value, canonical = parse(text)
            if not canonical:
                self._noncanonical(text, pos)
        if (
            type(value) is str
            and len(value) > PROGRAM_LENGTH
            and begins(value[:_LOOKED].encode("utf-8", "surrogatepass"))
        ):
            self.literals.append((self._at(pos), len(text), value))
        return value

    def _integer(self, i: int, size: int, pos: int) -> Value:
        """Return the value of LONG1 or LONG4."""
        if size < 0:
            raise ValueError("LONG4 with a negative size")
        if self.base + i + size > len(self.view):
            raise EOFError
        if size > HUGE_INT:
            self._anomaly("pickle-huge-int", pos, f"an integer of {size} bytes")
            return Span(self._at(i), size, "int")
        return int.from_bytes(self.buffer[i : i + size], "little", signed=True)

    def _literal(self, i: int, size: int, kind: str, latin: bool = False) -> Value:
        """Return a string or bytes of known length, as a Span when it is long."""
        self.wanted = self.base + i + size
        if self.wanted > len(self.view):
            raise EOFError
        value: Value
        if size > (KEPT_BYTES if kind != "str" else KEPT_TEXT) or kind == "bytearray":
            value = Span(self._at(i), size, kind)
        elif kind == "bytes":
            value = bytes(self.buffer[i : i + size])
        elif latin:
            value = str(self.buffer[i : i + size], "latin-1")
        else:
            value = str(self.buffer[i : i + size], "utf-8", "surrogatepass")
        if size > PROGRAM_LENGTH and self.buffer[i] in PROGRAM_STARTS and begins(self.buffer, i):
            self.literals.append((self._at(i), size, value))
        return value

    def _floats(self, run: bytes) -> list[Value]:
        """Return the values of a run of BINFLOAT, which nothing depends on."""
        count = len(run) // _FLOAT.size
        if not self.exact or count > KEPT_FLOATS:
            return [ELIDED] * count
        return [number for (number,) in _FLOAT.iter_unpack(run)]

    def _set_items(self, target: Value, items: list[Value], pos: int) -> None:
        """Set keys and values on a dict, or note that something else gets them.

        With a key too many the C unpickler breaks; the one in Python breaks when it has set the others.
        """
        keys = items[::2]
        if not PLAIN.issuperset(map(type, keys)):
            self._check_keys(keys, pos)
        if type(target) is Dict:
            target += items
        else:
            opcode = "SETITEM" if self.buffer[pos] == 0x73 else "SETITEMS"
            self.events.append(Items(self.origin, self._at(pos), target, items, opcode))
        if len(items) & 1:
            raise ValueError("odd number of items for SETITEMS")

    def _check_keys(self, keys: list[Value], pos: int) -> None:
        """Note every object among dict keys or set members, whose `__hash__` loading calls."""
        for key in keys:
            if type(key) in PLAIN or (
                type(key) is tuple and len(key) <= HASH_LIMIT and PLAIN.issuperset(map(type, key))
            ):
                continue
            parts, count = [key], 0
            while parts:
                part = parts.pop()
                count += 1
                if count > HASH_LIMIT:
                    self._anomaly("pickle-hash-bomb", pos, f"hashing one key visits over {HASH_LIMIT} parts")
                    break
                if type(part) is tuple or type(part) is Set:
                    parts += part
                elif type(part) not in PLAIN and not (type(part) is Span and part.kind != "bytearray"):
                    self.events.append(Key(self.origin, self._at(pos), part))

    def _array(self, wrapper: Value, state: Value, i: int, frame_end: int) -> tuple[int, Value]:
        """Read the array behind a wrapper as joblib does; return where the stream goes on, and what is on the stack.

        An array of objects is what its pickle results in. It takes the place of the wrapper, which is told to get it.
        """
        if not self.interleaved:
            return i, wrapper
        start = self.base + i
        if i < frame_end:
            # joblib takes the array from behind the frame, whose rest it goes on with; no writer does that.
            self._part(start)
            self._anomaly("pickle-frame-array", i, "an array of joblib begins inside a frame")
            raise ValueError("an array of joblib begins inside a frame")
        layout = joblib.payload(state, self.view[start] if start < len(self.view) else 0)
        if layout is None:
            self._part(start)
            raise ValueError("an array of unknown size follows a joblib wrapper")
        size, nested = layout
        if nested:
            end, value = self._run_inner(start)
            self.events.append(Items(self.origin, self._at(i - 1), wrapper, [value], "BUILD"))
            return end - self.base, value
        if size:
            self._part(start)
            if start + size > len(self.view):
                raise EOFError
            self.arrays.append((self._at(i), size))
        return i + size, wrapper

    def _part(self, start: int) -> None:
        """Note that plain pickle reads something else than joblib does from `start` on."""
        if self.apart is None:
            self.apart = start + self.shift
