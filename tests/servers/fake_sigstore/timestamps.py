"""A timestamp authority: RFC 3161 timestamps as CMS (RFC 5652), with the certificate embedded (RFC 5816)."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from servers.fake_sigstore.authority import ca_certificate, key_usage

POLICY = "1.3.6.1.4.1.57264.2"


class Timestamps:
    """A root and the key that signs timestamps."""

    def __init__(self, born: datetime) -> None:
        root_key = ec.generate_private_key(ec.SECP384R1())
        self.root = ca_certificate("fake timestamp root", root_key, born, depth=0)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _certificate(self._key, self.root, root_key, born)

    def stamp(self, imprint: bytes, now: datetime, nonce: int | None = None) -> bytes:
        """Return the DER of a response that says that a sha256 digest was there now."""
        digest = algos.DigestAlgorithm({"algorithm": "sha256"})
        content = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": POLICY,
                "message_imprint": {"hash_algorithm": digest, "hashed_message": imprint},
                "serial_number": x509.random_serial_number(),
                "gen_time": now.replace(microsecond=0),
                **({} if nonce is None else {"nonce": nonce}),
            }
        ).dump()
        der = self.certificate.public_bytes(Encoding.DER)
        embedded = asn1_x509.Certificate.load(der)
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [digest],
                "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
                "signer_infos": [self._signer(content, der, embedded, digest)],
                "certificates": [embedded],
            }
        )
        token = cms.ContentInfo({"content_type": "signed_data", "content": signed})
        answer: bytes = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
        return answer

    def _signer(self, content: bytes, der: bytes, certificate: Any, digest: Any) -> Any:
        named = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(der).digest()})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
                cms.CMSAttribute(
                    {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [named]})]}
                ),
            ]
        )
        whose = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        return cms.SignerInfo(
            {
                "version": "v1",
                "sid": {"issuer_and_serial_number": whose},
                "digest_algorithm": digest,
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                "signature": self._key.sign(attributes.untag().dump(), ec.ECDSA(SHA256())),
            }
        )


def _certificate(
    key: ec.EllipticCurvePrivateKey, root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, born: datetime
) -> x509.Certificate:
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake timestamps")]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(born)
        .not_valid_after(born + timedelta(days=3000))
        .add_extension(key_usage(signs=True, certifies=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(issuer_id, critical=False)
    )
    return builder.sign(root_key, SHA256())
