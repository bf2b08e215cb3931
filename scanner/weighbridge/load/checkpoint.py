"""Checkpoints of torch without torch's unpickler: tensors and plain data, read from the symbolic machine.

For those who cannot convert yet. The pickle in the file is run over symbols alone; no name in it is imported, and an
object of any class is refused by its name. The file is read into private memory and verified there first, so that
nobody can change it afterwards; the tensors are views of that memory, as those that `torch.load` returns are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weighbridge.convert.blocks import blocks
from weighbridge.convert.plan import PlannedTensor, Range
from weighbridge.convert.sources import torch_legacy, torch_tar, torch_zip
from weighbridge.convert.sources.base import Inputs, Options, Source, in_memory
from weighbridge.convert.sources.pickled import Stream, placed
from weighbridge.convert.symbolic import Walker
from weighbridge.convert.torch_tensors import View
from weighbridge.errors import ArtifactError, SourceError, UsageError
from weighbridge.header import BITS, Tensor
from weighbridge.limits import Limits
from weighbridge.load.folder import open_folder
from weighbridge.load.frameworks import Framework, check_booleans
from weighbridge.load.frameworks import framework as framework_of
from weighbridge.load.memory import private
from weighbridge.load.opening import Anchor
from weighbridge.load.plain import Builder
from weighbridge.load.whole import taken, verified
from weighbridge.location import Location, printable
from weighbridge.reader import Reader
from weighbridge.refusals import ContentMismatch, UnsupportedFormat

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

_SOURCES: Final[tuple[tuple[Source, Callable[[Inputs], Stream]], ...]] = (
    (torch_zip.SOURCE, torch_zip.stream),
    (torch_legacy.SOURCE, torch_legacy.stream),
    (torch_tar.SOURCE, torch_tar.stream),
)

# Tensors whose numbers do not lie in order are copied: twice the file's bytes is more than ordinary ones take, and less
# than one number that a view repeats a billion times.
_COPIED: Final = 2
_COPIED_LEAST: Final = 16 << 20
_FIX: Final = "save contiguous tensors"


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    trust: TrustPolicy | str | os.PathLike[str] | None = None,
    source: str | None = None,
    framework: str = "numpy",
    device: Any = None,
    state_dict: str | None = None,
    unapproved: bool = False,
) -> Any:
    """Return what a checkpoint of torch holds: containers and plain data as they are in it, and tensors.

    `path` is a file in an approved folder; `trust`, `source`, `framework` and `device` are those of `weighbridge.load`.
    `state_dict` is the path of the group of tensors that is wanted, as `weighbridge convert` takes it: the answer is
    then a dict of their names, and nothing else of the file has to be plain data. With `unapproved` the file needs no
    approval: no code of it runs either way, but nobody vouches for the numbers.

    Raises a NotApproved when there is no approval that holds, DigestMismatch when the bytes are not the approved ones,
    UnsupportedFormat when the file is no checkpoint, or holds anything but tensors and plain data, which it names.
    """
    made = framework_of(framework, device)
    memory, where = _unapproved(Path(path)) if unapproved else _approved(path, trust, source)
    reader = Reader(memory, Location((where,)))
    try:
        with in_memory(reader, Path(path), Limits()) as inputs:
            return _load(inputs, made, where, state_dict)
    except ArtifactError as error:
        raise UnsupportedFormat(str(error.location), error.reason) from error


def _approved(path: str | os.PathLike[str], trust: Any, source: str | None) -> tuple[memoryview, str]:
    """Return the verified bytes of an approved file, in private memory, and its name for messages."""
    folder, rest = open_folder(path, trust, source)
    with folder:
        if not rest:
            raise UsageError(f"{printable(os.fspath(path))} is a folder; name the checkpoint in it")
        return verified(folder, rest), folder.where(rest)


def _unapproved(path: Path) -> tuple[memoryview, str]:
    """Return the bytes of a file that nobody approved."""
    where = printable(path.as_posix())
    with Anchor(path.parent) as anchor:
        try:
            descriptor = anchor.open(path.name)
        except ContentMismatch as error:
            raise SourceError(f"{where}: no such file") from error
        try:
            return taken(descriptor, os.fstat(descriptor).st_size, where), where
        finally:
            os.close(descriptor)


def _load(inputs: Inputs, framework: Framework, where: str, state_dict: str | None) -> Any:
    found = [(source, stream) for source, stream in _SOURCES if source.recognise(inputs)]
    if len(found) != 1:
        reason = "no checkpoint of torch" if not found else "two kinds of checkpoints at once"
        raise UnsupportedFormat(where, reason, "`weighbridge convert` knows other containers of weights")
    source, read = found[0]
    maker = _Maker(inputs, framework, where)
    if state_dict is not None:
        plan = source.plan(inputs, Options(state_dict=state_dict))
        for refusal in plan.refused:
            raise UnsupportedFormat(where, f"{printable(refusal.name)}: {refusal.reason}", refusal.advice)
        return {tensor.name: maker.make(tensor) for tensor in plan.tensors}
    stream = read(inputs)
    walker = Walker(stream.machine.events, stream.reader, stream.leaf)
    walker.walk(stream.machine.result)

    def tensor(view: View) -> Any:
        planned = placed("a tensor", view, stream.held)
        if isinstance(planned, PlannedTensor):
            return maker.make(planned)
        raise UnsupportedFormat(where, planned.reason, planned.advice)

    return Builder(stream.machine.events, stream.reader, walker, tensor, where).build(stream.machine.result)


class _Maker:
    """Makes tensors of the bytes of one file."""

    def __init__(self, inputs: Inputs, framework: Framework, where: str) -> None:
        self._inputs = inputs
        self._framework = framework
        self._where = where
        self._left = _COPIED * inputs.reader.size + _COPIED_LEAST

    def make(self, planned: PlannedTensor) -> Any:
        """Return a tensor; it shares the memory of the file where its numbers lie there in order."""
        view = self._view(planned)
        tensor = Tensor(planned.name, planned.dtype, planned.shape, 0, planned.size)
        self._framework.check(tensor, self._where)
        check_booleans(view, tensor, self._where)
        return self._framework.place(self._framework.tensor(view, tensor))

    def _view(self, planned: PlannedTensor) -> memoryview:
        item = max(1, BITS[planned.dtype] // 8)
        match planned.data:
            case (Range(store=0, begin=begin, size=size),) if begin % item == 0 and planned.swap <= 1:
                return self._inputs.reader.view[begin : begin + size]
        self._left -= planned.size
        if self._left < 0:
            raise UnsupportedFormat(self._where, "its tensors repeat their numbers to more than the file has", _FIX)
        memory, position = private(planned.size), 0
        for block in blocks(self._inputs.stores, planned):
            memory[position : position + len(block)] = block
            position += len(block)
        return memory
