"""Ordinary pickles of the standard library's values."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import http
import ipaddress
import pathlib
import random
import re
import statistics
import string
import time
import types
import uuid
import zoneinfo
from pathlib import Path

from .writer import PROTOCOLS, Corpus

MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 15, 250_000)


def values() -> dict[str, object]:
    """Return values such as configurations, histories and vocabularies are made of."""
    shared = ["the same list"]
    nested: dict[str, object] = {}
    for depth in range(30):
        nested = {f"level_{depth}": nested, "items": [depth] * 3}
    recursive: list[object] = []
    recursive.append(recursive)
    return {
        "plain": {"none": None, "yes": True, "ints": [0, 255, 65536, -1, 2**70], "float": [0.5, float("inf")]},
        "text": ["", "ascii", "grüße", "\N{SNOWMAN}", "line\nbreak", "x" * 70_000],
        "bytes": [b"", b"short", bytes(range(256)) * 300, bytearray(b"mutable"), bytearray()],
        "sets": [set(), {1, 2}, frozenset({"a", "b"}), frozenset()],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((1, (2, (3,))),)],
        "numbers": [1 + 2j, complex(0, -1), decimal.Decimal("1.50"), fractions.Fraction(1, 3), range(3), slice(1, 2)],
        "shared": [shared, shared, {"again": shared}],
        "recursive": recursive,
        "nested": nested,
        "datetime": [MOMENT, MOMENT.date(), MOMENT.time(), datetime.timedelta(days=1, seconds=5)],
        "datetime_zone": [MOMENT.replace(tzinfo=datetime.UTC), datetime.timezone(datetime.timedelta(hours=2), "here")],
        "zoneinfo": zoneinfo.ZoneInfo("UTC"),
        "paths": [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/x"), Path("model.bin"), Path()],
        "uuid": [uuid.UUID(int=5), uuid.UUID("12345678-1234-5678-1234-567812345678")],
        "ordered": collections.OrderedDict([("a", 1), ("b", collections.OrderedDict())]),
        "default_list": collections.defaultdict(list, {"a": [1]}),
        "default_int": collections.defaultdict(int, {"a": 1}),
        "default_dict": collections.defaultdict(dict, {"a": {}}),
        "default_float": collections.defaultdict(float, {("a", "b"): 0.25}),
        "default_set": collections.defaultdict(set, {1: {2}}),
        "default_str": collections.defaultdict(str),
        "default_none": collections.defaultdict(None, a=1),
        "default_counter": collections.defaultdict(collections.Counter, {"a": collections.Counter("abca")}),
        "counter": collections.Counter("mississippi"),
        "deque": [collections.deque([1, 2, 3]), collections.deque([1], maxlen=4), collections.deque()],
        "chain_map": collections.ChainMap({"a": 1}, {"b": 2}),
        "user_types": [collections.UserDict(a=1), collections.UserList([1]), collections.UserString("s")],
        "namespace": argparse.Namespace(lr=0.1, layers=[1, 2], out=Path("runs/1")),
        "simple_namespace": types.SimpleNamespace(a=1, b=types.SimpleNamespace(c=2)),
        "random": random.Random(0),
        "random_state": random.Random(0).getstate(),
        "enums": [
            http.HTTPStatus.OK,
            re.IGNORECASE,
            re.RegexFlag.MULTILINE | re.RegexFlag.DOTALL,
        ],
        "struct_time": time.gmtime(0),
        "addresses": [
            ipaddress.ip_address("10.0.0.1"),
            ipaddress.ip_network("10.0.0.0/8"),
            ipaddress.ip_address("::1"),
        ],
        "regular_expression": re.compile(r"\w+", re.IGNORECASE),
        "normal_distribution": statistics.NormalDist(0.0, 2.0),
        "template": string.Template("$a"),
        "types": [int, float, str, dict, list, tuple, set, bytes, bool, complex, type(None), object],
        "constants": [Ellipsis, NotImplemented],
        "vocabulary": {f"token_{index}": index for index in range(20_000)},
        "merges": [(f"a{index}", f"b{index}") for index in range(2000)],
        "history": {"loss": [1 / (step + 1) for step in range(3000)], "accuracy": [0.5] * 3000},
        "records": [{"id": index, "text": f"row {index}", "score": index / 7, "tags": ["x"]} for index in range(500)],
        "embeddings": {f"word{index}": [random.Random(index).random() for _ in range(8)] for index in range(200)},
    }


def build(corpus: Corpus) -> None:
    """Write every value in the default protocol and the common ones in all six."""
    everywhere = {"plain", "text", "bytes", "sets", "tuples", "numbers", "datetime", "paths", "uuid", "ordered"}
    everywhere |= {
        "default_list",
        "counter",
        "deque",
        "namespace",
        "random",
        "types",
        "shared",
        "recursive",
        "datetime_zone",
    }
    for name, value in values().items():
        corpus.pickle(f"python/{name}", value, PROTOCOLS if name in everywhere else (4,))
