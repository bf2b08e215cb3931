"""HDF5: recognised, so that nothing can hide in a file of another format, and not understood.

A file of HDF5 begins at its byte 0, 512, 1024 or any double of that, behind bytes that HDF5 leaves to its user. So a
file can open as an array, a picture or safetensors and be a model of Keras as well, whose layers hold byte code.

Specification: HDF5 File Format Specification 3.0, II.A, "Disk Format: Level 0A - Format Signature and Superblock".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact, Gap
from weighbridge.formats.base import Context, Format
from weighbridge.reader import HEAD, Reader, Sample

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_FIRST: Final = 512  # where it may begin behind a block of the user


def sniff(sample: Sample) -> bool:
    """Tell whether the signature is at a place where HDF5 may begin; of a remote file only the head is looked at."""
    head = sample.head
    if head.startswith(SIGNATURE):
        return True
    at = _FIRST
    while at < HEAD:
        if head.startswith(SIGNATURE, at):
            return True
        at *= 2
    view = sample.view
    while view is not None and at < sample.size:
        if bytes(view[at : at + len(SIGNATURE)]) == SIGNATURE:
            return True
        at *= 2
    return False


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield a gap: groups, attributes and the programs in them are not read."""
    yield Gap(location=reader.origin, reason="hdf5: what is in it is not understood", size=reader.size)


FORMAT: Final = Format("hdf5", "HDF5", sniff, parse)
