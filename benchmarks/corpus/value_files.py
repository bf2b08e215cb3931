# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary pickles of small libraries: versions, time zones, sorted containers, graphs, pictures, numbers, formulas."""

from __future__ import annotations

import datetime
import io
import json

from .writer import PROTOCOLS, Corpus

MOMENT = datetime.datetime(2024, 2, 29, 12, 30)
BINARY = PROTOCOLS[2:]


def build(corpus: Corpus) -> None:
    """Write the values of every library that is installed; a missing one leaves a note."""
    for part in (exceptions, packages, zones, containers, graphs, pictures, numbers, small_floats, formulas):
        with corpus.optional(part.__name__):
            part(corpus)


def exceptions(corpus: Corpus) -> None:
    """Write exceptions as results of failed tasks keep them."""
    noted = KeyError("missing")
    noted.add_note("while reading the third file")
    noted.step = 3
    values = {
        "value": ValueError("x", 1),
        "os": OSError(2, "No such file or directory", "weights.bin"),
        "key": noted,
        "group": ExceptionGroup("two", [ValueError(1), KeyError("k")]),
        "unicode": UnicodeDecodeError("utf8", b"\xff", 0, 1, "invalid start byte"),
        "syntax": SyntaxError("bad", ("a.py", 1, 2, "x ==", 1, 3)),
        "warning": UserWarning("careful"),
        "classes": [ValueError, KeyError, RuntimeWarning],
        "stop": StopIteration(5),
        "import": ModuleNotFoundError("No module named 'x'", name="x"),
        "results": {"a": 1, "b": RuntimeError("CUDA out of memory"), "c": [TimeoutError()]},
    }
    try:
        json.loads("{")
    except ValueError as error:
        values["json"] = error
    for name, value in values.items():
        corpus.pickle(f"values/exception-{name}", value, BINARY)


def packages(corpus: Corpus) -> None:
    """Write versions, specifiers, requirements, markers and tags."""
    from packaging.markers import Marker
    from packaging.requirements import Requirement
    from packaging.specifiers import Specifier, SpecifierSet
    from packaging.tags import Tag
    from packaging.version import Version

    values = {
        "version": [Version(one) for one in ("1.0", "2!1.2.3rc1.post2.dev3+cpu.1", "0.0.1a0", "2026.1")],
        "specifiers": [SpecifierSet(">=1,<2"), SpecifierSet(), SpecifierSet("~=1.4.2", prereleases=True)],
        "specifier": [Specifier("==1.*"), Specifier("===any")],
        "requirement": [
            Requirement('torch[opt]>=2; python_version < "3.12"'),
            Requirement("a @ https://example.org/a"),
        ],
        "marker": Marker('sys_platform == "linux" and (extra == "gpu" or extra == "tpu")'),
        "tag": {Tag("py3", "none", "any"), Tag("cp311", "cp311", "manylinux_2_28_x86_64")},
        "table": {Version("1.0"): "old", Version("2.0"): "new"},
    }
    for name, value in values.items():
        corpus.pickle(f"values/packaging-{name}", value, (2, 4, 5))


def zones(corpus: Corpus) -> None:
    """Write time zones, differences and rules of dateutil."""
    from dateutil import relativedelta, rrule, tz

    values = {
        "utc": tz.tzutc(),
        "offset": [tz.tzoffset("X", 3600), tz.tzoffset(None, -1800)],
        "local": tz.tzlocal(),
        "file": tz.gettz("Europe/Paris"),
        "files": [MOMENT.replace(tzinfo=tz.gettz(name)) for name in ("America/New_York", "Asia/Tokyo", "UTC")],
        "string": tz.tzstr("EST5EDT4,M3.2.0/2,M11.1.0/2"),
        "range": tz.tzrange("EST", -18000, "EDT"),
        "difference": relativedelta.relativedelta(months=+1, weekday=relativedelta.MO(-2)),
        "rule": rrule.rrule(rrule.WEEKLY, count=4, dtstart=MOMENT, byweekday=(rrule.MO, rrule.WE(1))),
        "rule-kept": rrule.rrule(rrule.DAILY, count=4, dtstart=MOMENT, cache=True),
        "moment": [MOMENT.replace(tzinfo=tz.tzutc()), MOMENT.replace(tzinfo=tz.tzlocal())],
    }
    for name, value in values.items():
        corpus.pickle(f"values/dateutil-{name}", value, (2, 4, 5))


