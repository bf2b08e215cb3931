"""A private instance of sigstore: all its keys, the bundles that it makes, and the documents that say to trust it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from servers.fake_sigstore.authority import Authority, log_id, spki
from servers.fake_sigstore.defects import Defect, Flaw
from servers.fake_sigstore.logs import LogKey, Rekor, b64, later
from servers.fake_sigstore.timestamps import Timestamps

IN_TOTO = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
OLD_BUNDLE = "application/vnd.dev.sigstore.bundle+json;version=0."
AGE = timedelta(days=30)  # of the instance

# The last numbers of the OIDs of claims (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).
BUILD_SIGNER, REPOSITORY, REF, BUILD_CONFIG = 9, 12, 14, 18


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who signs: the name and issuer in the certificate, and claims by the last number of their OID."""

    identity: str = "alice@acme.test"
    issuer: str = "https://login.acme.test"
    claims: Mapping[int, str] = field(default_factory=dict)


ALICE = Person()


class FakeSigstore:
    """An instance below a base URL; `now` stops its clock."""

    def __init__(self, base: str = "http://127.0.0.1:1", now: datetime | None = None) -> None:
        self.base, self._now = base, now
        self.born = self.now() - AGE
        self.authority = Authority(self.born)
        self.rekor = Rekor(base.partition("://")[2])
        self.timestamps = Timestamps(self.born)

    def now(self) -> datetime:
        return self._now or datetime.now(UTC)

    def envelope(
        self,
        payload: bytes,
        person: Person = ALICE,
        *,
        rekor: int = 1,
        payload_type: str = IN_TOTO,
        version: int = 3,
        stamped: bool = False,
        defect: Defect | None = None,
    ) -> bytes:
        """Return a bundle over a payload; `stamped` adds a timestamp where the log's time would do."""
        key, certificate = self._certified(person, defect)
        signed = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
        signature = self._sign(key, signed, defect)
        stated = b'{"changed":1}' if defect is Defect.OTHER_PAYLOAD else payload
        logged = self._logged(payload, certificate, signature, defect)
        if rekor == 1:
            entry = self.rekor.log_envelope(*logged, self.now(), defect)
        else:
            other = b"other" if defect is Defect.LOGGED_OTHER_PAYLOAD else signed
            entry = self.rekor.log_v2(hashlib.sha256(other).digest(), *logged[1:], defect)
        envelope = {"payload": b64(stated), "payloadType": payload_type, "signatures": _signatures(signature, defect)}
        material = self._material(certificate, entry, signature, version, rekor == 2 or stamped, defect)
        return _bundle(material, {"dsseEnvelope": envelope}, version)

    def file(
        self, data: bytes, person: Person = ALICE, *, rekor: int = 1, version: int = 3, defect: Defect | None = None
    ) -> bytes:
        """Return a bundle over a file."""
        key, certificate = self._certified(person, defect)
        signature = self._sign(key, data, defect)
        logged, noted, whose = self._logged(data, certificate, signature, defect)
        digest = hashlib.sha256(logged).digest()
        if rekor == 1:
            entry = self.rekor.log_digest(digest, noted, whose, self.now(), defect)
        else:
            entry = self.rekor.log_v2(digest, noted, whose, defect)
        stated = hashlib.sha256(b"other" if defect is Defect.OTHER_PAYLOAD else data).digest()
        signed = {"messageDigest": {"algorithm": "SHA2_256", "digest": b64(stated)}, "signature": b64(signature)}
        material = self._material(certificate, entry, signature, version, rekor == 2, defect)
        return _bundle(material, {"messageSignature": signed}, version)

    def issue(self, key: Any, person: Person, defect: Defect | None = None) -> x509.Certificate:
        """Return a certificate of the authority."""
        return self.authority.issue(key, person.identity, person.issuer, self.now(), person.claims, defect)

    def trusted_root(self, flaw: Flaw | None = None) -> dict[str, Any]:
        """Return what verifies signatures of this instance."""
        base, rekor, authority = self.base, self.rekor, self.authority
        start, end = _text(self.born), _text(self.now() - timedelta(days=1))

        def valid(retired: Flaw) -> dict[str, str]:
            if flaw is Flaw.FUTURE_CA and retired is Flaw.RETIRED_CA:
                return {"start": _text(self.now() + timedelta(days=1))}
            return {"start": start, "end": end} if flaw is retired else {"start": start}

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": []
            if flaw is Flaw.NO_LOGS
            else [
                _log(base, rekor.v1.key, rekor.v1.id, valid(Flaw.RETIRED_LOG)),
                _log(f"{base}/v2", rekor.v2.key, rekor.v2.id, valid(Flaw.RETIRED_LOG)),
            ],
            "certificateAuthorities": []
            if flaw is Flaw.NO_CA
            else [_authority(base, valid(Flaw.RETIRED_CA), authority.intermediate, authority.root)],
            "ctlogs": []
            if flaw is Flaw.NO_CT_LOG
            else [_log(f"{base}/ct", authority.log_key, log_id(authority.log_key), valid(Flaw.RETIRED_CT_LOG))],
            "timestampAuthorities": []
            if flaw is Flaw.NO_TSA
            else [
                _authority(f"{base}/tsa", valid(Flaw.RETIRED_TSA), self.timestamps.certificate, self.timestamps.root)
            ],
        }

    def trust_config(self, rekor: int = 1) -> dict[str, Any]:
        """Return what signs with this instance and verifies (`--trust-config` of the `sigstore` command)."""

        def service(url: str, version: int = 1) -> dict[str, Any]:
            valid = {"start": "2020-01-01T00:00:00Z"}
            return {"url": url, "majorApiVersion": version, "operator": "fake", "validFor": valid}

        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service(self.base)],
                "oidcUrls": [service(f"{self.base}/oidc")],
                "rekorTlogUrls": [service(self.base) if rekor == 1 else service(f"{self.base}/v2", 2)],
                "tsaUrls": [service(f"{self.base}/tsa")] if rekor == 2 else [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def _certified(self, person: Person, defect: Defect | None) -> tuple[Any, x509.Certificate]:
        """Return a key and its certificate."""
        key: Any = ec.generate_private_key(ec.SECP256R1())
        if defect is Defect.RSA_KEY:
            key = rsa.generate_private_key(65537, 2048)
        return key, self.issue(key.public_key(), person, defect)

    def _sign(self, key: Any, message: bytes, defect: Defect | None) -> bytes:
        if defect is Defect.OTHER_KEY:
            key = ec.generate_private_key(ec.SECP256R1())
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, padding.PKCS1v15(), SHA256())
        signature: bytes = key.sign(message, ec.ECDSA(SHA256()))
        return signature

    def _logged(
        self, payload: bytes, certificate: x509.Certificate, signature: bytes, defect: Defect | None
    ) -> tuple[bytes, bytes, x509.Certificate]:
        """Return what the log is told: the payload, signature and certificate, or others."""
        if defect is Defect.LOGGED_OTHER_PAYLOAD:
            return b"other", signature, certificate
        if defect is Defect.LOGGED_OTHER_SIGNATURE:
            return payload, self._sign(ec.generate_private_key(ec.SECP256R1()), payload, None), certificate
        if defect is Defect.LOGGED_OTHER_CERTIFICATE:
            return payload, signature, self._certified(ALICE, None)[1]
        return payload, signature, certificate

    def _material(
        self,
        certificate: x509.Certificate,
        entry: dict[str, Any],
        signature: bytes,
        version: int,
        stamped: bool,
        defect: Defect | None,
    ) -> dict[str, Any]:
        """Return the verification material of a bundle."""
        der = certificate.public_bytes(Encoding.DER)
        raw = {"rawBytes": b64(b"0\x82" if defect is Defect.GARBLED_CERTIFICATE else der)}
        copies = {Defect.NO_ENTRY: 0, Defect.TWO_ENTRIES: 2}.get(defect, 1) if defect else 1
        material: dict[str, Any] = {"tlogEntries": [entry] * copies}
        material |= {"certificate": raw} if version == 3 else {"x509CertificateChain": {"certificates": [raw]}}
        if stamped and defect is not Defect.NO_TIMESTAMP:
            stamps = [{"signedTimestamp": b64(self._stamp(signature, defect))}]
            stamps *= 2 if defect is Defect.TIMESTAMP_TWICE else 1
            material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
        return material

    def _stamp(self, signature: bytes, defect: Defect | None) -> bytes:
        if defect is Defect.GARBLED_TIMESTAMP:
            return b"0\x03\x02\x01"
        who = Timestamps(self.born) if defect is Defect.TIMESTAMP_OTHER_AUTHORITY else self.timestamps
        message = b"other" if defect is Defect.TIMESTAMP_OTHER_MESSAGE else signature
        return who.stamp(hashlib.sha256(message).digest(), later(self.now(), defect))


