"""From the config and layers of a manifest to the files of an artifact.

| layout | path of a file | packed |
|---|---|---|
| CNCF ModelPack (and its first draft, CNAI) | `org.cncf.model.filepath` | `.tar`, `.tar+gzip`, `.tar+zstd` |
| Docker Model Runner | the same annotation, or a stable name | `.tar` |
| KitOps ModelKit | a stable name | `.tar`, `.tar+gzip`, `.tar+zstd` |
| Ollama | a stable name | never |
| ORAS and other artifacts | `org.opencontainers.image.title`, or a stable name | never |
| container image | `layers/<number>-<digest>` in the order in which they are laid over each other | never |

A stable name is the media type and the beginning of the digest: `vnd.ollama.image.model-6a0746a1ec1a`. Names say
nothing about content; formats find that out from the bytes. A packed layer gives the model's files once its digest has
been verified (`weighbridge.unpack`), under the paths that its members have; two layers that hold one path are refused.

The layers of a container image are not laid over each other. A layer that replaces or whites out a file of an earlier
one leaves the earlier one's bytes in the registry, so every layer is examined whole, as the archive that it is: nothing
is hidden by a later layer, and links, devices and file modes of a root file system never reach a disk.

Specifications: github.com/modelpack/model-spec, kitops.org/docs/modelkit, github.com/docker/model-runner,
github.com/ollama/ollama (manifests), OCI image specification 1.1 (layer.md, artifacts-guidance.md).
"""

from __future__ import annotations

import re
from typing import Final

from weighbridge.artifact import File
from weighbridge.digest import Digest
from weighbridge.registries.oci.manifest import Descriptor, Manifest

PATHS: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
# Of an artifact without a config; its content is `{}` by definition, and registries need not keep it.
EMPTY: Final = "application/vnd.oci.empty.v1+json"
EMPTY_DIGEST: Final = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
SHORT: Final = 12  # hexadecimal digits of a digest in a name, as container tools shorten it
MAX_KIND: Final = 120  # characters of a media type in a name

_MODEL: Final = re.compile(
    r"application/vnd\.(?:cncf\.model|cnai\.model|kitops\.modelkit|docker\.ai)\..*?(?:\.(tar)(?:[+.](gzip|zstd))?)?"
)
_IMAGE: Final = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.(tar)(?:\+(gzip|zstd))?"
    r"|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?:gzip|zstd))?)"
)


def files(manifest: Manifest) -> tuple[File, ...]:
    """Return the layers of a manifest in their order, and its config, as files.

    Layers that are one file in every respect are listed once.
    """
    found = [_file(layer, _name(number, layer)) for number, layer in enumerate(manifest.layers)]
    if (manifest.config.media_type, manifest.config.digest, manifest.config.size) != (EMPTY, EMPTY_DIGEST, 2):
        found.append(_file(manifest.config, _stable_name(manifest.config)))
    return tuple(dict.fromkeys(found))


def packing(layer: Descriptor) -> str:
    """Return how a layer packs the files of a model: `tar`, `tar+gzip`, `tar+zstd`, or nothing.

    The first draft of ModelPack used the media types of images, so an image layer with the path of a model counts.
    """
    kind = _MODEL.fullmatch(layer.media_type)
    if kind is None and any(key in layer.annotations for key in PATHS[:2]):
        kind = _IMAGE.fullmatch(layer.media_type)
    return "+".join(part for part in kind.groups() if part) if kind else ""


def _file(blob: Descriptor, path: str) -> File:
    claim = Digest(*blob.digest.split(":"))
    return File(path=path, size=blob.size, claims=(claim,), packing=packing(blob), key=blob.digest)


def _name(number: int, layer: Descriptor) -> str:
    """Return the path of a layer; a packed one has a stable name, because its path is that of what is inside."""
    path = next((layer.annotations[key] for key in PATHS if key in layer.annotations), "")
    if path and not packing(layer):
        return path.removeprefix("./")
    if _IMAGE.fullmatch(layer.media_type) and not packing(layer):
        return f"layers/{number:03}-{_short(layer)}"
    return _stable_name(layer)


def _stable_name(blob: Descriptor) -> str:
    kind = re.sub(r"[^A-Za-z0-9.+_-]", "-", blob.media_type.removeprefix("application/"))[:MAX_KIND].strip(".")
    return f"{kind or 'blob'}-{_short(blob)}"


def _short(blob: Descriptor) -> str:
    return blob.digest.partition(":")[2][:SHORT]
