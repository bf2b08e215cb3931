"""Scripts: a program named by `#!`, a batch file, or Python source recognised by its statements.

Recognising one names the danger; a script that is not recognised is no known format, which is a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact, Native
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import opens_no_program
from weighbridge.reader import HEAD, Reader, Sample

_BOM: Final = b"\xef\xbb\xbf"
_LINE_LIMIT: Final = 200
# Statements that stand at the start of a line in Python and hardly ever in prose.
_PYTHON: Final = (
    rb"^[ \t]*(?:import[ \t]+[A-Za-z_][\w.]*[ \t]*(?:$|[;,#\r]|as\b)|from[ \t]+[\w.]+[ \t]+import\b"
    rb"|(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[ \t]*[(:]|if[ \t]+__name__\b"
    rb"|(?:exec|eval|__import__|getattr|setattr)[ \t]*\()"
)


def _interpreter(head: bytes) -> str | None:
    """Return the first line of a script that names what runs it, None for anything else."""
    head = head.removeprefix(_BOM)
    if head[:2] == b"#!" or head[:5].lower() == b"@echo":
        return head[:_LINE_LIMIT].partition(b"\n")[0].decode("utf-8", "replace").strip()
    return None


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes open with `#!` or the first line of a batch file."""
    return sample.head[:1] in (b"#", b"@", b"\xef") and _interpreter(sample.head) is not None


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the script with the line that names its interpreter."""
    yield Native(location=reader.origin, type="script", detail=_interpreter(reader.sample.head) or "")


def _may_be_python(head: bytes) -> bool:
    """Tell whether the first byte is no pickle's, and none is NUL: the pattern is compiled when it may match."""
    return head[:1] != b"\x80" and b"\0" not in head


def sniff_python(sample: Sample) -> bool:
    """Tell whether the bytes are text with a Python statement at the start of a line."""
    head = sample.head
    if not _may_be_python(head):
        return False
    found = re.search(_PYTHON, head, re.MULTILINE) is not None and _is_text(head)
    # A page that shows code is none: it would not compile.
    return found and not opens_no_program(sample)


def _is_text(head: bytes) -> bool:
    """Tell whether the sample is UTF-8, leaving aside a character that its end cuts."""
    for cut in range(4 if len(head) == HEAD else 1):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def parse_python(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the source with the first statement that gave it away."""
    statement = re.search(_PYTHON, reader.sample.head, re.MULTILINE)
    if statement is not None:
        line = reader.sample.head[statement.start() : statement.start() + _LINE_LIMIT].partition(b"\n")[0]
        yield Native(
            location=reader.at(statement.start()), type="python", detail=line.decode("utf-8", "replace").strip()
        )


FORMATS: Final = (
    Format("script", "script", sniff, parse, b"#@\xef"),
    Format("python", "Python source", sniff_python, parse_python, may_begin=_may_be_python),
)
