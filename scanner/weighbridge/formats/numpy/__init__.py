"""numpy `.npy` arrays: a header that is a Python literal, then raw data or a pickle.

An array of objects is a pickle behind the header. A `.npz` is a zip whose members are these.
The header is read by a parser of its own for the few literals that numpy writes: it is never evaluated.

Specification: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

MAGIC: Final = b"\x93NUMPY"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes start with numpy's magic."""
    return sample.head[:6] == MAGIC


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the array as a tensor, or examine the pickle that an array of objects holds."""
    from weighbridge.formats.numpy.parse import parse as parse_array

    return parse_array(reader, context)


FORMAT: Final = Format("numpy", "numpy array", sniff, parse, MAGIC[:1])
