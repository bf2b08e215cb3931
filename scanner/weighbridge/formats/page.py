"""Our own report (`report.html`): HTML of the few elements that `report.html` writes, and of nothing that acts.

It is recognised so that a folder that the gate wrote can be scanned as it lies. This is no parser of HTML: what does
not begin as our page does is no such page, and what goes beyond its elements and attributes is a gap. There is no
script, no handler, no style but the one that the page's security policy names by its digest, no address that is
fetched; a link leads within the page or, when somebody follows it, to a page on the web.

Sources: `weighbridge.report.html`, https://html.spec.whatwg.org/multipage/syntax.html, https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

LIMIT: Final = 64 << 20  # bytes; a report on ten thousand files has some
BEGIN: Final = (
    b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
    b'content="default-src &#x27;none&#x27;; style-src &#x27;sha256-'
)
_BEGIN: Final = BEGIN.decode().replace("#", r"\#")
_TEXT: Final = r"(?:[^<>&\"]|&(?:amp|lt|gt|quot|\#x27);)*"
_HEAD: Final = (
    rf"(?s){_BEGIN}(?P<digest>[A-Za-z0-9+/]{{43}}=)&\#x27;; img-src data:; "
    r"base-uri &\#x27;none&\#x27;; form-action &\#x27;none&\#x27;\">\n"
    r"<meta name=\"referrer\" content=\"no-referrer\">\n"
    r"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    r"<meta name=\"color-scheme\" content=\"light dark\">\n"
    rf"<title>{_TEXT}</title>\n"
    r"<link rel=\"icon\" href=\"data:image/svg\+xml,%3Csvg xmlns=&\#x27;http://www\.w3\.org/2000/svg&\#x27; viewBox="
    r"&\#x27;0 0 16 16&\#x27;%3E%3Crect width=&\#x27;16&\#x27; height=&\#x27;16&\#x27; rx=&\#x27;4&\#x27; "
    r"fill=&\#x27;%23[0-9a-f]{6}&\#x27;/%3E%3C/svg%3E\">\n"
    r"<style>(?P<style>[^<\\]*)</style>\n</head>\n"
)
# What makes a style fetch something, or did in a browser of old.
_REACHES: Final = (
    r"(?i)url|@import|@font-face|image\(|image-set|expression|-moz-binding|behavior\s*:(?!\s*(?:smooth|auto)\b)"
)
_PIECE: Final = (
    r"<(?P<end>/?)(?P<tag>[a-z][a-z0-9]*)(?P<attributes>(?: [A-Za-z-]+(?:=\"[^\"<>]*\")?)*)>"
    r"|(?:[^<>&]|&(?:amp|lt|gt|quot|#x27);)+"
)
_ATTRIBUTE: Final = rf" ([A-Za-z-]+)(?:=\"({_TEXT})\")?"
_WHOLE: Final = rf"(?:{_ATTRIBUTE})*"
_HREF: Final = r"\#[\w.:/-]*|https://[\w./~%+:\#?=&;,()@!*-]*"
_TAGS: Final = frozenset(
    "body a header nav main section article footer div p span b small code pre h1 h2 h3 ul ol li dl dt dd table "
    "caption thead tbody tr th td details summary time svg rect circle path title em strong i abbr".split()
)
_VOID: Final = frozenset({"br", "hr", "wbr"})
_ANYWHERE: Final = frozenset("class id role aria-label aria-labelledby aria-hidden hidden title".split())
_ATTRIBUTES: Final = {
    "a": frozenset({"href", "rel"}),
    "th": frozenset({"scope"}),
    "details": frozenset({"open"}),
    "time": frozenset({"datetime"}),
    "svg": frozenset({"viewBox", "preserveAspectRatio", "width", "height", "focusable"}),
    "rect": frozenset("x y width height rx".split()),
    "circle": frozenset("cx cy r".split()),
    "path": frozenset({"d"}),
}
_NONE: Final[frozenset[str]] = frozenset()


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin as every report does."""
    return sample.head.startswith(BEGIN)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Understand every element, and say nothing of it.

    Raises ArtifactError at the first that no report has, LimitError when it is too long.
    """
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of a report, limit is {LIMIT}")
    try:
        source = bytes(reader.view).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error
    if not source.replace("\n", "").isprintable():
        raise ArtifactError(reader.origin, "a report with characters that cannot be printed")
    head = re.match(_HEAD, source)
    if head is None or not _is_own_style(head["style"], head["digest"]):
        raise ArtifactError(reader.origin, "a page with another head than reports have")
    _body(reader, source, head.end(), context)
    yield from ()


def _is_own_style(style: str, digest: str) -> bool:
    """Tell whether a style is the one that the page's policy names, and fetches nothing."""
    import hashlib  # 5 ms that a scan without a report need not pay
    from base64 import b64encode

    if b64encode(hashlib.sha256(style.encode()).digest()).decode() != digest:
        return False
    return re.search(_REACHES, style) is None


def _body(reader: Reader, source: str, begin: int, context: Context) -> None:
    """Step over the body; raise ArtifactError at what is not well formed, or no part of a report."""
    piece, opened, position = re.compile(_PIECE), ["html"], begin
    while position < len(source):
        found = piece.match(source, position)
        if found is None:
            raise _error(reader, source, position, "neither text nor an element as reports write them")
        tag = found["tag"]
        if tag is None:
            pass
        elif found["end"]:
            if found["attributes"] or not opened or opened.pop() != tag:
                raise _error(reader, source, position, f"an end of {tag} without its beginning")
        else:
            if not opened or not _is_known(tag, found["attributes"]):
                raise _error(reader, source, position, f"{found[0][:60]!r}, which no report has")
            if tag not in _VOID:
                opened.append(tag)
        position = found.end()
        if position & 0xFFF == 0:
            context.budget.check_time(reader.origin)
    if opened:
        raise _error(reader, source, position, f"{opened[-1]} does not end")


def _is_known(tag: str, attributes: str) -> bool:
    """Tell whether a report has such an element with such attributes."""
    if tag not in _TAGS and tag not in _VOID:
        return False
    if re.fullmatch(_WHOLE, attributes) is None:
        return False
    for name, value in re.findall(_ATTRIBUTE, attributes):
        if name not in _ANYWHERE and name not in _ATTRIBUTES.get(tag, _NONE):
            return False
        if name == "href" and re.fullmatch(_HREF, value) is None:
            return False
    return True


def _error(reader: Reader, source: str, position: int, reason: str) -> ArtifactError:
    return ArtifactError(reader.at(len(source[:position].encode())), reason)


FORMAT: Final = Format(
    "report",
    "report of Weighbridge (report.html)",
    sniff,
    parse,
    BEGIN[:1],
    textual=True,
    may_begin=lambda prefix: BEGIN.startswith(prefix),
)
