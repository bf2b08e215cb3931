"""HDF5 as Keras writes weights: `.h5` files, and the `model.weights.h5` in a `.keras` archive.

h5py reads the structure; it is given the bytes that were opened and no path, so that nothing in the file can make it
open another one. Contiguous datasets are copied from where they lie, others are read through h5py. Names are paths in
the file. An optimizer's variables, which Keras keeps in groups of their own, are left out.

Specification: https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html; keras/src/saving/saving_lib.py and
keras/src/legacy/saving/legacy_h5_format.py, Keras 3.15.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Final

from weighbridge.convert.plan import Candidate, Dropped, Plan, PlannedTensor, Range, Refusal, Scalar
from weighbridge.convert.sources.archive import checked, listed
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.sources.numpy import convertible
from weighbridge.errors import ArtifactError, LimitError, MissingExtraError, UnconvertibleError
from weighbridge.formats.base import Context
from weighbridge.formats.zip.records import STORED
from weighbridge.location import printable
from weighbridge.reader import Reader

if TYPE_CHECKING:
    import h5py

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
WEIGHTS: Final = "model.weights.h5"
DEPTH_LIMIT: Final = 64  # groups inside groups; Keras nests a dozen
OBJECTS_LIMIT: Final = 200_000  # groups and datasets; as many as safetensors has tensors
TEXT_LIMIT: Final = 1 << 16  # bytes of a text that goes to the record
PIECE: Final = 8 << 20  # bytes read through h5py at once
# Filters of the library itself, and h5py's lzf; any other would be loaded from a folder of plugins.
_FILTERS: Final = frozenset((1, 2, 3, 4, 5, 6, 32000))
_ALL: Final = "."
_MODEL: Final = "model_weights"  # where Keras' old layout keeps them, beside the optimizer's
# Where Keras keeps what it trains with, in its old and its new layout.
_OPTIMIZERS: Final = frozenset(("optimizer_weights", "optimizer"))


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file is HDF5, or an archive of Keras with weights in it."""
    if inputs.reader.sample.head.startswith(MAGIC):
        return True
    archive = listed(inputs)
    return archive is not None and {"config.json", WEIGHTS} <= {entry.name for entry in archive.entries}


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the datasets; raise ArtifactError when the file is broken, or refers to another one."""
    reader, begin = inputs.reader, 0
    dropped: list[Dropped] = []
    if not reader.sample.head.startswith(MAGIC):
        for entry in checked(inputs).entries:
            if entry.name != WEIGHTS:
                dropped.append(Dropped(path=entry.name, what="a file of the archive"))
            elif entry.method != STORED or entry.packed != entry.size:
                raise ArtifactError(inputs.reader.at(entry.data), f"{WEIGHTS} is compressed, which Keras never does")
            else:
                reader, begin = inputs.reader.window(entry.data, entry.size, entry.name), entry.data
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            reader.origin, "reading HDF5 needs the extra: pip install 'weighbridge[hdf5]'"
        ) from error
    walk = _Walk(inputs, reader, begin, everything=options.everything)
    try:
        with h5py.File(_Window(reader), "r") as file:
            if file.userblock_size:
                raise ArtifactError(
                    reader.origin, f"{file.userblock_size} bytes before the file that are no part of it"
                )
            walk.root(file, options.state_dict)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ArtifactError(reader.origin, printable(f"not HDF5 that can be read: {error}")) from error
    return Plan(
        source=SOURCE.name,
        tensors=tuple(walk.tensors),
        aliases=walk.aliases,
        state_dict=walk.chosen,
        candidates=(Candidate(path=_ALL, what="datasets", tensors=len(walk.tensors)),) if walk.tensors else (),
        dropped=(*dropped, *walk.dropped),
        scalars=walk.scalars,
        refused=tuple(walk.refused),
    )


class _Window(io.RawIOBase):
    """The bytes of a reader as a file to read from."""

    def __init__(self, reader: Reader) -> None:
        self._view = reader.view
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        piece = self._view[self._position : self._position + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class _Walk:
    """Walks the groups of a file by its hard links alone, each object once."""

    def __init__(self, inputs: Inputs, reader: Reader, begin: int, *, everything: bool) -> None:
        self.tensors: list[PlannedTensor] = []
        self.aliases: dict[str, str] = {}
        self.dropped: list[Dropped] = []
        self.scalars: dict[str, Scalar] = {}
        self.refused: list[Refusal] = []
        self.chosen = ""
        self._inputs = inputs
        self._reader = reader
        self._begin = begin
        self._everything = everything
        self._first: dict[int, str] = {}
        self._groups: set[int] = set()
        self._count = 0

    def root(self, file: h5py.File, wanted: str | None) -> None:
        """Take the weights of a file: the group at the path `wanted`, "." for everything.

        "" is everything but the variables of an optimizer, and what is taken without a path unless the model's own
        weights are in a group of their own.
        """
        for name, value in _attributes(file):
            self.scalars[f"@{name}"] = value
        if wanted is None:
            wanted = _MODEL if _MODEL in list(file) and not self._everything else ""
        self.chosen = top = wanted.strip("/")
        if top in ("", _ALL):
            whole = top == _ALL or self._everything
            optimizers = [] if whole else sorted(name for name in file if name in _OPTIMIZERS)
            self.dropped += [Dropped(path=name, what="variables of an optimizer") for name in optimizers]
            self._group(file, "", 0, set(optimizers))
            return
        self._check_path(file, top)
        self._object(file, top, "", 0)
        others = sorted(name for name in file if name != top.split("/")[0])
        self.dropped += [Dropped(path=name, what="beside the group that was chosen") for name in others]

    def _check_path(self, file: h5py.File, path: str) -> None:
        """Raise UnconvertibleError when hard links alone do not lead to a path."""
        import h5py

        here: Any = file
        for part in path.split("/"):
            if not isinstance(here, h5py.Group) or part not in list(here):
                reason = f"there is nothing at --state-dict {path}; groups are at: {', '.join(sorted(file))}"
                raise UnconvertibleError(self._reader.origin, printable(reason))
            if link := _link(here, part):
                raise UnconvertibleError(self._reader.origin, f"{part!r} is {link}, which is not followed")
            here = here[part]

    def _group(self, group: h5py.Group, path: str, depth: int, left: set[str]) -> None:
        import h5py

        address = h5py.h5o.get_info(group.id).addr
        if address in self._groups:
            raise ArtifactError(self._reader.origin, f"the group {path!r} is in the file twice, perhaps in itself")
        self._groups.add(address)
        if depth > DEPTH_LIMIT:
            raise LimitError(self._reader.origin, f"groups nested deeper than {DEPTH_LIMIT}")
        for name in group:
            if name not in left:
                self._object(group, name, path, depth)

    def _object(self, group: h5py.Group, name: str, path: str, depth: int) -> None:
        import h5py

        here = f"{path}/{name}" if path else name
        here = "" if here == self.chosen and not path else here
        self._count += 1
        if self._count > OBJECTS_LIMIT:
            raise LimitError(self._reader.origin, f"more than {OBJECTS_LIMIT} objects")
        self._inputs.budget.check_time(self._reader.origin)
        link = _link(group, name)
        if link:
            self._refuse(here or name, link, "save the data itself under this name")
            return
        found = group[name]
        if isinstance(found, h5py.Group):
            self._group(found, here, depth + 1, set())
        elif isinstance(found, h5py.Dataset):
            self._dataset(found, here or name)
        else:
            self.dropped.append(Dropped(path=here, what="a named type"))

    def _refuse(self, name: str, reason: str, advice: str, dtype: str = "", shape: tuple[int, ...] = ()) -> None:
        self.refused.append(
            Refusal(location=self._reader.origin, name=name, reason=reason, advice=advice, dtype=dtype, shape=shape)
        )

    def _dataset(self, data: h5py.Dataset, name: str) -> None:
        import h5py

        fault = _fault(data)
        if fault:
            self._refuse(name, fault, "save the data in the file itself")
            return
        if data.shape is None:
            self.dropped.append(Dropped(path=name, what="an empty dataset"))
            return
        if h5py.check_string_dtype(data.dtype) is not None or data.dtype.kind == "S":
            self._text(data, name)
            return
        shape = tuple(int(side) for side in data.shape)
        found = ("BF16", 0) if _is_bfloat16(data) else convertible(data.dtype.str)
        if found is None:
            told = str(data.dtype.str)
            self._refuse(name, f"type {told!r} has no equivalent", "save it as numbers of 64 bits or less", told, shape)
            return
        address = h5py.h5o.get_info(data.id).addr
        if address in self._first:
            self.aliases[name] = self._first[address]
        self._first.setdefault(address, name)
        self.tensors.append(
            PlannedTensor(
                name=name,
                dtype=found[0],
                shape=shape,
                data=self._data(data, shape),
                swap=found[1],
                location=self._reader.origin,
                member=WEIGHTS if self._begin else "",
            )
        )

    def _text(self, data: h5py.Dataset, name: str) -> None:
        """Put a text, or a list of them, into the record."""
        if prod(data.shape) > 1024 or data.dtype.itemsize * prod(data.shape) > TEXT_LIMIT:
            self._refuse(name, "a long list of texts", "save it beside the weights, as JSON")
            return
        value = data[()]
        found = value.tolist() if hasattr(value, "tolist") else value
        self.scalars[name] = _plain(found)

    def _data(self, data: h5py.Dataset, shape: tuple[int, ...]) -> tuple[Range, ...]:
        """Return where a dataset's bytes lie; in a store of their own when they do not lie in the file as they are."""
        size = prod(shape) * data.dtype.itemsize
        if not size:
            return ()
        begin = self._contiguous(data, size)
        if begin is not None:
            return (Range(begin=self._begin + begin, size=size),)
        context = Context(self._inputs.budget, lambda _reader, _stored: ())
        origin = self._reader.origin.inside(str(data.name))
        unpacked = context.spool(_pieces(data, shape), origin, self._reader.size)
        if unpacked.size != size:
            raise ArtifactError(origin, f"{unpacked.size} bytes instead of {size}")
        return (Range(store=self._inputs.add_computed(unpacked), begin=0, size=size),)

    def _contiguous(self, data: h5py.Dataset, size: int) -> int | None:
        """Return where the elements begin in the file, None when they do not lie there one after another."""
        import h5py

        layout = data.id.get_create_plist().get_layout()
        standard = data.id.get_type().equal(h5py.h5t.py_create(data.dtype, logical=True))
        begin = data.id.get_offset()
        if layout != h5py.h5d.CONTIGUOUS or not standard or begin is None or data.id.get_storage_size() != size:
            return None
        if not 0 <= begin <= self._reader.size - size:
            raise ArtifactError(self._reader.origin, f"the data of {data.name!r} lie outside the file")
        return int(begin)


