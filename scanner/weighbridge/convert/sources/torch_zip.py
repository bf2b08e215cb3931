"""torch checkpoints as `torch.save` writes them since 1.6: a zip of one pickle and a member for each storage.

Readers of zips disagree, and so do torch's own: with `mmap=True` it takes deflated bytes for floats, and reads past a
member that is too short. A file on which any two readers could differ is refused.

Source: torch/serialization.py, `_load`, torch 1.6 to 2.13.
"""

from __future__ import annotations

import zlib
from typing import Final

from weighbridge.convert.plan import Checksum, Plan, Range
from weighbridge.convert.sources.archive import checked, listed
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.sources.pickled import Held, Stream, run, storages
from weighbridge.convert.sources.pickled import plan as plan_result
from weighbridge.errors import ArtifactError, UnconvertibleError
from weighbridge.formats.zip.records import ENCRYPTED, STORED, Entry
from weighbridge.reader import Reader
from weighbridge.records import replace

PROGRAM: Final = "data.pkl"
# What torch writes beside the pickle and the storages.
_NOTES: Final = frozenset({"byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id"})
PROGRAM_LIMIT: Final = 256 << 20  # bytes of the pickle; that of a model of 100 000 tensors has 30 MB


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file is a zip that torch would look for a pickle in."""
    archive = listed(inputs)
    return archive is not None and any(entry.name.rpartition("/")[2] == PROGRAM for entry in archive.entries)


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the tensors of a checkpoint; raise ArtifactError when readers could disagree on any member."""
    archive = checked(inputs)
    planned = plan_result(SOURCE.name, _stream(inputs, archive.entries), options)
    return replace(planned, checksums=_checksums(archive.entries, planned))


def stream(inputs: Inputs) -> Stream:
    """Return the pickle of a checkpoint; raise what `plan` does."""
    return _stream(inputs, checked(inputs).entries)


def _stream(inputs: Inputs, entries: list[Entry]) -> Stream:
    reader = inputs.reader
    root, program = _program(reader, entries)
    _check_layout(reader, entries, root)
    machine = run(program, 0, inputs.budget)
    if machine.position != program.size:
        raise ArtifactError(program.at(machine.position), f"{program.size - machine.position} bytes behind the pickle")
    known = {PROGRAM, *_NOTES, *(f"data/{one.key}" for one in storages(machine))}
    held = {entry.name.removeprefix(f"{root}/data/"): _held(reader, entry) for entry in entries}
    beside = tuple(
        one.name for one in entries if one.name.removeprefix(f"{root}/") not in known and one.name[-1:] != "/"
    )
    return Stream(machine=machine, reader=program, held=held, beside=beside)


def _program(reader: Reader, entries: list[Entry]) -> tuple[str, Reader]:
    """Return the root folder and the pickle of the archive."""
    found = [entry for entry in entries if entry.name.rpartition("/")[2] == PROGRAM]
    if len(found) != 1 or found[0].name.count("/") != 1:
        listed = ", ".join(repr(entry.name) for entry in found)
        raise ArtifactError(reader.origin, f"there is not one pickle in one folder: {listed}")
    entry = found[0]
    root = entry.name.partition("/")[0]
    if other := next((one.name for one in entries if one.name.partition("/")[0] != root), None):
        raise ArtifactError(reader.origin, f"{other!r} is outside the folder {root!r}, where torch looks")
    if fault := stored(entry) or ("" if entry.size <= PROGRAM_LIMIT else f"it has over {PROGRAM_LIMIT} bytes"):
        raise ArtifactError(reader.at(max(0, entry.data)), f"{entry.name}: {fault}")
    program = reader.window(entry.data, entry.size, entry.name)
    if _summed(entries) and zlib.crc32(program.view) != entry.crc:
        raise ArtifactError(reader.at(entry.data), f"{entry.name}: its CRC is wrong")
    return root, program


def _check_layout(reader: Reader, entries: list[Entry], root: str) -> None:
    """Raise when the archive is of another kind, or was written by a machine of another byte order."""
    members = {entry.name: entry for entry in entries}
    if any(name.startswith(f"{root}/code/") for name in members):
        advice = "load it with torch.jit.load where that may run its code, and save its state_dict()"
        raise UnconvertibleError(reader.origin, f"a TorchScript archive, whose weights belong to its code; {advice}")
    order = members.get(f"{root}/byteorder")
    if order is not None and reader.read(order.data, min(order.size, 16)) != b"little":
        advice = "save it on a machine of the usual order"
        raise UnconvertibleError(reader.at(order.data), f"its numbers are big-endian; {advice}")


def stored(entry: Entry) -> str:
    """Return why a member's bytes are not in the file as they are, nothing when they are."""
    if entry.flags & ENCRYPTED:
        return "it is encrypted"
    if entry.method != STORED:
        return f"it is compressed (method {entry.method}), which some readers take for data"
    if entry.packed != entry.size:
        return f"it is stored in {entry.packed} bytes and said to have {entry.size}"
    return "" if entry.agreed and entry.data >= 0 else "its headers disagree"


def _held(reader: Reader, entry: Entry) -> Held:
    location = reader.at(max(0, entry.data))
    return Held(begin=entry.data, size=entry.size, member=entry.name, location=location, fault=stored(entry))


def _summed(entries: list[Entry]) -> bool:
    """Tell whether the archive has checksums: `torch.serialization.set_crc32_options(False)` writes 0 for all."""
    return any(entry.crc for entry in entries)


def _checksums(entries: list[Entry], planned: Plan) -> tuple[Checksum, ...]:
    """Return what the archive says of the members that tensors are in."""
    used = {tensor.member for tensor in planned.tensors} if _summed(entries) else set()
    return tuple(
        Checksum(data=Range(begin=entry.data, size=entry.size), crc=entry.crc, member=entry.name)
        for entry in entries
        if entry.name in used
    )


SOURCE: Final = Source("torch-zip", "torch checkpoint", recognise, plan)
