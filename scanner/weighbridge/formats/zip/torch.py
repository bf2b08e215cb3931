"""Archives written by torch: which of their members are tensor data, and which are not.

`torch.save`, `torch.jit.save` and `torch.export.save` share one writer. A pickle `<root>/<name>.pkl`
keeps its storages in members `<root>/<name>/<key>` and names each of them, with type and number of
elements, in a persistent id. A member is tensor data only if such an id says so and its size is right.

Source: torch/serialization.py, caffe2/serialize/inline_container.cc, torch/csrc/jit/serialization/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from weighbridge.facts import Anomaly, Fact, Program, Recognised
from weighbridge.formats import torchscript
from weighbridge.formats.zip import pt2
from weighbridge.formats.zip.members import Members
from weighbridge.formats.zip.records import Entry
from weighbridge.reader import Reader
from weighbridge.symbols import Global, PersistentId

# Storage class -> dtype and bytes per element. Later dtypes (float8 …) have no class: their storages
# are UntypedStorage and counted in bytes.
STORAGES: Final = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexDoubleStorage": ("complex128", 16),
    "ComplexFloatStorage": ("complex64", 8),
    "QInt8Storage": ("qint8", 1),
    "QInt32Storage": ("qint32", 4),
    "QUInt8Storage": ("quint8", 1),
    "QUInt4x2Storage": ("quint4x2", 1),
    "QUInt2x4Storage": ("quint2x4", 1),
    "UntypedStorage": ("untyped", 1),
    "_UntypedStorage": ("untyped", 1),
}
STORAGE_PARTS: Final = 5  # of a persistent id: "storage", class, key, device, number of elements
_ITEM_SIZES: Final = dict(STORAGES.values())
# The writer numbers storages. Under another name (`x.npy`) a member might mean something to other loaders.
_KEY: Final = re.compile(r"\d+", re.ASCII).fullmatch

# What the writer puts into its small text members, byte for byte.
TEXTS: Final = {
    "version": rb"\d{1,3}\n?",
    ".data/version": rb"\d{1,3}\n?",
    "byteorder": rb"little|big",
    ".format_version": rb"\d{1,3}",
    ".storage_alignment": rb"\d{1,7}",
    ".data/serialization_id": rb"\d{1,64}",
    "archive_format": rb"pt2",
    "archive_version": rb"\d{1,3}",
}
TEXT_LIMIT: Final = 64
SOURCE_LIMIT: Final = 64 << 20  # far beyond the code of any scripted model
# One of these, and any of the marks beside it, makes an archive one that torch would open.
_PROGRAMS: Final = ("data.pkl", "archive_format")
_MARKS: Final = ("version", ".data/version", "byteorder", ".format_version", ".data/serialization_id")


class Storage(NamedTuple):
    """The type and the number of elements of a storage."""

    dtype: str
    numel: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.numel * _ITEM_SIZES[self.dtype]


def storages(program: Program) -> dict[str, Storage]:
    """Return the storages that the persistent ids of a pickle name, by key; the first id of a key counts."""
    found: dict[str, Storage] = {}
    for key, storage, _ in _persistent(program):
        found.setdefault(key, storage)
    return found


def _persistent(program: Program) -> Iterator[tuple[str, Storage, PersistentId]]:
    for event in program.events:
        if type(event) is PersistentId and type(event.value) is tuple and len(event.value) >= STORAGE_PARTS:
            tag, kind, key, _, numel = event.value[:STORAGE_PARTS]
            if (
                type(tag) is type(key) is str
                and tag == "storage"
                and type(numel) is int
                and numel >= 0
                and isinstance(kind, Global)
                and kind.name in STORAGES
                and (kind.module == "torch" or kind.module.startswith("torch."))
                and _KEY(key)
            ):
                yield key, Storage(STORAGES[kind.name][0], numel), event


def roots(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the lower-case root folders that torch would take for an archive of its own."""
    inside: dict[str, set[str]] = {}
    for entry in entries:
        root, slash, name = entry.name.lower().partition("/")
        if slash:
            if root not in inside:
                inside[root] = set()
            inside[root].add(name)
    return frozenset(
        root for root, names in inside.items() if not (names.isdisjoint(_PROGRAMS) or names.isdisjoint(_MARKS))
    )


class _Layout:
    """What has been learnt of an archive: the pickles it has and the tensor data they and others name."""

    __slots__ = ("extents", "later", "pickles", "roots", "storages")

    def __init__(self, roots: frozenset[str], pickles: set[str]) -> None:
        self.roots = roots
        self.pickles = pickles
        self.storages: dict[str, dict[str, Storage]] = {}
        self.extents: dict[str, pt2.Extent] = {}
        self.later: list[tuple[str, str, Entry]] = []


def parse(members: Members, entries: list[Entry], roots_: frozenset[str]) -> Iterator[Fact]:
    """Yield the facts of all members: those that say what is tensor data first, then the data."""
    reader = members.reader
    yield Recognised(location=reader.origin, format="torch-zip", size=reader.size)
    pickles = {entry.name[:-4].lower() for entry in entries if entry.name[-4:].lower() == ".pkl"}
    layout = _Layout(roots_, pickles)
    for entry in entries:
        yield from _member(members, entry, layout)
    for folder, key, entry in layout.later:
        storage = layout.storages.get(folder, {}).get(key)
        extent = layout.extents.get(entry.name)
        if extent is not None and storage is None:
            yield from _payload(members, entry, extent)
        else:
            yield from _data(members, entry, storage)


