"""The model as stored: files at an immutable revision."""

from __future__ import annotations

from dataclasses import dataclass

from weighbridge.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of an artifact; `claims` are digests that a registry declares, not yet verified."""

    path: str
    size: int
    claims: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A model: where it came from, the revision it was pinned to, and its files."""

    reference: str
    revision: str
    files: tuple[File, ...]
