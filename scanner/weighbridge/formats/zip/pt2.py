"""What `torch.export.save` puts into its archives besides pickles: a graph as JSON, and raw weights.

`torch.export.load` evaluates some strings of the graph as Python: symbolic sizes (`sympy.sympify`) and, when
the module is first called, its guards. Others name modules to import (the type of an enumeration, the
factory of a default dict), or a function to call. Each must look the way the exporter writes it.

Source: torch/_export/serde/schema.py and serialize.py, torch/export/pt2_archive/_package.py,
torch/export/_unlift.py, torch/utils/_pytree.py of torch 2.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from weighbridge.facts import Anomaly, Fact
from weighbridge.location import Location
from weighbridge.reader import Reader

# The graph of a model with ten thousand operators has about 20 MB; decoding takes ten times that in memory.
JSON_LIMIT: Final = 32 << 20
PAYLOADS: Final = ("data/weights/", "data/constants/")
CONFIG: Final = "_config.json"

# torch._export.serde.schema.ScalarType -> bytes per element
_ITEM_SIZES: Final = {
    **dict.fromkeys((1, 2, 12, 29, 30, 31, 32, 33), 1),
    **dict.fromkeys((3, 6, 13, 28), 2),
    **dict.fromkeys((4, 7, 9, 34), 4),
    **dict.fromkeys((5, 8, 10, 35), 8),
    11: 16,
}

# torch._export.serde.serialize sets these names for sympify; the others are how sympy prints its own.
_FUNCTIONS: Final = (
    "Add Mul Pow Integer Float Rational Max Min Mod Abs floor ceiling Equality Unequality Eq Ne Lt Le Gt Ge LessThan "
    "GreaterThan StrictLessThan StrictGreaterThan And Or Not Piecewise ExprCondPair Infinity NegativeInfinity Half One "
    "Zero FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural "
    "FloatPow FloatTrueDiv IntTrueDiv IsNonOverlappingAndDenseIndicator TruncToFloat TruncToInt RoundToInt "
    "RoundDecimal ToFloat Identity true false True False oo and or not"
).replace(" ", "|")
_COMMON: Final = rf"\b(?:{_FUNCTIONS}|[a-z]+\d+)\b|\b\d+(?:\.\d*)?(?:e[+-]?\d+)?\b|[-+*/%(),<>=!&|~ ]"
_EXPRESSION: Final = (
    rf"\bSymbol\('[A-Za-z_]\w*'|\b(?:positive|negative|nonnegative|integer|real|finite|nonzero|zero|precision)="
    rf"|'[-+\d.e]+'|{_COMMON}"
)
_GUARD: Final = rf"\bL(?:\['[\w. -]*'\]|\[\d+\])+(?:\.(?:size|stride)\(\)\[\d+\]|\.storage_offset\(\))?|{_COMMON}"
_OPERATOR: Final = (
    r"torch\.ops\.(?!load_library|import_module|loaded_libraries|aten\.(?:save|from_file)\b|image\.|torchaudio\.)"
    r"_?[A-Za-z]\w*\.\w+(?:\.(?!__)\w+)?"
    r"|torch\.(?:_sym_sqrt|sym_(?:int|float|max|min|not|ite|sum|sqrt|fresh_size))"
    r"|_operator\.(?:abs|add|and_|eq|floordiv|ge|getitem|gt|invert|le|lshift|lt|mod|mul|ne|neg|not_|or_|pos|pow|rshift"
    r"|sub|truediv|xor)"
    r"|math\.(?:ceil|floor|trunc|sqrt|log2|isinf|isnan)"
)
_IMPORTS: Final = ("__enum__", "default_factory_module")


class Extent(NamedTuple):
    """How many bytes a payload must have at least to hold a tensor, and of how many each element is."""

    size: int
    item: int


def graph(reader: Reader) -> Iterator[Fact] | None:
    """Return the facts of a serialised graph, or None when the bytes are none."""
    decoded = _decode(reader)
    if isinstance(decoded, dict) and isinstance(decoded.get("graph_module"), dict):
        return _strings(reader.origin, decoded)
    return None


def extents(reader: Reader) -> dict[str, Extent] | None:
    """Return what a payload configuration says of the raw tensors it lists, by their path; None when it is none."""
    decoded = _decode(reader)
    if not isinstance(decoded, dict) or decoded.keys() != {"config"} or not isinstance(decoded["config"], dict):
        return None
    found: dict[str, Extent] = {}
    for payload in decoded["config"].values():
        match payload:
            case {"path_name": str(path), "use_pickle": False, "tensor_meta": dict(meta)}:
                extent = _extent(meta)
                if extent is None:
                    return None
                other = found.get(path, extent)
                found[path] = Extent(max(extent.size, other.size), max(extent.item, other.item))
    return found


def _extent(meta: dict[str, object]) -> Extent | None:
    match meta:
        case {
            "dtype": int(dtype),
            "sizes": [*sizes],
            "strides": [*strides],
            "storage_offset": {"as_int": int(offset)},
        } if dtype in _ITEM_SIZES and len(sizes) == len(strides):
            item, last = _ITEM_SIZES[dtype], offset
            for size, stride in zip(sizes, strides, strict=True):
                match size, stride:
                    case {"as_int": int(count)}, {"as_int": int(step)} if min(count, step) >= 0:
                        if count == 0:
                            return Extent(0, item)
                        last += (count - 1) * step
                    case _:
                        return None
            return Extent((last + 1) * item, item)
    return None


def _decode(reader: Reader) -> object:
    """Return the JSON of a member; None when it is none, or has a key twice."""
    if reader.size > JSON_LIMIT:
        return None
    try:
        return _json(str(reader.view, "utf-8"))
    except ValueError:
        return None


def _json(text: str) -> object:
    """Decode strict JSON; raise ValueError for what is not, for duplicate keys and for absurd nesting."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("an object has a key twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _strings(origin: Location, decoded: object) -> Iterator[Fact]:
    """Walk the graph, and the JSON that its strings hold, for what a loader evaluates, imports or calls."""
    stack: list[tuple[str, object]] = [("", decoded)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            for name in _IMPORTS:
                if name in value:
                    detail = f"a tree specification imports {str(value)[:200]!r}"
                    yield Anomaly(location=origin, code="pt2-import", detail=detail)
            stack += value.items()
        elif isinstance(value, list):
            stack += ((key, item) for item in value)
        elif isinstance(value, str):
            yield from _judge(origin, key, value)
            if value[:1] in ("[", "{", '"'):
                try:
                    stack.append((key, _json(value)))
                except ValueError:
                    continue  # a text that begins like JSON; tree specifications that are not fail to load


def _judge(origin: Location, key: str, text: str) -> Iterator[Fact]:
    if key == "expr_str" and re.sub(_EXPRESSION, "", text, flags=re.ASCII):
        yield Anomaly(location=origin, code="pt2-expression", detail=f"a size is computed by {text[:200]!r}")
    elif key == "guards_code" and re.sub(_GUARD, "", text, flags=re.ASCII):
        yield Anomaly(location=origin, code="pt2-expression", detail=f"a guard is computed by {text[:200]!r}")
    elif key in ("target", "as_operator") and re.fullmatch(_OPERATOR, text, re.ASCII) is None:
        yield Anomaly(location=origin, code="pt2-operator", detail=f"the graph calls {text[:200]!r}")
