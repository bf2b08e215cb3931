"""A sandbox that a process puts itself into, once it has imported what it needs.

Layers, each on its own where the system has it: limits of resources; no core files, and no debugging by other
processes of the user (`undumpable`); no privileges from programs that are started (`no_new_privs`); Landlock, which
leaves files to be read that were named and nothing else of files and network; seccomp, which leaves the system calls
that computing and reading need: no process is started, no socket made, no file opened for writing, renamed or removed.
The last four are Linux's. Nothing of it can be taken back, and no rights of root are needed.

A process that computes on a GPU cannot live in it: drivers open devices and libraries when they please.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from weighbridge.errors import UsageError
from weighbridge.records import dataclass
from weighbridge.refusals import IsolationMissing
from weighbridge.rule_files import shipped_folder

LAYERS: Final = ("rlimits", "undumpable", "no_new_privs", "landlock", "seccomp")

_TASKS: Final = Path("/proc/self/task")
_SET_DUMPABLE: Final = 4  # PR_SET_DUMPABLE
_SET_NO_NEW_PRIVS: Final = 38  # PR_SET_NO_NEW_PRIVS


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Which layers are active, and why the others are not; `landlock` is the version of it, 0 when it is not active."""

    active: tuple[str, ...]
    missing: dict[str, str]
    landlock: int = 0


def lockdown(
    *,
    require: Collection[str] = (),
    read: Iterable[str | os.PathLike[str]] = (),
    imports: bool = False,
    memory: int | None = None,
    seconds: int | None = None,
    descriptors: int | None = None,
    file_size: int | None = None,
) -> Isolation:
    """Restrict this process for good; return which layers are active.

    `read` names files and folders that may still be read. Import what is needed before; with `imports` the folders of
    `sys.path` and the rules of this package may be read too, so that modules can still be imported whose libraries are
    loaded already. `memory` (bytes of address space), `seconds` (of processor time), `descriptors` (open at once) and
    `file_size` (bytes that a file may grow to) are limits; without them only core files are forbidden.

    Raises IsolationMissing when a layer of `require` is not to be had, before anything is restricted as far as that
    can be told; UsageError for a layer that does not exist, and for a path of `read` that cannot be opened.
    """
    paths = [Path(path) for path in read]
    _check(require, paths)
    paths += _modules() if imports else []
    missing, known = missing_layers(), _landlock()
    _demand(require, missing)
    limits = {"RLIMIT_AS": memory, "RLIMIT_CPU": seconds, "RLIMIT_NOFILE": descriptors, "RLIMIT_FSIZE": file_size}
    active: list[str] = []
    for layer in LAYERS:
        if layer in missing and not (layer == "landlock" and known):
            continue
        try:
            _apply(layer, paths, limits, landlocked="landlock" in active)
        except OSError as error:
            missing[layer] = f"the kernel refuses: {error.strerror}"
            _demand(require, missing)
        else:
            active += [layer] if layer not in missing else []
    return Isolation(active=tuple(active), missing=missing, landlock=known if "landlock" in active else 0)


def drop_privileges() -> Isolation:
    """Take this process and what it starts the way to more rights, and write no core files; for before an exec."""
    missing = {layer: reason for layer, reason in missing_layers().items() if layer in ("rlimits", "no_new_privs")}
    active = [layer for layer in ("rlimits", "no_new_privs") if layer not in missing]
    for layer in active:
        _apply(layer, [], {}, landlocked=False)
    return Isolation(active=tuple(active), missing=missing)


def _modules() -> list[Path]:
    """Return where modules are imported from, and where this package has its rules."""
    places = [Path(place) for place in (*sys.path, shipped_folder()) if place]
    return [place for place in places if place.exists()]


def _check(require: Collection[str], paths: list[Path]) -> None:
    """Raise UsageError for what cannot be meant."""
    for layer in require:
        if layer not in LAYERS:
            raise UsageError(f"there is no layer {layer!r}; they are {', '.join(LAYERS)}")
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder to be read")


def _demand(require: Collection[str], missing: dict[str, str]) -> None:
    for layer in require:
        if layer in missing:
            fix = "run it on a system that has it, or do without"
            raise IsolationMissing("lockdown", f"{layer}: {missing[layer]}", fix)


def missing_layers() -> dict[str, str]:
    """Return the layers that this system has not, and why; nothing is restricted by asking."""
    if not sys.platform.startswith("linux"):
        elsewhere = dict.fromkeys(LAYERS[1:], "Linux alone has it")
        return elsewhere if sys.platform != "win32" else dict.fromkeys(LAYERS, "Windows has it not")
    from weighbridge.isolation.calls import ARCHITECTURES
    from weighbridge.isolation.landlock import ALL_THREADS_SINCE

    missing: dict[str, str] = {}
    known = _landlock()
    threads = _threads()
    if not known:
        missing["landlock"] = "the kernel has it not, or it is switched off"
    elif threads != 1 and known < ALL_THREADS_SINCE:
        others = f"the {threads - 1} threads" if threads else "threads, if there are any,"
        missing["landlock"] = f"version {known} of it does not bind {others} that run beside this one"
    if platform.machine() not in ARCHITECTURES:
        missing["seccomp"] = f"its list of calls is not known for {platform.machine()}"
    return missing


def _threads() -> int:
    """Return how many threads this process has, 0 when the system does not tell: there may be no `/proc`."""
    try:
        return _TASKS.stat().st_nlink - 2  # a folder for each; listing them may be forbidden already
    except OSError:
        return 0


def _landlock() -> int:
    """Return the version of Landlock that the kernel has, 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    from weighbridge.isolation.landlock import version

    return version()


def _apply(layer: str, read: list[Path], limits: dict[str, int | None], *, landlocked: bool) -> None:
    """Put one layer up; raise OSError when the kernel refuses."""
    from weighbridge.isolation import calls, landlock, seccomp

    if layer == "rlimits":
        _limit(limits)
    elif layer == "undumpable":
        calls.control(_SET_DUMPABLE, 0)
    elif layer == "no_new_privs":
        calls.control(_SET_NO_NEW_PRIVS, 1)
    elif layer == "landlock":
        landlock.install(landlock.version(), read)
    else:
        seccomp.install(platform.machine(), reading=bool(read), openat2=landlocked)


def _limit(limits: dict[str, int | None]) -> None:
    """Set limits, never above those that there are."""
    import resource

    for name, wanted in {"RLIMIT_CORE": 0, **limits}.items():
        if wanted is None:
            continue
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (allowed, allowed))
