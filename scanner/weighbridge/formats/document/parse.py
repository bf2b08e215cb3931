"""A page taken apart: front matter, prose, and code that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError
from weighbridge.facts import Fact, Gap
from weighbridge.formats.base import Context
from weighbridge.formats.jinja.steps import beside
from weighbridge.formats.yaml.parse import aside, decode, observe, read, take
from weighbridge.reader import Reader

_FRONT: Final = re.compile(r"\s*---[ \t]*\r?\n(.*?)(?:\r?\n|\A)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r"^[ \t>*-]{0,20}(`{3,}|~{3,}).*$")
# Lines that open a statement of a shell, of C and its kin, of JavaScript or of a container's recipe.
_PROGRAM: Final = re.compile(
    r"^(?:[ \t]*(?:export[ \t]+\w+=|(?:sudo|curl|wget|rm|chmod|eval)[ \t]+[-/.$~\w]"
    r"|source[ \t]+(?:[-/.$~]|\S+\.\w*sh\b)|echo[ \t]+[\"'$]|fi$|done$)"
    r"|#include[ \t]*[<\"]|(?:int|void)[ \t]+\w+[ \t]*\([^)]*\)[ \t]*\{|(?:const|let|var)[ \t]+\w+[ \t]*="
    r"|use[ \t]+strict|(?:RUN|CMD|ENTRYPOINT)[ \t]+[\[\w]|<\?php)",
    re.MULTILINE,
)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the facts of front matter, of a template, and a gap for lines that open like those of a program.

    Raises ArtifactError when it is not UTF-8 or its front matter is not YAML, LimitError when it is too long.
    """
    data = take(reader)
    source = decode(reader, data)
    front = _FRONT.match(source)
    body = source
    if source.lstrip().startswith("---"):
        yield from _front(source, front, reader, data, context)
        body = source[front.end() :] if front else ""
    else:
        line = _PROGRAM.search(_shown(body))
        if line is not None:
            reason = f"document: a line that opens like one of a program: {line[0].strip()[:40]!r}"
            yield Gap(location=reader.at(len(body[: line.start()].encode())), reason=reason, size=reader.size)
    yield from beside(source, reader.origin)
    yield from aside(source, reader, context)


def _front(source: str, front: re.Match[str] | None, reader: Reader, data: bytes, context: Context) -> Iterator[Fact]:
    """Yield what the front matter says, and what the whole says when that is a stream of YAML."""
    try:
        tree = read(reader, source)
    except ArtifactError:
        if front is None:
            raise
        tree = read(reader, front[1])
    yield from observe(tree, reader, data, context)


def _shown(body: str) -> str:
    """Return a page with its blocks of code made empty, every line at its place."""
    lines, fence = [], ""
    for line in body.split("\n"):
        found = _FENCE.match(line)
        if fence:
            if found is not None and found[1].startswith(fence):
                fence = ""
            line = " " * len(line)
        elif found is not None:
            fence = found[1]
        lines.append(line)
    return "\n".join(lines)
