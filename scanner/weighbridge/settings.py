"""Which policy holds here: the command line, then the environment, then a file, then what ships.

The file is the one that `--policy` or WEIGHBRIDGE_POLICY names, else the nearest `weighbridge.toml`, or
`pyproject.toml` with a table `[tool.weighbridge]`, from the current folder upward. Nothing is read from what is
scanned: whoever made a model would write the policy that it passes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from weighbridge.documents import suggest
from weighbridge.errors import DocumentError, UsageError
from weighbridge.location import printable
from weighbridge.policy import Policy
from weighbridge.policy_file import (
    KEYS,
    PYPROJECT,
    Layer,
    check_days,
    has_table,
    one_setting,
    read_file,
    read_layers,
    read_waivers,
    settle,
    shipped_layer,
)
from weighbridge.records import dataclass

FILE: Final = "weighbridge.toml"
DEFAULT: Final = "default"
PREFIX: Final = "WEIGHBRIDGE_"
POLICY_VARIABLE: Final = f"{PREFIX}POLICY"
WAIVERS_VARIABLE: Final = f"{PREFIX}WAIVERS"
# The variable of every setting: WEIGHBRIDGE_REQUIRE_MAX_SIZE is require.max_size.
VARIABLES: Final = {f"{PREFIX}{key.upper().replace('.', '_')}": key for key in KEYS}
# Variables that other parts read, and that one may have been meant as well.
_OTHERS: Final = tuple(f"{PREFIX}{name}" for name in ("CONFIG", "HOME", "KEY_PASSWORD", "TRUST"))
_REQUIRE: Final = f"{PREFIX}REQUIRE_"
# How like the name of a setting a name is that must have been meant as one. Kubernetes makes variables that begin as
# ours do for a service called weighbridge (WEIGHBRIDGE_SERVICE_HOST); the nearest of them is at 0.52.
_LIKE: Final = 0.65


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says of the policy; `settings` are texts by key, each with the option that says it."""

    policy: str | None = None
    waivers: str | None = None
    settings: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The policy that holds, and the layers that it is made of, the weakest one first.

    `path` is the file that it was read from, empty without one; `why` says who named it.
    """

    policy: Policy
    layers: tuple[Layer, ...]
    path: str = ""
    why: str = ""


_NOTHING: Final = Asked()


def is_silent(environ: Mapping[str, str], folder: str) -> bool:
    """Tell whether neither the environment nor a file asks for another policy than the default."""
    if any(environ.get(name) for name in (*VARIABLES, POLICY_VARIABLE, WAIVERS_VARIABLE)):
        return False
    _check_names(environ)
    return next(_candidates(folder), None) is None


def choose(
    asked: Asked = _NOTHING,
    *,
    environ: Mapping[str, str],
    folder: str,
    today: date,
    scanned: Sequence[str | os.PathLike[str]] = (),
) -> Chosen:
    """Return the policy for the files and folders in `scanned`, with the current `folder` and on the day `today`.

    Raises DocumentError when a file, a variable or an option says something wrong, UsageError when the file belongs to
    what is scanned or to somebody else.
    """
    _check_names(environ)
    name, why = asked.policy, "--policy"
    if not name:
        name, why = environ.get(POLICY_VARIABLE, ""), POLICY_VARIABLE
    if not name:
        name, why = find(folder), "found from the current folder upward"
    path = name if is_path(name) else ""
    if path:
        _refuse_own(path, scanned, named=bool(asked.policy))
        layers = read_layers(read_file(path), path)
        for layer in layers:
            for one in layer.trust:
                _refuse_own(one.name, scanned)
    else:
        layers = [shipped_layer(name or DEFAULT)]
    if waivers := asked.waivers or environ.get(WAIVERS_VARIABLE, ""):
        _refuse_own(waivers, scanned, named=bool(asked.waivers))
        layers.append(read_waivers(read_file(waivers), waivers))
    layers += [one_setting(key, environ[name], name) for name, key in VARIABLES.items() if environ.get(name)]
    layers += [one_setting(key, text, option) for key, text, option in asked.settings]
    policy = settle(layers)
    check_days(layers, today, policy.max_waiver_days)
    return Chosen(policy=policy, layers=tuple(layers), path=path, why=why if name else "")


def is_path(name: str) -> bool:
    """Tell whether a policy is named by its file; the names of those that ship have no such marks."""
    return any(mark in name for mark in ("/", "\\", "."))


def current_folder() -> str:
    """Return the current folder, nothing when it was removed: there is no file in it then, nor above it."""
    try:
        return os.getcwd()  # noqa: PTH109 - see `rule_files`
    except OSError:
        return ""


def find(folder: str) -> str:
    """Return the nearest policy file from a folder upward, nothing when there is none.

    Raises UsageError when another user could have written it: anybody may leave a file in a shared folder.
    """
    path = next(_candidates(folder), "")
    if not path:
        return ""
    status = os.stat(path)  # noqa: PTH116 - see `rule_files`
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{printable(path)}: it is no file")
    if os.name == "posix" and (status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH):
        raise UsageError(f"{printable(path)}: other users may write this policy; name it with --policy if it is meant")
    return path


def _candidates(folder: str) -> Iterator[str]:
    """Yield the files that settings may be read from, the nearest one first."""
    while folder:
        own = os.path.join(folder, FILE)  # noqa: PTH118
        if os.path.exists(own):  # noqa: PTH110
            yield own
        project = os.path.join(folder, PYPROJECT)  # noqa: PTH118
        if os.path.isfile(project) and has_table(read_file(project), project):  # noqa: PTH113
            yield project
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder:
            return
        folder = above


def _check_names(environ: Mapping[str, str]) -> None:
    """Raise DocumentError for a variable that sets nothing and looks as if it should."""
    known = [*VARIABLES, POLICY_VARIABLE, WAIVERS_VARIABLE, *_OTHERS]
    for name in environ:
        if name.startswith(PREFIX) and name not in known and (name.startswith(_REQUIRE) or _is_like(name, known)):
            raise DocumentError(printable(name), f"there is no such setting{suggest(name, known)}")


def _is_like(name: str, known: Iterable[str]) -> bool:
    from difflib import get_close_matches

    return bool(get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], 1, _LIKE))


def _refuse_own(path: str, scanned: Iterable[str | os.PathLike[str]], *, named: bool = True) -> None:
    """Raise UsageError when a file belongs to what is scanned, or lies beside a file of that and nobody has `named` it.

    Files are compared by what the system says they are, so that neither a link nor another spelling of a path helps.
    A model of one file is scanned by its name: what lies beside it may have come with it.
    """
    places = [os.path.abspath(path), os.path.realpath(path)]  # noqa: PTH100
    around = {identity for place in places for identity in _ancestors(place)}
    beside = set() if named else {_identity(os.path.dirname(place)) for place in places}  # noqa: PTH120
    for one in scanned:
        if not os.path.exists(one):  # noqa: PTH110 - whoever reads it will say so
            continue
        is_file = os.path.isfile(one)  # noqa: PTH113
        folders = {os.path.dirname(os.path.abspath(one)), os.path.dirname(os.path.realpath(one))}  # noqa: PTH100, PTH120
        inside, near = _identity(one) in around, not beside.isdisjoint(map(_identity, folders))
        if inside or (is_file and near):
            fix = "name another file" if inside else "name it with --policy or --waivers if it is meant"
            raise UsageError(
                f"{printable(path)}: it came with what is scanned ({printable(os.fspath(one))}), and no settings are "
                f"read from there; {fix}, or do without: --policy default"
            )


def _ancestors(place: str) -> Iterator[tuple[int, int]]:
    while True:
        if os.path.exists(place):  # noqa: PTH110
            yield _identity(place)
        above = os.path.dirname(place)  # noqa: PTH120
        if above == place:
            return
        place = above


def _identity(place: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(place)  # noqa: PTH116
    return status.st_dev, status.st_ino
