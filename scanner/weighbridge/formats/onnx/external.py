"""External data: a path, a range and a check sum as text, which loaders turn into reads of other files.

Sources: onnx docs/ExternalData.md; CVE-2022-25882, CVE-2024-27318 (paths), CVE-2026-34445 (keys); ONNX Runtime
core/framework/tensorprotoutils.h (`*/_ORT_MEM_ADDR_/*`: the offset is a pointer).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.facts import ExternalData, Fact
from weighbridge.formats.onnx.scene import Scene, shown, text
from weighbridge.records import replace

if TYPE_CHECKING:
    from onnx import TensorProto

KEYS: Final = frozenset({"location", "offset", "length", "checksum", "basepath"})
MEMORY: Final = "_ORT_MEM_ADDR_"
MAX_RANGES: Final = 1_000_000  # tensors whose ranges are compared with each other
_NUMBER: Final = r"[0-9]{1,19}"
_LARGEST: Final = (1 << 63) - 1
# Written by ONNX Runtime with `session.save_external_prepacked_constant_initializers`: a kernel and a hash, then the
# offset, length and check sum of each part.
_PREPACKED: Final = r"prepacked_[0-9]{1,9}"
_PARTS: Final = r"[^|]{1,200}(?:\|[0-9]{1,18};[0-9]{1,18};[^|;]{0,100}){1,100}"
# Patterns are compiled when a model refers to another file.
# Names that Windows gives to devices, whatever folder and extension they are written with.
_DEVICE: Final = r"(?i:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\.|:|$)"
_PATHS: Final = (
    (r"\A\s*\Z", "nothing, which is the folder itself"),
    (r"\0", "a NUL, behind which some readers see nothing"),
    (r"[\x01-\x1f\x7f]", "control characters"),
    (r"\A[A-Za-z][A-Za-z0-9+.-]+:", "an address with a scheme"),
    (r"\A[A-Za-z]:", "a path on a drive"),
    (r"\A[\\/]{2}", "a path to another machine"),
    (r"\A[\\/]", "an absolute path"),
    (r"\A~", "a path from a home folder"),
    (r"(?:\A|[\\/])\.\.[. ]*(?:[\\/]|\Z)", "a path that leaves the folder"),
    (r"\A(?:\.[\\/]?)+\Z", "the folder itself"),
    (r"[\\/]\.?\Z", "the path of a folder"),
    (r"\\", "a backslash, which is a separator to some readers"),
    (r":", "a colon, which names a stream of a file to Windows"),
)


def unsafe(path: str) -> str:
    """Return what is wrong with a path that is meant to stay in the folder of the model, nothing if it is fine.

    >>> unsafe("../weights.bin")
    'a path that leaves the folder'
    """
    for pattern, reason in _PATHS:
        if re.search(pattern, path):
            return reason
    if any(re.match(_DEVICE, part) for part in path.split("/")):
        return "the name of a device"
    return ""


class Ranges:
    """The ranges of external files that tensors take, to be compared when all are known."""

    def __init__(self) -> None:
        self._ranges: dict[str, list[tuple[int, int, int, str]]] = {}
        self._count = 0

    def add(self, fact: ExternalData) -> None:
        """Take in a range."""
        if fact.length and self._count < MAX_RANGES:
            self._count += 1
            found = self._ranges.setdefault(fact.target, [])
            found.append((fact.offset, fact.offset + fact.length, fact.location.offset, fact.tensor))

    def overlaps(self, scene: Scene) -> Iterator[Fact]:
        """Yield the ranges that begin inside another; two tensors with all bytes in common are one, tied."""
        begin = scene.reader.origin.offset
        for target, ranges in self._ranges.items():
            reach, owner, last = 0, "", (-1, -1)
            for start, end, offset, tensor in sorted(ranges):
                if start < reach and (start, end) != last:
                    detail = f"tensor {shown(tensor)} begins inside tensor {shown(owner)} in {shown(target)}"
                    yield scene.anomaly("onnx-external-overlap", offset - begin, detail)
                if end > reach:
                    reach, owner = end, tensor
                last = (start, end)


def external(scene: Scene, tensor: TensorProto, offset: int, size: int | None, ranges: Ranges) -> Iterator[Fact]:
    """Yield where a tensor's data are, as the model writes it, and what is wrong with that.

    `offset` is where the tensor lies in the model, `size` how many bytes its dimensions and type need, which is what
    is read when no length is given.
    """
    entries: dict[str, str] = {}
    name = text(tensor.name)
    for entry in tensor.external_data:
        key, value = text(entry.key), text(entry.value)
        if key in entries:
            detail = f"tensor {shown(name)}: key {shown(key)} comes twice; readers differ on which one counts"
            yield scene.anomaly("onnx-external-key", offset, detail)
        elif key not in KEYS and not (re.fullmatch(_PREPACKED, key) and re.fullmatch(_PARTS, value)):
            yield scene.anomaly("onnx-external-key", offset, f"tensor {shown(name)}: key {shown(key)}")
        entries[key] = value
        if key == "location":
            yield from _path(scene, name, value, offset)
    if "location" not in entries:
        yield scene.anomaly("onnx-external-path", offset, f"tensor {shown(name)}: no location")
    start, length = (_number(entries.get(key)) for key in ("offset", "length"))
    fact = ExternalData(
        location=scene.at(offset),
        target=entries.get("location", ""),
        offset=start or 0,
        length=size if length is None else length,
        checksum=entries.get("checksum", ""),
        tensor=name,
    )
    yield fact
    yield from _range(scene, name, entries, size, offset)
    ranges.add(fact)
    for part in _prepacked(entries):
        packed = replace(fact, offset=part[0], length=part[1], checksum="")
        yield packed
        ranges.add(packed)


def _prepacked(entries: dict[str, str]) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the copies of a tensor that ONNX Runtime has laid out for its kernels."""
    for key, value in entries.items():
        if re.fullmatch(_PREPACKED, key) and re.fullmatch(_PARTS, value):
            for part in value.split("|")[1:]:
                begin, length, _ = part.split(";")
                yield int(begin), int(length)


def _path(scene: Scene, name: str, path: str, offset: int) -> Iterator[Fact]:
    if MEMORY in path:
        detail = f"tensor {shown(name)}: {shown(path)}: the offset is an address in the memory of the loader"
        yield scene.anomaly("onnx-memory-address", offset, detail)
        return
    reason = unsafe(path)
    if reason:
        yield scene.anomaly("onnx-external-path", offset, f"tensor {shown(name)}: {shown(path)} is {reason}")


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(_NUMBER, value) and int(value) <= _LARGEST else None


def _range(scene: Scene, name: str, entries: dict[str, str], size: int | None, offset: int) -> Iterator[Fact]:
    start, length = (_number(entries.get(key)) for key in ("offset", "length"))
    for key, number in (("offset", start), ("length", length)):
        if key in entries and number is None:
            detail = f"tensor {shown(name)}: {key} {shown(entries[key])} is not a size"
            yield scene.anomaly("onnx-external-range", offset, detail)
    if (start or 0) + (length or 0) > _LARGEST:
        yield scene.anomaly("onnx-external-range", offset, f"tensor {shown(name)}: offset and length overflow")
    if length is not None and size is not None and length != size:
        detail = f"tensor {shown(name)}: {length} bytes, its shape needs {size}"
        yield scene.anomaly("onnx-external-range", offset, detail)
