"""What a template is learnt from: the opcodes of one value, run over stand-ins.

Each opcode becomes a piece of a regular expression. A number or text is left open, and an elided value stands for it;
what takes values from the stack is done as the machine does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from weighbridge.formats.pickle.embedded import (
    ARGUMENT_LENGTH,
    BEGINNING,
    ENCODERS,
    LATIN_BEGINNING,
    PROGRAM_LENGTH,
    loads,
)
from weighbridge.formats.pickle.lengths import TEXTS, lengths
from weighbridge.formats.pickle.recorder import PLAIN, Recorder
from weighbridge.symbols import (
    ELIDED,
    ELIDED_BYTES,
    ELIDED_CONSTANT,
    ELIDED_INT,
    ELIDED_TEXT,
    ELIDED_UINT,
    Call,
    Dict,
    Event,
    Form,
    Global,
    Items,
    Set,
    State,
    Value,
)

MOST_TOKENS: Final = 160  # opcodes of one value
MOST_CHOICES: Final = 1000  # lengths of texts that one expression tells apart; compiling one takes 10 µs
LENGTHS: Final = (40, 120, 255)  # a text is open up to the first of these that it fits

_U32: Final = Struct("<I").unpack_from
_UINT: Final = rb"(?:K.|M..|J...[\x00-\x7f])"
_INT: Final = rb"(?:K.|M..|J....|\x8a(?:\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8}|\x09.{9}))"
_CONSTANTS: Final = {0x4E: None, 0x88: True, 0x89: False}
_PUT: Final = b"(q.|r.{4})"
PUT: Final = "BINPUT or LONG_BINPUT"
TEXT: Final = "the length and content of a text"
_NUMBERS: Final = {0x4B: 2, 0x4D: 3, 0x4A: 5}  # sizes of BININT1, BININT2, BININT
_LONGS: Final = 32  # bytes of an integer that stays open
_EMPTY: Final[dict[int, Callable[[], Value]]] = {0x29: tuple, 0x5D: list, 0x7D: Dict, 0x8F: Set}
_TUPLES: Final = {0x85: 1, 0x86: 2, 0x87: 3}
# APPENDS, APPEND, ADDITEMS, SETITEMS, SETITEM: the container they fill, and their names.
_FILLING: Final[dict[int, tuple[type, str]]] = {
    0x65: (list, "APPENDS"),
    0x61: (list, "APPEND"),
    0x90: (Set, "ADDITEMS"),
    0x75: (Dict, "SETITEMS"),
    0x73: (Dict, "SETITEM"),
}


# Lists and sets of numbers may be of any length.
_OPEN_ENDED: Final = (b"e", b"\x90")
_REPEATABLE: Final = ({_UINT}, {_INT}, {b"G.{8}"})


class ShapelessError(Exception):
    """These opcodes are no value that a template can be made of."""


class EncodedError(ShapelessError):
    """A text is encoded into bytes, which may be a program: the texts have to be looked at as bytes are."""


def plain(token: bytes) -> Value:
    """Return the value of a text or number."""
    op = token[0]
    if op == 0x8C:
        return str(token[2 : 2 + token[1]], "utf-8", "surrogatepass")
    if op == 0x58:
        return str(token[5 : 5 + token[1]], "utf-8", "surrogatepass")
    return int.from_bytes(token[1:], "little", signed=op == 0x4A)


def learn(
    buf: bytes,
    i: int,
    end: int,
    memo: dict[int, Value],
    width: int,
    recorder: Recorder,
    *,
    loose: bool = False,
    fixed: Sequence[bool] = (),
    encoded: bool = False,
) -> Learner | None:
    """Return what the `width` values between `i` and `end` show, None when no template can be made of them.

    A loose look leaves the sign of numbers open, which constant it is, and the length of texts. `fixed` says which of
    the literals are the same in all values, `encoded` that their texts may become bytes.
    """
    learnt = Learner(buf, memo, recorder, loose, fixed, encoded)
    try:
        learnt.run(i, end)
    except EncodedError:
        return learn(buf, i, end, memo, width, recorder, loose=loose, fixed=fixed, encoded=True)
    except (ShapelessError, IndexError):
        return None
    if len(learnt.stack) != width or PLAIN.issuperset(map(type, learnt.stack)):
        return None  # plain values are kept as they are: see `weighbridge.formats.pickle.items`
    learnt.keyed = learnt.keyed and width == 2 and type(learnt.stack[0]) in PLAIN
    if width == 2 and type(learnt.stack[0]) not in PLAIN and not _plain_tuple(learnt.stack[0]):
        return None
    return learnt


def _plain_tuple(value: Value) -> bool:
    return type(value) is tuple and PLAIN.issuperset(map(type, value))


class Learner:
    """Runs the opcodes of one value over stand-ins and writes down the regular expression that they fit."""

    def __init__(
        self,
        buf: bytes,
        memo: dict[int, Value],
        recorder: Recorder,
        loose: bool,
        fixed: Sequence[bool],
        encoded: bool,
    ) -> None:
        self.buf = buf
        self.memo = memo
        self.recorder = recorder
        self.loose = loose
        self.fixed = fixed
        self.encoded = encoded
        self.literals: list[bytes] = []
        self.tokens: list[bytes] = []
        self.stack: list[Value] = []
        self.events: list[Event] = []
        self.bound: dict[int, Value] = {}
        self.entries = 0
        self.numbered = 0
        self.made = 0
        self.keyed = False
        self.groups: list[str] = []  # what the groups of the expression are: TEXT or PUT
        self._marks: list[tuple[int, int]] = []
        self._fresh: set[int] = set()
        self._choices = 0
        self._at = 0

    @property
    def pattern(self) -> bytes:
        """The regular expression of the whole."""
        code = b"".join(self.tokens)
        return b"(%b)%b" % (self.tokens[0], code[len(self.tokens[0]) :]) if self.keyed else code

    def run(self, i: int, end: int) -> None:
        """Run what stands between `i` and `end`; raise ShapelessError when that is no value by itself."""
        while i < end:
            if len(self.tokens) > MOST_TOKENS:
                raise ShapelessError
            self._at = i
            i += self.literal(i) or self.numbering(i) or self.operation(i)
        if i != end or self._marks:
            raise ShapelessError

    def literal(self, i: int) -> int:
        """Take a literal or a memo entry; return its size, 0 when something else stands here."""
        op, length = self.buf[i], self.buf[i + 1]
        if op == 0x8C:
            return self.text(i, 2 + length, 0, ELIDED_TEXT)
        if op == 0x58 and not any(self.buf[i + 2 : i + 5]):
            return self.text(i, 5 + length, 3, ELIDED_TEXT)
        if op == 0x43:
            return self.text(i, 2 + length, 0, ELIDED_BYTES)
        return self.number(i) or self.known(i)

    def text(self, i: int, size: int, zeros: int, stand_in: Value) -> int:
        """Take a text or bytes."""
        op, length = self.buf[i], self.buf[i + 1]
        most = next(limit for limit in LENGTHS[self.loose :] if length <= limit)
        if self.same():
            raw = self.buf[i + size - length : i + size]
            stand_in = raw if op == 0x43 else raw.decode("utf-8", "surrogatepass")
            most = 0
        self._choices += most
        if self._choices > MOST_CHOICES:
            raise ShapelessError
        looked = ARGUMENT_LENGTH if self.encoded or op == 0x43 else PROGRAM_LENGTH - 2
        beginning = LATIN_BEGINNING if self.encoded else BEGINNING
        pattern = lengths(op, zeros, most, looked, beginning) if most else None
        if pattern and op in TEXTS:
            self.groups.append(TEXT)
        return self.put(i, size, pattern, stand_in, op != 0x43)

    def number(self, i: int) -> int:
        """Take a number or constant; return its size or 0."""
        buf, op = self.buf, self.buf[i]
        if op == 0x47:
            return self.put(i, 9, b"G.{8}", ELIDED)
        if op in _CONSTANTS:
            if self.loose:
                return self.put(i, 1, rb"[N\x88\x89]", ELIDED_CONSTANT)
            return self.put(i, 1, None, _CONSTANTS[op])
        size = 2 + buf[i + 1] if op == 0x8A else _NUMBERS.get(op, 0)
        if op == 0x8A and buf[i + 1] <= _LONGS and not (self.loose and 5 <= buf[i + 1] <= 9):
            return self.put(i, size, lengths(op, 0, _LONGS, _LONGS + 1), ELIDED_INT)
        if not size:
            return 0
        if self.same() and op != 0x8A:
            return self.put(i, size, None, plain(buf[i : i + size]), True)
        if self.loose or op == 0x8A or (op == 0x4A and buf[i + 4] & 0x80):
            return self.put(i, size, _INT, ELIDED_INT, op != 0x8A)
        return self.put(i, size, _UINT, ELIDED_UINT, True)

    def known(self, i: int) -> int:
        """Take a memo entry of before the value, which every value of the run refers to; return its size or 0."""
        op = self.buf[i]
        if op == 0x68 or op == 0x6A:
            size = 2 if op == 0x68 else 5
            index = self.buf[i + 1] if op == 0x68 else _U32(self.buf, i + 1)[0]
            if index not in self.memo:
                raise ShapelessError
            value = self.bound[index] = self.memo[index]
            return self.put(i, size, None, value)
        return 0

    def numbering(self, i: int) -> int:
        """Take BINPUT or LONG_BINPUT, the names of a memo entry in protocols before 4; return its size or 0."""
        op = self.buf[i]
        if op != 0x71 and op != 0x72:
            return 0
        if not self.stack or self.numbered < self.entries:
            raise ShapelessError
        self.entries += 1
        self.numbered += 1
        self.tokens.append(_PUT)
        self.groups.append(PUT)
        return 2 if op == 0x71 else 5

    def same(self) -> bool:
        """Tell whether the literal that is taken next is the same in all values."""
        return len(self.literals) < len(self.fixed) and self.fixed[len(self.literals)]

    def put(self, i: int, size: int, pattern: bytes | None, value: Value, readable: bool = False) -> int:
        """Push the value of a literal and return its size; without a pattern it is the same in all.

        The first literal of all may be a key that is read back.
        """
        raw = self.buf[i : i + size]
        pattern = pattern or re.escape(raw)
        if readable and not self.tokens:
            self.keyed = True
        self.literals.append(raw)
        self.tokens.append(pattern)
        self.stack.append(value)
        return size

    def operation(self, i: int) -> int:
        """Take an opcode without an operand."""
        op = self.buf[i]
        self.tokens.append(re.escape(self.buf[i : i + 1]))
        if op == 0x94 and self.stack and not self.numbered:  # MEMOIZE
            self.entries += 1
        elif op == 0x28:  # MARK
            self._marks.append((len(self.stack), len(self.tokens)))
        elif op in _EMPTY:
            self.make(_EMPTY[op]())
        elif op in _TUPLES:
            self.make(tuple(self.top(_TUPLES[op])))
        elif op == 0x74:  # TUPLE
            self.make(tuple(self.marked()))
        elif op == 0x91:  # FROZENSET
            self.make(Set(_plain_keys(self.marked())))
        elif op in _FILLING:
            self.fill(op, self.top(2 if op == 0x73 else 1) if op in b"as" else self.marked())
        else:
            self.act(op)
        return 1

    def act(self, op: int) -> None:
        """Make a call, or give an object its state."""
        second, first = self.top(1)[0], self.top(1)[0]
        if op == 0x52:  # REDUCE
            self.call(first, second, Form.REDUCE)
        elif op == 0x81:  # NEWOBJ
            self.call(first, second, Form.NEWOBJ)
        elif op == 0x62:  # BUILD
            self.build(first, second)
        else:
            raise ShapelessError

    def top(self, count: int) -> list[Value]:
        """Take `count` values off the stack."""
        if len(self.stack) - count < (self._marks[-1][0] if self._marks else 0):
            raise ShapelessError
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def marked(self) -> list[Value]:
        """Take what stands above the last mark."""
        height, begin = self._marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        closer = self.tokens.pop()
        if closer in _OPEN_ENDED and len(values) > 1 and set(self.tokens[begin:]) in _REPEATABLE:
            self.tokens[begin:] = [b"(?:" + self.tokens[-1] + b")++"]
        self.tokens.append(closer)
        return values

    def make(self, value: Value) -> None:
        """Push a value made here, which may be changed."""
        self.made += 1
        self._fresh.add(id(value))
        self.stack.append(value)

    def fill(self, op: int, values: list[Value]) -> None:
        """Put values into a container, or give them as items to an object, that was made here."""
        (target,) = self.top(1)
        self.stack.append(target)
        kind, name = _FILLING[op]
        if kind is Dict and len(values) & 1:
            raise ShapelessError
        if kind is not list:
            _plain_keys(values[::2] if kind is Dict else values)
        if id(target) not in self._fresh:
            raise ShapelessError
        if isinstance(target, list) and type(target) is kind:
            target += values
        elif type(target) is Call:
            self.events.append(Items(self.recorder.origin, self._at, target, values, name))
        else:
            raise ShapelessError

    def call(self, function: Value, arguments: Value, form: Form) -> None:
        """Call an import that gets no program: one that loads programs may get no text or bytes that are open."""
        if type(function) is not Global or (self._choices and loads(function)):
            raise ShapelessError
        if function.dotted in ENCODERS and not self.encoded:
            raise EncodedError
        call = Call(self.recorder.origin, self._at, function, arguments, None, form)
        self.events.append(call)
        self.make(call)

    def build(self, target: Value, state: Value) -> None:
        """Give a state to an object that was made here."""
        if type(target) is not Call or id(target) not in self._fresh or id(target.callable) in self.recorder.wrappers:
            raise ShapelessError
        target.state = state
        self.events.append(State(self.recorder.origin, self._at, target, state))
        self.stack.append(target)


def _plain_keys(keys: list[Value]) -> list[Value]:
    """Return keys that loading hashes without calling anything."""
    if not PLAIN.issuperset(map(type, keys)):
        raise ShapelessError
    return keys
