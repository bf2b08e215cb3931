"""numpy's arrays: `.npy` with one, `.npz` with one in each member of a zip.

Arrays of objects are pickles and refused, structured ones have no form. Arrays of text go to the record of the
conversion. The array of an `.npy` has no name of its own.

Specification: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import re
from math import prod
from typing import Final

from weighbridge.convert.choice import ALONE
from weighbridge.convert.dtypes import BITS, COMPLEX, NUMPY, UNCONVERTIBLE
from weighbridge.convert.plan import Checksum, Plan, PlannedTensor, Range, Refusal, Scalar, Strided
from weighbridge.convert.sources.archive import checked, checksum, listed, member
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.errors import ArtifactError
from weighbridge.formats.numpy import MAGIC
from weighbridge.formats.numpy.parse import Header, read_header
from weighbridge.reader import Reader

SUFFIX: Final = ".npy"
TEXT_LIMIT: Final = 1 << 16  # bytes of an array of texts that goes to the record
_TEXT: Final = re.compile(r"([<>|=]?)([SUa])(\d{1,9})")
_COMPLEX: Final = re.compile(r"[<>=]?[cG](16|32)")


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file is an array, or a zip of nothing but files that are called arrays."""
    if inputs.reader.sample.head.startswith(MAGIC):
        return True
    archive = listed(inputs)
    if archive is None or not archive.entries:
        return False
    return all(entry.name.endswith(SUFFIX) for entry in archive.entries)


def plan(inputs: Inputs, _: Options) -> Plan:
    """Return the arrays; raise ArtifactError when a file is broken or readers could differ on it."""
    found = _Arrays()
    if inputs.reader.sample.head.startswith(MAGIC):
        inputs.reader.seek(0)
        found.add(ALONE, inputs.reader, 0, 0, "")
        return found.plan()
    for entry in checked(inputs).entries:
        inputs.budget.spend_members(inputs.reader.at(entry.record))
        store, begin, reader = member(inputs, entry)
        found.add(entry.name.removesuffix(SUFFIX), reader, store, begin, entry.name)
        found.checksums += checksum(entry)
    return found.plan()


class _Arrays:
    """What the arrays of a file become."""

    def __init__(self) -> None:
        self.checksums: list[Checksum] = []
        self._tensors: list[PlannedTensor] = []
        self._refused: list[Refusal] = []
        self._scalars: dict[str, Scalar] = {}

    def plan(self) -> Plan:
        """Return the plan of all of them."""
        held = {tensor.member for tensor in self._tensors}
        return Plan(
            source=SOURCE.name,
            tensors=tuple(self._tensors),
            scalars=self._scalars,
            refused=tuple(self._refused),
            checksums=tuple(one for one in self.checksums if one.member in held),
        )

    def add(self, name: str, reader: Reader, store: int, begin: int, place: str) -> None:
        """Take the array that `reader` is over, whose bytes are from `begin` on in a store."""
        header = read_header(reader)
        descr = header.descr if isinstance(header.descr, str) else "structured"
        text = _TEXT.fullmatch(descr)
        if text is not None:
            self._text(name, reader, header, text)
            return
        found = convertible(descr)
        if found is None:
            reason, advice = _unfit(descr)
            self._refused.append(
                Refusal(
                    location=reader.origin, name=name, reason=reason, advice=advice, dtype=descr, shape=header.shape
                )
            )
            return
        dtype, swap = found
        self._tensors.append(
            PlannedTensor(
                name=name,
                dtype=dtype,
                shape=header.shape,
                data=_data(reader, header, dtype, store, begin),
                swap=swap,
                location=reader.origin,
                member=place,
            )
        )

    def _text(self, name: str, reader: Reader, header: Header, text: re.Match[str]) -> None:
        """Put an array of texts into the record when it is one text or a list of them."""
        width = int(text[3]) * (4 if text[2] == "U" else 1)
        _check_size(reader, prod(header.shape) * width)
        if len(header.shape) > 1 or reader.remaining > TEXT_LIMIT:
            reason = "an array of texts, which safetensors has no form for"
            advice = "save it beside the weights, as JSON"
            self._refused.append(Refusal(location=reader.origin, name=name, reason=reason, advice=advice))
            return
        encoding = ("utf-32-be" if text[1] == ">" else "utf-32-le") if text[2] == "U" else "latin-1"
        data = reader.take(reader.remaining)
        pieces = [data[index : index + width] for index in range(0, len(data), width)] if width else []
        texts: list[Scalar] = [piece.decode(encoding, "replace").rstrip("\0") for piece in pieces]
        self._scalars[name] = texts if header.shape else "".join(map(str, texts))


def convertible(descr: str) -> tuple[str, int] | None:
    """Return safetensors' word for a type as numpy writes it, and the unit to turn when it is big-endian.

    None for a type that has no equivalent.

    >>> convertible(">c8"), convertible("|u1"), convertible("<c16")
    (('C64', 4), ('U8', 0), None)
    """
    order, kind = (descr[0], descr[1:]) if descr[:1] in "<>|=" else ("", descr)
    dtype = NUMPY.get(kind)
    if dtype is None:
        return None
    unit = BITS[dtype] // 8 // (2 if dtype in COMPLEX else 1)
    return dtype, unit if order == ">" and unit > 1 else 0


def _unfit(descr: str) -> tuple[str, str]:
    """Return why a type has no form, and what to do."""
    if "O" in descr:
        return "an array of objects, which is a pickle", "save the numbers in it as arrays of their own"
    if _COMPLEX.fullmatch(descr):
        return "complex numbers of more than 64 bits have no equivalent in safetensors", UNCONVERTIBLE["complex128"]
    if descr.lstrip("<>|=")[:1] in ("M", "m"):
        return "dates and times have no equivalent in safetensors", "save their view as int64"
    return f"type {descr!r} has no equivalent in safetensors", "save each field, or its view as numbers"


def _check_size(reader: Reader, size: int) -> None:
    if size != reader.remaining:
        raise ArtifactError(reader.location, f"the array has {size} bytes, and {reader.remaining} are there")


def _data(reader: Reader, header: Header, dtype: str, store: int, begin: int) -> tuple[Range, ...] | Strided:
    """Return where the elements are; those of an array whose first index runs fastest have to be gathered."""
    item = BITS[dtype] // 8
    size = prod(header.shape) * item
    _check_size(reader, size)
    return laid_out(header.shape, item, store, begin + reader.position, fortran=header.fortran)


def laid_out(
    shape: tuple[int, ...], item: int, store: int, begin: int, *, fortran: bool
) -> tuple[Range, ...] | Strided:
    """Return the data of an array without gaps in a store, with the first index running fastest or the last."""
    size = prod(shape) * item
    if not size:
        return ()
    if not fortran or sum(side > 1 for side in shape) < 2:
        return (Range(store=store, begin=begin, size=size),)
    strides = tuple(item * prod(shape[:index]) for index in range(len(shape)))
    return Strided(store=store, begin=begin, item=item, shape=shape, strides=strides)


SOURCE: Final = Source("numpy", "numpy array or archive", recognise, plan)
