"""Manifests, indexes and the files that layers become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.registry import INDEX, MANIFEST

from weighbridge.errors import SourceError
from weighbridge.registries.oci.layers import EMPTY, EMPTY_DIGEST, files
from weighbridge.registries.oci.manifest import Index, Manifest, choose, decode

Document = dict[str, Any]
SHA = f"sha256:{'0' * 64}"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"


def blob(media_type: str = "a/b", number: int = 0, size: Any = 1, **more: Any) -> Document:
    return {"mediaType": media_type, "digest": f"sha256:{number:064x}", "size": size, **more}


def manifest(*layers: Document, **more: Any) -> Document:
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob("c/d"), "layers": list(layers), **more}


def index(*children: Document, **more: Any) -> Document:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children), **more}


def child(number: int, platform: str = "", **more: Any) -> Document:
    system, _, architecture = platform.partition("/")
    return blob(
        MANIFEST, number, **({"platform": {"os": system, "architecture": architecture}} if platform else {}), **more
    )


def decoded(document: object, content_type: str = "") -> Manifest | Index:
    return decode(json.dumps(document).encode(), content_type, SHA, "m")


def paths(*layers: Document, **more: Any) -> list[tuple[str, str]]:
    found = decoded(manifest(*layers, **more))
    assert isinstance(found, Manifest)
    return [(file.path, file.packing) for file in files(found)]


def test_the_type_is_that_of_the_document_or_else_of_the_server() -> None:
    assert isinstance(decoded(manifest(), MANIFEST), Manifest)
    assert isinstance(decoded(manifest(), "application/json; charset=utf-8"), Manifest)
    assert isinstance(decoded(manifest(mediaType=""), f"{MANIFEST}; charset=utf-8"), Manifest)
    assert isinstance(decoded(index(), ""), Index)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (manifest(), INDEX),
        (index(), MANIFEST),
        (manifest(manifests=[]), ""),
        (index(layers=[]), ""),
        (index(config={}), ""),
        (manifest(mediaType=""), ""),
        (manifest(mediaType=""), "application/json"),
        (manifest(mediaType=7), MANIFEST),
        (manifest(mediaType="application/vnd.docker.distribution.manifest.v1+json"), ""),
        (manifest(schemaVersion=1), ""),
        (manifest(config=None), ""),
        (manifest(layers={}), ""),
        (manifest("x"), ""),  # type: ignore[arg-type]
        (manifest(blob(size=-1)), ""),
        (manifest(blob(size=True)), ""),
        (manifest(blob(size=1.0)), ""),
        (manifest(blob(size=1 << 51)), ""),
        (manifest(blob(digest=f"sha512:{'0' * 128}")), ""),
        (manifest(blob(digest=f"sha256:{'A' * 64}")), ""),
        (manifest(blob(digest=f"sha256:{'0' * 63}/")), ""),
        (manifest(blob(annotations={"a": 1})), ""),
        (manifest(blob(annotations=[])), ""),
        (manifest(artifactType=1), ""),
        (manifest(subject={}), ""),
        (index(child(1) | {"platform": {"os": 1}}), ""),
        ([], ""),
        ("x", ""),
    ],
)
def test_what_tools_could_take_differently_is_refused(document: object, content_type: str) -> None:
    with pytest.raises(SourceError):
        decoded(document, content_type)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff{}", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":2}}', b"[" * 100_000, b"1" * 5000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(SourceError):
        decode(body, MANIFEST, SHA, "m")


@given(st.binary(max_size=100), st.sampled_from([MANIFEST, INDEX, ""]))
def test_any_bytes_are_a_manifest_or_refused(body: bytes, content_type: str) -> None:
    for data in (body, b'{"schemaVersion":2,"layers":[' + body + b"]}"):
        try:
            decode(data, content_type, SHA, "m")
        except SourceError as error:
            assert str(error).isprintable()


ATTESTATION = child(9, "unknown/unknown", annotations={"vnd.docker.reference.type": "attestation-manifest"})


@pytest.mark.parametrize(
    ("children", "chosen"),
    [
        ([child(1)], 1),
        ([child(1, "linux/arm64")], 1),
        ([child(1, "linux/arm64"), ATTESTATION], 1),
        ([child(1, "unknown/unknown"), child(2)], 2),
        ([child(1, "linux/arm64"), child(2, "linux/amd64"), ATTESTATION], 2),
        ([child(1, "linux/amd64"), child(2, artifactType="application/vnd.cncf.model.manifest.v1+json")], 2),
        ([], 0),
        ([ATTESTATION], 0),
        ([child(1, "linux/arm64"), child(2, "linux/s390x")], 0),
        ([child(1, "linux/amd64"), child(2, "linux/amd64")], 0),
        ([child(1, artifactType="a/b"), child(2, artifactType="a/b")], 0),
    ],
)
def test_the_choice_from_an_index_depends_on_the_index_alone(children: list[Document], chosen: int) -> None:
    for order in (children, children[::-1]):
        found = decoded(index(*order))
        assert isinstance(found, Index)
        if chosen:
            assert choose(found, "m").digest == f"sha256:{chosen:064x}"
        else:
            with pytest.raises(SourceError, match="an index of"):
                choose(found, "m")


ZEROS = "0" * 12
CONFIG = (f"c-d-{ZEROS}", "")


CNCF = "vnd.cncf.model"
LAYER = "vnd.oci.image.layer.v1"
AT = {"org.cncf.model.filepath": "a/b.bin"}


@pytest.mark.parametrize(
    ("kind", "annotations", "path", "packing"),
    [
        (f"{CNCF}.weight.v1.raw", AT, "a/b.bin", ""),
        (f"{CNCF}.weight.v1.tar", AT, f"{CNCF}.weight.v1.tar-", "tar"),
        (f"{CNCF}.weight.config.v1.tar+gzip", {}, f"{CNCF}.weight.config.v1.tar+gzip-", "tar+gzip"),
        (f"{CNCF}.dataset.v1.tar+zstd", {}, f"{CNCF}.dataset.v1.tar+zstd-", "tar+zstd"),
        ("vnd.kitops.modelkit.code.v1.tar+gzip", {}, "vnd.kitops.modelkit.code.v1.tar+gzip-", "tar+gzip"),
        ("vnd.docker.ai.vllm.config.tar", {}, "vnd.docker.ai.vllm.config.tar-", "tar"),
        ("vnd.docker.ai.gguf.v3", {}, "vnd.docker.ai.gguf.v3-", ""),
        ("vnd.docker.ai.gguf.v3", AT, "a/b.bin", ""),
        ("vnd.ollama.image.model", {}, "vnd.ollama.image.model-", ""),
        (f"{LAYER}.tar+gzip", {}, "layers/000-", ""),
        ("vnd.docker.image.rootfs.diff.tar.gzip", {}, "layers/000-", ""),
        (f"{LAYER}.tar+gzip", {"org.cnai.model.filepath": "a"}, f"{LAYER}.tar+gzip-", "tar+gzip"),
        (f"{LAYER}.tar", {"org.opencontainers.image.title": "./m.bin"}, "m.bin", ""),
        ("octet-stream", {}, "octet-stream-", ""),
        ("x.tar+gzip", {}, "x.tar+gzip-", ""),
        ("../../etc/passwd", {}, "-..-etc-passwd-", ""),
        ("\u202e\n/" + "x" * 300, {}, f"---{'x' * 117}-", ""),
        ("", {}, "blob-", ""),
    ],
)
def test_a_layer_is_a_file_whose_name_says_nothing_of_its_content(
    kind: str, annotations: dict[str, str], path: str, packing: str
) -> None:
    found = paths(blob(f"application/{kind}", annotations=annotations))
    assert found == [(path + ZEROS if path.endswith("-") else path, packing), CONFIG]


def test_the_layers_of_an_image_keep_their_order() -> None:
    layers = [blob("application/vnd.oci.image.layer.v1.tar", number) for number in (3, 1, 3)]
    assert [path for path, _ in paths(*layers)] == [
        f"layers/000-{ZEROS}",
        f"layers/001-{ZEROS}",
        f"layers/002-{ZEROS}",
        f"c-d-{ZEROS}",
    ]


def test_a_layer_that_is_listed_twice_is_one_file() -> None:
    assert len(paths(blob("x/y"), blob("x/y"))) == 2


def test_an_empty_config_is_no_file_and_a_wrong_one_is() -> None:
    empty = {"mediaType": EMPTY, "digest": EMPTY_DIGEST, "size": 2}
    assert paths(config=empty) == []
    assert len(paths(config=empty | {"digest": SHA})) == 1
