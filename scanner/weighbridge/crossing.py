"""What is to cross the gate, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.approval import Approval
from weighbridge.artifact import Manifest
from weighbridge.evidence.signers import Signer
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.history import Clock, no_clock
from weighbridge.load.config_gate import Demand
from weighbridge.policy import Policy, Verdict
from weighbridge.pull import Order
from weighbridge.records import dataclass, field

if TYPE_CHECKING:
    from weighbridge.convert.inventory import Inventory

# What renders the reports that go into the folder: their text by the name of the file.
Reports = Callable[[Verdict], dict[str, Iterable[str]]]


def _no_reports(_: Verdict) -> dict[str, Iterable[str]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """What is to cross, to where, and on whose word.

    `trust` says who has to have signed it, and by whom a folder that is there already may be approved. `signer`
    signs in the name of `verifier` at `now` until `expires` (UTC). `allowed` are the places that loaders would refuse
    and are meant to take, as `config.json` or `config.json:auto_map`. `convert` says whether weights become
    safetensors, `state_dict` which group of tensors of a checkpoint is meant. `anew` asks for everything to be done
    again. `clock` tells when the steps of the history were done.
    """

    order: Order
    destination: Path
    policy: Policy
    trust: TrustPolicy
    signer: Signer
    verifier: str
    now: datetime
    expires: datetime
    convert: bool = True
    state_dict: str | None = None
    allowed: frozenset[str] = frozenset()
    anew: bool = False
    reports: Reports = field(default=_no_reports)
    clock: Clock = field(default=no_clock)

    @property
    def today(self) -> date:
        """The day on which waivers are in force."""
        return self.now.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """What became of it: the verdict and, on pass, the approval of what is in the folder.

    `unchanged` tells that the folder held it before. `converted` are the files of weights that were made, by what
    they were made from; `left_out` are files of the source that did not cross, with why; `refused` is what loaders
    will not take of what crossed, unless it is allowed.
    """

    verdict: Verdict
    approval: Approval | None = None
    unchanged: bool = False
    converted: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    refused: tuple[Demand, ...] = ()


def converts(found: Inventory) -> bool:
    """Tell whether there are weights that are not safetensors yet."""
    return any(one.path != one.target for one in found.weights)


def unneeded(found: Inventory, files: Manifest) -> dict[str, str]:
    """Return what stays behind beside weights that are safetensors already: the same once more, and pickles."""
    paths = {entry.path for entry in files.entries} if found.weights else set()
    return {path: reason for path, reason in found.left_out.items() if path in paths}
