"""Charts as SVG without any style of their own: the page's security policy allows no style attribute."""

from __future__ import annotations

from typing import Final

from weighbridge.policy import Coverage
from weighbridge.report.base import sized
from weighbridge.report.html.markup import Markup, element, joined

WIDTH: Final = 1000
# What is there at all is to be seen, however little it is.
LEAST: Final = 6

Part = tuple[str, str, int]  # the class that colors it, its name, and its size in bytes


def bar(parts: list[Part], label: str, *, height: int = 12) -> Markup:
    """Return a bar cut in proportion to the sizes of its parts."""
    whole = sum(size for _, _, size in parts)
    widths = _widths([size for _, _, size in parts], whole)
    x, drawn = 0, []
    for (kind, name, size), width in zip(parts, widths, strict=True):
        if width:
            title = element("title", f"{name}: {sized(size)} ({share(size, whole)})")
            drawn.append(element("rect", title, class_=kind, x=x, y=0, width=width, height=height))
        x += width
    return element(
        "svg",
        *drawn,
        class_="bar",
        viewBox=f"0 0 {WIDTH} {height}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def length(size: int, largest: int, label: str) -> Markup:
    """Return a bar as long as its size is of the largest one."""
    width = max(LEAST, WIDTH * size // largest) if largest else 0
    drawn = element("rect", class_="length", x=0, y=0, width=width, height=12)
    return element(
        "svg",
        drawn,
        class_="bar length",
        viewBox=f"0 0 {WIDTH} 12",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def legend(parts: list[Part]) -> Markup:
    """Return what the colors of a bar mean, with the sizes."""
    whole = sum(size for _, _, size in parts)
    return element(
        "ul",
        joined(
            element(
                "li",
                element("span", class_=f"dot {kind}"),
                f"{name} ",
                element("b", sized(size)),
                element("small", f" {share(size, whole)}"),
            )
            for kind, name, size in parts
        ),
        class_="legend",
    )


def covered(coverage: Coverage) -> list[Part]:
    """Return the parts of the account of all bytes."""
    return [
        ("parsed", "parsed", coverage.parsed),
        ("inert", "inert data, which nothing interprets", coverage.inert),
        ("unexamined", "not examined", coverage.unexamined),
    ]


def share(size: int, whole: int) -> str:
    """Return a part in percent; what is not all of it is never 100.

    >>> share(1, 3), share(999_999, 1_000_000), share(1, 1_000_000)
    ('33.3 %', '99.9 %', '< 0.1 %')
    """
    if not whole or size in (0, whole):
        return "100 %" if whole and size else "0 %"
    per_mille = 1000 * size // whole
    return f"{per_mille / 10:.1f} %" if per_mille else "< 0.1 %"


def _widths(sizes: list[int], whole: int) -> list[int]:
    if not whole:
        return [0 for _ in sizes]
    widths = [max(LEAST, WIDTH * size // whole) if size else 0 for size in sizes]
    widths[widths.index(max(widths))] += WIDTH - sum(widths)
    return widths


_ICONS: Final = {
    "pass": "M6 12.5l4 4 8-9",
    "fail": "M7 7l10 10M17 7L7 17",
    "inconclusive": "M9 9.2a3 3 0 1 1 4.4 2.6c-.9.5-1.4 1-1.4 2.2M12 17.4v.1",
}


def icon(outcome: str) -> Markup:
    """Return the mark of an outcome, which tells it by its form as well as by its color."""
    ring = element("circle", cx=12, cy=12, r=11, class_="ring")
    return element(
        "svg", ring, element("path", d=_ICONS[outcome]), class_="icon", viewBox="0 0 24 24", aria_hidden="true"
    )
