"""What the person who approves lets loaders do though they would refuse it: named by place, bound to bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from weighbridge.approval import Allowed, ApprovedFile
from weighbridge.errors import UsageError
from weighbridge.load.config_gate import Demand, Read, demands, digest_of
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.serve.servers import SERVERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowances:
    """What is allowed by an approval, and what loaders will refuse because it is not."""

    allowed: tuple[Allowed, ...] = ()
    refused: tuple[Demand, ...] = ()


def allowances(files: Iterable[ApprovedFile], read: Read, named: Collection[str]) -> Allowances:
    """Return what the places in `named` allow of what files demand: `config.json:auto_map`, or a file as a whole.

    An option of a server that `weighbridge run` would refuse has no file: `:--trust-remote-code`, `:--load-format=pt`.
    `read` returns the bytes of a file. Raises UsageError when a place is named that demands nothing: it is misspelt,
    or what it was to allow has gone.
    """
    allowed: dict[Allowed, None] = {}
    refused, used = [], set()
    for name in named:
        if name.startswith(":"):
            allowed[option_of(name)] = None
            used.add(name)
    for demand in demands(files, read):
        place = place_of(demand)
        if demand.path in named:
            allowed[Allowed(path=demand.path, key="", digest=demand.file)] = None
            used.add(demand.path)
        elif place in named and demand.digest:
            allowed[Allowed(path=demand.path, key=demand.key, digest=demand.digest)] = None
            used.add(place)
        else:
            refused.append(demand)
    if unused := sorted(set(named) - used):
        raise UsageError(
            f"--allow {printable(unused[0])}: nothing there needs to be allowed, or only the whole file can be"
        )
    return Allowances(allowed=tuple(allowed), refused=tuple(refused))


def option_of(name: str) -> Allowed:
    """Return what allows an option of a server; raise UsageError when there is no rule for it."""
    option, equals, value = name.removeprefix(":").partition("=")
    if not any(option in server.options for server in SERVERS):
        raise UsageError(f"--allow {printable(name)}: no server that is known has such an option")
    return Allowed(path="", key=option, digest=digest_of(value if equals else True))


def allows(allowed: Iterable[Allowed], named: Collection[str]) -> bool:
    """Tell whether what an approval allows is what is allowed at these places, and options of servers to the letter."""
    options = {name for name in named if name.startswith(":")}
    held = tuple(allowed)
    return {one for one in held if not one.path} == {option_of(name) for name in options} and {
        f"{one.path}:{one.key}" if one.key else one.path for one in held if one.path
    } == set(named) - options


def place_of(demand: Demand) -> str:
    """Return the place by which something is allowed."""
    return f"{demand.path}:{demand.key}" if demand.key else demand.path