def containers(corpus: Corpus) -> None:
    """Write sorted lists, dicts and sets."""
    from sortedcontainers import SortedDict, SortedKeyList, SortedList, SortedSet

    values = {
        "list": [SortedList([3, 1, 2]), SortedList(["b", "a"]), SortedList(), SortedList([(1, "a"), (0, "b")])],
        "dict": [SortedDict({"b": 1, "a": [2]}), SortedDict(), SortedDict({0.5: None})],
        "set": [SortedSet([3, 1]), SortedSet()],
        "key": [SortedKeyList([-3, 1], key=abs), SortedDict(len, {"aa": 1, "b": 2}), SortedSet(["cc", "b"], key=len)],
    }
    for name, value in values.items():
        corpus.pickle(f"values/sorted-{name}", value, (4, 5))


def graphs(corpus: Corpus) -> None:
    """Write graphs of networkx, before and after somebody looked at their views."""
    import networkx as nx

    path = nx.path_graph(4)
    weighted = nx.DiGraph(name="g")
    weighted.add_weighted_edges_from([("a", "b", 0.5), ("b", "c", 2)])
    several = nx.MultiDiGraph([("a", "b", {"w": 1}), ("a", "b", {"w": 2})])
    looked = nx.karate_club_graph()
    _ = looked.nodes, looked.edges, looked.adj, looked.degree, list(looked.edges(data=True))
    both = nx.MultiDiGraph(several)
    _ = both.nodes, both.edges, both.in_edges, both.succ, both.pred, both.out_degree, both.in_degree
    several_ways = nx.MultiGraph([(0, 1), (0, 1)])
    _ = several_ways.edges, several_ways.degree
    values = {
        "path": path,
        "weighted": weighted,
        "several": several,
        "looked": looked,
        "both": both,
        "multi": several_ways,
    }
    values["views"] = [looked.nodes, looked.nodes(data=True), path.degree, weighted.edges]
    for name, value in values.items():
        corpus.pickle(f"values/networkx-{name}", value, (2, 4, 5))


def pictures(corpus: Corpus) -> None:
    """Write pictures of Pillow, made and read."""
    from PIL import Image

    for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"):
        corpus.pickle(f"values/pillow-{mode.replace(';', '')}", Image.new(mode, (13, 7)), (4, 5))
    corpus.pickle("values/pillow-P", Image.new("RGB", (9, 9), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE))
    corpus.pickle("values/pillow-large", Image.linear_gradient("L").convert("RGB"))
    for kind in ("png", "jpeg", "bmp", "gif", "ppm", "webp", "tiff"):
        with corpus.optional(f"pillow {kind}"):
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (200, 10, 10)).save(buffer, kind)
            buffer.seek(0)
            picture = Image.open(buffer)
            picture.load()
            corpus.pickle(f"values/pillow-{kind}", {"image": picture, "label": 3})


def numbers(corpus: Corpus) -> None:
    """Write numbers of mpmath."""
    import mpmath

    values = [mpmath.mpf("1.5"), mpmath.mpf(10) ** 50, mpmath.mpf("-inf"), mpmath.mpf(0)]
    corpus.pickle("values/mpmath-real", values, (2, 4, 5))
    corpus.pickle("values/mpmath-complex", mpmath.mpc(1, -2), (2, 4, 5))


def small_floats(corpus: Corpus) -> None:
    """Write arrays, scalars and dtypes of the small number types."""
    import ml_dtypes
    import numpy as np

    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint2", "float4_e2m1fn"):
        kind = getattr(ml_dtypes, name)
        corpus.pickle(f"values/ml-{name}", np.ones((2, 3), kind), (2, 4, 5))
        corpus.pickle(f"values/ml-{name}-scalar", {"type": kind, "dtype": np.dtype(kind), "one": kind(1)}, (4,))


def formulas(corpus: Corpus) -> None:
    """Write polynomials of sympy; what evaluates while it loads (functions, matrices, sets) is left out."""
    import sympy

    x, y = sympy.symbols("x y")
    n = sympy.Symbol("n", integer=True, positive=True)
    values = {
        "symbol": [x, y],
        "assumed": n,
        "numbers": [sympy.Integer(5), sympy.Rational(2, 3), sympy.Float(1.5), sympy.pi, sympy.E, sympy.S.Half],
        "polynomial": 3 * x**2 - 2 * x * y + y / 2 - 7,
        "powers": [sympy.sqrt(x), x**-1, x**y, 2 * sympy.pi * x],
    }
    for name, value in values.items():
        corpus.pickle(f"values/sympy-{name}", value, BINARY)
