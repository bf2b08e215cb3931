"""Sigstore bundles of versions 0.1 to 0.3, parsed strictly; nothing of a bundle is trusted for being in it.

Source: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto, and the OpenSSF Model Signing
1.0 specification for bundles without a log entry.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from weighbridge.digest import Digest
from weighbridge.evidence import dsse
from weighbridge.evidence.base import Method
from weighbridge.evidence.dsse import Envelope
from weighbridge.evidence.strict import decode, member, read_object
from weighbridge.records import dataclass, field
from weighbridge.refusals import SignatureMalformed, SignatureUnsupported

# Bytes: the manifest of a repository with 200 000 files takes 40 MB in base64.
LIMIT: Final = 64 << 20
MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
MEDIA_TYPES: Final = frozenset(
    {MEDIA_TYPE, *(f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3))}
)
MAX_CERTIFICATES: Final = 10
# Bytes; one with a key of RSA 16384 takes 5 kB, and every name in one becomes an object when it is looked at.
MAX_CERTIFICATE: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSignature:
    """A signature over a plain file, of which the bundle says this digest."""

    algorithm: str
    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle: how it may be signed, with what, and what.

    `where` names it in errors. `methods` are those that its material allows. `certificates` are DER, the leaf
    first. `hint` only says which key to try. `logged` tells whether it has entries of a transparency log; they are in
    `material`, the verification material as it stands.
    """

    where: str
    raw: bytes
    methods: frozenset[Method]
    content: Envelope | FileSignature
    certificates: tuple[bytes, ...] = ()
    hint: str = ""
    logged: bool = False
    material: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> Digest:
        """The digest of the bundle's bytes."""
        return Digest.of(self.raw)


def parse(raw: bytes, where: str) -> Bundle:
    """Return the bundle in `raw`.

    Raises SignatureMalformed when it is none, SignatureUnsupported when it is of a version that is not understood.
    """
    if len(raw) > LIMIT:
        raise SignatureMalformed(where, f"{len(raw)} bytes, a bundle has at most {LIMIT}")
    value = read_object(raw, where)
    media_type = value.get("mediaType")
    if not isinstance(media_type, str) or media_type not in MEDIA_TYPES:
        raise SignatureUnsupported(where, f"the media type {media_type!a} is not that of a sigstore bundle 0.1 to 0.3")
    _refuse_aliases(value, where)
    material = member(value, "verificationMaterial", dict, where)
    logged = bool(material.get("tlogEntries"))
    methods, certificates, hint = _material(material, logged, where)
    return Bundle(
        where=where,
        raw=raw,
        methods=methods,
        content=_content(value, where),
        certificates=certificates,
        hint=hint,
        logged=logged,
        material=MappingProxyType(material),
    )


def _refuse_aliases(value: object, where: str) -> None:
    """Refuse the other name that every field of a protocol buffer has: some readers would take it, some not."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if any("_" in key for key in one):
                raise SignatureMalformed(
                    where, "a field by its name in protocol buffers, which readers of JSON pass over"
                )
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


def _material(value: dict[str, Any], logged: bool, where: str) -> tuple[frozenset[Method], tuple[bytes, ...], str]:
    kinds = [kind for kind in ("publicKey", "x509CertificateChain", "certificate") if value.get(kind) is not None]
    if len(kinds) != 1:
        raise SignatureMalformed(where, f"a bundle names one key or certificate, this has {', '.join(kinds) or 'none'}")
    inner = member(value, kinds[0], dict, where)
    if kinds[0] == "publicKey":
        hint = inner.get("hint", "")
        return frozenset({Method.KEY}), (), hint if isinstance(hint, str) else ""
    if kinds[0] == "certificate":
        return frozenset({Method.SIGSTORE}), (_certificate(inner, where),), ""
    chain = member(inner, "certificates", list, where)
    if not 1 <= len(chain) <= MAX_CERTIFICATES or not all(isinstance(one, dict) for one in chain):
        raise SignatureMalformed(where, f"a chain has 1 to {MAX_CERTIFICATES} certificates")
    # Versions 0.1 and 0.2 keep the certificate of a keyless signature in a chain, too.
    methods = frozenset({Method.CERTIFICATE, Method.SIGSTORE} if logged else {Method.CERTIFICATE})
    return methods, tuple(_certificate(one, where) for one in chain), ""


def _certificate(value: dict[str, Any], where: str) -> bytes:
    raw = decode(value.get("rawBytes"), "certificate", where)
    if len(raw) > MAX_CERTIFICATE:
        raise SignatureMalformed(where, f"a certificate of {len(raw)} bytes, limit is {MAX_CERTIFICATE}")
    return raw


def _content(value: dict[str, Any], where: str) -> Envelope | FileSignature:
    envelope, message = value.get("dsseEnvelope"), value.get("messageSignature")
    if (envelope is None) == (message is None):
        raise SignatureMalformed(where, "a bundle has either a dsseEnvelope or a messageSignature")
    if envelope is not None:
        return dsse.parse(member(value, "dsseEnvelope", dict, where), where)
    inner = member(value, "messageSignature", dict, where)
    digest = member(inner, "messageDigest", dict, where)
    return FileSignature(
        algorithm=member(digest, "algorithm", str, where),
        digest=decode(digest.get("digest"), "digest", where),
        signature=decode(inner.get("signature"), "signature", where),
    )


def render(payload: bytes, payload_type: str, signature: bytes, material: dict[str, Any]) -> bytes:
    """Return a bundle of version 0.3 as JSON; `material` is its verification material."""
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"tlogEntries": [], **material},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": payload_type,
            "signatures": [{"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}],
        },
    }
    return json.dumps(document, sort_keys=True).encode("ascii") + b"\n"
