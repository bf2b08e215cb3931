"""Files that other files of the same artifact refer to, such as the weights beside an ONNX graph.

Alone, a file of raw numbers is no known format. What the graph says of it makes it inert, exactly where the graph
refers to it and nowhere else; and what the system says of it (a link, a second name, too short, absent) is a fact
about the graph. So files are examined first, each by itself, and settled here with what the others say of them.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from weighbridge.facts import Anomaly, ExternalData, Fact, Gap
from weighbridge.foreign import foreign
from weighbridge.location import Location, anchor, printable
from weighbridge.policy import Coverage, Examined, Reference, Span
from weighbridge.records import replace
from weighbridge.remote import TRIAGE
from weighbridge.walk import Target

_CHUNK: Final = 1 << 20


def references(facts: Iterable[Fact]) -> tuple[Reference, ...]:
    """Return what the external data among `facts` refer to, once per file and checksum."""
    groups: dict[tuple[tuple[str, ...], str, str], list[ExternalData]] = {}
    for fact in facts:
        if type(fact) is ExternalData and fact.offset >= 0:
            groups.setdefault((fact.location.path, fact.target, fact.checksum), []).append(fact)
    return tuple(_reference(target, checksum, found) for (_, target, checksum), found in groups.items())


def _reference(target: str, checksum: str, found: list[ExternalData]) -> Reference:
    return Reference(
        location=found[0].location,
        target=target,
        spans=_merge((one.offset, one.offset + one.length) for one in found if one.length),
        rest=min((one.offset for one in found if one.length is None), default=None),
        checksum=checksum,
    )


def _merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans that neither touch nor overlap and cover the same bytes, in order."""
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def beside(name: str, target: str) -> str:
    """Return the name of the file that `target`, as the file `name` spells it, is meant to be.

    Nothing for what leaves the folder of the model: the parser has told that already, and nobody follows it.
    """
    normal = posixpath.normpath(target.replace("\\", "/")) if target else ""
    if normal in ("", ".", "..") or normal.startswith(("/", "../")) or ":" in normal or "\0" in normal:
        return ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), normal))


def is_inside(reference: Reference) -> bool:
    """Tell whether a member of an archive refers, whose neighbours are members: no file beside the archive is meant."""
    return len(reference.location.path) > 1