def _signatures(signature: bytes, defect: Defect | None) -> list[dict[str, str]]:
    one = {"sig": b64(signature)}
    if defect is Defect.NO_SIGNATURE:
        return []
    return [one, one] if defect is Defect.TWO_SIGNATURES else [one]


def _bundle(material: dict[str, Any], content: dict[str, Any], version: int) -> bytes:
    media_type = BUNDLE if version == 3 else f"{OLD_BUNDLE}{version}"
    return json.dumps({"mediaType": media_type, "verificationMaterial": material, **content}).encode("ascii")


def _log(url: str, key: LogKey, identifier: bytes, valid: dict[str, str]) -> dict[str, Any]:
    details = "PKIX_ECDSA_P256_SHA_256" if isinstance(key, ec.EllipticCurvePrivateKey) else "PKIX_ED25519"
    public = {"rawBytes": b64(spki(key.public_key())), "keyDetails": details, "validFor": valid}
    return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": {"keyId": b64(identifier)}}


def _authority(uri: str, valid: dict[str, str], *chain: x509.Certificate) -> dict[str, Any]:
    certificates = [{"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in chain]
    subject = {"organization": "fake.test", "commonName": "fake"}
    return {"subject": subject, "uri": uri, "certChain": {"certificates": certificates}, "validFor": valid}


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
