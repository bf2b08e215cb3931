"""Mutated keyless bundles: whatever is accepted says what was signed, and whatever is refused has a code."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from keyless_signing import STATEMENT, instance, offline, verify

from weighbridge.refusals import EvidenceError

__all__ = ["offline"]

pytestmark = pytest.mark.usefixtures("offline")

# Mutations of each bundle; a long run sets more.
COUNT = int(os.environ.get("WEIGHBRIDGE_FUZZ", "150"))
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 1 << 63, 1 << 70, "", "A", "AAAA", "=", "é", "\0", "-5", "9" * 19, "1e3", " 1"),
    *([], {}, [None], [[]], {"a": {}}),
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield (*path, key)
        yield from _paths(below, (*path, key))


def _mutate(document: Any, chance: random.Random) -> Any:
    """Return a copy with one value replaced, left out, repeated or with one bit turned."""
    changed = copy.deepcopy(document)
    *above, last = chance.choice(list(_paths(changed)))
    parent = changed
    for key in above:
        parent = parent[key]
    kind = chance.randrange(10)
    if kind < 3:
        parent[last] = chance.choice(VALUES)
    elif kind < 4:
        del parent[last]
    elif kind < 5 and isinstance(parent[last], list):
        parent[last] = parent[last] * 2
    elif isinstance(parent[last], str) and parent[last]:
        parent[last] = _turned(parent[last], chance)
    return changed


def _turned(text: str, chance: random.Random) -> str:
    """Return a text with one bit of what it encodes turned, or another character in it."""
    try:
        raw = bytearray(base64.b64decode(text, validate=True))
    except ValueError:
        raw = bytearray()
    if raw and chance.random() < 0.8:
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        return base64.b64encode(raw).decode("ascii")
    at = chance.randrange(len(text))
    return text[:at] + chance.choice("a9-\n =") + text[at + 1 :]


@pytest.mark.parametrize("kind", ["v1", "v2", "stamped", "file"])
def test_no_mutated_bundle_says_anything_else_than_what_was_signed(kind: str) -> None:
    fake = instance()
    raw = {
        "v1": lambda: fake.envelope(STATEMENT),
        "v2": lambda: fake.envelope(STATEMENT, rekor=2),
        "stamped": lambda: fake.envelope(STATEMENT, stamped=True),
        "file": lambda: fake.file(STATEMENT),
    }[kind]()
    good, document = verify(raw), json.loads(raw)
    chance = random.Random(kind)
    codes: set[str] = set()
    for _ in range(COUNT):
        mutated = json.dumps(_mutate(document, chance)).encode()
        try:
            found = verify(mutated)
        except EvidenceError as refused:
            codes.add(refused.code)
            continue
        said = (found.payload, found.payload_type, found.identity, found.issuer, found.signer)
        assert said == (good.payload, good.payload_type, good.identity, good.issuer, good.signer), mutated
    assert len(codes) > 1
