"""Attempts to have something forged, replayed or denied accepted, or to make verifying take more than it may."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from oms_files import bundle as signed_bundle
from oms_files import payload

from weighbridge.evidence import bundle, statement, strict
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.refusals import SignatureMalformed

HEX = "ab" * 32


# What a document costs before anything in it is verified


@pytest.mark.parametrize("many", [b"[],", b"{},", b"0,", b'{"a":{"a":[[', b'"a",'])
def test_a_document_of_many_values_is_refused_before_they_are_made(many: bytes) -> None:
    """64 MiB of empty lists take 3 GB of memory as Python has them."""
    with pytest.raises(SignatureMalformed, match="more than 3145728 values"):
        strict.read_object(b'{"a":[' + many * (strict.MAX_VALUES + 1), "model.sig")


def test_a_manifest_of_as_many_files_as_a_model_may_have_is_read() -> None:
    listed = [{"name": f"w/{number}", "algorithm": "sha256", "digest": HEX} for number in range(200_000)]
    raw = signed_bundle(payload(listed))
    envelope = bundle.parse(raw, "model.sig").content
    assert isinstance(envelope, bundle.Envelope)
    assert len(statement.parse(envelope.payload, IN_TOTO, "model.sig").predicate["resources"]) == 200_000


@pytest.mark.parametrize("kind", ["certificate", "x509CertificateChain"])
def test_a_large_certificate_is_refused_before_it_is_looked_at(kind: str) -> None:
    """Each of the names in one becomes an object."""
    one = {"rawBytes": base64.b64encode(bytes(bundle.MAX_CERTIFICATE + 1)).decode()}
    material: dict[str, Any] = {kind: one if kind == "certificate" else {"certificates": [one]}}
    document = json.loads(bundle.render(b"{}", IN_TOTO, b"s", {}))
    document["verificationMaterial"] = material
    with pytest.raises(SignatureMalformed, match="a certificate of 65537 bytes"):
        bundle.parse(json.dumps(document).encode(), "model.sig")


# Documents that two readers could read in two ways


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"payload": 1, "pay\u006coad": 2}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": 1}\0',
        b'{"a": 1} {"a": 2}',
        b'{"a": 0x1}',
        b'{"a": 01}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} // b',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\xaf"}',
        b'{"a": "\n"}',
        b'{"a": 184467440737095516160}',
    ],
)
def test_a_document_with_two_meanings_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureMalformed):
        strict.read_object(raw, "model.sig")


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"-0.0", b"true", b'"1"', b"1e400"])
def test_a_number_is_an_integer_and_nothing_like_one(number: bytes) -> None:
    with pytest.raises(SignatureMalformed, match="size is not a number"):
        strict.member(strict.read_object(b'{"size": ' + number + b"}", "x"), "size", int, "x")


@pytest.mark.parametrize(
    "text", ["QQ=", "QQ", "QQ===", "QQ==QQ==", "Q Q==", "QQ==\n", "-_-_", "QQ==\0", "ＱＱ==", "=QQ=", "QQ=\n="]
)
def test_base64_of_other_alphabets_and_paddings_is_refused(text: str) -> None:
    with pytest.raises(SignatureMalformed):
        strict.decode(text, "payload", "x")