def _link(group: h5py.Group, name: str) -> str:
    """Return what kind of link leads elsewhere, nothing for a hard link; none is followed for that."""
    from h5py import h5l

    kind = group.id.links.get_info(name.encode("utf-8", "surrogateescape")).type
    if kind == h5l.TYPE_HARD:
        return ""
    return "a link to another name" if kind == h5l.TYPE_SOFT else "a link to another file"


def _fault(data: h5py.Dataset) -> str:
    """Return why a dataset must not be read: its bytes are elsewhere, or a plugin would have to decode them."""
    plist = data.id.get_create_plist()
    if plist.get_external_count():
        return "its data are in another file"
    if data.is_virtual:
        return "its data are those of other datasets, perhaps in other files"
    filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
    unknown = [one for one in filters if one not in _FILTERS]
    return f"filter {unknown[0]} is not one of the library's own" if unknown else ""


def _is_bfloat16(data: h5py.Dataset) -> bool:
    """Tell whether Keras says so of two opaque bytes."""
    opaque = data.dtype.kind == "V" and data.dtype.itemsize == 2 and data.dtype.fields is None
    return opaque and _plain(data.attrs.get("dtype")) == "bfloat16"


def _attributes(file: h5py.File) -> Iterator[tuple[str, Scalar]]:
    """Yield the texts that the file says of itself, such as the configuration of the model."""
    for name in file.attrs:
        kind = file.attrs.get_id(name).dtype
        if kind.kind in "OS" and file.attrs.get_id(name).shape == ():
            value = _plain(file.attrs[name])
            if isinstance(value, str) and len(value) <= TEXT_LIMIT:
                yield name, value


def _plain(value: Any) -> Scalar:
    """Return texts and lists of them as JSON holds them."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str) else str(value)


def _pieces(data: h5py.Dataset, shape: tuple[int, ...]) -> Iterator[bytes]:
    """Yield the elements of a dataset in C order, as they are in the file, a few megabytes at a time."""
    item = data.dtype.itemsize
    axis = next((axis for axis in range(len(shape)) if prod(shape[axis + 1 :]) * item <= PIECE), 0)
    if not shape:
        yield data[()].tobytes()
        return
    rows = max(1, PIECE // (prod(shape[axis + 1 :]) * item))
    for outer in product(*(range(side) for side in shape[:axis])):
        for first in range(0, shape[axis], rows):
            yield data[(*outer, slice(first, min(first + rows, shape[axis])))].tobytes()


SOURCE: Final = Source("hdf5", "HDF5 file or archive of Keras", recognise, plan)
