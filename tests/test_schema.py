"""The schema language: what fits and what does not, and errors that name the column."""

from __future__ import annotations

import pytest

from weighbridge.location import Location
from weighbridge.schema import SchemaError, compile_schema, compile_signature
from weighbridge.schema_words import Check, WorkError
from weighbridge.symbols import ELIDED, Call, Dict, Form, Global, Opaque, PersistentId, Set, Span, Value

HERE = Location(("x",))


class Everything:
    """A session in which every call made by a trusted class has the tag `made`."""

    work = 0

    def tag(self, value: Call | PersistentId) -> str | None:
        return "made" if value.subject.startswith("good.") else None

    def name(self, value: Value) -> Global | None:
        return (
            ref(str(value.value)) if isinstance(value, PersistentId) else value if isinstance(value, Global) else None
        )

    def refers(self, name: Global, kind: str) -> bool:
        return name.module == "good" and (kind == "any" or name.name[0].isupper())

    def nested(self, value: Value) -> bool:
        return value == b"program"

    def hashable(self, value: Value) -> bool:
        return type(value) in (int, str, tuple)

    def members(self, value: Call) -> list[Value]:
        return ["a", flat("step", 1)] if value.arguments == (1,) else ["a", 1]

    def spend(self, parts: int) -> None:
        self.work += parts
        if self.work > 1000:
            raise WorkError


def ref(dotted: str) -> Global:
    module, _, name = dotted.rpartition(".")
    return Global(HERE, 0, (module, name), module, name)


def call(dotted: str) -> Call:
    return Call(HERE, 0, ref(dotted), (), None, Form.REDUCE)


def flat(*items: Value) -> Dict:
    return Dict(items)


@pytest.mark.parametrize(
    ("schema", "fits", "misfits"),
    [
        ("any", [None, [Opaque("x")], ref("good.Class"), call("bad.f")], [ref("bad.f")]),
        ("none", [None], [0, False]),
        ("bool", [True], [1]),
        ("false", [False], [True, 0, None]),
        ("int", [-1, 1 << 70], [True, 1.0]),
        ("uint", [0], [-1, True]),
        ("float", [1.5, ELIDED], [1]),
        ("number", [1, 1.5, 1j, ELIDED], [True, "1"]),
        ("str", ["a"], [b"a", Span(0, 9, "str")]),
        ("text", ["a", Span(0, 9, "str")], [b"a", Span(0, 9, "bytes")]),
        ("bytes", [b"a", Span(0, 9, "bytes"), Span(0, 9, "bytearray")], ["a", Span(0, 9, "str"), call("good.f")]),
        ("literal", [1, (1, ["a", b"b", (None,)]), flat("a", 1)], [ref("good.f"), [call("good.f")], (1, ref("x.y"))]),
        ("list", [[]], [flat(), (), Set()]),
        ("tuple", [()], [[]]),
        ("dict", [flat()], [[]]),
        ("set", [Set()], [[]]),
        ("ints", [(1, 2), [3], ()], [(-1,), (1 << 50,), (True,), "12", flat(1, 2)]),
        ("any", [PersistentId(HERE, 0, "good.Class")], [PersistentId(HERE, 0, "bad.Class")]),
        ("persistent", [PersistentId(HERE, 0, "x")], ["x"]),
        ("nested", [b"program"], [b"other"]),
        ("'latin1'", ["latin1"], ["rot13", b"latin1"]),
        ("/[a-z]+/", ["abc"], ["abc1", b"abc", ""]),
        (r"/a\/b/", ["a/b"], ["ab"]),
        ("0..255", [0, 255], [256, -1, True]),
        ("..3", [-5, 3], [4]),
        ("7", [7], [8]),
        ("@numpy.ndarray", [ref("numpy.ndarray")], [ref("numpy.matrix"), call("numpy.ndarray")]),
        ("@numpy.core.multiarray.scalar", [ref("numpy._core.multiarray.scalar")], [ref("numpy.scalar")]),
        ("@{a: x y; b.c: z}", [ref("a.y"), ref("b.c.z")], [ref("a.z")]),
        ("@class", [ref("good.Class")], [ref("good.function"), ref("bad.Class")]),
        ("@any", [ref("good.function")], [ref("bad.f"), "good.function"]),
        ("<made>", [call("good.f")], [call("bad.f"), "made"]),
        ("<good.f>", [call("good.f")], [call("good.g")]),
        ("[int]", [[1, 2], []], [(1,), ["a"], flat(1, 2)]),
        ("(int, str?)", [(1,), (1, "a")], [(), (1, 2), (1, "a", 3), [1]]),
        ("(int, str*)", [(1,), (1, "a", "b")], [(1, 2)]),
        ("()", [()], [(1,)]),
        ("{str: int}", [flat(), flat("a", 1)], [flat("a", "b"), flat(1, 1), []]),
        ("{}", [flat()], [flat("a", 1), []]),
        ("int | 'a' | none", [1, "a", None], ["b"]),
        ("mine", [1], ["1"]),
        ("hashable", [1, (1,)], [[1]]),
        ("hashables", [[], [1, "a"], [(1,)]], [[[1]], (1,)]),
        ("[pair]", [[], [(1, [1])], [[1, ref("good.Constant")]]], [[([1], 1)], [(1,)], [1], [(1, ref("bad.f"))]]),
        ("tables", [flat(), flat("a", flat())], [flat("a", 1), [], call("good.Made"), call("collections.defaultdict")]),
    ],
)
def test_a_schema_fits_what_it_says(schema: str, fits: list[Value], misfits: list[Value]) -> None:
    check: Check = compile_schema(schema, {"mine": compile_schema("int", {})})
    assert [value for value in fits if not check(value, Everything())] == []
    assert [value for value in misfits if check(value, Everything())] == []


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("foo", "column 1: expected a schema word or a definition, found 'foo'"),
        ("(int", "column 5: expected ')', found the end"),
        ("[int", "column 5: expected ']', found the end"),
        ("{int}", "column 5: expected ':', found '}'"),
        ("int int", "column 5: expected the end, found 'int'"),
        ("int |", "column 6: expected a schema, found the end"),
        ("(int?, str)", "expected '?' behind an optional part"),
        ("int $", "column 4: cannot be read from here"),
    ],
)
def test_a_wrong_schema_names_the_column(schema: str, message: str) -> None:
    with pytest.raises(SchemaError, match="schema") as caught:
        compile_schema(schema, {})
    assert message in str(caught.value)


def test_a_signature_has_arguments_keywords_and_a_result() -> None:
    signature = compile_signature("(int, **{str: int}) -> thing", {})
    assert signature.result == "thing"
    assert signature.arguments((1,), Everything())
    assert signature.keywords is not None
    assert signature.keywords(flat("a", 1), Everything())
    assert compile_signature("() -> @1", {}).result == "@1"
    assert compile_signature("()", {}).result == "value"
    with pytest.raises(SchemaError, match="the tag of the result"):
        compile_signature("() -> 7", {})


def test_shared_structure_costs_no_more_than_the_limit() -> None:
    inner: list[Value] = [1] * 100
    value: list[Value] = [inner] * 100
    with pytest.raises(WorkError):
        compile_schema("[[int]]", {})(value, Everything())
