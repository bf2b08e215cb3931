"""Policies as files: what may stand in one, and how the layers of settings become one policy.

A file says what it changes and leaves out the rest. Layers, the first one weakest: what holds without any, the shipped
policy that a file names as its `profile`, the file, the environment, the command line. Lists of a stronger layer take
the place of those of a weaker one; waivers alone are added up.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from weighbridge import documents, nodes, rule_files
from weighbridge.documents import Bytes
from weighbridge.errors import DocumentError
from weighbridge.location import printable
from weighbridge.policy import Policy, Response, TrustText, Waiver
from weighbridge.records import dataclass, field, fields, replace
from weighbridge.requirements import Requirements
from weighbridge.rules import Severity

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT: Final = "pyproject.toml"
TABLE: Final = "tool.weighbridge"  # of a pyproject.toml
MAX_FILE: Final = 4 << 20  # bytes: ten thousand waivers


def _formats() -> list[str]:
    from weighbridge import formats

    return formats.names()


_FORMAT: Final = {"known": ("format", _formats)}  # a wrong name would forbid nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """What a file says of `Requirements`; None where it says nothing."""

    formats: tuple[str, ...] | None = field(default=None, metadata=_FORMAT)
    forbidden: tuple[str, ...] | None = field(default=None, metadata=_FORMAT)
    sources: tuple[str, ...] | None = None
    licences: tuple[str, ...] | None = None
    max_size: Bytes | None = None
    pinned: bool | None = None
    signature: bool | None = None

    def __post_init__(self) -> None:
        over(Requirements(), self)  # what is wrong in one file is an error there


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """What a file, a variable or an option says of a policy; None where it says nothing.

    `profile` is the name of a shipped policy that the file changes. `trust` are files of trust entries for the user's
    own packages, by their paths from the folder of the policy.
    """

    name: str | None = None
    profile: str | None = None
    fail_at: Severity | None = None
    unknown: Response | None = None
    gaps: Response | None = None
    max_waiver_days: int | None = None
    require: Required = field(default_factory=Required)
    trust: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    def __post_init__(self) -> None:
        if self.max_waiver_days is not None and self.max_waiver_days < 1:
            raise ValueError("'max_waiver_days' is a number of days, at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverFile:
    """A file of waivers beside a policy."""

    waivers: tuple[Waiver, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Some settings and where they are from; `digest` is that of the bytes that say them.

    `text` is the file, if they are from one, and `table` the part of it that counts.
    """

    source: str
    says: PolicyFile
    digest: str = ""
    trust: tuple[TrustText, ...] = ()
    text: str = ""
    table: str = ""

    def place(self, keys: str) -> str:
        """Return where the layer says something."""
        return documents.place(self.text, f"{self.table}.{keys}".lstrip("."), self.source) if self.text else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as it holds, by its key in a file, and where it is from; `source` is empty for what nobody set."""

    key: str
    value: Any
    source: str


# The settings that a single value says, by their keys in a file.
KEYS: Final = (
    *("fail_at", "unknown", "gaps", "max_waiver_days"),
    *(f"require.{one.name}" for one in fields(Required)),
)


def over(requirements: Requirements, says: Required) -> Requirements:
    """Return requirements with what a layer says of them; raise ValueError when they contradict each other."""
    said = {one.name: value for one in fields(Required) if (value := getattr(says, one.name)) is not None}
    return replace(requirements, **said)


def settle(layers: Iterable[Layer]) -> Policy:
    """Return the policy that layers make, the weakest one first.

    Its digest is that of the file when there is only that; else it tells every layer. Raises DocumentError when layers
    contradict each other.
    """
    policy, digests = Policy(name="default"), list[str]()
    for layer in layers:
        says = layer.says
        digests.append(layer.digest)
        try:
            require = over(policy.require, says.require)
        except ValueError as error:
            raise DocumentError(layer.source, str(error)) from error
        policy = replace(
            policy,
            name=says.name or policy.name,
            fail_at=says.fail_at or policy.fail_at,
            unknown=says.unknown or policy.unknown,
            gaps=says.gaps or policy.gaps,
            max_waiver_days=says.max_waiver_days or policy.max_waiver_days,
            require=require,
            waivers=policy.waivers + says.waivers,
            trust=policy.trust + layer.trust,
        )
        digests += [_digest(text.text.encode()) for text in layer.trust]
    return replace(policy, digest=digests[0] if len(digests) == 1 else _digest(" ".join(digests).encode()))


def settings(layers: Iterable[Layer]) -> list[Setting]:
    """Return every setting as `settle` would have it, with the layer that it is from."""
    known = list(layers)
    policy = settle(known)
    found = []
    for key in KEYS:
        source = next((layer.source for layer in reversed(known) if _value(layer.says, key) is not None), "")
        found.append(Setting(key=key, value=_value(policy, key), source=source))
    return found


def _value(record: Any, key: str) -> Any:
    for part in key.split("."):
        record = getattr(record, part)
    return record


def one_setting(key: str, text: str, source: str) -> Layer:
    """Return the layer of one setting as a variable or an option has it, a list with commas.

    Raises DocumentError when the value does not fit or no setting has that key.
    """
    if key not in KEYS:
        raise DocumentError(source, f"no setting is named {key!r}{documents.suggest(key, list(KEYS))}")
    says = documents.read_value(text, key, PolicyFile, name=source)
    return Layer(source=source, says=says, digest=_digest(f"{key}={_value(says, key)}".encode()))


def read_layers(data: bytes, name: str) -> list[Layer]:
    """Return the layers that a policy file amounts to: the profile that it names, and itself.

    The files of trust entries that it names are read. Raises DocumentError when anything is wrong.
    """
    text = _text(data, name)
    table = TABLE if _base(name) == PYPROJECT else ""
    says = documents.read(text, PolicyFile, name=name, table=table)
    own = Layer(
        source=name,
        says=replace(says, name=says.name or _base(name)),
        digest=_digest(_canonical(text) if table else data),
        text=text,
        table=table,
    )
    trust = tuple(_trust(name, path, own.place(f"trust[{index}]")) for index, path in enumerate(says.trust))
    own = replace(own, trust=trust) if trust else own
    if says.profile is None:
        return [own]
    try:
        return [shipped_layer(says.profile), own]
    except DocumentError as error:
        raise DocumentError(own.place("profile"), f"{error.where!r} is {error.reason}") from error


def read_policy(data: bytes, name: str) -> Policy:
    """Return the policy in a YAML, TOML or JSON file; raise DocumentError when it is wrong."""
    return settle(read_layers(data, name))


def shipped_layer(name: str) -> Layer:
    """Return a policy that ships with the rules, such as `default`; raise DocumentError when there is none."""
    folder = f"{rule_files.shipped_folder()}/policies"
    known = rule_files.names(folder)
    if name not in known:
        raise DocumentError(name, f"not one of the shipped policies {', '.join(known)}{documents.suggest(name, known)}")
    path = f"{folder}/{name}.yaml"
    return replace(read_layers(read_file(path), path)[0], source=f"the shipped policy {name}")


def shipped_policy(name: str) -> Policy:
    """Return a policy that ships with the rules, such as `default`; raise DocumentError when there is none."""
    return settle([shipped_layer(name)])


def load_policy(path: Path | str) -> Policy:
    """Return the policy in a file; raise DocumentError when it is wrong or cannot be read."""
    return read_policy(read_file(path), str(path))


def read_waivers(data: bytes, name: str) -> Layer:
    """Return the layer of a file of waivers; raise DocumentError when it is wrong."""
    text = _text(data, name)
    waivers = documents.read(text, WaiverFile, name=name).waivers
    return Layer(source=name, says=PolicyFile(waivers=waivers), digest=_digest(data), text=text)


def read_file(path: Path | str) -> bytes:
    """Return the bytes of a policy or what belongs to one; raise DocumentError when they cannot be read."""
    shown = printable(str(path))
    try:
        data = rule_files.read(path)
    except OSError as error:
        raise DocumentError(shown, error.strerror or "cannot be read") from error
    if len(data) > MAX_FILE:
        raise DocumentError(shown, f"larger than {MAX_FILE} bytes")
    return data


def check_days(layers: Iterable[Layer], today: date, limit: int) -> None:
    """Raise DocumentError when a waiver holds for more than `limit` days from a day on.

    A waiver is a loan: somebody looks again before it ends.
    """
    for layer in layers:
        for index, waiver in enumerate(layer.says.waivers):
            days = (waiver.expires - today).days
            if days > limit:
                reason = f"{waiver.expires} is {days} days away, and a waiver may hold for {limit}"
                fix = "name an earlier day, or allow more with max_waiver_days in the policy"
                raise DocumentError(layer.place(f"waivers[{index}].expires"), f"{reason}; {fix}")


def has_table(data: bytes, name: str) -> bool:
    """Tell whether a pyproject.toml has settings of this program; raise DocumentError when it is none."""
    return b"weighbridge" in data and "weighbridge" in _tools(_text(data, name), name)


def _tools(text: str, name: str) -> dict[str, Any]:
    root = nodes.toml(text, name)
    tool = root.get("tool") if isinstance(root, dict) else None
    return tool if isinstance(tool, dict) else {}


def _canonical(text: str) -> bytes:
    """Return the settings in a pyproject.toml as bytes, whatever else stands there."""
    return json.dumps(_tools(text, PYPROJECT).get("weighbridge"), sort_keys=True, default=str).encode()


def _trust(policy: str, path: str, place: str) -> TrustText:
    """Return a file of trust entries; its path starts at the folder of the policy."""
    where = os.path.join(os.path.dirname(policy), path)  # noqa: PTH118, PTH120 - see `rule_files`
    try:
        data = rule_files.read(where)
    except OSError as error:
        raise DocumentError(place, f"{printable(where)}: {error.strerror or 'cannot be read'}") from error
    return TrustText(name=where, text=_text(data, where))


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(name, "not UTF-8") from error


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
