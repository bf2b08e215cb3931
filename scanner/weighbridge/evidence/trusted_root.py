"""Trust roots of sigstore: the authorities and logs of an instance, and those of them that served at a time.

A key that was retired says nothing about what is signed later, whoever may have it by then. sigstore-python takes
retired certificate authorities and logs for good at any time, so what did not serve when a signature was made is left
out before it sees the root.

Source: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from weighbridge.evidence.fingerprints import fingerprints
from weighbridge.evidence.strict import decode, member, read_object
from weighbridge.records import dataclass
from weighbridge.refusals import SignatureInvalid, SignatureMalformed, SignerUntrusted, TrustCorrupt

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_AUTHORITIES: Final = "certificateAuthorities"
_STAMPS: Final = "timestampAuthorities"
_LOGS: Final = {"tlogs": "log", "ctlogs": "sct"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRoot:
    """A trust root, whose bytes are those that the trust policy pins; `where` names it in errors."""

    where: str
    document: dict[str, Any]


def parse(raw: bytes, where: str) -> TrustedRoot:
    """Return the trust root in pinned bytes.

    Raises TrustCorrupt when they are none or lack what every signature needs.
    """
    try:
        return _checked(read_object(raw, where), where)
    except SignatureMalformed as error:
        raise TrustCorrupt(where, f"not a sigstore trust root: {error.reason}") from error


def within(raw: bytes, where: str) -> TrustedRoot:
    """Return the trust root in a client's configuration; raise TrustCorrupt as `parse` does."""
    try:
        return _checked(member(read_object(raw, where), "trustedRoot", dict, where), where)
    except SignatureMalformed as error:
        raise TrustCorrupt(where, f"not a client's configuration: {error.reason}") from error


def _checked(document: dict[str, Any], where: str) -> TrustedRoot:
    if document.get("mediaType") != MEDIA_TYPE:
        raise TrustCorrupt(where, f"the media type {document.get('mediaType')!a} is not that of a sigstore trust root")
    for key in (_AUTHORITIES, *_LOGS, _STAMPS):
        services = member({_STAMPS: [], **document}, key, list, where)
        for service in services:
            _window(service, key, where)
        if not services and key != _STAMPS:
            raise TrustCorrupt(where, f"the trust root names no {key}", "update it, or name the right file")
    return TrustedRoot(where=where, document=document)


def serving(root: TrustedRoot, times: Iterable[datetime], where: str) -> dict[str, Any]:
    """Return the trust root with the services alone that served at all `times`.

    Raises SignerUntrusted when that leaves no certificate authority, SignatureInvalid when it leaves no log.
    """
    moments = tuple(times)
    left = {
        key: [
            one for one in root.document.get(key, ()) if all(_covers(_window(one, key, root.where), t) for t in moments)
        ]
        for key in (_AUTHORITIES, *_LOGS, _STAMPS)
    }
    when = ", ".join(f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments)
    if not left[_AUTHORITIES]:
        raise SignerUntrusted(where, f"no certificate authority of {root.where} served at {when}")
    for key, step in _LOGS.items():
        if not left[key]:
            raise SignatureInvalid(where, f"no log ({key}) of {root.where} served at {when}", step=step)
    return root.document | left


def without(root: TrustedRoot, denied: Callable[[str], bool]) -> TrustedRoot:
    """Return a trust root without the authorities that have a denied certificate; raise TrustCorrupt for one without.

    `denied` is asked by the sha256 of a certificate's DER.
    """
    left = {
        key: [one for one in root.document.get(key, ()) if not any(map(denied, _fingerprints(one, key, root.where)))]
        for key in (_AUTHORITIES, _STAMPS)
    }
    return TrustedRoot(where=root.where, document=root.document | left)


def _fingerprints(service: dict[str, Any], key: str, where: str) -> Iterator[str]:
    """Yield the digests by which the certificates of an authority may be known."""
    try:
        for one in service["certChain"]["certificates"]:
            yield from fingerprints(decode(one["rawBytes"], "rawBytes", where))
    except (KeyError, TypeError, SignatureMalformed) as error:
        raise TrustCorrupt(where, f"{key} has an entry without a chain of certificates") from error


def stamping(root: TrustedRoot, moment: datetime) -> list[dict[str, Any]]:
    """Return the timestamp authorities that served at a time."""
    return [one for one in root.document.get(_STAMPS, ()) if _covers(_window(one, _STAMPS, root.where), moment)]


def _window(service: object, key: str, where: str) -> tuple[datetime | None, datetime | None]:
    """Return from when to when a service served, None where it says nothing."""
    match service:
        case {"publicKey": {**inner}} if key in _LOGS:
            valid = inner.get("validFor", {})
        case {"validFor": {**inner}} if key not in _LOGS:
            valid = inner
        case _:
            raise SignatureMalformed(where, f"{key} has an entry without its key or its time")
    if not isinstance(valid, dict):
        raise SignatureMalformed(where, f"{key} has a time that is no object")
    return _moment(valid.get("start"), where), _moment(valid.get("end"), where)


def _moment(value: object, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SignatureMalformed(where, f"{value!a} is not a time of RFC 3339")
    return moment


def _covers(window: tuple[datetime | None, datetime | None], moment: datetime) -> bool:
    start, end = window
    return (start is None or start <= moment) and (end is None or moment <= end)
