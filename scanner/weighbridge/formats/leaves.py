"""The leaves of an approval (`approval.leaves`): digests of the parts of approved files, by the million.

It is recognised so that a folder that was approved can be scanned as it lies. Its structure is that of
`weighbridge.leaves`: a line, then for each file its root, its fs-verity digest, the number of its leaves and the
leaves. A digest can be any 32 bytes: they are inert, for whoever reads them compares them and does nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError, TruncatedError
from weighbridge.facts import Fact, Inert
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

MAGIC: Final = b"weighbridge leaves 1\n"
DIGEST: Final = 32  # bytes of a sha256
MAX_FILES: Final = 200_000  # records; as many files as an artifact may have


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin with the line of this version."""
    return sample.head.startswith(MAGIC)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the digests of each file as inert; raise ArtifactError at a record that is none."""
    seen: set[bytes] = set()
    reader.seek(len(MAGIC))
    while reader.remaining:
        start = reader.position
        root = reader.take(DIGEST)
        reader.skip(DIGEST)
        count = reader.u64()
        if count * DIGEST > reader.remaining:
            raise TruncatedError(reader.at(start), f"{count} leaves, {reader.remaining} bytes left")
        if root in seen or len(seen) >= MAX_FILES:
            raise ArtifactError(reader.at(start), "the leaves of one root come twice, or of too many files")
        seen.add(root)
        reader.skip(count * DIGEST)
        context.budget.check_time(reader.at(start))
        yield Inert(location=reader.at(start), size=reader.position - start, reason="digests of the parts of a file")


FORMAT: Final = Format(
    "leaves",
    "leaves of an approval (approval.leaves)",
    sniff,
    parse,
    MAGIC[:1],
    may_begin=lambda prefix: MAGIC.startswith(prefix),
)
