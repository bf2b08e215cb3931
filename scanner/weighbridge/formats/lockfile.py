"""The lock that a pull writes into its folder (`weighbridge.lock`): TOML in the one form that weighbridge writes.

It is recognised so that a folder that was pulled can be scanned as it lies. Nothing loads it as a model; a line that
weighbridge would not write is an error, and leaves a gap. What the lock says is none of a parser's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

LIMIT: Final = 64 << 20  # bytes; as much as is read of a lock that is used
HEADER: Final = b"# Written by weighbridge; "
_TEXT: Final = rb'"(?:[^"\\\x00-\x1f\x7f]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"'
_LINE: Final = re.compile(
    b"|".join(
        (
            rb"|\[\[models\]\]|\[models\.[a-z]+\]|files = \[|signatures = \[|\]",
            rb"version = [0-9]{1,9}",
            rb"[a-z_]+ = " + _TEXT,
            rb"[a-z]+ = \[" + _TEXT + rb"(?:, " + _TEXT + rb")*\]",
            rb" {4}\{ path = " + _TEXT + rb', size = [0-9]{1,18}, sha256 = "[0-9a-f]{64}" \},',
            rb" {4}\{ (?:[a-z]+ = " + _TEXT + rb"(?:, (?! )|(?= \}))){5} \},",
        )
    )
)


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin as every lock does."""
    return sample.head.startswith(HEADER)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Understand every line, and say nothing of it; raise ArtifactError at the first that is none of a lock."""
    if reader.size > LIMIT:
        raise LimitError(reader.at(0), f"{reader.size} bytes of a lock, limit is {LIMIT}")
    offset = 0
    for line in bytes(reader.view).split(b"\n"):
        if offset and not _LINE.fullmatch(line):
            raise ArtifactError(reader.at(offset), "not a line that a lock has")
        offset += len(line) + 1
    try:
        bytes(reader.view).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error
    yield from ()


FORMAT: Final = Format("lock", "lock of Weighbridge (weighbridge.lock)", sniff, parse, HEADER[:1], textual=True)
