"""Pictures of SVG, as logos and plots are: markup that draws, and nothing that acts or fetches.

A browser runs what an SVG file holds when somebody opens it. So this is no parser of XML: only elements and attributes
that draw are known, every name belongs to the namespace that its prefix says, an address is a part of the same file or
a picture in it, and what goes beyond that (scripts, handlers, links, animations, foreign markup, entities) is a gap.

Specifications: https://www.w3.org/TR/SVG2/, https://www.w3.org/TR/xml/, https://www.w3.org/TR/xml-names/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

LIMIT: Final = 16 << 20  # bytes; a plot with many points has some
MAX_DEPTH: Final = 256
# What may stand before the picture: a declaration, comments, and the type that SVG 1.1 has, without entities.
# Every repetition is possessive: text that does not match is left at once.
_BETWEEN: Final = r"(?:\s++|<!--(?:[^-]|-(?!-))*+-->)*+"
_PROLOG: Final = (
    r"(?s)\ufeff?+\s*+(?:<\?xml version=['\"]1\.[01]['\"](?: encoding=['\"](?i:utf-8)['\"])?+"
    r"(?: standalone=['\"](?:yes|no)['\"])?+\s*+\?>)?+"
    rf"{_BETWEEN}"
    r"(?:<!DOCTYPE svg\s++PUBLIC\s++\"-//W3C//DTD SVG [\w. ]{1,20}//EN\"\s++\"https?://www\.w3\.org/[\w./-]{1,80}\"\s*+>)?+"
    rf"{_BETWEEN}(?=<svg[\s>])"
)
_TEXT: Final = r"(?:[^<&]|&(?:amp|lt|gt|quot|apos|\#[0-9]{1,7}|\#x[0-9A-Fa-f]{1,6});)"
_ATTRIBUTE: Final = r"\s+([A-Za-z_][\w:.-]*)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')"
_PIECE: Final = (
    r"<(?P<end>/?+)(?P<tag>[A-Za-z][\w:-]*+)"
    r"(?P<attributes>(?:\s++[A-Za-z_][\w:.-]*+\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'))*+)\s*+(?P<empty>/?+)>"
    r"|<!--(?:[^-]|-(?!-))*+-->|<!\[CDATA\[(?P<data>[^<&\]]*+)\]\]>|(?P<text>[^<]++)"
)
_TAGS: Final = frozenset(
    "svg g path rect circle ellipse line polyline polygon text tspan defs use symbol clipPath mask pattern marker "
    "linearGradient radialGradient stop title desc metadata style image filter feGaussianBlur feOffset feBlend feFlood "
    "feComposite feMerge feMergeNode feColorMatrix feDropShadow feMorphology feTile feTurbulence".split()
)
_SPACES: Final = {
    "": "http://www.w3.org/2000/svg",
    "svg": "http://www.w3.org/2000/svg",
    "xlink": "http://www.w3.org/1999/xlink",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "cc": "http://creativecommons.org/ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "inkscape": "http://www.inkscape.org/namespaces/inkscape",
    "sodipodi": "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd",
}
_DATA: Final = frozenset({"rdf", "cc", "dc", "inkscape", "sodipodi"})  # prefixes of what nobody draws
_BARE: Final = r"[a-zA-Z][a-zA-Z0-9-]*"
_INNER: Final = r"#[\w.:-]*|data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*"
# What a style or an attribute must not have: addresses that lead out, code of old browsers, escapes that hide either.
# Compiled when a picture comes by, for it takes 2 ms.
_ADDRESS: Final = (
    r"(?i)url(?!\(#[\w.:-]*\)|\(\"#[\w.:-]*\"\)|\('#[\w.:-]*'\))"
    r"|@import|@font-face|@namespace|image\s*\(|image-set|src\s*\("
)
_CODE: Final = r"(?i)script\s*:|expression\s*\(|-moz-binding|behavior\s*:|\\|data:(?!image/(?:png|jpeg|gif|webp);)"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin as an SVG file does."""
    head = sample.head.decode("utf-8", "ignore")
    return "<svg" in head and re.match(_PROLOG, head) is not None


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Understand every element, and say nothing of it.

    Raises ArtifactError at the first that does more than draw, LimitError when it is too long or nested too deep.
    """
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of SVG, limit is {LIMIT}")
    try:
        source = bytes(reader.view).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error
    begin = re.match(_PROLOG, source)
    if begin is None or re.search(r"[^\t\n\r\x20-\x7e\xa0-\U0010ffff]", source):
        raise ArtifactError(reader.origin, "another beginning, or characters that XML has not")
    reason, position = _draws(source, begin.end(), reader, context)
    if reason:
        raise ArtifactError(reader.at(len(source[:position].encode())), reason)
    yield from ()


def _draws(source: str, begin: int, reader: Reader, context: Context) -> tuple[str, int]:
    """Return why a picture is not understood, nothing when it is, and the position."""
    piece, position, seen = re.compile(_PIECE), begin, False
    opened: list[str] = []
    while position < len(source):
        context.budget.check_time(reader.origin)
        found = piece.match(source, position)
        if found is None or (seen and not opened and found["tag"]):
            return "markup that is not well formed", position
        tag = found["tag"]
        if tag is None:
            reason = _said(found["text"] or found["data"] or "", opened)
        elif found["end"]:
            ends = bool(opened) and opened.pop() == tag and not found["attributes"] and not found["empty"]
            reason = "" if ends else f"an end of {tag} without its beginning"
        else:
            reason, seen = _element(tag, found["attributes"]), True
            if not found["empty"]:
                opened.append(tag)
        if reason:
            return reason, position
        if len(opened) > MAX_DEPTH:
            raise LimitError(reader.at(0), f"nested deeper than {MAX_DEPTH}")
        position = found.end()
    return ("the picture does not end" if opened else ""), position


def _said(text: str, opened: list[str]) -> str:
    """Return what is wrong with text between elements."""
    if not opened and text.strip():
        return "text behind the picture"
    if (
        opened
        and opened[-1] in ("style", "svg:style")
        and (re.search(_ADDRESS, text) or re.search(_CODE, text) or "&" in text)
    ):
        return "a style that fetches or runs something"
    return "" if re.fullmatch(f"{_TEXT}*", text) else "an entity that XML does not define"


def _element(tag: str, attributes: str) -> str:
    """Return what an element does that is more than drawing, nothing when it does not."""
    prefix, _, name = tag.rpartition(":")
    if prefix not in _SPACES or (prefix not in _DATA and name not in _TAGS):
        return f"the element {tag[:40]!r}, which does more than draw"
    seen: set[str] = set()
    for key, double, single in re.findall(_ATTRIBUTE, attributes):
        if key in seen or not _is_plain(key, double or single):
            return f"the attribute {key[:40]!r} of {tag[:40]!r}, which does more than draw"
        seen.add(key)
    return ""


def _is_plain(key: str, value: str) -> bool:
    """Tell whether an attribute is one that draws: no handler, no address outside of the file, no other namespace."""
    prefix, _, name = key.rpartition(":")
    if key == "xmlns" or prefix == "xmlns":
        return value == _SPACES.get(name if prefix else "")
    if re.fullmatch(f"{_TEXT}*", value) is None or (prefix and prefix not in ("xml", *_SPACES)):
        return False
    if prefix in _DATA:
        return True
    if name.lower() == "href":
        return re.fullmatch(_INNER, value) is not None
    if re.fullmatch(_BARE, name) is None or name.lower().startswith("on") or name.lower() in ("base", "src", "action"):
        return False
    return "&" not in value and not re.search(_ADDRESS, value) and not re.search(_CODE, value)


FORMAT: Final = Format("svg", "picture (SVG)", sniff, parse, b"<\xef \t\r\n", textual=True)