def _member(members: Members, entry: Entry, layout: _Layout) -> Iterable[Fact]:
    """Return the facts of a member; none yet of one that is tensor data if another member says so."""
    root, _, name = entry.name.partition("/")
    if root.lower() not in layout.roots:
        return members.examine(entry)
    if name in TEXTS:
        return _text(members, entry, name)
    folder, slash, key = name.partition("/")
    program = f"{root}/{folder}".lower()
    if slash and program in layout.pickles:
        layout.later.append((program, key, entry))
        return ()
    if name.lower().endswith(".pkl"):
        return _pickle(members, entry, layout.storages.setdefault(entry.name[:-4].lower(), {}))
    return _exported(members, entry, name, layout)


def _exported(members: Members, entry: Entry, name: str, layout: _Layout) -> Iterable[Fact]:
    """Return the facts of a member that only torch.export or torch.jit writes, or none of them."""
    if name.startswith(pt2.PAYLOADS):
        if name.endswith(pt2.CONFIG):
            return _config(members, entry, layout)
        layout.later.append(("", name, entry))
        return ()
    if name.startswith("models/") and name.endswith(".json"):
        return _graph(members, entry)
    if name.startswith("code/") and name.endswith(".py"):
        return _script(members, entry)
    return members.examine(entry)


def _pickle(members: Members, entry: Entry, found: dict[str, Storage]) -> Iterator[Fact]:
    """Examine a pickle and gather the storages it names."""
    path = members.reader.origin.inside(entry.name).path

    def look(reader: Reader, stored: int) -> Iterator[Fact]:
        if entry.name.lower().endswith("/bytecode.pkl") and reader.size <= SOURCE_LIMIT:
            yield from torchscript.mobile(bytes(reader.view), reader.origin)
        yield from members.context.examine(reader, stored)

    for fact in members.examine(entry, look):
        if isinstance(fact, Program) and fact.location.path == path:
            for key, storage, event in _persistent(fact):
                first = found.setdefault(key, storage)
                if first != storage:
                    detail = f"storage {key!r} is {first.numel} {first.dtype} and {storage.numel} {storage.dtype}"
                    yield Anomaly(location=event.location, code="torch-storage-conflict", detail=detail)
        yield fact


def _data(members: Members, entry: Entry, storage: Storage | None) -> Iterable[Fact]:
    if storage is None or not members.stored(entry):
        return members.examine(entry)
    # torch.jit.trace keeps the shapes of its example inputs and leaves their data out.
    left_out = entry.size == 0 and entry.name.partition("/")[2].startswith("traced_inputs/")
    if storage.size == entry.size or left_out:
        return members.inert(entry, f"storage of {storage.numel} {storage.dtype}")
    needs = f"its {storage.numel} {storage.dtype} need {storage.size}"
    return _odd_size(members, entry, needs)


def _payload(members: Members, entry: Entry, extent: pt2.Extent) -> Iterable[Fact]:
    """A raw tensor of torch.export: the whole storage, which may be larger than the tensors that view it."""
    if members.stored(entry) and extent.size <= entry.size and entry.size % extent.item == 0:
        return members.inert(entry, f"raw tensor of {extent.size} bytes or more")
    return _odd_size(members, entry, f"its tensors need {extent.size}")


def _odd_size(members: Members, entry: Entry, needs: str) -> Iterator[Fact]:
    detail = f"{entry.name!r} has {entry.size} bytes, {needs}"
    yield Anomaly(location=members.place(entry), code="torch-storage-size", detail=detail)
    yield from members.examine(entry)


def _config(members: Members, entry: Entry, layout: _Layout) -> Iterator[Fact]:
    def look(reader: Reader, stored: int) -> Iterator[Fact]:
        extents = pt2.extents(reader)
        if extents is None:
            yield from members.context.examine(reader, stored)
            return
        folder = entry.name.rpartition("/")[0]
        layout.extents.update((f"{folder}/{path}", extent) for path, extent in extents.items())

    yield from members.examine(entry, look)


def _graph(members: Members, entry: Entry) -> Iterator[Fact]:
    def look(reader: Reader, stored: int) -> Iterator[Fact]:
        facts = pt2.graph(reader)
        yield from members.context.examine(reader, stored) if facts is None else facts

    yield from members.examine(entry, look)


def _text(members: Members, entry: Entry, name: str) -> Iterable[Fact]:
    if entry.size <= TEXT_LIMIT and members.stored(entry):
        matches, reason = _matcher(name)
        if matches(members.reader.read(entry.data, entry.size)):
            return members.inert(entry, reason)
    return members.examine(entry)


@cache
def _matcher(name: str) -> tuple[Callable[[bytes], object], str]:
    """Return what matches a text, compiled for the first archive that has it, and what the text is."""
    return re.compile(TEXTS[name]).fullmatch, f"{name} of the archive"


def _script(members: Members, entry: Entry) -> Iterator[Fact]:
    """TorchScript source looks like Python and is not: torch compiles it for its own interpreter."""

    def look(reader: Reader, stored: int) -> Iterator[Fact]:
        if reader.size <= SOURCE_LIMIT and _is_text(bytes(reader.view)):
            yield from torchscript.observe(bytes(reader.view), reader.origin, entry.name)
        else:
            yield from members.context.examine(reader, stored)

    yield from members.examine(entry, look)


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False
