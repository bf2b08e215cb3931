"""Dead Simple Signing Envelope: what is signed is the payload together with its type.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from weighbridge.evidence import keys
from weighbridge.evidence.strict import decode, member
from weighbridge.records import dataclass
from weighbridge.refusals import SignatureMalformed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

IN_TOTO: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An envelope with its one signature, none of it verified.

    The key id is left out: it is unsigned, so it can say nothing about who signed.
    """

    payload: bytes
    payload_type: str
    signature: bytes


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding, the bytes that are signed.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def parse(value: dict[str, Any], where: str) -> Envelope:
    """Return the envelope in a JSON object.

    Raises SignatureMalformed when it is none, or has not exactly one signature: with several, what was verified and
    what somebody else verifies may differ.
    """
    signatures = member(value, "signatures", list, where)
    if len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise SignatureMalformed(where, f"an envelope needs exactly one signature, this has {len(signatures)}")
    return Envelope(
        payload=decode(value.get("payload"), "payload", where),
        payload_type=_payload_type(value, where),
        signature=decode(signatures[0].get("sig"), "sig", where),
    )


def _payload_type(value: dict[str, Any], where: str) -> str:
    """Return the type of a payload; none has the empty one, which stands for a plain file elsewhere."""
    found: str = member(value, "payloadType", str, where)
    if not found:
        raise SignatureMalformed(where, "payloadType is empty")
    return found


def verify(envelope: Envelope, key: PublicKeyTypes, where: str) -> None:
    """Raise SignatureInvalid unless the envelope is signed by the key."""
    keys.check(key, envelope.signature, pae(envelope.payload_type, envelope.payload), where)
