"""Timestamps of RFC 3161 over a signature, for certificates that have run out since.

A stamp proves that the signature was there at a time, if an authority of the trust root made it while it served. The
chain from the stamp to the authority is verified by `rfc3161_client`.

Source: RFC 3161 §2.4.2, https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from weighbridge.evidence import trusted_root
from weighbridge.evidence.strict import decode
from weighbridge.evidence.trusted_root import TrustedRoot
from weighbridge.location import printable
from weighbridge.refusals import SignatureInvalid, SignatureMalformed, TrustCorrupt

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

MAX_STAMPS: Final = 32  # as sigstore's clients have it


def read(material: Mapping[str, Any], where: str) -> list[bytes]:
    """Return the timestamps in the verification material of a bundle; raise SignatureMalformed when they are none."""
    data = material.get("timestampVerificationData") or {}
    stamps = data.get("rfc3161Timestamps") or [] if isinstance(data, dict) else None
    if not isinstance(stamps, list) or not all(isinstance(one, dict) for one in stamps):
        raise SignatureMalformed(where, "rfc3161Timestamps is not a list of timestamps")
    if len(stamps) > MAX_STAMPS:
        raise SignatureMalformed(where, f"{len(stamps)} timestamps, at most {MAX_STAMPS} are looked at")
    return [decode(one.get("signedTimestamp"), "signedTimestamp", where) for one in stamps]


def verify(stamps: Sequence[bytes], signature: bytes, root: TrustedRoot, where: str) -> datetime:
    """Return the earliest time that an authority of the trust root vouches for; raise SignatureInvalid without one."""
    from rfc3161_client import decode_timestamp_response

    times: list[datetime] = []
    reason = "it has no timestamp"
    for stamp in stamps:
        try:
            response = decode_timestamp_response(stamp)
        except ValueError as error:
            reason = f"a timestamp cannot be read: {printable(str(error))}"
            continue
        for chain in _authorities(root, response.tst_info.gen_time):
            reason = _problem(response, signature, chain)
            if not reason:
                times.append(response.tst_info.gen_time)
    if not times:
        fix = "ask for a signature with a timestamp of an authority that the trust policy names"
        raise SignatureInvalid(
            where, f"no authority of {root.where} vouches for its time: {reason}", fix, step="timestamp"
        )
    return min(times)


def _authorities(root: TrustedRoot, moment: datetime) -> list[list[Certificate]]:
    """Return the chains, leaf first, of the timestamp authorities that served at a time."""
    from cryptography.x509 import load_der_x509_certificate

    chains = []
    for service in trusted_root.stamping(root, moment):
        try:
            entries = service["certChain"]["certificates"]
            chains.append(
                [load_der_x509_certificate(decode(one["rawBytes"], "rawBytes", root.where)) for one in entries]
            )
        except (KeyError, TypeError, ValueError, SignatureMalformed) as error:
            raise TrustCorrupt(root.where, "a timestamp authority has no chain of certificates") from error
    return chains


def _problem(response: TimeStampResponse, signature: bytes, chain: list[Certificate]) -> str:
    """Return why an authority does not vouch for a stamp over the signature, nothing when it does."""
    from rfc3161_client import VerificationError, VerifierBuilder

    if len(chain) < 2:  # the authority and its root
        return "its authority has no chain of certificates"
    builder = VerifierBuilder().tsa_certificate(chain[0]).add_root_certificate(chain[-1])
    for certificate in chain[1:-1]:
        builder = builder.add_intermediate_certificate(certificate)
    try:
        builder.build().verify_message(response, signature)
    except (VerificationError, ValueError) as error:
        return printable(str(error))
    return ""
