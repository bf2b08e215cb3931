"""HTML that cannot be forgotten to be escaped: text is text unless it is `Markup`, and only this module makes that."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from weighbridge.location import printable

# Elements without an end.
_VOID: Final = frozenset({"meta", "link", "br", "hr", "wbr"})


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Return text as HTML that shows it: nothing in it is markup, drives a terminal or reorders a line."""
    return value if isinstance(value, Markup) else Markup(escape(printable(value), quote=True))


def element(tag: str, /, *children: str, **attributes: str | int | bool | None) -> Markup:
    """Return an element; attributes that are None or False are left out, and those that are True have no value.

    `class_` is `class`, and an underscore inside a name is a hyphen.

    >>> element("a", "1 < 2", href='"', class_="x", hidden=True, title=None)
    '<a href="&quot;" class="x" hidden>1 &lt; 2</a>'
    """
    parts = [tag]
    for key, value in attributes.items():
        shown = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(shown)
        elif value is not None and value is not False:
            parts.append(f'{shown}="{text(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start if tag in _VOID else f"{start}{''.join(text(child) for child in children)}</{tag}>")


def joined(parts: Iterable[str], between: str = "\n") -> Markup:
    """Return pieces one after the other."""
    return Markup(between.join(text(part) for part in parts))


def code(value: str) -> Markup:
    """Return a name or a path, which may be broken at the end of a line anywhere."""
    return element("code", value)


def table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]], *, kind: str = "") -> Markup:
    """Return a table; it scrolls by itself where it is too wide. Its cells are the children of `td`."""
    head = element("tr", *(element("th", one, scope="col") for one in heads))
    body = joined(element("tr", *(element("td", cell) for cell in row)) for row in rows)
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        Markup(f"<tbody>\n{body}\n</tbody>"),
        class_=kind or None,
    )
    return element("div", whole, class_="wide")


def section(name: str, title: str, *parts: str) -> Markup:
    """Return a part of the page with a heading, to which the contents lead."""
    return Markup(f"{_opened(name, title)}\n{joined(parts)}\n</section>")


def _opened(name: str, title: str) -> str:
    heading = element("h2", title, id=f"{name}-title")
    return f'<section id="{text(name)}" aria-labelledby="{text(name)}-title">\n{heading}'
