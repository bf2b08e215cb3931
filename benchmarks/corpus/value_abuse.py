"""Trusted classes of small libraries, bent: an argument, a state or a form that the review did not cover.

Every target is an ordinary way of making a value, and passes as it is; what is put in the place of one of its parts
names code, evaluates text, takes memory by a number, or is an object where something plain belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fixtures.assemble import P2, P4, Ops, Spelling

from .payloads import COMMAND, Sample

EVALUATED = "__import__('os').system('echo weighbridge')"
MANY = 10**15

# What takes the place of a part; none of it belongs anywhere in an ordinary value of these libraries.
POISONS: dict[str, Callable[[Spelling], object]] = {
    "callable": lambda write: write.name("os", "system"),
    "called": lambda write: write.call("os:system", COMMAND),
    "attribute": lambda write: write.call("builtins:getattr", write.name("builtins", "object"), "__subclasses__"),
    "only-called": lambda write: write.name("functools", "partial"),
    "unlisted": lambda write: write.name("weighbridge_unlisted.module", "Kind"),
    "made": lambda write: write.newobj("weighbridge_unlisted.module:Kind"),
}


class Target:
    """A way of making a value: class or callable, arguments, state. `forms` are call and new."""

    def __init__(self, name: str, *arguments: object, state: object = None, form: str = "new") -> None:
        self.name, self.arguments, self.state, self.form = name, arguments, state, form

    def write(self, write: Spelling, arguments: tuple[object, ...], state: object) -> Ops:
        """Return the code that makes the value of these arguments with this state."""
        made = write.newobj(self.name, *arguments) if self.form == "new" else write.call(self.name, *arguments)
        return made if state is None else write.build(made, state)


SPEC = (">=", "1")
_GRAPH: dict[str, object] = {"graph": {}, "_node": {}, "_adj": {}}
TARGETS: dict[str, Target] = {
    "exception": Target("builtins:ValueError", "x", form="call", state={"note": 1}),
    "os-error": Target("builtins:OSError", 2, "x", "f", form="call"),
    "syntax-error": Target("builtins:SyntaxError", "m", ("f", 1, 2, "x"), form="call"),
    "exception-group": Target("builtins:ExceptionGroup", "m", [], form="call"),
    "json-error": Target("json.decoder:JSONDecodeError", "m", "doc", 0, form="call"),
    "version": Target("packaging.version:Version", state=(0, (1, 2), ("rc", 1), None, None, None)),
    "specifier": Target("packaging.specifiers:Specifier", state=(SPEC, None)),
    "specifiers": Target("packaging.specifiers:SpecifierSet", state=((), None)),
    "requirement": Target("packaging.requirements:Requirement", state=("a>=1", None)),
    "marker": Target("packaging.markers:Marker", state="os_name == 'nt'"),
    "tag": Target("packaging.tags:Tag", state=("py3", "none", "any")),
    "tz-offset": Target("dateutil.tz.tz:tzoffset", "X", 3600, form="call"),
    "tz-file": Target("dateutil.tz.tz:tzfile", None, "Europe/Paris", form="call", state={"_trans_list": ()}),
    "tz-local": Target("dateutil.tz.tz:tzlocal", state={"_hasdst": False}),
    "weekday": Target("dateutil._common:weekday", state=(None, {"weekday": 1, "n": 2})),
    "rule": Target("dateutil.rrule:rrule", state={"_cache": None, "_freq": 3}),
    "sorted-list": Target("sortedcontainers.sortedlist:SortedList", [1, 2], form="call"),
    "sorted-key-list": Target(
        "sortedcontainers.sortedlist:SortedKeyList", [1, 2], P4.name("builtins", "abs"), form="call"
    ),
    "sorted-dict": Target("sortedcontainers.sorteddict:SortedDict", None, {"a": 1}, form="call"),
    "graph": Target("networkx.classes.graph:Graph", state=_GRAPH),
    "node-view": Target("networkx.classes.reportviews:NodeView", state={"_nodes": {}}),
    "atlas": Target("networkx.classes.coreviews:AdjacencyView", state={"_atlas": {}}),
    "real": Target("mpmath.ctx_mp_python:mpf", state=(0, "3", -1, 2)),
    "complex": Target("mpmath.ctx_mp_python:mpc", state=((0, "3", -1, 2), (0, "1", 0, 1))),
    "symbol": Target("sympy.core.symbol:Symbol", "x"),
    "integer": Target("sympy.core.numbers:Integer", 5),
    "rational": Target("sympy.core.numbers:Rational", 2, 3),
    "float": Target("sympy.core.numbers:Float", (0, "3", -1, 2)),
    "picture": Target("PIL.Image:Image", state=[{}, "L", (2, 2), None, b"abcd"]),
    "picture-file": Target("PIL.PngImagePlugin:PngImageFile", state=[{}, "P", (2, 2), [0, 0, 0], b"abcd", "a.png"]),
}

SYMBOL = P4.newobj("sympy.core.symbol:Symbol", "x")
WHOLE = P4.newobj("sympy.core.numbers:Integer", 99)
HUGE = P4.call("builtins:range", MANY)
LAYER = P4.newobj("torch.nn.modules.linear:Linear")
GRAPH = P4.build(P4.newobj("networkx.classes.graph:Graph"), _GRAPH)


def _dtype(name: str, *state: object) -> Ops:
    return P4.build(P4.call("numpy:dtype", P4.name("ml_dtypes", name), False, True), state)


def _picture(*state: object) -> Ops:
    return P4.build(P4.newobj("PIL.Image:Image"), list(state))


def _squares(times: int) -> Ops:
    """A product of itself, again and again: a number of as many digits as two to that power."""
    value: object = WHOLE
    for _ in range(times):
        value = P4.newobj("sympy.core.mul:Mul", value, value)
    return P4.tuple_of(value)


# Each abuse that belongs to one library alone.
ABUSES: dict[str, Ops] = {
    # text that is evaluated, compiled or run by number
    "sympy-sympify": P4.call("sympy.core.sympify:sympify", EVALUATED),
    "sympy-parse": P4.call("sympy.parsing.sympy_parser:parse_expr", EVALUATED),
    "sympy-add-text": P4.newobj("sympy.core.add:Add", EVALUATED),
    "sympy-mul-text": P4.newobj("sympy.core.mul:Mul", SYMBOL, EVALUATED),
    "sympy-pow-text": P4.newobj("sympy.core.power:Pow", SYMBOL, EVALUATED),
    "sympy-function": P4.newobj("sympy.functions.elementary.trigonometric:sin", EVALUATED),
    "sympy-tuple": P4.newobj("sympy.core.containers:Tuple", EVALUATED),
    "sympy-matrix": P4.newobj("sympy.matrices.immutable:ImmutableDenseMatrix", 1, 1, [EVALUATED]),
    "sympy-lambda": P4.newobj("sympy.core.function:Lambda", SYMBOL, EVALUATED),
    "sympy-lambdify": P4.call("sympy.utilities.lambdify:lambdify", [SYMBOL], EVALUATED),
    "sympy-symbol-text": P4.newobj("sympy.core.symbol:Symbol", EVALUATED),
    "sympy-integer-text": P4.newobj("sympy.core.numbers:Integer", "9" * 5000),
    "sympy-rational-text": P4.newobj("sympy.core.numbers:Rational", "1e999999999", 1),
    "sympy-rational-zero": P4.newobj("sympy.core.numbers:Rational", 1, 0),
    "sympy-power-of-number": P4.newobj("sympy.core.power:Pow", WHOLE, P4.newobj("sympy.core.numbers:Integer", 10**9)),
    "sympy-power-of-sum": P4.newobj("sympy.core.power:Pow", P4.newobj("sympy.core.add:Add", WHOLE), WHOLE),
    "sympy-squares": _squares(3),
    "sympy-float-precision": P4.newobj_ex("sympy.core.numbers:Float", ((0, "3", -1, 2),), {"precision": 10**12}),
    "sympy-float-text": P4.newobj_ex("sympy.core.numbers:Float", ("1e99999999",), {"precision": 53}),
    "sympy-symbol-keyword": P4.newobj_ex("sympy.core.symbol:Symbol", ("x",), {"__class__": True}),
    "sympy-add-evaluate": P4.newobj_ex("sympy.core.add:Add", (SYMBOL,), {"evaluate": False}),
    "sympy-symbol-state": P4.build(SYMBOL, {"name": EVALUATED}),
    "mpmath-call": P4.call("mpmath.ctx_mp_python:mpf", "1e999999999"),
    "mpmath-mpmathify": P4.call("mpmath:mpmathify", EVALUATED),
    "mpmath-mantissa": P4.build(P4.newobj("mpmath.ctx_mp_python:mpf"), (0, "f" * 100_000, 0, 1)),
    "mpmath-sign": P4.build(P4.newobj("mpmath.ctx_mp_python:mpf"), (LAYER, "f", 0, 1)),
    "regex": P4.call("regex._regex:compile", "a+", 8224, b"\x0b\x0c\x03a", {}, {}, {}, [], 0, (97,), 0, 0),
    "regex-text": P4.call("regex._main:compile", "(a+)+b"),
    "tree": P4.build(
        P4.newobj("scipy.spatial._ckdtree:cKDTree"), (b"\xff" * 72, b"", 2, 2, 16, b"", b"", b"", None, None)
    ),
    "tree-kd": P4.build(
        P4.newobj("scipy.spatial._kdtree:KDTree"), (b"\xff" * 72, b"", 2, 2, 16, b"", b"", b"", None, None)
    ),
    # memory by a number, and sizes that lie
    "picture-bomb": _picture({}, "RGB", (1 << 20, 1 << 20), None, b""),
    "picture-short": _picture({}, "RGB", (2, 2), None, b"abc"),
    "picture-long": _picture({}, "L", (2, 2), None, b"abcdefgh"),
    "picture-bits": _picture({}, "1", (9, 1), None, b"a"),
    "picture-negative": _picture({}, "L", (-2, -2), None, b"abcd"),
    "picture-float": _picture({}, "L", (2.0, 2.0), None, b"abcd"),
    "picture-mode": _picture({}, "XYZ", (2, 2), None, b"abcd"),
    "picture-palette": _picture({}, "P", (2, 2), MANY, b"abcd"),
    "picture-palette-range": _picture({}, "P", (2, 2), HUGE, b"abcd"),
    "picture-palette-number": _picture({}, "P", (2, 2), [300], b"abcd"),
    "picture-pixels": _picture({}, "L", (2, 2), None, MANY),
    "picture-pixels-made": _picture({}, "L", (2, 2), None, P4.call("builtins:bytearray", MANY)),
    "picture-tuple": P4.build(P4.newobj("PIL.Image:Image"), ({}, "L", (2, 2), None, b"abcd")),
    "picture-dict": P4.build(P4.newobj("PIL.Image:Image"), {"_size": (2, 2)}),
    "picture-changed": P4.build(
        P4.newobj("PIL.Image:Image"),
        P4.set_item(P4.list_of({}, "L", (2, 2), None, b"abcd"), 2, (1 << 20, 1 << 20)),
    ),
    "picture-palette-changed": _picture({}, "P", (2, 2), P4.set_item(P4.list_of(0, 0), 0, MANY), b"abcd"),
    "picture-encoded": _picture({}, "L", (1 << 10, 1 << 10), None, P4.call("_codecs:encode", "abcd", "latin1")),
    "picture-encoded-otherwise": _picture({}, "L", (2, 2), None, P4.call("_codecs:encode", "abcd", "utf-32")),
    "sorted-parts-key": P4.build(
        P4.newobj("sortedcontainers.sortedlist:SortedKeyList"), {"_key": P4.name("os", "system"), "_lists": []}
    ),
    "sorted-parts-values": P4.build(P4.newobj("sortedcontainers.sortedlist:SortedList"), {"_lists": [[LAYER]]}),
    "marker-node": P4.build(P4.newobj("packaging._parser:Variable"), {"value": LAYER}),
    "picture-open": P4.call("PIL.Image:open", "/etc/passwd"),
    "picture-eps": P4.newobj("PIL.EpsImagePlugin:EpsImageFile"),
    "picture-show": P4.call("PIL.ImageShow:show", LAYER),
    "picture-math": P4.call("PIL.ImageMath:unsafe_eval", EVALUATED),
    "picture-math-old": P4.call("PIL.ImageMath:eval", EVALUATED),
    "picture-font": P4.build(P4.newobj("PIL.ImageFont:FreeTypeFont"), ["/etc/passwd", 10, 0, "", 0]),
    "exception-range": P4.call("builtins:SyntaxError", "m", HUGE),
    "exception-group-range": P4.call("builtins:ExceptionGroup", "m", HUGE),
    "exception-args": P4.build(P4.call("builtins:ValueError", 1), {"args": HUGE}),
    "exception-args-literal": P4.build(P4.call("builtins:ValueError", 1), {"args": [1]}),
    "exception-class": P4.build(P4.call("builtins:ValueError", 1), {"__class__": P4.name("builtins", "object")}),
    "exception-context": P4.build(P4.call("builtins:ValueError", 1), {"__context__": LAYER}),
    "exception-notes": P4.build(P4.call("builtins:ValueError", 1), {"__notes__": [LAYER]}),
    "exception-method": P4.build(P4.call("builtins:ValueError", 1), {"add_note": "x"}),
    "exception-exit": P4.call("builtins:SystemExit", 0),
    "small-float-size": _dtype("bfloat16", 3, "<", None, None, None, 1, 1, 64),
    "small-float-larger": _dtype("bfloat16", 3, "<", None, None, None, 800, 2, 64),
    "small-float-flags": _dtype("bfloat16", 3, "<", None, None, None, 2, 2, 63),
    "small-float-fields": _dtype("int4", 3, "<", None, ("a",), {"a": (LAYER, 0)}, 1, 1, 64),
    "small-float-negative": _dtype("float8_e5m2", 3, "<", None, None, None, -1, -1, 64),
    "small-float-other": _dtype("float8_e5m2", 3, "<", None, None, None, 2, 2, 64),
    "small-float-bare": P4.build(
        P4.call("numpy._core.multiarray:_reconstruct", P4.name("numpy", "ndarray"), (0,), b"b"),
        (1, (4,), P4.call("numpy:dtype", P4.name("ml_dtypes", "bfloat16"), False, True), False, b"x" * 8),
    ),
    "small-float-unknown": P4.call("numpy:dtype", P4.name("ml_dtypes", "finfo"), False, True),
    "small-float-called": P4.call("ml_dtypes:bfloat16", LAYER),
    # files, callables and methods in disguise
    "tz-file-opened": P4.call("dateutil.tz.tz:tzfile", "/etc/passwd"),
    "tz-file-both": P4.call("dateutil.tz.tz:tzfile", "/etc/passwd", "x"),
    "tz-file-4": P4.call(
        "dateutil.tz._tzfile:_unpickle", P4.name("dateutil.tz._tzfile", "tzfile"), "x", "/etc/passwd", ()
    ),
    "tz-get": P4.call("dateutil.tz.tz:gettz", "/etc/passwd"),
    "tz-string": P4.call("dateutil.tz.tz:tzstr", "E" * 100_000),
    "tz-dunder": P4.build(P4.newobj("dateutil.tz.tz:tzlocal"), {"__class__": "x"}),
    "tz-offset-object": P4.call("dateutil.tz.tz:tzoffset", "X", LAYER),
    "rule-iter": P4.build(P4.newobj("dateutil.rrule:rrule"), {"_cache": [], "_iter": LAYER}),
    "rule-invalidate": P4.build(P4.newobj("dateutil.rrule:rrule"), {"_cache": [], "_invalidate_cache": LAYER}),
    "rule-slots": P4.build(P4.newobj("dateutil.rrule:rrule"), ({}, {"__class__": LAYER})),
    "rule-text": P4.call("dateutil.rrule:rrulestr", "FREQ=SECONDLY"),
    "parser": P4.call("dateutil.parser._parser:parse", "1" * 100_000),
    "sorted-key": P4.call("sortedcontainers.sortedlist:SortedKeyList", ["id"], P4.name("os", "system")),
    "sorted-key-eval": P4.call("sortedcontainers.sortedlist:SortedKeyList", [EVALUATED], P4.name("builtins", "eval")),
    "sorted-key-getter": P4.call(
        "sortedcontainers.sortedlist:SortedKeyList", ["x"], P4.call("operator:attrgetter", "__class__")
    ),
    "sorted-key-range": P4.call("sortedcontainers.sortedlist:SortedKeyList", [MANY], P4.name("builtins", "list")),
    "sorted-key-bytes": P4.call("sortedcontainers.sortedlist:SortedKeyList", [MANY], P4.name("builtins", "bytes")),
    "sorted-values": P4.call("sortedcontainers.sortedlist:SortedList", [LAYER, LAYER]),
    "sorted-range": P4.call("sortedcontainers.sortedlist:SortedList", HUGE),
    "sorted-dict-key": P4.call("sortedcontainers.sorteddict:SortedDict", P4.name("os", "system"), {"id": 1}),
    "sorted-dict-partial": P4.call(
        "sortedcontainers.sorteddict:SortedDict", P4.call("functools:partial", P4.name("os", "system")), {}
    ),
    "sorted-set-key": P4.call("sortedcontainers.sortedset:SortedSet", Ops(b"\x8f"), P4.name("os", "system")),
    "sorted-set-values": P4.call("sortedcontainers.sortedset:SortedSet", HUGE, None),
    "sorted-state": P4.build(P4.call("sortedcontainers.sortedlist:SortedList", [1]), {"_load": MANY}),
    "graph-factory": P4.build(
        P4.newobj("networkx.classes.graph:Graph"), {"node_dict_factory": P4.name("os", "system")}
    ),
    "graph-method": P4.build(P4.newobj("networkx.classes.graph:Graph"), {"nbunch_iter": LAYER}),
    "graph-dunder": P4.build(P4.newobj("networkx.classes.graph:Graph"), {"__class__": LAYER}),
    "graph-adjacency": P4.build(
        P4.newobj("networkx.classes.reportviews:EdgeView"), {"_graph": GRAPH, "_adjdict": LAYER}
    ),
    "graph-view-graph": P4.build(P4.newobj("networkx.classes.reportviews:EdgeView"), {"_graph": LAYER, "_adjdict": {}}),
    "graph-data-view": P4.build(
        P4.newobj("networkx.classes.reportviews:EdgeDataView"), {"viewer": LAYER, "nbunch": [1]}
    ),
    "graph-filter": P4.build(
        P4.newobj("networkx.classes.coreviews:FilterAtlas"), {"_atlas": {}, "NODE_OK": P4.name("os", "system")}
    ),
    "graph-read": P4.call("networkx.readwrite.gpickle:read_gpickle", "/tmp/x"),
    "graph-backend": P4.call("networkx.utils.backends:_restore_dispatchable", "x"),
    "version-call": P4.call("packaging.version:Version", "1" * 100_000),
    "version-key": P4.build(P4.newobj("packaging.version:Version"), {"_version": LAYER, "_key": ()}),
    "requirement-object": P4.build(P4.newobj("packaging.requirements:Requirement"), {"name": LAYER}),
    "requirement-long": P4.build(P4.newobj("packaging.requirements:Requirement"), "a" * 100_000),
    "marker-list": P4.build(P4.newobj("packaging.markers:Marker"), {"_markers": [LAYER]}),
    "specifier-object": P4.build(P4.newobj("packaging.specifiers:Specifier"), ((LAYER, "1"), None)),
    "specifiers-others": P4.build(P4.newobj("packaging.specifiers:SpecifierSet"), ((LAYER,), None)),
    "tag-object": P4.build(P4.newobj("packaging.tags:Tag"), (LAYER, "none", "any")),
    "metadata": P4.call("packaging.metadata:parse_email", "x"),
}


def _with(value: object, poison: object) -> Iterator[object]:
    """Yield a value with the poison in the place of each of its parts."""
    if isinstance(value, tuple | list):
        for index in range(len(value)):
            yield type(value)([*value[:index], poison, *value[index + 1 :]])
    elif isinstance(value, dict):
        for key in value:
            yield {**value, key: poison}


def _bent(target: Target, poison: object) -> Iterator[tuple[tuple[object, ...], object]]:
    """Yield arguments and state with the poison in the place of each part, and behind the last."""
    for place in range(len(target.arguments)):
        yield (*target.arguments[:place], poison, *target.arguments[place + 1 :]), target.state
    yield (*target.arguments, poison), target.state
    if target.state is not None:
        for state in _with(target.state, poison):
            yield target.arguments, state
    yield target.arguments, poison
    yield target.arguments, {"__setstate__": poison}


def _sample(name: str, label: str, write: Spelling, body: Callable[[], Ops]) -> Sample:
    return Sample(f"values/{name}.pkl", f"values/{label}", lambda: write.stream(body()))


def _bend(target: Target, write: Spelling, arguments: tuple[object, ...], state: object) -> Callable[[], Ops]:
    return lambda: target.write(write, arguments, state)


def _given(body: Ops) -> Callable[[], Ops]:
    return lambda: body


def samples() -> list[Sample]:
    """Return every target with every poison in each of its places, and the abuses of single libraries."""
    found: list[Sample] = []
    for name, target in TARGETS.items():
        for index, (label, poison) in enumerate(POISONS.items()):
            write = (P4, P2)[index % 2]
            for place, (arguments, state) in enumerate(_bent(target, poison(write))):
                made = _bend(target, write, arguments, state)
                found.append(_sample(f"{name}-{label}-{place}", f"bent-{name}", write, made))
    for name, body in ABUSES.items():
        found.append(_sample(f"abuse-{name}", f"abuse-{name.partition('-')[0]}", P4, _given(body)))
    return found
