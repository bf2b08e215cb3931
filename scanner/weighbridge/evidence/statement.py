"""In-toto statements, parsed strictly and by our own hand: sigstore's parser refuses statements that cosign writes.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.strict import canonical, member, read_object
from weighbridge.records import dataclass
from weighbridge.refusals import SignatureMalformed, SignatureUnsupported

TYPE: Final = "https://in-toto.io/Statement/v1"
_TYPES: Final = (TYPE, "https://in-toto.io/Statement/v0.1")
SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
PASSED: Final = "PASSED"  # what a summary says of what passed, and
FAILED: Final = "FAILED"  # of anything else
TREE: Final = "urn:weighbridge:tree:1"  # the name of the subject that is the tree; no path of a file has a colon in it
TIME: Final = "%Y-%m-%dT%H:%M:%SZ"  # RFC 3339, in UTC, to the second
MAX_SUBJECTS: Final = 200_001  # as many files as an artifact may have, and the tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a statement is about: a name, empty when it has none, and digests in hexadecimal by their algorithm."""

    name: str
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement: a predicate of some type about subjects."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]


def parse(payload: bytes, payload_type: str, where: str) -> Statement:
    """Return the statement in the payload of an envelope.

    Raises SignatureUnsupported when the payload is of another type, SignatureMalformed when it is no statement.
    """
    if payload_type != IN_TOTO:
        raise SignatureUnsupported(where, f"the payload is of type {payload_type!a}, not an in-toto statement")
    value = read_object(payload, where)
    if value.get("_type") not in _TYPES:
        raise SignatureUnsupported(where, f"a statement of type {value.get('_type')!a}")
    subjects = member(value, "subject", list, where)
    if not 1 <= len(subjects) <= MAX_SUBJECTS:
        raise SignatureMalformed(where, f"a statement has 1 to {MAX_SUBJECTS} subjects, this has {len(subjects)}")
    predicate = value.get("predicate")
    if predicate is not None and not isinstance(predicate, dict):
        raise SignatureMalformed(where, "predicate is not an object")
    return Statement(
        subjects=tuple(_subject(one, where) for one in subjects),
        predicate_type=member(value, "predicateType", str, where),
        predicate=MappingProxyType(predicate or {}),
    )


def render(subjects: Iterable[Subject], predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Return a statement as the payload of an envelope of type `dsse.IN_TOTO`: canonical JSON."""
    return canonical(
        {
            "_type": TYPE,
            "subject": [{"name": one.name, "digest": dict(one.digests)} for one in subjects],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def _subject(value: object, where: str) -> Subject:
    if not isinstance(value, dict):
        raise SignatureMalformed(where, "a subject is not an object")
    name, digests = value.get("name", ""), member(value, "digest", dict, where)
    if not isinstance(name, str) or not digests or not all(isinstance(one, str) for one in digests.values()):
        raise SignatureMalformed(where, "a subject has a name that is text, and digests")
    return Subject(name=name, digests=MappingProxyType(digests))
