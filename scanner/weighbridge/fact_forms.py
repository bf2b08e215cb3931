"""The forms that facts have as bytes: of each kind of fact its fields, of each kind of event its parts.

`weighbridge.fact_codec` writes and reads by these tables; beside what they name it makes only literals, spans and
opaque values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from weighbridge import facts as known
from weighbridge import symbols
from weighbridge.facts import Fact
from weighbridge.records import fields
from weighbridge.symbols import Event, Value

_PLAIN: Final = (
    known.Recognised,
    known.Member,
    known.Inert,
    known.Gap,
    known.Anomaly,
    known.Native,
    known.Tensor,
    known.Metadata,
    known.Operator,
    known.ExternalData,
    known.Placeholder,
    known.Pointer,
    known.Template,
    known.Step,
)
FACTS: Final[dict[str, type[Fact]]] = {kind.__name__: kind for kind in _PLAIN}
_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "str": lambda value: type(value) is str,
    "int": lambda value: type(value) is int,
    "bool": lambda value: type(value) is bool,
    "int | None": lambda value: value is None or type(value) is int,
    "tuple[int, ...]": lambda value: type(value) is tuple and all(type(one) is int for one in value),
}
# The fields of each kind of fact but its location, with what they have to be.
FIELDS: Final[dict[type[Fact], list[tuple[str, Callable[[Any], bool]]]]] = {
    kind: [(one.name, _CHECKS[str(one.type)]) for one in fields(kind) if one.name != "location"] for kind in _PLAIN
}
# The attributes of events that are values; of the others `STATICS` tells the type.
VALUES: Final[dict[type[Event], tuple[str, ...]]] = {
    symbols.Global: (),
    symbols.Call: ("callable", "arguments", "keywords", "state"),
    symbols.State: ("target", "state"),
    symbols.Items: ("target", "values"),
    symbols.Key: ("key",),
    symbols.PersistentId: ("value",),
    symbols.ComputedName: ("module", "name"),
    symbols.Extension: (),
    symbols.Run: ("events",),
}
STATICS: Final[dict[type[Event], tuple[tuple[str, type], ...]]] = {
    symbols.Global: (("module", str), ("name", str)),
    symbols.Call: (("form", str),),
    symbols.Items: (("opcode", str),),
    symbols.Extension: (("code", int),),
    symbols.Run: (("count", int),),
}
EVENTS: Final[dict[str, type[Event]]] = {kind.__name__: kind for kind in VALUES}
# Containers, which are made empty and filled later.
LISTS: Final[dict[str, type[list[Value]]]] = {"l": list, "d": symbols.Dict, "s": symbols.Set}
LIST_TAGS: Final = {kind: tag for tag, kind in LISTS.items()}
# Each is one object wherever it stands, and is written as its place here.
ELISIONS: Final = (
    symbols.ELIDED,
    symbols.ELIDED_INT,
    symbols.ELIDED_UINT,
    symbols.ELIDED_TEXT,
    symbols.ELIDED_BYTES,
    symbols.ELIDED_CONSTANT,
)
