"""The rules that every plan has to keep, whatever it comes from: names, size of the output, nothing refused."""

from __future__ import annotations

from typing import Final

from weighbridge.convert.plan import Plan, PlannedTensor, Refusal
from weighbridge.errors import UnconvertibleError
from weighbridge.header import CLIMBING, MAX_DIMENSIONS, MAX_TENSORS, NAME_LIMIT
from weighbridge.location import Location, printable

RESERVED: Final = "__metadata__"
# A view can repeat its storage: a file of a kilobyte can stand for terabytes. Ties and transposed copies of real
# checkpoints stay below this; the rest has to be allowed.
GROWTH: Final = 1.05
GROWTH_FLOOR: Final = 16 << 20
LISTED: Final = 20  # refusals that a message names


def check(
    plan: Plan, written: list[PlannedTensor], *, source_size: int, max_output: int | None, origin: Location
) -> None:
    """Raise UnconvertibleError when the tensors that are to be written break a rule.

    `source_size` is what the output is measured by, `max_output` the bytes that it may have instead.
    """
    refused = [*plan.refused, *faults(plan.tensors)]
    if refused:
        details = tuple(describe(one) for one in refused[:LISTED])
        if len(refused) > LISTED:
            details = (*details, f"and {len(refused) - LISTED} more")
        many = f" ({len(refused)} things stand in the way)" if len(refused) > 1 else ""
        raise UnconvertibleError(refused[0].location, f"{_short(refused[0])}{many}", details)
    if not written:
        raise UnconvertibleError(origin, "there are no tensors to convert")
    if len(written) > MAX_TENSORS:
        raise UnconvertibleError(origin, f"{len(written)} tensors, limit is {MAX_TENSORS}")
    size = sum(tensor.size for tensor in written)
    limit = max_output if max_output is not None else int(source_size * GROWTH) + GROWTH_FLOOR
    if size > limit:
        largest = max(written, key=lambda tensor: tensor.size)
        raise UnconvertibleError(
            largest.location,
            f"the output would have {size} bytes, limit is {limit} for a source of {source_size}; "
            f"{printable(largest.name)} alone takes {largest.size}; --max-output BYTES allows more",
        )


def faults(tensors: tuple[PlannedTensor, ...]) -> list[Refusal]:
    """Return what is wrong with names and shapes: taken twice, reserved, empty, unprintable, too long."""
    found: list[Refusal] = []
    seen: set[str] = set()
    for tensor in tensors:
        reason = _fault(tensor, seen)
        if reason:
            advice = "rename it in the source"
            found.append(Refusal(location=tensor.location, name=tensor.name, reason=reason, advice=advice))
        seen.add(tensor.name)
    return found


def _fault(tensor: PlannedTensor, seen: set[str]) -> str:
    name = tensor.name
    if name in seen:
        return "two tensors would have this name: keys that are numbers and keys with dots become texts"
    if name == RESERVED:
        return "this name is reserved in safetensors"
    if not name or not name.isprintable():
        return "a name that is empty or cannot be printed"
    if len(name.encode("utf-8", "surrogatepass")) > NAME_LIMIT:
        return f"a name of more than {NAME_LIMIT} bytes"
    if CLIMBING.search(name):
        return "a name like a path out of a folder"
    return f"more than {MAX_DIMENSIONS} sides" if len(tensor.shape) > MAX_DIMENSIONS else ""


def _short(refusal: Refusal) -> str:
    advice = f"; {refusal.advice}" if refusal.advice else ""
    dtype = f" ({printable(refusal.dtype)})" if refusal.dtype else ""
    return printable(f"tensor {refusal.name!r}{dtype}: {refusal.reason}{advice}")


def describe(refusal: Refusal) -> str:
    """Return a refusal in one line: where, which tensor, why, what to do."""
    return f"{refusal.location}: {_short(refusal)}"
