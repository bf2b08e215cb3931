"""What this installation has and lacks, and what each lack means: looked at, never changed, without a network."""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata, util
from pathlib import Path
from typing import Final

from weighbridge import settings
from weighbridge.errors import DocumentError, Refusal, SourceError, UsageError
from weighbridge.evidence import home, trust_policy
from weighbridge.evidence.trust_entries import Root
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.report.base import counted, sized
from weighbridge.version import __version__


class Status(StrEnum):
    """How it is: an error is what makes commands fail, a warning what is lax; what is missing may not be needed."""

    OK = "ok"
    MISSING = "missing"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: in which area, what was found, and what mends it where something can be mended."""

    area: str
    name: str
    status: Status
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extra:
    """An extra of the package: the distribution and the module that it brings, and what is without them."""

    distribution: str
    module: str
    without: str


EXTRAS: Final = {
    "lz4": _Extra(distribution="lz4", module="lz4", without="what is compressed with lz4 is a gap: inconclusive"),
    "zstd": _Extra(
        distribution="zstandard",
        module="zstandard",
        without="what is compressed with zstd is a gap: inconclusive",
    ),
    "hdf5": _Extra(distribution="h5py", module="h5py", without="HDF5 and Keras files are not converted"),
    "s3": _Extra(distribution="s3fs", module="s3fs", without="s3:// cannot be read: exit status 4"),
    "gcs": _Extra(distribution="gcsfs", module="gcsfs", without="gs:// cannot be read: exit status 4"),
    "azure": _Extra(distribution="adlfs", module="adlfs", without="az:// cannot be read: exit status 4"),
    "blake3": _Extra(
        distribution="blake3", module="blake3", without="signatures over BLAKE3 digests are refused (SIG_UNSUPPORTED)"
    ),
    "pkcs11": _Extra(distribution="python-pkcs11", module="pkcs11", without="keys on tokens cannot sign"),
}
# Libraries that approved models are given to; the distribution and what needs it.
LIBRARIES: Final = {
    "numpy": "weighbridge.load with framework='numpy'",
    "torch": "weighbridge.load with framework='torch'",
    "jax": "weighbridge.load with framework='jax'",
    "onnxruntime": "weighbridge.load_onnx",
    "transformers": "weighbridge.load.transformers",
    "diffusers": "weighbridge.load.diffusers",
    "vllm": "vllm serve --load-format weighbridge",
}
_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Others that change what commands do; of a secret only that it is set is ever shown.
_VARIABLES: Final = (
    "WEIGHBRIDGE_HOME",
    "WEIGHBRIDGE_CONFIG",
    "WEIGHBRIDGE_TRUST",
    settings.POLICY_VARIABLE,
    settings.WAIVERS_VARIABLE,
    *settings.VARIABLES,
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "MLFLOW_TRACKING_URI",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
)
_SECRETS: Final = (
    "HF_TOKEN",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "DOCKER_AUTH_CONFIG",
    "WEIGHBRIDGE_KEY_PASSWORD",
)


def examine(*, now: datetime) -> Iterator[Check]:
    """Yield everything that is to be said of this installation; `now` has a time zone."""
    looked_at = (_package, _extras, _libraries, _rules, lambda: _policy(now))
    for area in (*looked_at, lambda: _trust(now), _key, _store, _environment, _sandbox):
        try:
            yield from area()
        except UsageError as error:  # nothing tells where to look
            yield Check(area="settings", name="folder", status=Status.ERROR, text=str(error))


def _package() -> Iterator[Check]:
    system = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    where = printable(str(Path(__file__).parent))
    yield Check(area="package", name="weighbridge", status=Status.OK, text=f"{__version__}, in {where}")
    yield Check(area="package", name="python", status=Status.OK, text=system)
    for name in sorted(required()):
        found = _version(name)
        yield Check(
            area="package",
            name=name,
            status=Status.OK if found else Status.ERROR,
            text=found or "not installed, and commands need it",
            fix="" if found else "pip install weighbridge",
        )


def required() -> set[str]:
    """Return the distributions that the package cannot do without."""
    listed = metadata.requires("weighbridge") or []
    names = (re.match(r"[A-Za-z0-9._-]+", one) for one in listed if "extra ==" not in one)
    return {found.group() for found in names if found}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _extras() -> Iterator[Check]:
    for name, extra in EXTRAS.items():
        found = _version(extra.distribution) if util.find_spec(extra.module) else ""
        yield Check(
            area="extras",
            name=name,
            status=Status.OK if found else Status.MISSING,
            text=f"{extra.distribution} {found}" if found else extra.without,
            fix="" if found else f"pip install 'weighbridge[{name}]'",
        )


def _libraries() -> Iterator[Check]:
    """Yield what loads models; their versions are read from what is installed, they are not imported."""
    for name, needs in LIBRARIES.items():
        found = _version(name)
        status = Status.OK if found else Status.MISSING
        yield Check(area="libraries", name=name, status=status, text=found or f"{needs} needs it")


def _rules() -> Iterator[Check]:
    from weighbridge.rules import RuleSet, rules_directory
    from weighbridge.trust import Trust

    try:
        loaded = RuleSet.load(rules_directory())
        reviewed = sum(len(file.packages) for file in Trust(str(rules_directory() / "trust")).files())
    except (DocumentError, OSError) as error:
        yield Check(area="rules", name="rules", status=Status.ERROR, text=printable(str(error)), fix="install it again")
        return
    rules = counted(sum(not rule.retired for rule in loaded.rules), "rule")
    text = f"{rules}, entries for {counted(reviewed, 'package')}, {loaded.digest}"
    yield Check(area="rules", name="rules", status=Status.OK, text=text)


def _policy(now: datetime) -> Iterator[Check]:
    """Yield which policy holds in the current folder, and which of its waivers do not hold any more."""
    today = now.astimezone(UTC).date()
    try:
        chosen = settings.choose(environ=os.environ, folder=settings.current_folder(), today=today)
    except (DocumentError, UsageError) as error:
        yield Check(area="policy", name="judging", status=Status.ERROR, text=printable(str(error)))
        return
    policy = chosen.policy
    named = f"{printable(policy.name)}, {chosen.why or 'as it ships'}"
    where = f", {printable(chosen.path)}" if chosen.path else ""
    text = f"{named}{where}: {counted(len(policy.waivers), 'waiver')}, {policy.digest}"
    yield Check(area="policy", name="judging", status=Status.OK, text=text)
    for one in policy.waivers:
        if one.expires < today:
            text = f"of {one.rule} for {one.digest} ended on {one.expires}"
            yield Check(area="policy", name="waiver", status=Status.WARNING, text=text, fix="renew it, or remove it")


def _trust(now: datetime) -> Iterator[Check]:
    from weighbridge.evidence.trust_lint import lint

    try:
        policy = trust_policy.default()
    except DocumentError as error:
        yield Check(
            area="trust", name="policy", status=Status.ERROR, text=printable(str(error)), fix="correct the file"
        )
        return
    if not policy.digest:
        text = f"{policy.where}: your own key approves on this machine, and no source has a rule"
        fix = "`weighbridge trust init` writes one"
        yield Check(area="trust", name="policy", status=Status.MISSING, text=text, fix=fix)
        return
    rules, approvers = counted(len(policy.rules), "rule"), counted(len(policy.approvers), "approver")
    yield Check(
        area="trust", name="policy", status=Status.OK, text=f"{policy.where}: {rules}, {approvers}, {policy.digest}"
    )
    yield from (_root(name, root, now) for name, root in policy.roots.items())
    for one in lint(policy, trust_policy.place(), now=now):
        status = Status.ERROR if one.error else Status.WARNING
        yield Check(area="trust", name="lint", status=status, text=f"{one.place}: {one.text}")


def _root(name: str, root: Root, now: datetime) -> Check:
    """Say how old a root is; `lint` says what is wrong with it."""
    age = f"{(now.astimezone(UTC).date() - root.updated).days} days old" if root.updated else "of no known age"
    limit = f", {root.max_age_days} are allowed" if root.max_age_days is not None else ""
    digest = f"sha256:{trust_policy.bare(root.sha256)}"
    return Check(area="trust", name=f"root {name}", status=Status.OK, text=f"{root.type}, {age}{limit}, {digest}")


def _key() -> Iterator[Check]:
    from weighbridge.evidence import keys
    from weighbridge.evidence.signers import load_private

    path = home.key_path()
    where = printable(str(path))
    if not os.path.lexists(path):
        fix = "`weighbridge key init` makes one"
        yield Check(area="key", name="own key", status=Status.MISSING, text=f"{where}: not there", fix=fix)
        return
    try:
        pem = home.read_private(path)
        public = keys.pem_digest(home.read_public(home.public_key_path()), printable(str(home.public_key_path())))
        encrypted = b"ENCRYPTED" in pem
        mine = public if encrypted else keys.key_digest(load_private(pem, None, where).public_key())
    except (UsageError, Refusal) as error:
        yield Check(area="key", name="own key", status=Status.ERROR, text=str(error))
        return
    if mine != public:
        text, fix = f"{where}: its public half is another key's", "`weighbridge key export` writes the right one"
        yield Check(area="key", name="own key", status=Status.ERROR, text=text, fix=fix)
        return
    text = f"{where}, {public}{', encrypted' if encrypted else ''}"
    yield Check(area="key", name="own key", status=Status.OK, text=text)


def _store() -> Iterator[Check]:
    from weighbridge.store.layout import check, default_home

    place = default_home()
    where = printable(str(place))
    try:
        if not place.exists():
            yield Check(area="store", name="store", status=Status.OK, text=f"{where}: not there yet")
            return
        check(place)
        files = [one.lstat() for one in place.glob("files/??/*") if not one.is_symlink()]
        free = sized(shutil.disk_usage(place).free)
    except (SourceError, OSError) as error:
        yield Check(area="store", name="store", status=Status.ERROR, text=printable(str(error)))
        return
    mode = f"mode {stat.S_IMODE(place.stat().st_mode):04o}"
    held = f"{counted(len(files), 'file')}, {sized(sum(one.st_size for one in files))}"
    yield Check(area="store", name="store", status=Status.OK, text=f"{where}: {held}, {free} free, {mode}")


def _environment() -> Iterator[Check]:
    """Yield what of the environment decides where connections go."""
    for name in _PROXIES:
        if value := os.environ.get(name) or os.environ.get(name.lower()):
            yield Check(area="environment", name=name, status=Status.OK, text=_bare(value))
    for name in _VARIABLES:
        if value := os.environ.get(name):
            yield Check(area="environment", name=name, status=Status.OK, text=_bare(value))
    for name in _SECRETS:
        if os.environ.get(name):
            yield Check(area="environment", name=name, status=Status.OK, text="is set")


def _bare(value: str) -> str:
    """Return a value without what stands before the host of a URL: that may be a password."""
    return printable(re.sub(r"(?:(?<=://)|^).*@", "…@", value))


def _sandbox() -> Iterator[Check]:
    from weighbridge.isolation import LAYERS, missing_layers

    missing = missing_layers()
    for layer in LAYERS:
        status = Status.MISSING if layer in missing else Status.OK
        yield Check(area="sandbox", name=layer, status=status, text=missing.get(layer, "to be had"))
