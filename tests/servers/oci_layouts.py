"""The layouts in which models are kept in OCI registries, as their tools write them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from typing import Any, Final, Protocol

from servers.registry import MANIFEST, Descriptor

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
FILEPATH: Final = "org.cncf.model.filepath"
WEIGHTS: Final = b"\x08\0\0\0\0\0\0\0{}      "
CARD: Final = b'{"model_type": "tiny"}'


class Registry(Protocol):
    """What takes blobs and manifests."""

    def blob(self, repository: str, data: bytes, media_type: str, **more: Any) -> Descriptor:
        """Keep a blob and return its descriptor."""

    def manifest(self, repository: str, document: dict[str, Any], tag: str = "", **more: Any) -> Descriptor:
        """Keep a manifest and return its descriptor."""


def tar(members: dict[str, bytes]) -> bytes:
    """Return an archive of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(data)
            archive.addfile(information, io.BytesIO(data))
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    """Return a gzip stream that every library writes alike, because nothing in it is compressed."""
    return gzip.compress(data, compresslevel=0, mtime=0)


def zstd(data: bytes) -> bytes:
    """Return a zstd frame of raw blocks (RFC 8878 §3.1.1), which no library could write another way."""
    frame, size = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little"), 1 << 17
    for begin in range(0, max(1, len(data)), size):
        block = data[begin : begin + size]
        last = begin + size >= len(data)
        frame += (len(block) << 3 | last).to_bytes(3, "little") + block
    return frame


def modelpack(registry: Registry, repository: str, tag: str = "") -> Descriptor:
    """CNCF ModelPack, as modctl and kit write it: files raw, and a folder of documents packed."""
    kind = "application/vnd.cncf.model"
    layers = [
        registry.blob(
            repository, WEIGHTS, f"{kind}.weight.v1.raw", annotations={FILEPATH: "weights/model.safetensors"}
        ),
        registry.blob(repository, CARD, f"{kind}.weight.config.v1.raw", annotations={FILEPATH: "config.json"}),
        registry.blob(repository, tar({"docs/a.md": b"# A\n"}), f"{kind}.doc.v1.tar", annotations={FILEPATH: "docs"}),
        registry.blob(repository, gzipped(tar({"code/run.py": b"# nothing yet\n"})), f"{kind}.code.v1.tar+gzip"),
        registry.blob(repository, zstd(tar({"data/x.csv": b"1,2\n"})), f"{kind}.dataset.v1.tar+zstd"),
    ]
    config = registry.blob(repository, b'{"modelfs": {"type": "layers"}}', f"{kind}.config.v1+json")
    return _manifest(registry, repository, config, layers, tag, artifactType=f"{kind}.manifest.v1+json")


def kitops(registry: Registry, repository: str, tag: str = "") -> Descriptor:
    """A KitOps ModelKit: everything packed."""
    kind = "application/vnd.kitops.modelkit"
    layers = [
        registry.blob(repository, tar({"model/model.safetensors": WEIGHTS}), f"{kind}.model.v1.tar"),
        registry.blob(repository, gzipped(tar({"README.md": b"# Kit\n"})), f"{kind}.docs.v1.tar+gzip"),
    ]
    config = registry.blob(repository, b'{"manifestVersion": "1.0.0"}', f"{kind}.config.v1+json")
    return _manifest(registry, repository, config, layers, tag)


def docker_model(registry: Registry, repository: str, tag: str = "") -> Descriptor:
    """Docker Model Runner: a model in one file, a licence, and a folder packed."""
    kind = "application/vnd.docker.ai"
    layers = [
        registry.blob(repository, b"GGUF" + bytes(20), f"{kind}.gguf.v3", annotations={FILEPATH: "model.gguf"}),
        registry.blob(repository, b"MIT\n", f"{kind}.license"),
        registry.blob(repository, tar({"adapter/config.json": CARD}), f"{kind}.dir.tar"),
    ]
    config = registry.blob(repository, b'{"config": {"format": "gguf"}}', f"{kind}.model.config.v0.2+json")
    return _manifest(registry, repository, config, layers, tag)


def ollama(registry: Registry, repository: str, tag: str = "") -> Descriptor:
    """Ollama: a Docker manifest whose layers have no names."""
    kind = "application/vnd.ollama.image"
    layers = [
        registry.blob(repository, b"GGUF" + bytes(24), f"{kind}.model"),
        registry.blob(repository, b"{{ .Prompt }}", f"{kind}.template"),
        registry.blob(repository, b'{"stop": ["<end>"]}', f"{kind}.params"),
    ]
    config = registry.blob(repository, b'{"model_format": "gguf"}', DOCKER_CONFIG)
    return _manifest(registry, repository, config, layers, tag, mediaType=DOCKER_MANIFEST)


def image(registry: Registry, repository: str, tag: str = "") -> Descriptor:
    """A container image with a model in it, whose second layer whites out a file of the first."""
    kind = "application/vnd.oci.image"
    layers = [
        registry.blob(
            repository,
            gzipped(tar({"models/model.safetensors": WEIGHTS, "models/old.bin": b"x"})),
            f"{kind}.layer.v1.tar+gzip",
        ),
        registry.blob(repository, tar({"models/.wh.old.bin": b"", "models/config.json": CARD}), f"{kind}.layer.v1.tar"),
    ]
    config = registry.blob(repository, b'{"architecture": "amd64", "os": "linux"}', f"{kind}.config.v1+json")
    return _manifest(registry, repository, config, layers, tag)


def oras(registry: Registry, repository: str, tag: str = "") -> Descriptor:
    """What `oras push` writes: files with titles and an empty config."""
    layers = [
        registry.blob(
            repository,
            WEIGHTS,
            "application/vnd.oci.image.layer.v1.tar",
            annotations={"org.opencontainers.image.title": "model.safetensors"},
        )
    ]
    config = registry.blob(repository, b"{}", "application/vnd.oci.empty.v1+json")
    return _manifest(registry, repository, config, layers, tag, artifactType="application/vnd.acme.model")


LAYOUTS: Final[dict[str, Callable[[Registry, str, str], Descriptor]]] = {
    "modelpack": modelpack,
    "kitops": kitops,
    "docker_model": docker_model,
    "ollama": ollama,
    "image": image,
    "oras": oras,
}


def _manifest(
    registry: Registry, repository: str, config: Descriptor, layers: list[Descriptor], tag: str, **more: Any
) -> Descriptor:
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}
    return registry.manifest(repository, document, tag)
