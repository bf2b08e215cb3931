"""Manifests and indexes: what a registry keeps under a tag or digest, decoded strictly.

Every tool must see the same layers, so what one tool takes for an image and another for an index is refused
(CVE-2021-41190), and so are duplicate keys.

Specifications: OCI image specification 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's image manifest
version 2, schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.records import dataclass, field
from weighbridge.registries.oci.reference import DIGEST

LIMIT: Final = 4 << 20  # bytes of a manifest or index; what the specification asks registries to accept
MAX_SIZE: Final = 1 << 50  # bytes of a blob; beyond it a size is an error or an attack on whoever adds sizes up

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_MANIFESTS: Final = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES: Final = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
ACCEPT: Final = ", ".join((*_MANIFESTS, *_INDEXES))

# Children of an index that describe another child instead of being a model: BuildKit writes them.
_BESIDE: Final = "vnd.docker.reference.type"
_UNKNOWN: Final = "unknown/unknown"
_COMMON: Final = "linux/amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a manifest says of a blob or another manifest; `platform` is `os/architecture[/variant]` or empty."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    platform: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A config and layers; `artifact_type` falls back to the media type of the config, as the specification has it."""

    digest: str
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Manifests to choose from."""

    digest: str
    media_type: str
    manifests: tuple[Descriptor, ...]


def decode(body: bytes, content_type: str, digest: str, source: str) -> Manifest | Index:
    """Return the manifest or index in `body`, whose digest was verified; `source` names it in errors.

    Raises SourceError when it is neither, both, or malformed.
    """
    document = _document(body, source)
    declared = document.get("mediaType", "")
    header = content_type.partition(";")[0].strip().lower()
    media_type = declared or header
    if not isinstance(media_type, str) or (header in (*_MANIFESTS, *_INDEXES) and header != media_type):
        raise _refusal(source, f"it is {declared!a} by its own account and {header!a} by the server's")
    if media_type in _MANIFESTS:
        return _manifest(document, media_type, digest, source)
    if media_type in _INDEXES:
        return _index(document, media_type, digest, source)
    raise _refusal(source, f"{media_type!a} is neither a manifest nor an index that can be read")


def choose(index: Index, source: str) -> Descriptor:
    """Return the one child of an index that is the model.

    Nothing about this machine decides. Attestations beside the images do not count; a single child is it, else the
    single one that says to be an artifact, else the one for linux/amd64. Raises SourceError when none is left.
    """
    found = [child for child in index.manifests if _BESIDE not in child.annotations and child.platform != _UNKNOWN]
    for candidates in (
        found,
        [child for child in found if child.artifact_type],
        [child for child in found if child.platform == _COMMON],
    ):
        if len(candidates) == 1:
            return candidates[0]
    known = ", ".join(f"@{child.digest} ({child.platform or child.artifact_type or 'no platform'})" for child in found)
    raise _refusal(source, f"an index of {len(found)} manifests; name one of them: {printable(known[:2000])}")


def _manifest(document: dict[str, Any], media_type: str, digest: str, source: str) -> Manifest:
    if "manifests" in document:
        raise _refusal(source, "it has layers and manifests, so tools differ on what it is")
    match document:
        case {"schemaVersion": 2, "config": config, "layers": [*layers]}:
            first = descriptor(config, f"{source}: config")
        case _:
            raise _refusal(source, "a manifest has a schemaVersion of 2, a config and layers")
    subject = document.get("subject")
    return Manifest(
        digest=digest,
        media_type=media_type,
        artifact_type=_text(document, "artifactType", source) or first.media_type,
        config=first,
        layers=tuple(descriptor(layer, f"{source}: layer {number}") for number, layer in enumerate(layers)),
        subject=None if subject is None else descriptor(subject, f"{source}: subject"),
        annotations=_annotations(document, source),
    )


def _index(document: dict[str, Any], media_type: str, digest: str, source: str) -> Index:
    if "layers" in document or "config" in document:
        raise _refusal(source, "it has layers and manifests, so tools differ on what it is")
    match document:
        case {"schemaVersion": 2, "manifests": [*children]}:
            found = (descriptor(child, f"{source}: manifest {number}") for number, child in enumerate(children))
            return Index(digest=digest, media_type=media_type, manifests=tuple(found))
    raise _refusal(source, "an index has a schemaVersion of 2 and manifests")


def descriptor(value: Any, source: str) -> Descriptor:
    """Return a descriptor; raise SourceError when it is malformed or has another digest than sha256."""
    match value:
        case {"mediaType": str(media_type), "digest": str(digest), "size": int(size)} if (
            DIGEST.fullmatch(digest) and type(size) is int and 0 <= size <= MAX_SIZE
        ):
            return Descriptor(
                media_type=media_type,
                digest=digest,
                size=size,
                artifact_type=_text(value, "artifactType", source),
                platform=_platform(value.get("platform"), source),
                annotations=_annotations(value, source),
            )
    raise _refusal(source, "a descriptor has a mediaType, a digest of sha256 and a size")


def _platform(value: Any, source: str) -> str:
    match value:
        case None:
            return ""
        case {"os": str(system), "architecture": str(architecture)}:
            variant = _text(value, "variant", source)
            return f"{system}/{architecture}/{variant}" if variant else f"{system}/{architecture}"
    raise _refusal(source, "a platform has an os and an architecture")


def _annotations(document: Mapping[str, Any], source: str) -> Mapping[str, str]:
    found = document.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _refusal(source, "annotations are texts by name")
    return found


def _text(document: Mapping[str, Any], key: str, source: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise _refusal(source, f"{key} is not a text")
    return value


def _document(body: bytes, source: str) -> dict[str, Any]:
    def unique(found: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(found)
        if len(result) != len(found):
            raise ValueError("a key comes twice")
        return result

    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _refusal(source, f"not JSON that every tool reads alike: {error}") from error
    if not isinstance(document, dict):
        raise _refusal(source, "not a JSON object")
    return document


def _refusal(source: str, reason: str) -> SourceError:
    return SourceError(f"{printable(source)}: {reason}")
