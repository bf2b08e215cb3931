"""The conversion of one file: plan, check, copy, prove, publish. The proof follows right behind the copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from weighbridge.convert import names
from weighbridge.convert.copy import Copier
from weighbridge.convert.digests import digest
from weighbridge.convert.front import Front
from weighbridge.convert.header import header, ordered
from weighbridge.convert.plan import Plan, PlannedTensor, Refusal
from weighbridge.convert.proof import prove
from weighbridge.convert.record import Conversion, beside, recorded_choice
from weighbridge.convert.sources import SOURCES
from weighbridge.convert.sources.base import Inputs, Options, Source, opened
from weighbridge.convert.stats import Stats
from weighbridge.convert.stats import stats as stats_of
from weighbridge.convert.write import NewFile, exists, new_file
from weighbridge.digest import Digest
from weighbridge.errors import UnconvertibleError, UsageError
from weighbridge.limits import Limits
from weighbridge.location import printable
from weighbridge.records import dataclass, field
from weighbridge.writing import write_at

METADATA: Final = {"format": "pt"}  # what transformers asks for before it loads a file
_LIMITS: Final = Limits()
# Reads an output, which has its size, through its descriptor, right behind whoever writes it.
Follower = Callable[[int, Front], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The tensors of a file, with those that have no form in safetensors, and their digests when they were wanted."""

    source: str
    tensors: tuple[PlannedTensor, ...]
    refused: tuple[Refusal, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, Digest] = field(default_factory=dict)
    stats: Mapping[str, Stats] = field(default_factory=dict)


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    state_dict: str | None = None,
    drop_aliases: bool = False,
    max_output: int | None = None,
    verify: bool = True,
    digests: bool = True,
    checksums: bool = True,
    overwrite: bool = False,
    follower: Follower | None = None,
    once: bool = False,
    limits: Limits = _LIMITS,
) -> Conversion:
    """Write the weights of the file `source` to `destination` as safetensors, and the record beside it.

    `state_dict` is the path of the group of tensors that is wanted, "." for all; without it there has to be only one.
    `drop_aliases` writes tied tensors once. `max_output` is how many bytes of tensors the output may have, by default
    5 % and 16 MiB more than the source. `verify` compares every byte afterwards. In the same pass `digests` computes
    those of all tensors, and `checksums` checks those that the source's container has of their bytes. What `follower`
    raises is raised here. A source that nobody will read again is read `once`, and leaves memory to what is written.

    Raises UnconvertibleError and other ArtifactErrors when the source has no exact form, MismatchError when the proof
    fails, SourceError when a file cannot be read or written or changes meanwhile, UsageError when the destination
    exists or is the source. Nothing is left behind then.
    """
    source, destination = Path(source), Path(destination)
    _check_paths(source, destination, overwrite=overwrite)
    with opened(source, limits) as inputs:
        plan = planned(inputs, Options(state_dict=state_dict))
        aliases = dict(plan.aliases) if drop_aliases else {}
        chosen = ordered([tensor for tensor in plan.tensors if tensor.name not in aliases])
        names.check(plan, chosen, source_size=inputs.size, max_output=max_output, origin=inputs.reader.origin)
        with new_file(destination, overwrite=overwrite) as output:
            front, found = Front(), {}
            front.advance(write_at(output.descriptor, header(chosen, {**METADATA, **aliases}), 0))
            # A file that has its size costs less to write, and whoever maps it behind the front finds all of it.
            os.ftruncate(output.descriptor, front.reached + sum(tensor.size for tensor in chosen))
            with ExitStack() as aside:
                if follower is not None:
                    aside.enter_context(_aside(partial(follower, output.descriptor, front), front))
                if verify or digests:
                    aside.enter_context(_aside(partial(_copy, inputs, chosen, output, front), front))
                    found = _prove(source, plan, output, limits, front, digests=digests, checksums=checksums, once=once)
                else:
                    _copy(inputs, chosen, output, front)
            inputs.check_unchanged()
            made = Conversion(
                source=source.name,
                format=plan.source,
                destination=destination,
                size=sum(tensor.size for tensor in chosen),
                state_dict=plan.state_dict,
                tensors=tuple(chosen),
                digests=found,
                aliases=plan.aliases,
                aliases_dropped=drop_aliases and bool(aliases),
                dropped=plan.dropped,
                scalars=plan.scalars,
                verified=verify or digests,
            )
            _publish(output, made, overwrite=overwrite)
    return made


