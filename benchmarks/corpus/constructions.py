"""The partial that protocols 2 and 3 call in place of NEWOBJ_EX, and what is nearly that but for one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fixtures.assemble import P2, P4, Ops, discard, stack_global

from .payloads import COMMAND, SYSTEM, Payload, Sample, Technique, cross

NEW, PART, KEYWORDS, ARGUMENT = range(200, 204)  # memo entries
GETATTR = "__builtin__:getattr"
PARTIAL = "functools:partial"
CALL = b")R"
ANOTHER = P2.name("collections", "OrderedDict")


def put(code: bytes, entry: int) -> Ops:
    """Return code whose value is put into the memo."""
    return Ops(code + b"q" + bytes([entry]))


def get(entry: int) -> Ops:
    """Return what was put there."""
    return Ops(b"h" + bytes([entry]))


@dataclass(frozen=True)
class Construction:
    """An object of a class with arguments and keywords for its `__new__`."""

    of: Ops
    arguments: tuple[object, ...] = ()
    keywords: dict[object, object] = field(default_factory=dict)

    @property
    def new(self) -> Ops:
        """Step 1: the attribute `__new__`."""
        return put(P2.call(GETATTR, self.of, "__new__"), NEW)

    def partial(self, new: object = None) -> Ops:
        """Step 2: a partial of it."""
        return put(P2.call(PARTIAL, new or self.new), PART)

    def state(self, func: object = None, of: object = None, attributes: object = None) -> Ops:
        """Step 3: what the partial is to call, and with what."""
        keywords = put(P2.dict_of(self.keywords), KEYWORDS)
        return P2.tuple_of(func or get(NEW), (of or self.of, *self.arguments), keywords, attributes)

    def code(self, *, partial: object = None, state: object = None, build: bytes = b"b", call: bytes = CALL) -> Ops:
        """All of the steps; what is given takes the place of one."""
        return Ops(P2.value(partial or self.partial()) + P2.value(state or self.state()) + build + call)

    def direct(self) -> Ops:
        """What protocol 4 writes."""
        return P4.newobj_ex(self.of, self.arguments, self.keywords)


Bend = Callable[[Construction], Ops]


def _new(function: object, *arguments: object) -> Bend:
    """Step 1 as another call."""
    return lambda one: one.code(partial=one.partial(put(P2.call(function, *arguments), NEW)))


def _used(use: Callable[[Ops], Ops], entry: int = PART) -> Bend:
    """One of the values of the steps is used again."""
    return lambda one: Ops(one.code() + use(get(entry)) + b"\x86")


def _between(code: bytes) -> Bend:
    """Something happens between steps 3 and 4, and leaves nothing."""
    return lambda one: one.code(call=code + CALL)


def _replaced(**parts: object) -> Bend:
    """The state has something else in one of its places."""
    return lambda one: one.code(state=one.state(**parts))


NEAR_MISSES: dict[str, Bend] = {
    # step 1
    "attribute-init": lambda one: _new(GETATTR, one.of, "__init__")(one),
    "attribute-reduce": lambda one: _new(GETATTR, one.of, "__reduce_ex__")(one),
    "attribute-default": lambda one: _new(GETATTR, one.of, "__new__", None)(one),
    "attribute-of-instance": lambda one: _new(GETATTR, P2.newobj(one.of), "__new__")(one),
    "attribute-of-another": _new(GETATTR, ANOTHER, "__new__"),
    "attribute-alone": lambda one: _new(GETATTR, one.of)(one),
    "attribute-object": lambda one: one.code(partial=one.partial(put(P2.obj(GETATTR, one.of, "__new__"), NEW))),
    "attribute-walked": lambda one: _new("inspect:getattr_static", one.of, "__new__")(one),
    "name-as-bytes": lambda one: _new(GETATTR, one.of, b"__new__")(one),
    "class-as-new": lambda one: one.code(partial=one.partial(put(one.of, NEW))),
    # step 2
    "partial-arguments": lambda one: one.code(partial=put(P2.call(PARTIAL, one.new, one.of), PART)),
    "partial-method": lambda one: one.code(partial=put(P2.call("functools:partialmethod", one.new), PART)),
    "partial-newobj": lambda one: one.code(partial=put(P2.newobj(PARTIAL, one.new), PART)),
    "partial-object": lambda one: one.code(partial=put(P2.obj(PARTIAL, one.new), PART)),
    "partial-of-partial": lambda one: one.code(partial=put(P2.call(PARTIAL, one.partial()), PART)),
    "partial-another-spelling": lambda one: discard(
        P2.function(PARTIAL), one.code(partial=put(P2.call("_functools:partial", one.new), PART))
    ),
    "partial-another-callable": lambda one: discard(
        P2.function(PARTIAL), one.code(partial=put(P2.call(ANOTHER, one.new), PART))
    ),
    # step 3
    "state-never": lambda one: one.code(state=Ops(b""), build=b""),
    "state-function": lambda one: one.code(state=P2.tuple_of(SYSTEM.imported(P2), (COMMAND,), {}, None)),
    "state-function-class-first": lambda one: one.code(state=one.state(func=SYSTEM.imported(P2))),
    "state-new-again": lambda one: one.code(state=one.state(func=one.new)),
    "state-another-class": _replaced(of=ANOTHER),
    "state-attributes": _replaced(attributes={"a": 1}),
    "state-empty-attributes": _replaced(attributes={}),
    "state-no-class": lambda one: one.code(state=P2.tuple_of(get(NEW), (), {}, None)),
    "state-list": lambda one: one.code(state=[get(NEW), (one.of, *one.arguments), {}, None]),
    "state-list-of-arguments": lambda one: one.code(state=P2.tuple_of(get(NEW), [one.of, *one.arguments], {}, None)),
    "state-keywords-list": lambda one: one.code(state=P2.tuple_of(get(NEW), (one.of, *one.arguments), [], None)),
    "state-of-three": lambda one: one.code(state=P2.tuple_of(get(NEW), (one.of, *one.arguments), {})),
    "state-class-computed": lambda one: Construction(P2.call(GETATTR, one.of, "__base__"), one.arguments).code(),
    "state-class-by-computed-name": lambda one: Construction(
        put(stack_global(P2.text("m"), Ops(P2.list_of("C"))), ARGUMENT), one.arguments
    ).code(),
    "state-twice": lambda one: one.code(state=Ops(one.state() + b"b" + one.state())),
    "state-replaced-before": lambda one: one.code(
        state=Ops(P2.tuple_of(SYSTEM.imported(P2), (COMMAND,), {}, None) + b"b" + one.state())
    ),
    # step 4
    "call-with-argument": lambda one: one.code(call=P2.tuple_of(COMMAND) + b"R"),
    "call-with-list": lambda one: one.code(call=b"]R"),
    "call-of-what-lies-below": lambda one: Ops(SYSTEM.imported(P2) + b")" + one.code(call=b"0R")),
    "call-newobj": lambda one: one.code(call=b")\x81"),
    "call-object": lambda one: Ops(b"(" + one.code(call=b"o")),
    "call-never": lambda one: one.code(call=b""),
    "call-twice": _used(lambda part: Ops(part + CALL)),
    "call-again-with-argument": _used(lambda part: P2.call(part, COMMAND)),
    "call-again-with-state": lambda one: Ops(one.code() + get(PART) + one.state() + b"b" + CALL + b"\x86"),
    "call-before": lambda one: one.code(partial=Ops(one.partial() + get(PART) + CALL + b"0")),
    "state-behind": _used(lambda part: P2.build(part, P2.tuple_of(SYSTEM.imported(P2), (COMMAND,), {}, None))),
    "between-keyword": _between(get(KEYWORDS) + P2.text("__class__") + P2.text("x") + b"s0"),
    "between-state": _between(P2.tuple_of(SYSTEM.imported(P2), (COMMAND,), {}, None) + b"b"),
    "between-nothing": _between(b"N0"),
    # elsewhere
    "partial-in-result": _used(lambda part: part),
    "partial-in-list": _used(lambda part: P2.list_of(1, (part,))),
    "partial-as-argument": _used(lambda part: P2.call("collections:defaultdict", part)),
    "partial-as-keyword": _used(lambda part: P4.newobj_ex("collections:OrderedDict", (), {"a": part})),
    "partial-as-state": _used(lambda part: P2.build(P2.newobj("collections:OrderedDict"), {"hook": part})),
    "partial-as-item": _used(lambda part: P2.set_item(P2.newobj("collections:OrderedDict"), "a", part)),
    "partial-as-key": _used(lambda part: P2.dict_of({part: 1})),
    "partial-as-target": _used(lambda part: P2.set_item(part, "a", 1)),
    "partial-in-persistent-id": _used(lambda part: Ops(P2.tuple_of("storage", part) + b"Q")),
    "partial-in-its-own-arguments": lambda one: Construction(one.of, (get(PART),)).code(),
    "partial-of-another-object": lambda one: Ops(
        one.code()
        + put(get(PART), ARGUMENT)
        + Construction(one.of, (get(ARGUMENT),)).code(partial=one.partial(get(NEW)))
        + b"\x86"
    ),
    "partial-left-below": lambda one: Ops(one.partial() + b"2" + one.state() + b"b" + CALL + b"\x86"),
    "new-in-result": _used(lambda new: new, NEW),
    "new-called": _used(lambda new: P2.call(new, SYSTEM.imported(P2), COMMAND), NEW),
    "new-built": _used(lambda new: P2.build(new, {"a": 1}), NEW),
    "new-in-another-partial": _used(lambda new: P2.call(P2.call(PARTIAL, new), ANOTHER), NEW),
    "new-in-a-partial-kept": _used(lambda new: P2.call(PARTIAL, new), NEW),
    "new-shared-with-a-bent-one": _used(
        lambda new: Ops(P2.call(PARTIAL, new) + P2.tuple_of(new, (ANOTHER,), {}, None) + b"b" + CALL), NEW
    ),
}


def _bent(bend: Bend) -> Technique:
    return lambda payload, write: P2.stream(bend(Construction(payload.imported(P2), payload.arguments)))


TECHNIQUES: dict[str, Technique] = {
    "itself": _bent(Construction.code),
    "class-changed": _bent(lambda one: Ops(discard(P2.build(one.of, {"__new__": 1}), b"") + one.code())),
    "in-arguments": lambda payload, write: P2.stream(Construction(ANOTHER, (payload.call(P2),)).code()),
    "in-keywords": lambda payload, write: P2.stream(Construction(ANOTHER, (), {"a": payload.call(P2)}).code()),
    **{name: _bent(bend) for name, bend in NEAR_MISSES.items()},
}
PAYLOADS = (Payload("subprocess", "Popen", (("true",),)), Payload("weighbridge_unlisted.module", "Class"))


def samples() -> list[Sample]:
    """Return every technique with a class that is dangerous and with one that nobody knows."""
    return cross("constructions", TECHNIQUES, PAYLOADS)