class Neighbours:
    """The files of a scan, by name and by the place on disk that a name leads to."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._named: dict[str, Target] = {}
        self._placed: dict[str, Target] = {}
        for target in targets:
            self.add(target)

    def add(self, target: Target) -> None:
        """Take in another file."""
        self._named[target.name] = target
        if not target.stored and target.fact is None:
            self._placed[os.path.realpath(target.path)] = target

    def source(self, name: str) -> Target:
        """Return the file of that name."""
        return self._named[name]

    def find(self, source: Target, reference: Reference) -> Target | None:
        """Return the file that a reference of `source` means, if it is one of these."""
        if is_inside(reference):
            return None
        name = beside(source.name, reference.target)
        found = self._named.get(name)
        if found is None and name and not source.stored:
            found = self._placed.get(os.path.realpath(_place(source, reference)))
        return found

    def missing(self, examined: Iterable[Examined]) -> Iterator[Target]:
        """Yield each file on disk that is referred to and is not one of these, links within the artifact resolved."""
        for one in examined:
            source = self._named[one.path]
            for reference in one.references if not source.stored else ():
                name = beside(one.path, reference.target)
                if not name or is_inside(reference) or self.find(source, reference) is not None:
                    continue
                place = os.path.realpath(_place(source, reference))
                if os.path.isfile(place) and _within(place, _root(source)):  # noqa: PTH113 - see `rule_files`
                    target = Target(name=name, path=place)
                    self.add(target)
                    yield target


def _place(source: Target, reference: Reference) -> str:
    folder = os.path.dirname(source.path)  # noqa: PTH120
    return os.path.join(folder, *reference.target.replace("\\", "/").split("/"))  # noqa: PTH118


def _root(source: Target) -> str:
    return anchor(os.path.dirname(source.path))  # noqa: PTH120


def _within(place: str, root: str) -> bool:
    return place.startswith(root.rstrip(os.sep) + os.sep)


def observe(one: Examined, neighbours: Neighbours, sizes: dict[str, int]) -> Iterator[Fact]:
    """Yield what is to be said of the files that `one` refers to; `sizes` are those of the files by name."""
    source = neighbours.source(one.path)
    for reference in one.references:
        if not beside(one.path, reference.target):
            continue
        target = neighbours.find(source, reference)
        if not source.stored and not is_inside(reference):
            yield from _on_disk(reference, source)
        if target is None or target.fact is not None:
            reason = f"the data of tensors, in {printable(reference.target)!r}, are not among the files"
            yield Gap(location=reference.location, reason=reason, size=0)
        else:
            yield from _compare(reference, target, sizes[target.name])


def _compare(reference: Reference, target: Target, size: int) -> Iterator[Anomaly]:
    """Yield how a file differs from what a reference says of it."""
    told = printable(reference.target)
    last = max([end for _, end in reference.spans[-1:]] + [reference.rest or 0])
    if last > size:
        detail = f"tensors reach to byte {last} of {told!r}, which has {size}"
        yield Anomaly(location=reference.location, code="external-beyond-file", detail=detail)
    if reference.checksum and target.blocks is None:
        found = _sha1(target.path)
        if found.casefold() != reference.checksum.casefold():
            detail = f"{told!r} has the SHA-1 {found}, not {printable(reference.checksum)}"
            yield Anomaly(location=reference.location, code="external-checksum", detail=detail)


def _sha1(path: str) -> str:
    """Return the checksum that ONNX defines for external data; it says nothing of who wrote the file."""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:  # noqa: PTH123
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _on_disk(reference: Reference, source: Target) -> Iterator[Anomaly]:
    """Yield what only the file system knows of the place that a reference names."""
    told, place = printable(reference.target), _place(source, reference)
    real = os.path.realpath(place)
    folder = os.path.realpath(os.path.dirname(source.path))  # noqa: PTH120
    if not _within(real, _root(source)):
        detail = f"{told!r} is a link that leaves the model's folder"
        yield Anomaly(location=reference.location, code="external-escapes", detail=detail)
    elif real != os.path.normpath(os.path.join(folder, os.path.relpath(place, os.path.dirname(source.path)))):  # noqa: PTH118, PTH120
        yield Anomaly(location=reference.location, code="external-link", detail=f"{told!r} is a link")
    elif os.path.exists(real) and os.stat(real).st_nlink > 1:  # noqa: PTH110, PTH116
        detail = f"{told!r} has a second name on this file system, through which it can change"
        yield Anomaly(location=reference.location, code="external-hard-link", detail=detail)


def spans_of(examined: Sequence[Examined], neighbours: Neighbours) -> dict[str, tuple[Span, ...]]:
    """Return, by the name of a file, the spans that other files take of it."""
    spans: dict[str, list[Span]] = {}
    sizes = {one.path: one.size for one in examined}
    for one in examined:
        for reference in one.references:
            target = neighbours.find(neighbours.source(one.path), reference)
            if target is not None and target.name != one.path:
                size = sizes[target.name]
                taken = [(begin, min(end, size)) for begin, end in reference.spans if begin < size]
                taken += [(reference.rest, size)] if reference.rest is not None and reference.rest < size else []
                spans.setdefault(target.name, []).extend(taken)
    return {name: _merge(several) for name, several in spans.items()}


def account(one: Examined, spans: tuple[Span, ...], target: Target) -> Examined:
    """Return a file with the bytes that others refer to as inert; what lies between must be zeros.

    Only raw bytes are accounted for like this: what some format recognises is what that format says, and what another
    program loads is no data of a tensor.
    """
    if not one.raw:
        return one
    if target.blocks is not None:
        gap = Gap(location=Location((one.path,)), reason="the data of tensors were not fetched", limit=TRIAGE)
        return replace(one, judgement=replace(one.judgement, gaps=(gap,)), formats=("raw tensors",))
    other = foreign(one.path, target.path)
    if other:
        gap = Gap(location=Location((one.path,)), reason=f"{other}, which is not understood", size=one.size)
        return replace(one, judgement=replace(one.judgement, gaps=(gap,)))
    edges = [0, *(edge for span in spans for edge in span), one.size]
    gaps, inert = [], one.size
    with open(target.path, "rb", buffering=0) as file:  # noqa: PTH123
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if begin < end and not _is_zero(file.fileno(), begin, end):
                location = Location((one.path,), begin)
                gaps.append(Gap(location=location, reason="bytes that no tensor refers to", size=end - begin))
                inert -= end - begin
    coverage = Coverage(inert=inert, unexamined=one.size - inert)
    return replace(one, judgement=replace(one.judgement, gaps=tuple(gaps)), coverage=coverage, formats=("raw tensors",))


def _is_zero(descriptor: int, begin: int, end: int) -> bool:
    """Tell whether bytes of a file are zeros; a hole that is none ends the reading early."""
    os.lseek(descriptor, begin, os.SEEK_SET)
    while begin < end:
        chunk = os.read(descriptor, min(_CHUNK, end - begin))
        if not chunk or chunk.count(0) != len(chunk):
            return False
        begin += len(chunk)
    return True
