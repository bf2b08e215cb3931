"""Models of LightGBM as text: settings, trees as lists of numbers, and what the model was trained with.

Everything in one is a number or a name, which LightGBM's reader keeps. A line that its writer does not write is an
error, and so is a tree that says it has more leaves than are there, for memory is taken by that number.
Source: `GBDT::SaveModelToString`, src/boosting/gbdt_model_text.cpp; `Tree::ToString`, src/io/tree.cpp; LightGBM 3 and 4
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact, Metadata
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

LIMIT: Final = 256 << 20  # bytes; a thousand trees of a thousand leaves take 100 MB
_HEAD: Final = b"tree\nversion=v"
# Compiled when a model comes by, for it takes a millisecond.
_LINE: Final = rb"[^\n]*\n?"
_VALUE: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*"
_TREE: Final = rb"(?:Tree=\d{1,9}|average_output|[a-z_]{1,40}=" + _VALUE + rb")?"
_IMPORTANCE: Final = rb"[^\x00-\x20=\x7f]" + _VALUE + rb"=[0-9.eE+-]{1,40}"
_SETTING: Final = rb"\[\w{1,80}: " + _VALUE + rb"\]"
_BEHIND: Final = rb"(?:feature_importances:|parameters:|end of parameters|" + _IMPORTANCE + rb"|" + _SETTING + rb")?"
_END: Final = b"\nend of trees\n"
_CATEGORIES: Final = b"pandas_categorical:"
_STRANGE: Final = "not a line that a model of LightGBM has"


def sniff(sample: Sample) -> bool:
    """Tell whether the bytes begin as every such model does."""
    return sample.head.startswith(_HEAD)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield how many trees there are; raise ArtifactError at the first line that is none of a model."""
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of trees as text, limit is {LIMIT}")
    data = bytes(reader.view)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error
    end = data.find(_END)
    if end < 0:
        raise ArtifactError(reader.at(reader.size), "the trees do not end")
    trees = _trees(reader, data[: end + 1], context)
    known = re.compile(_BEHIND)
    for line, at in _lines(data, end + len(_END)):
        if line.startswith(_CATEGORIES):
            _categories(reader, line, at)
        elif not known.fullmatch(line):
            raise ArtifactError(reader.at(at), _STRANGE)
    yield Metadata(location=reader.origin, key="trees", value=str(trees))


def _lines(data: bytes, begin: int) -> Iterator[tuple[bytes, int]]:
    """Yield every line from `begin` on, without its end, and where it begins."""
    for found in re.compile(_LINE).finditer(data, begin):
        yield found[0].rstrip(b"\r\n"), found.start()


def _trees(reader: Reader, data: bytes, context: Context) -> int:
    """Return how many trees there are."""
    known = re.compile(_TREE)
    trees = leaves = 0
    for line, at in _lines(data, len(b"tree\n")):
        if not known.fullmatch(line):
            raise ArtifactError(reader.at(at), _STRANGE)
        if line.startswith(b"Tree="):
            trees += 1
            context.budget.check_time(reader.origin)
        elif line.startswith(b"num_leaves="):
            leaves = _number(reader, line, at)
        elif line.startswith(b"leaf_value=") and len(line.split()) < leaves:
            raise ArtifactError(reader.at(at), f"a tree of {leaves} leaves has the values of {len(line.split())}")
    return trees


def _number(reader: Reader, line: bytes, at: int) -> int:
    value = line.partition(b"=")[2]
    if not re.fullmatch(rb"\d{1,9}", value):
        raise ArtifactError(reader.at(at), "not a number of leaves")
    return int(value)


def _categories(reader: Reader, line: bytes, at: int) -> None:
    """Make sure that the categories, which the package reads as JSON, are."""
    import json  # not needed by a scan that meets no such model

    try:
        json.loads(line.removeprefix(_CATEGORIES))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(reader.at(at), "the categories are not JSON") from error


FORMAT: Final = Format("lightgbm", "LightGBM model (text)", sniff, parse, _HEAD[:1], textual=True)
