"""The instance served over HTTP on 127.0.0.1, so that real clients sign with it.

Certificates are issued as Fulcio's API version 2 does it, for tokens that this instance's own OIDC issuer signed and
for keys whose possession is proved; entries are logged as Rekor's API versions 1 and 2 do, timestamps by RFC 3161.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any, Self

import jwt
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from servers.fake_sigstore.instance import ALICE, FakeSigstore, Person
from servers.serving import Faults, Reply, Request, Server

AUDIENCE = "sigstore"


class SigstoreServer:
    """An instance and its server; a context manager."""

    def __init__(self) -> None:
        self.server = Server(self._answer, Faults())
        self.instance = FakeSigstore(self.server.origin)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._answers: dict[str, Callable[[Request], Reply]] = {
            "/oidc/.well-known/openid-configuration": self._discover,
            "/api/v2/signingCert": self._issue,
            "/api/v1/log/entries": self._log_v1,
            "/v2/api/v2/log/entries": self._log_v2,
            "/tsa": self._stamp,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for."""
        return [entry.target for entry in self.server.log]

    def token(self, person: Person = ALICE, **claims: object) -> str:
        """Return an identity token, which says who somebody is."""
        now = int(time.time())
        said = {"aud": AUDIENCE, "sub": person.identity, "email": person.identity, "iss": person.issuer}
        return jwt.encode(said | {"iat": now - 1, "exp": now + 600} | claims, self._key, algorithm="ES256")

    def _answer(self, request: Request) -> Reply:
        answer = self._answers.get(request.path.rstrip("/"))
        return Reply(status=404, body=b'{"message": "not found"}') if answer is None else answer(request)

    def _discover(self, request: Request) -> Reply:
        url = f"{self.server.origin}/oidc"
        return _json(
            {"issuer": url, "authorization_endpoint": f"{url}/auth", "token_endpoint": f"{url}/token"}, status=200
        )

    def _issue(self, request: Request) -> Reply:
        try:
            claims = jwt.decode(request.token, self._key.public_key(), algorithms=["ES256"], audience=AUDIENCE)
        except jwt.InvalidTokenError as error:
            return _json({"code": 16, "message": str(error)}, status=401)
        asked = x509.load_pem_x509_csr(base64.b64decode(json.loads(request.body)["certificateSigningRequest"]))
        if not asked.is_signature_valid:
            return _json({"code": 3, "message": "no proof of possession"}, status=400)
        person = Person(identity=claims["sub"], issuer=claims["iss"])
        authority = self.instance.authority
        chain = (self.instance.issue(asked.public_key(), person), authority.intermediate, authority.root)
        pems = [one.public_bytes(Encoding.PEM).decode("ascii") for one in chain]
        return _json({"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}})

    def _log_v1(self, request: Request) -> Reply:
        asked = json.loads(request.body)
        rekor, now = self.instance.rekor, self.instance.now()
        if asked["kind"] == "dsse":
            content = asked["spec"]["proposedContent"]
            envelope = json.loads(content["envelope"])
            certificate = x509.load_pem_x509_certificate(base64.b64decode(content["verifiers"][0]))
            signature = base64.b64decode(envelope["signatures"][0]["sig"])
            entry = rekor.log_envelope(base64.b64decode(envelope["payload"]), signature, certificate, now, None)
        else:
            spec = asked["spec"]
            certificate = x509.load_pem_x509_certificate(base64.b64decode(spec["signature"]["publicKey"]["content"]))
            digest = bytes.fromhex(spec["data"]["hash"]["value"])
            entry = rekor.log_digest(digest, base64.b64decode(spec["signature"]["content"]), certificate, now, None)
        return _json({"00" * 32: _as_v1(entry)})

    def _log_v2(self, request: Request) -> Reply:
        asked = json.loads(request.body)["hashedRekordRequestV002"]
        raw = base64.b64decode(asked["signature"]["verifier"]["x509Certificate"]["rawBytes"])
        signature = base64.b64decode(asked["signature"]["content"])
        certificate = x509.load_der_x509_certificate(raw)
        return _json(self.instance.rekor.log_v2(base64.b64decode(asked["digest"]), signature, certificate, None))

    def _stamp(self, request: Request) -> Reply:
        asked = tsp.TimeStampReq.load(request.body)
        imprint = asked["message_imprint"]["hashed_message"].native
        body = self.instance.timestamps.stamp(imprint, self.instance.now(), asked["nonce"].native)
        return Reply(status=201, headers={"Content-Type": "application/timestamp-reply"}, body=body)


def _json(value: object, status: int = 201) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode())


def _as_v1(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as version 1 of the log answers with it: numbers, and hexadecimal."""
    proof = entry["inclusionProof"]
    return {
        "body": entry["canonicalizedBody"],
        "integratedTime": int(entry["integratedTime"]),
        "logID": _hex(entry["logId"]["keyId"]),
        "logIndex": int(entry["logIndex"]),
        "verification": {
            "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "inclusionProof": {
                "checkpoint": proof["checkpoint"]["envelope"],
                "hashes": [_hex(one) for one in proof["hashes"]],
                "logIndex": int(proof["logIndex"]),
                "rootHash": _hex(proof["rootHash"]),
                "treeSize": int(proof["treeSize"]),
            },
        },
    }


def _hex(text: str) -> str:
    return base64.b64decode(text).hex()
