"""Programs where data should be: in attributes, texts, tensor data and fields that the format does not have.

Whatever opens like a program or an archive is examined by the format that knows it. Random weights open like anything
once in a while, so tensor data count only by a long magic number or when a program really comes out of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.facts import Fact, Gap, Member, Native, Program, Recognised
from weighbridge.formats.onnx.messages import numbers
from weighbridge.formats.onnx.scene import Scene, text
from weighbridge.formats.onnx.wire import Place, Span
from weighbridge.reader import from_bytes
from weighbridge.symbols import Global

if TYPE_CHECKING:
    from onnx import TensorProto

OPAQUE: Final = 1 << 16  # bytes of an attribute beyond which it is no setting but a file
_SHORTEST: Final = 8  # bytes of a program
_HEAD: Final = 64

_MAGIC: Final = (
    rb"\x7fELF[\1\2][\1\2]|PK[\3\5][\4\6]|\x93NUMPY|7z\xbc\xaf\x27\x1c|\xfd7zXZ\0|BZh[1-9]1AY&SY|\x28\xb5\x2f\xfd"
    rb"|\xca\xfe\xba[\xbe\xbf]|[\xce\xcf]\xfa\xed\xfe|\xfe\xed\xfa[\xce\xcf]|\0asm[\1\2]\0|!<arch>|dex\n0|BC\xc0\xde"
    rb"|\xde\xc0\x17\x0b|\x50\xed\x55\xba|L\0\0\0\x01\x14\x02\0|MZ|\x80[\2-\5]|\x1f\x8b\x08"
)
# Few bytes of these are fixed: in tensor data they have to lead to something.
_SHORT: Final = rb"MZ|\x80[\2-\5]|\x1f\x8b\x08|\x28\xb5\x2f\xfd|BC\xc0\xde|\0asm"
_NAME: Final = r"[A-Za-z_][\w.]+"
_SCRIPT: Final = (
    rb"(?:\xef\xbb\xbf)?#!|@echo|import[ \t]+[A-Za-z_]|from[ \t]+[\w.]+[ \t]+import\b"
    rb"|(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[ \t]*[(:]|"
    rb"(?:exec|eval|__import__|getattr|setattr)[ \t]*\(|\(?[ci][A-Za-z_][\w.]*\n[A-Za-z_]"
)


def texts(
    scene: Scene, values: Iterable[str | bytes], locate: Callable[[int], Span | None], what: str
) -> Iterator[Fact]:
    """Yield the programs among texts or bytes; `locate` says where in the model one of them lies."""
    for index, value in enumerate(values):
        if len(value) < _SHORTEST:
            continue
        head = value[:_HEAD]
        head = head if isinstance(head, bytes) else head.encode("utf-8", "replace")
        if re.match(_MAGIC, head) or re.match(_SCRIPT, head):
            yield from _examine(scene, value, locate(index), what)


def span(scene: Scene, span: Span, what: str) -> Iterator[Fact]:
    """Yield the program that content is which is not in the copy."""
    head = scene.reader.read(span.offset, min(span.size, _HEAD))
    if span.size >= _SHORTEST and (re.match(_MAGIC, head) or re.match(_SCRIPT, head)):
        yield from _examine(scene, b"", span, what)


def payloads(scene: Scene, tensor: TensorProto, place: Place) -> Iterator[Fact]:
    """Yield the programs that the data of a tensor are, or the elements of a tensor of texts."""
    number = numbers("Tensor")
    for name in ("raw_data", "string_data"):
        for span in place.left_out.get(number[name], ()):
            yield from _data(scene, scene.reader.read(span.offset, _HEAD), span)
    raw = tensor.raw_data
    if len(raw) >= _SHORTEST and re.match(_MAGIC, raw):
        span_ = place.content(scene.reader, number["raw_data"])
        if span_ is not None:
            yield from _data(scene, raw[:_HEAD], span_)
    if tensor.string_data:
        locate = lambda index: place.content(scene.reader, number["string_data"], index)  # noqa: E731
        yield from texts(scene, tensor.string_data, locate, "string_data")


def _data(scene: Scene, head: bytes, span: Span) -> Iterator[Fact]:
    """Examine tensor data that open like a program; keep what is one beyond doubt."""
    if not re.match(_MAGIC, head) or (head[:2] == b"MZ" and not _is_pe(scene, span)):
        return
    facts = list(_examine(scene, b"", span, "tensor data"))
    if not re.match(_SHORT, head) or any(_names_code(fact) for fact in facts):
        yield from facts


def _is_pe(scene: Scene, span: Span) -> bool:
    """Follow the pointer to the second magic number of a Windows program."""
    if span.size < _HEAD:
        return False
    start = int.from_bytes(scene.reader.read(span.offset + 60, 4), "little")
    return start + 4 <= span.size and scene.reader.read(span.offset + start, 4) == b"PE\0\0"


def _acts(fact: Fact) -> bool:
    return isinstance(fact, Native) or (isinstance(fact, Program) and len(fact.events) > 0)


def _names_code(fact: Fact) -> bool:
    """Tell whether a fact is machine code, or a pickle that imports something: no other one does any harm."""
    if isinstance(fact, Program):
        imports = (event for event in fact.events if isinstance(event, Global))
        return any(re.fullmatch(_NAME, part) for event in imports for part in event.spelled)
    return isinstance(fact, Native)


def _examine(scene: Scene, value: str | bytes, span: Span | None, what: str) -> Iterator[Fact]:
    """Yield what a piece of content is, if a format other than prose recognises it.

    Content that no format recognises is an ordinary value, hence no gap.
    """
    offset = scene.walk.root.begin if span is None else span.offset
    place = scene.at(offset)
    name = f"{what}@{place.offset:#x}"
    if span is None:
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        reader = from_bytes(data, scene.reader.origin.inside(name))
    else:
        reader = scene.reader.window(span.offset, span.size, name)
    scene.context.budget.spend_members(place)
    scene.context.budget.check_time(place)
    facts = list(scene.context.examine(reader, 0))
    kinds = {fact.format for fact in facts if isinstance(fact, Recognised)} - {"text"}
    if not kinds:
        yield from (fact for fact in facts if isinstance(fact, Gap) and fact.limit)
        return
    yield Member(location=place, name=name, size=reader.size, type="literal")
    yield from facts
    if not any(_acts(fact) for fact in facts):
        yield scene.anomaly(
            "onnx-embedded-file", offset, f"{what} of {reader.size} bytes is {' and '.join(sorted(kinds))}"
        )


def opaque(scene: Scene, size: int, offset: int, name: str | bytes) -> Iterator[Fact]:
    """Yield an attribute that is as large as a file."""
    if size >= OPAQUE:
        detail = f"{size} bytes in attribute {text(name)!r}"
        yield scene.anomaly("onnx-opaque-attribute", offset, detail)