def _check_paths(source: Path, destination: Path, *, overwrite: bool) -> None:
    """Raise UsageError before any work when the output has no place to go."""
    name = printable(destination.as_posix())
    if destination.exists() and source.exists() and destination.samefile(source):
        raise UsageError(f"{name} is the source, which is never overwritten")
    if destination.is_dir():
        raise UsageError(f"{name} is a folder; name the file that is to be written")
    if not destination.parent.is_dir():
        raise UsageError(f"{printable(destination.parent.as_posix())}: no such folder")
    record = beside(destination)
    if record.exists() and (record.samefile(source) or not overwrite):
        raise exists(record)


def planned(inputs: Inputs, options: Options) -> Plan:
    """Return the plan of the one source that knows the inputs; raise UnconvertibleError when none or several do."""
    found: list[Source] = [source for source in SOURCES if source.recognise(inputs)]
    if len(found) == 1:
        plan = found[0].plan(inputs, options)
        inputs.forget()
        return plan
    origin = inputs.reader.origin
    if found:
        titles = " and a ".join(source.title for source in found)
        raise UnconvertibleError(origin, f"it is a {titles} at once, which no writer writes")
    known = ", ".join(source.title for source in SOURCES)
    raise UnconvertibleError(origin, f"weights are in no container that is known here ({known})")


def _copy(inputs: Inputs, tensors: list[PlannedTensor], output: NewFile, front: Front) -> None:
    """Write the tensors behind the header."""
    copier, position = Copier(inputs.stores, output.descriptor, front), front.reached
    for tensor in tensors:
        position = copier.copy(tensor, position)


@contextmanager
def _aside(work: Callable[[], None], front: Front) -> Iterator[None]:
    """Do something in another thread during the block; what goes wrong on either side ends the other."""

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            front.stop(error)
            raise

    with ThreadPoolExecutor(1, "aside") as pool:
        working = pool.submit(guarded)
        try:
            yield
        except BaseException:
            front.stop()
            raise
        working.result()


def _prove(
    source: Path,
    plan: Plan,
    output: NewFile,
    limits: Limits,
    front: Front,
    *,
    digests: bool,
    checksums: bool,
    once: bool,
) -> dict[str, Digest]:
    """Plan again from the source, opened anew, and compare the output with it, byte for byte, behind its front."""
    with opened(source, limits) as inputs, opened(output.path, limits, output.descriptor) as written:
        again = planned(inputs, Options(state_dict=plan.state_dict))
        return prove(again, inputs, written, digests=digests, checksums=checksums, front=front, once=once)


def _publish(output: NewFile, made: Conversion, *, overwrite: bool) -> None:
    """Put both files on disk and give them their names, the weights last: where they are, their record is."""
    output.sync()
    with new_file(beside(output.path), overwrite=overwrite) as record:
        write_at(record.descriptor, made.text().encode("ascii"), 0)
        record.sync()
        record.publish()
    try:
        output.publish()
    except BaseException:
        beside(output.path).unlink(missing_ok=True)
        raise


def verify(
    source: str | Path, destination: str | Path, *, state_dict: str | None = None, limits: Limits = _LIMITS
) -> Plan:
    """Compare `destination` with the weights of `source`, byte for byte; return the plan that it was compared with.

    Without `state_dict` the record beside the output says which group was chosen; it is believed in nothing else.
    Raises MismatchError at a difference, and the errors of `convert` when either file cannot be read.
    """
    source, destination = Path(source), Path(destination)
    chosen = state_dict if state_dict is not None else recorded_choice(beside(destination))
    with opened(source, limits) as inputs, opened(destination, limits) as written:
        plan = planned(inputs, Options(state_dict=chosen))
        names.check(plan, list(plan.tensors), source_size=0, max_output=1 << 62, origin=inputs.reader.origin)
        prove(plan, inputs, written)
        inputs.check_unchanged()
        written.check_unchanged()
    return plan


def listing(path: str | Path, *, digests: bool = False, stats: bool = False, limits: Limits = _LIMITS) -> Listing:
    """Return all tensors of a file, whatever holds them; raise the errors of `convert` when it cannot be read."""
    with opened(Path(path), limits) as inputs:
        plan = planned(inputs, Options(everything=True))
        found = {tensor.name: digest(inputs.stores, tensor) for tensor in plan.tensors} if digests else {}
        counted = {tensor.name: stats_of(inputs.stores, tensor) for tensor in plan.tensors} if stats else {}
        inputs.check_unchanged()
    return Listing(
        source=plan.source,
        tensors=plan.tensors,
        refused=plan.refused,
        aliases=plan.aliases,
        digests=found,
        stats={name: one for name, one in counted.items() if one is not None},
    )
