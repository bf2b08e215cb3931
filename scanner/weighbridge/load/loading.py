"""From a path to tensors.

1. The approval: signature, signer, verdict, day, revocation, and that it is of these files (`folder`).
2. The configuration: no key of it, and no file beside it, that would run code (`config_gate`).
3. The files: of those the approval names, the ones that are meant (`choice`), opened beneath the folder (`opening`).
4. The header of each: its bytes against their leaves, then what it says (`verified`, `header`).
5. The tensors, in the way of the mode: against their leaves before anybody sees them.

Whatever does not hold ends in its error, and nothing is returned; there is no weaker way to fall back to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from weighbridge.errors import UsageError
from weighbridge.load.choice import choose
from weighbridge.load.folder import Folder, open_folder
from weighbridge.load.frameworks import framework as framework_of
from weighbridge.load.handle import Handle
from weighbridge.load.verified import Source

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

Path = str | os.PathLike[str]
Mode = Literal["stream", "lazy", "shared", "kernel"]


def load(
    path: Path,
    *,
    trust: TrustPolicy | Path | None = None,
    source: str | None = None,
    framework: str = "numpy",
    device: Any = None,
    mode: Mode = "stream",
) -> dict[str, Any]:
    """Return the tensors of an approved model by their names.

    `path` is an approved folder, a folder in one or a safetensors file in one. `trust` is a trust policy or where it is
    (None: the user's own), `source` the reference that the approval has to be of (None: any; `hf://org/name`, or with
    its revision). `framework` is numpy, torch or jax, `device` one of the framework's (None: the processor). `mode` is
    `stream` (private memory), `lazy` (the same, tensor after tensor), `shared` (one sealed copy for all processes) or
    `kernel` (files under fs-verity, mapped).

    Raises a NotApproved when there is no approval that holds, a LoadError when what it names is not what is there or
    would run code, UnsafeEntry at links, pipes and devices, and UsageError when the options make no sense.
    """
    with open_approved(*open_folder(path, trust, source), framework=framework, device=device, mode=mode) as handle:
        return handle.get_tensors()


def open(  # the name of what it stands for in place of `safetensors.safe_open`
    path: Path,
    *,
    trust: TrustPolicy | Path | None = None,
    source: str | None = None,
    framework: str = "numpy",
    device: Any = None,
    mode: Mode = "lazy",
) -> Handle:
    """Return a handle on the tensors of an approved model; it takes and raises what `load` does.

    In the mode `lazy` a tensor, or the part of it that is asked for, is read and verified when it is taken; in the
    other modes all of it was when this returns.
    """
    return open_approved(*open_folder(path, trust, source), framework=framework, device=device, mode=mode)


def open_approved(
    folder: Folder, rest: str, *, framework: str = "numpy", device: Any = None, mode: Mode = "lazy"
) -> Handle:
    """Return a handle on what `rest` means in a folder whose approval holds, which is the handle's from then on."""
    sources: dict[str, Source] = {}
    try:
        made = framework_of(framework, device)
        source = _source(mode, made.accelerator)
        chosen = choose(folder, rest)
        for path in chosen.files:
            sources[path] = source(folder, path)
        handle = Handle(folder, sources, made)
        chosen.check(folder, handle.keys())
    except BaseException:
        for opened in sources.values():
            opened.close()
        folder.close()
        raise
    return handle


def _source(mode: str, accelerator: Any) -> Callable[[Folder, str], Source]:
    """Return what opens a file in a mode, for a device; raise UsageError when there is no such mode."""
    match mode:
        case "stream" if accelerator is not None:
            from weighbridge.load.device import OnDevice

            return partial(OnDevice, device=accelerator)
        case "stream":
            from weighbridge.load.stream import Streamed

            return Streamed
        case "lazy":
            from weighbridge.load.lazy import Lazy

            return Lazy
        case "shared":
            from weighbridge.load.shared import Shared

            return Shared
        case "kernel":
            from weighbridge.load.kernel import Kernel

            return Kernel
    raise UsageError(f"mode {mode!r} is not one of {', '.join(get_args(Mode))}")
