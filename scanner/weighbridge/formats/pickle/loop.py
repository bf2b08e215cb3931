"""The loop of the abstract pickle machine: every opcode of protocols 0 to 5 over symbolic values.

Nothing is imported and nothing is called. The loop keeps the exact stack, marks and memo of CPython's C unpickler
(Modules/_pickle.c) and records, in order, each thing that loading would do.

`Loop._loop` is one long function on purpose. A call per opcode would triple its cost, so state lives in locals and
bounds are checked where a slice of the stream ends instead of at every opcode. The opcodes are told apart by a chain of
comparisons with the commonest first: CPython specialises a comparison only when its jump is short, and a tree of them,
whose jumps are long, takes twice as long. Runs of numbers, items of dicts and records of a list are taken in one step.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from weighbridge.formats.pickle.embedded import PROGRAM_LENGTH, PROGRAM_STARTS, begins
from weighbridge.formats.pickle.items import take_items
from weighbridge.formats.pickle.recorder import PLAIN, as_now
from weighbridge.formats.pickle.runs import DEPTHS, LARGE, LEAST_BYTES, Runner
from weighbridge.symbols import Call, Dict, Extension, Form, Items, Opaque, PersistentId, Set, State, Value

SLICE: Final = 1 << 20  # bytes between two looks at the budget and the clock

_I32: Final = Struct("<i").unpack_from
_U32: Final = Struct("<I").unpack_from
_U64: Final = Struct("<Q").unpack_from
_F64: Final = Struct(">d").unpack_from
_INT2S: Final = Struct("<xH")
_INT4S: Final = Struct("<xi")
_FLOATS: Final = re.compile(rb"(?:G[\x00-\xff]{8}){4,}").match
_INT1_RUN: Final = re.compile(rb"(?:K[\x00-\xff]){4,}").match
_INT2_RUN: Final = re.compile(rb"(?:M[\x00-\xff]{2}){4,}").match
_INT4_RUN: Final = re.compile(rb"(?:J[\x00-\xff]{4}){4,}").match


class Loop(Runner):
    """The part of the machine that goes from opcode to opcode, and raises when one cannot be run."""

    def _boundary(
        self, pos: int, i: int, sliced: int, frame_end: int, made: int, stack: list[Value]
    ) -> tuple[int, int, int]:
        """Count what was spent, check the frame and move the window; return (position, limit, end of the frame)."""
        self.budget.spend_opcodes(self.origin, min(i - sliced, SLICE), made)
        if frame_end and i > frame_end:
            self._straddle(pos, frame_end)
            if self.framed and not self._reads_on(pos, frame_end):
                self._splice(pos, frame_end)
                del stack[self.height :]
                i, frame_end = pos, 0
        if i >= frame_end:
            frame_end = 0
        if i >= len(self.buffer) - self.margin:
            if not self.margin:
                raise EOFError
            self._window(self.base + i)
            frame_end = max(0, frame_end - i)
            i = 0
        self.height = len(stack)
        if self.framed and frame_end:
            return i, i + 1, frame_end
        return i, min(len(self.buffer) - self.margin, i + SLICE, frame_end or i + SLICE), frame_end

    def _loop(self) -> None:  # noqa: C901, PLR0912, PLR0915
        origin, record = self.origin, self.events.append
        framed = bool(self.framed)
        records = self.records and not framed
        newobj, reduced, wrappers, waits = Form.NEWOBJ, Form.REDUCE, self.wrappers, self.waits
        measured = self.measured
        buf = self._window(self.start)
        end, at = len(buf) - self.margin, self.base + self.shift
        stack: list[Value] = []
        marks: list[int] = []
        memo: dict[int, Value] = {}
        push, pop, mark, unmark = stack.append, stack.pop, marks.append, marks.pop
        plain_keys: list[Value] = []
        frame_end = skipped = made = 0
        pos = i = sliced = 0
        limit = min(end, i + SLICE)
        try:
            while True:
                if i >= limit:  # the end of a slice, of a frame or of the stream
                    i, limit, frame_end = self._boundary(pos, i, sliced, frame_end, made, stack)
                    buf, at, end = self.buffer, self.base + self.shift, len(self.buffer) - self.margin
                    sliced, made = i, 0
                    if records:
                        i, limit, made = self.resume(i, limit, stack, marks, memo)
                        skipped = self.skipped
                        if i >= limit:
                            continue
                pos = i
                op = buf[i]
                if op == 0x68:  # BINGET
                    push(memo[buf[i + 1]])
                    i += 2
                    continue
                if op == 0x71:  # BINPUT
                    index = buf[i + 1]
                    if index != len(memo) + skipped:
                        if skipped:
                            raise KeyError(index)
                        records = False
                    memo[index] = stack[-1]
                    i += 2
                    continue
                if op == 0x28:  # MARK
                    i += 1
                    mapping = stack[-1] if stack else None
                    if type(mapping) in LARGE:
                        depth = len(marks) + 1
                        if records and limit - i >= LEAST_BYTES and depth < DEPTHS:
                            if waits[depth]:
                                waits[depth] -= 1
                            else:
                                k = len(stack)
                                mark(k)
                                i, limit, fresh = self.look(i, limit, stack, marks, memo)
                                skipped = self.skipped
                                made += fresh
                                if type(mapping) is not Dict or len(stack) > k:
                                    continue
                                unmark()
                    if type(mapping) is not Dict:
                        mark(len(stack))
                        continue
                    before = len(mapping)
                    i = take_items(buf, i, limit, memo, skipped, mapping)
                    if i >= limit or buf[i] != 0x75 or (len(mapping) - before) & 1:
                        mark(len(stack))
                        stack += mapping[before:]
                        del mapping[before:]
                        continue
                    i += 1  # SETITEMS
                    keys = mapping[before::2]
                    if keys != plain_keys:
                        if PLAIN.issuperset(map(type, keys)):
                            plain_keys = keys
                        else:
                            self._check_keys(keys, pos)
                    if i < limit and buf[i] == 0x62 and len(stack) > 1:  # BUILD, the state of an object
                        owner = stack[-2]
                        if type(owner) is Call and id(owner.callable) not in wrappers:
                            pop()
                            owner.state = mapping
                            record(State(origin, i + at, owner, mapping))
                            i += 1
                    continue
                if op == 0x4B:  # BININT1
                    run = _INT1_RUN(buf, i, limit) if buf[i + 2] == 0x4B else None
                    if run is None:
                        push(buf[i + 1])
                        i += 2
                    else:
                        i = run.end()
                        stack += buf[pos + 1 : i : 2]
                    continue
                if op == 0x58 or op == 0x54 or op == 0x42:  # BINUNICODE, BINSTRING, BINBYTES
                    size = _U32(buf, i + 1)[0]
                    i += 5
                    if op == 0x58 and size <= PROGRAM_LENGTH and i + size + 5 <= limit:
                        value: Value = buf[i : i + size].decode("utf-8", "surrogatepass")
                        push(value)
                        i += size
                        put = buf[i]
                        if put == 0x72 or put == 0x71:  # LONG_BINPUT, BINPUT, nearly always
                            index = buf[i + 1] if put == 0x71 else _U32(buf, i + 1)[0]
                            if index == len(memo) + skipped:
                                memo[index] = value
                                i += 2 if put == 0x71 else 5
                        continue
                    push(self._literal(i, size, "bytes" if op == 0x42 else "str", op == 0x54))
                    i += size
                    continue
                if op == 0x8C:  # SHORT_BINUNICODE
                    j = i + 2 + buf[i + 1]
                    value = buf[i + 2 : j].decode("utf-8", "surrogatepass")
                    push(value)
                    if j - i > PROGRAM_LENGTH and buf[i + 2] in PROGRAM_STARTS and begins(buf, i + 2):
                        self.literals.append((i + 2 + at, j - i - 2, value))
                    i = j
                    if i < limit and buf[i] == 0x94:  # MEMOIZE, nearly always
                        memo[len(memo) + skipped] = value
                        i += 1
                    continue
                if op == 0x94:  # MEMOIZE
                    memo[len(memo) + skipped] = stack[-1]
                    i += 1
                    continue
                if op == 0x74:  # TUPLE
                    k = unmark()
                    value = tuple(stack[k:])
                    del stack[k:]
                    push(value)
                    made += 1
                    i += 1
                    continue
                if op == 0x52:  # REDUCE
                    arguments = pop()
                    if measured and id(stack[-1]) in measured:
                        arguments = as_now(arguments)
                    call = Call(origin, pos + at, stack[-1], arguments, None, reduced)
                    stack[-1] = call
                    record(call)
                    made += 1
                    i += 1
                    continue
                if op == 0x7D:  # EMPTY_DICT
                    value = Dict()
                    push(value)
                    made += 1
                    i += 1
                    if i < limit and buf[i] == 0x94:
                        memo[len(memo) + skipped] = value
                        i += 1
                    continue
                if op == 0x75:  # SETITEMS
                    k = unmark()
                    items = stack[k:]
                    del stack[k:]
                    i += 1
                    target = stack[-1]
                    keys = items[::2]
                    # Records share their keys, so equal to the last plain keys is plain, at a pointer compare each.
                    if keys != plain_keys:
                        if PLAIN.issuperset(map(type, keys)):
                            plain_keys = keys
                        else:
                            self._check_keys(keys, pos)
                    if type(target) is Dict:
                        target += items
                        if len(items) & 1:
                            raise ValueError("odd number of items for SETITEMS")
                    else:
                        self._set_items(target, items, pos)
                    continue
                if op == 0x62:  # BUILD
                    value = pop()
                    target = stack[-1]
                    i += 1
                    record(State(origin, pos + at, target, value))
                    if type(target) is Call:
                        target.state = value
                        if id(target.callable) in self.wrappers:
                            i, stack[-1] = self._array(target, value, i, frame_end)
                            if pos + 1 == frame_end:
                                frame_end = 0  # joblib ends the frame before it writes an array
                    continue
                if op == 0x81:  # NEWOBJ
                    arguments = pop()
                    call = Call(origin, pos + at, stack[-1], arguments, None, newobj)
                    stack[-1] = call
                    record(call)
                    made += 1
                    i += 1
                    if i < limit and buf[i] == 0x94:
                        memo[len(memo) + skipped] = call
                        i += 1
                    continue
                if op == 0x29:  # EMPTY_TUPLE
                    push(())
                    i += 1
                    continue
                if op == 0x4D:  # BININT2
                    run = _INT2_RUN(buf, i, limit) if buf[i + 3] == 0x4D else None
                    if run is None:
                        push(buf[i + 1] | buf[i + 2] << 8)
                        i += 3
                    else:
                        i = run.end()
                        stack += [number for (number,) in _INT2S.iter_unpack(buf[pos:i])]
                    continue
                if op == 0x51:  # BINPERSID
                    persistent = PersistentId(origin, pos + at, pop())
                    push(persistent)
                    record(persistent)
                    i += 1
                    continue
                if op == 0x89:  # NEWFALSE
                    push(False)
                    i += 1
                    continue
                if op == 0x86:  # TUPLE2
                    value = pop()
                    stack[-1] = (stack[-1], value)
                    made += 1
                    i += 1
                    continue
                if op == 0x85:  # TUPLE1
                    stack[-1] = (stack[-1],)
                    made += 1
                    i += 1
                    continue
                if op == 0x87:  # TUPLE3
                    value = pop()
                    second = pop()
                    stack[-1] = (stack[-1], second, value)
                    made += 1
                    i += 1
                    continue
                if op == 0x4A:  # BININT
                    run = _INT4_RUN(buf, i, limit) if buf[i + 5] == 0x4A else None
                    if run is None:
                        push(_I32(buf, i + 1)[0])
                        i += 5
                    else:
                        i = run.end()
                        stack += [number for (number,) in _INT4S.iter_unpack(buf[pos:i])]
                    continue
                if op == 0x47:  # BINFLOAT
                    run = _FLOATS(buf, i, limit) if buf[i + 9] == 0x47 else None
                    if run is None:
                        push(_F64(buf, i + 1)[0])
                        i += 9
                    else:
                        i = run.end()
                        stack += self._floats(buf[pos:i])
                    continue
                if op == 0x4E:  # NONE
                    push(None)
                    i += 1
                    continue
                if op == 0x88:  # NEWTRUE
                    push(True)
                    i += 1
                    continue
                if op == 0x63 or op == 0x69:  # GLOBAL, INST
                    module, i = self._line(i + 1)
                    name, i = self._line(i)
                    found = self._global(str(module, "utf-8"), str(name, "utf-8"), pos)
                    if op == 0x63 or (framed and 0 < frame_end < i):  # INST across a frame's end is read again
                        push(found)
                    else:
                        k = unmark()
                        arguments = tuple(stack[k:])
                        if id(found) in measured:
                            arguments = as_now(arguments)
                        call = Call(origin, pos + at, found, arguments, None, Form.INST)
                        del stack[k:]
                        push(call)
                        record(call)
                    continue
                if op == 0x72:  # LONG_BINPUT
                    index = _U32(buf, i + 1)[0]
                    if framed and 0 < frame_end < i + 5:
                        i += 5  # across the end of a frame: it is read again
                        continue
                    if index > pos + at:
                        self._far_index(index, pos)
                    if index != len(memo) + skipped:
                        if skipped:
                            raise KeyError(index)
                        records = False
                    memo[index] = stack[-1]
                    i += 5
                    continue
                if op == 0x6A:  # LONG_BINGET
                    push(memo[_U32(buf, i + 1)[0]])
                    i += 5
                    continue
                if op == 0x5D:  # EMPTY_LIST
                    push([])
                    made += 1
                    i += 1
                    continue
                if op == 0x65:  # APPENDS
                    k = unmark()
                    items = stack[k:]
                    del stack[k:]
                    i += 1
                    target = stack[-1]
                    if type(target) is list:
                        target += items
                    else:
                        record(Items(origin, pos + at, target, items, "APPENDS"))
                    continue
                if op == 0x61:  # APPEND
                    value = pop()
                    target = stack[-1]
                    i += 1
                    if type(target) is list:
                        target.append(value)
                    else:
                        record(Items(origin, pos + at, target, [value], "APPEND"))
                    continue
                if op == 0x73:  # SETITEM
                    value = pop()
                    key = pop()
                    i += 1
                    self._set_items(stack[-1], [key, value], pos)
                    continue
                if op == 0x93:  # STACK_GLOBAL
                    value = pop()
                    i += 1
                    push(self._stack_global(pop(), value, pos))
                    continue
                if op == 0x95:  # FRAME
                    size = _U64(buf, i + 1)[0]
                    i = self._frame(pos, size, frame_end)
                    frame_end = i + size
                    limit = i if self.framed else self.stop(min(end, sliced + SLICE, frame_end))
                    continue
                if op == 0x8A or op == 0x8B:  # LONG1, LONG4
                    size = buf[i + 1] if op == 0x8A else _I32(buf, i + 1)[0]
                    i += 2 if op == 0x8A else 5
                    push(self._integer(i, size, pos))
                    i += size
                    continue
                if op == 0x8F:  # EMPTY_SET
                    push(Set())
                    made += 1
                    i += 1
                    continue
                if op == 0x90 or op == 0x91:  # ADDITEMS, FROZENSET
                    k = unmark()
                    items = stack[k:]
                    del stack[k:]
                    i += 1
                    if not PLAIN.issuperset(map(type, items)):
                        self._check_keys(items, pos)
                    if op == 0x91:
                        push(Set(items))
                        made += 1
                    elif type(stack[-1]) is Set:
                        stack[-1] += items
                    else:
                        record(Items(origin, pos + at, stack[-1], items, "ADDITEMS"))
                    continue
                if op == 0x92:  # NEWOBJ_EX
                    keywords = pop()
                    arguments = pop()
                    call = Call(origin, pos + at, stack[-1], arguments, keywords, Form.NEWOBJ_EX)
                    stack[-1] = call
                    record(call)
                    i += 1
                    continue
                if op == 0x8E or op == 0x8D or op == 0x96:  # BINBYTES8, BINUNICODE8, BYTEARRAY8
                    size = _U64(buf, i + 1)[0]
                    kind = "bytes" if op == 0x8E else "str" if op == 0x8D else "bytearray"
                    i += 9
                    push(self._literal(i, size, kind))
                    i += size
                    continue
                if op == 0x97:  # NEXT_BUFFER
                    self._anomaly("pickle-out-of-band", pos, "a buffer that is not in the file")
                    push(Opaque("out-of-band buffer"))
                    i += 1
                    continue
                if op == 0x98:  # READONLY_BUFFER
                    stack[-1]
                    i += 1
                    continue
                if op == 0x80:  # PROTO
                    self._proto(buf[i + 1], pos)
                    i += 2
                    continue
                if op == 0x70:  # PUT
                    text, i = self._line(i + 1)
                    if framed and 0 < frame_end < i:
                        continue  # it is read again
                    index = self._index(text, pos)
                    if index > pos + at:
                        self._far_index(index, pos)
                    if index != len(memo) + skipped:
                        if skipped:
                            raise KeyError(index)
                        records = False
                    memo[index] = stack[-1]
                    continue
                if op == 0x82 or op == 0x83 or op == 0x84:  # EXT1, EXT2, EXT4
                    size = 1 << (op - 0x82)
                    code = int.from_bytes(buf[i + 1 : i + 1 + size], "little")
                    record(Extension(origin, pos + at, code))
                    push(Opaque("extension registry entry"))
                    i += 1 + size
                    continue
                if op == 0x6F:  # OBJ
                    k = unmark()
                    items = stack[k:]
                    del stack[k:]
                    arguments = tuple(items[1:])
                    if id(items[0]) in measured:
                        arguments = as_now(arguments)
                    call = Call(origin, pos + at, items[0], arguments, None, Form.OBJ)
                    push(call)
                    record(call)
                    i += 1
                    continue
                if op == 0x6C or op == 0x64:  # LIST, DICT
                    k = unmark()
                    items = stack[k:]
                    del stack[k:]
                    i += 1
                    made += 1
                    if op == 0x6C:
                        push(items)
                    else:
                        push(Dict())
                        self._set_items(stack[-1], items, pos)
                    continue
                if op == 0x67:  # GET
                    text, i = self._line(i + 1)
                    push(memo[self._index(text, pos)])
                    continue
                if op == 0x30:  # POP
                    if marks and marks[-1] >= len(stack):
                        marks.pop()
                    else:
                        pop()
                    i += 1
                    continue
                if op == 0x43 or op == 0x55:  # SHORT_BINBYTES, SHORT_BINSTRING
                    size = buf[i + 1]
                    i += 2
                    push(self._literal(i, size, "bytes" if op == 0x43 else "str", op == 0x55))
                    i += size
                    continue
                if op == 0x2E:  # STOP
                    self.position = i + 1 + at
                    self.result = pop()
                    self.complete = True
                    self.budget.spend_opcodes(origin, i + 1 - sliced, made)
                    return
                if op == 0x31:  # POP_MARK
                    del stack[marks.pop() :]
                    i += 1
                    continue
                if op == 0x32:  # DUP
                    push(stack[-1])
                    i += 1
                    continue
                if op == 0x50:  # PERSID
                    text, i = self._line(i + 1)
                    persistent = PersistentId(origin, pos + at, str(text, "ascii"))
                    push(persistent)
                    record(persistent)
                    continue
                if op in b"ILFSV":
                    text, i = self._line(i + 1)
                    push(self._text(op, text, pos))
                    continue
                raise ValueError(f"unknown opcode {op:#04x}")
        finally:
            if not self.complete:
                self.position = pos + at
