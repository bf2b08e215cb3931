"""Texts in a document that are more than text: templates, Python source, programs in base64."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact, Gap, Member, Native
from weighbridge.formats import pickle
from weighbridge.formats.base import Context
from weighbridge.formats.pickle.embedded import BASE64
from weighbridge.location import Location
from weighbridge.reader import from_bytes

SHORTEST: Final = 3  # characters; a name to import has as many
PROGRAM: Final = 16  # characters of the shortest text that is a program
_STATEMENT_BLOCK: Final = re.compile(r"\{%[-+]?\s*[A-Za-z_]")
_STATEMENT: Final = re.compile(
    r"^[ \t]*((?:import[ \t]+[A-Za-z_]|from[ \t]+[\w.]+[ \t]+import\b|(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|"
    r"class[ \t]+\w+[ \t]*[(:]|lambda\b|__import__|exec[ \t]*\(|eval[ \t]*\().{0,80})",
    re.MULTILINE,
)
_ENCODED: Final = re.compile(BASE64)
# The beginning of a code object as `marshal` writes it, in base64: what a Lambda layer of Keras holds.
_BYTECODE: Final = re.compile(r"(?:4w|Yw)[A-Za-z0-9+/]{2}AAA[A-Za-z0-9+/=\s]{16,}")
_BINARY: Final = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04|\x1f\x8b\x08|\x7fELF|MZ")


def is_template(text: str) -> bool:
    """Tell whether a text has a block of Jinja that names something."""
    begin, end = text.find("{{"), text.rfind("}}")
    if 0 <= begin < end and any(map(str.isalpha, text[begin:end])):
        return True
    return "{%" in text and _STATEMENT_BLOCK.search(text) is not None


def statement(text: str) -> str:
    """Return the first statement of Python in a text, nothing when there is none."""
    found = _STATEMENT.search(text)
    return found[1] if found else ""


def serialized(text: str, place: Location, origin: Location, context: Context) -> Iterator[Fact]:
    """Yield the pickle that a loader makes of a text in base64, examined as `origin`; a gap when it is none.

    stable-baselines3 keeps so what is no JSON. It drops whatever is no base64 before it decodes the rest.
    """
    try:
        data = base64.b64decode(text)
    except ValueError:
        data = b""
    reader = from_bytes(data, origin)
    if not pickle.sniff(reader.sample):
        yield Gap(location=place, reason="a pickle in base64 that cannot be read", size=len(text))
        return
    context.budget.spend_members(place)
    yield Member(location=place, name=origin.path[-1], size=len(data), type="literal")
    yield from context.examine(reader, 0)


def encoded(text: str, place: Location, origin: Location, context: Context) -> Iterator[Fact]:
    """Yield the program that a text holds in base64, examined as `origin`."""
    if _BYTECODE.fullmatch(text):
        yield Native(location=place, type="python-bytecode", detail=f"in base64, {len(text)} characters")
    if not _ENCODED.fullmatch(text):
        return
    try:
        data = base64.b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None)
    except binascii.Error:
        return
    reader = from_bytes(data, origin)
    if _BINARY.match(data) or pickle.sniff(reader.sample):
        context.budget.spend_members(place)
        yield Member(location=place, name=origin.path[-1], size=len(data), type="literal")
        yield from context.examine(reader, 0)
