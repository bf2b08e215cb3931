"""Approved folders for tests of the loader: scanned, signed with a key of their own, and lying beside their files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from weighbridge.approve import RESERVED, Granted, Terms, approve
from weighbridge.desk import Desk
from weighbridge.evidence import home
from weighbridge.evidence.signers import KeySigner
from weighbridge.evidence.trust_policy import OWN_VERIFIER
from weighbridge.limits import Limits
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.sources import scan_folder
from weighbridge.trust import Trust

ITEM = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


class Part(NamedTuple):
    """A tensor of a file that is written by hand."""

    dtype: str
    shape: Sequence[int]
    data: bytes


def packed(tensors: Mapping[str, Part], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a safetensors file, its header padded to 64 bytes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, part in tensors.items():
        end = offset + len(part.data)
        header[name] = {"dtype": part.dtype, "shape": list(part.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text + b"".join(part.data for part in tensors.values())


def approved_folder(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    at: datetime | None = None,
    days: float = 30,
    verifier: str = OWN_VERIFIER,
    config: Path | None = None,
) -> Granted:
    """Write files, scan them, and approve the folder with the user's own key, which is made when there is none.

    The approval holds from `at` (None: now) for `days`; `config` is where the key is (None: the user's own place).
    """
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    key = (config or home.folder()) / "key.pem"
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        home.make_key(key, key.with_name("key.pub.pem"))
    begin = at or datetime.now(UTC).replace(microsecond=0)
    terms = Terms(at=begin, expires=begin + timedelta(days=days), verifier=verifier, resource="hf://acme/m@" + "5" * 40)
    signer = KeySigner(key.read_bytes(), where=str(key))
    desk = Desk(rules=RuleSet.shipped(), trust=Trust(f"{shipped_folder()}/trust"), limits=Limits(), digest=True)
    return approve(folder, scan_folder(folder, desk, beside=RESERVED), signer, terms)
