"""OCI registries: Debian's docker-registry as it is, and a fake one that lies."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.fake_registry import FakeRegistry, fake_registry, site
from servers.oci_layouts import CARD, FILEPATH, LAYOUTS, WEIGHTS, modelpack
from servers.registry import INDEX, MANIFEST, Descriptor, DockerRegistry, digest_of, docker_registry
from servers.serving import Blob, Faults, Reply, Request, Server
from servers.tokens import ISSUER, SERVICE, Authority

from weighbridge.artifact import Artifact, File
from weighbridge.errors import SourceError, UsageError
from weighbridge.registries import registry as registry_of
from weighbridge.registries.base import Settings
from weighbridge.registries.oci.manifest import LIMIT, Manifest
from weighbridge.registries.oci.manifest import Descriptor as Described
from weighbridge.registries.oci.registry import OciRegistry
from weighbridge.registries.oci.repository import MAX_PAGES
from weighbridge.store import Store, fetch

SIGNATURE = "application/vnd.acme.signature"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


def client(told: list[str] | None = None, **settings: Any) -> OciRegistry:
    """Return a registry that repeats nothing and knows no credentials."""
    notice = (told if told is not None else []).append
    return OciRegistry(Settings(**{"retries": 0, "notice": notice, **settings}), {})


def resolved(server: DockerRegistry | FakeRegistry, what: str = "acme/m:v1") -> Artifact:
    return client().resolve(f"oci://{server.host}/{what}")


def index(*children: Descriptor) -> Descriptor:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}


def platform(architecture: str) -> dict[str, Any]:
    return {"platform": {"os": "linux", "architecture": architecture}}


def signature(server: DockerRegistry | FakeRegistry, subject: Descriptor) -> Descriptor:
    """Push a manifest that refers to another and return its descriptor as lists of referrers have it."""
    layer = server.blob("acme/m", b"signed", SIGNATURE)
    config = server.blob("acme/m", b"{}", "application/vnd.oci.empty.v1+json")
    document = {
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": SIGNATURE, "config": config, "layers": [layer],
        "subject": subject,
    }  # fmt: skip
    return server.manifest("acme/m", document, artifactType=SIGNATURE)


# What a real registry gives.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_byte_of_every_layout_is_what_was_pushed(real: DockerRegistry, layout: str) -> None:
    digest = LAYOUTS[layout](real, f"layouts/{layout}", "v1")["digest"]
    told: list[str] = []
    registry = client(told)
    artifact = registry.resolve(f"oci://{real.host}/layouts/{layout}:v1")
    assert (artifact.reference, artifact.revision) == (f"oci://{real.host}/layouts/{layout}", digest)
    assert (artifact.requested, artifact.moving) == ("v1", True)
    assert told == [f"{artifact.reference}: v1 is {digest} now"]
    for file in artifact.files:
        remote = registry.open(artifact, file)
        assert hashlib.sha256(remote.read(0, file.size)).hexdigest() == file.claims[0].value
        assert b"".join(remote.stream(1, file.size)) == remote.read(1, file.size - 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_becomes_the_files_of_a_model(
    real: DockerRegistry, layout: str, golden: Callable[[str, str], None]
) -> None:
    LAYOUTS[layout](real, f"layouts/{layout}", "v1")
    artifact = resolved(real, f"layouts/{layout}:v1")
    golden(f"oci.{layout}", "".join(f"{f.path} {f.size} {f.packing or '-'} {f.key}\n" for f in artifact.files))


def test_the_files_in_packed_layers_reach_the_store(real: DockerRegistry, tmp_path: Path) -> None:
    modelpack(real, "acme/m", "v1")
    registry = client()
    artifact = registry.resolve(f"oci://{real.host}/acme/m:v1")
    with Store(tmp_path) as store:
        fetched = fetch(artifact, registry, store)
        contents = {path: place.read_bytes() for path, place in fetched.paths.items() if not path.startswith("vnd.")}
    assert contents == {
        "weights/model.safetensors": WEIGHTS,
        "config.json": CARD,
        "docs/a.md": b"# A\n",
        "code/run.py": b"# nothing yet\n",
        "data/x.csv": b"1,2\n",
    }


def test_a_digest_pins_and_says_nothing(real: DockerRegistry) -> None:
    digest = modelpack(real, "acme/m", "v1")["digest"]
    told: list[str] = []
    artifact = client(told).resolve(f"oci://{real.host}/acme/m@{digest}")
    assert not artifact.moving and artifact.revision == digest and not told
    assert client().resolve(artifact.pinned) == artifact
    assert resolved(real, f"acme/m:other@{digest}").revision == digest


def test_without_a_tag_it_is_latest(real: DockerRegistry) -> None:
    digest = modelpack(real, "acme/latest", "latest")["digest"]
    artifact = resolved(real, "acme/latest")
    assert (artifact.requested, artifact.revision) == ("", digest)


def test_an_index_is_a_moving_reference_to_the_child_that_is_taken(real: DockerRegistry) -> None:
    children = [
        {**LAYOUTS["image"](real, "acme/m", ""), **platform("amd64")},
        {**LAYOUTS["ollama"](real, "acme/m", ""), **platform("arm64")},
    ]
    top = real.manifest("acme/m", index(*children), "both")
    told: list[str] = []
    artifact = client(told).resolve(f"oci://{real.host}/acme/m@{top['digest']}")
    assert artifact.revision == children[0]["digest"] and artifact.moving
    assert told[0].endswith(f"is an index of 2 manifests, of which {children[0]['digest']} is taken (linux/amd64)")
    assert resolved(real, "acme/m:both").files == artifact.files


def test_an_index_within_an_index_is_followed(real: DockerRegistry) -> None:
    child = modelpack(real, "acme/m")
    found = child
    for level in range(4):
        found = real.manifest("acme/m", index(found), f"level{level}")
    assert resolved(real, "acme/m:level2").revision == child["digest"]
    with pytest.raises(SourceError, match="indexes within indexes"):
        resolved(real, "acme/m:level3")


def test_referrers_are_found_under_the_tag_that_lists_them(real: DockerRegistry) -> None:
    subject = modelpack(real, "acme/m", "v1")
    registry, artifact = client(), resolved(real)
    assert registry.referrers(artifact) == ()
    listed = [signature(real, subject), {**modelpack(real, "acme/m"), "artifactType": "a/b"}]
    real.manifest("acme/m", index(*listed), subject["digest"].replace(":", "-"))
    assert [one.digest for one in registry.referrers(artifact)] == [one["digest"] for one in listed]
    (found,) = registry.referrers(artifact, SIGNATURE)
    manifest = registry.manifest(artifact, found.digest, found.size)
    assert isinstance(manifest, Manifest) and manifest.subject is not None
    assert manifest.subject.digest == artifact.revision
    assert registry.blob(artifact, manifest.layers[0], limit=100) == b"signed"
    with pytest.raises(SourceError, match="limit is 5"):
        registry.blob(artifact, manifest.layers[0], limit=5)


@pytest.mark.parametrize("what", ["acme/m:none", f"acme/m@sha256:{'0' * 64}", "acme/none:v1"])
def test_what_is_not_there_is_told_in_one_line(real: DockerRegistry, what: str) -> None:
    with pytest.raises(SourceError, match="there is no such repository, tag or manifest"):
        resolved(real, what)


def test_a_real_registry_with_a_password(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("user:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n")
    auth = json.dumps({"htpasswd": {"realm": "test", "path": str(tmp_path / "users")}})
    basic = b64encode(b"user:secret").decode()
    with docker_registry(tmp_path, auth, {"Authorization": f"Basic {basic}"}) as running:
        digest = modelpack(running, "acme/m", "v1")["digest"]
        reference = f"oci://{running.host}/acme/m:v1"
        environment = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {running.host: {"auth": basic}}})}
        registry = OciRegistry(Settings(), environment)
        artifact = registry.resolve(reference)
        assert artifact.revision == digest
        assert registry.open(artifact, artifact.files[0]).read(0, 16) == WEIGHTS
        with pytest.raises(SourceError, match="access is refused: it asks for a user name and password"):
            client().resolve(reference)


def test_a_real_registry_with_tokens(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "roots.pem").write_bytes(authority.certificate)

    def give(request: Request) -> Reply:
        """Give what was asked for, as long as that is to pull one repository."""
        assert request.query == {"service": SERVICE, "scope": "repository:acme/m:pull"}
        return Reply(body=json.dumps({"access_token": authority.token("acme/m", "pull")}).encode())

    with site(give) as tokens:
        where = {"realm": f"{tokens.origin}/token", "service": SERVICE, "issuer": ISSUER}
        auth = json.dumps({"token": {**where, "rootcertbundle": str(tmp_path / "roots.pem")}})
        pusher = {"Authorization": f"Bearer {authority.token('acme/m', 'pull', 'push')}"}
        with docker_registry(tmp_path, auth, pusher) as running:
            digest = modelpack(running, "acme/m", "v1")["digest"]
            registry = client()
            artifact = registry.resolve(f"oci://{running.host}/acme/m:v1")
            assert artifact.revision == digest
            assert registry.open(artifact, artifact.files[0]).read(0, 16) == WEIGHTS
            assert registry.referrers(artifact) == ()
        assert len(tokens.asked) == 1


# What a lying one gives.


def test_a_tampered_layer_of_the_right_size_never_becomes_a_file(fake: FakeRegistry, tmp_path: Path) -> None:
    modelpack(fake, "acme/m", "v1")
    registry = client()
    artifact = registry.resolve(f"oci://{fake.host}/acme/m:v1")
    for file in artifact.files:
        whole = fake.blobs[file.key]
        fake.blobs[file.key] = whole[:-1] + bytes([whole[-1] ^ 1])
        with Store(tmp_path / file.key[-8:]) as store, pytest.raises(SourceError, match=f"declares {file.key}"):
            fetch(artifact, registry, store)
        fake.blobs[file.key] = whole


def test_a_manifest_under_the_wrong_digest_is_refused(fake: FakeRegistry) -> None:
    digest = modelpack(fake, "acme/m")["digest"]
    media_type, data = fake.manifests[digest]
    fake.manifests[digest] = media_type, data.replace(b"16", b"17")
    with pytest.raises(SourceError, match=f"not {len(data)} bytes of {digest}"):
        resolved(fake, f"acme/m@{digest}")


def test_a_digest_in_a_header_does_not_replace_that_of_the_bytes(fake: FakeRegistry) -> None:
    digest = modelpack(fake, "acme/m", "v1")["digest"]
    fake.headers["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
    with pytest.raises(SourceError, match=f"of {digest}, not"):
        resolved(fake)


def test_a_child_of_another_size_than_the_index_says_is_refused(fake: FakeRegistry) -> None:
    child = modelpack(fake, "acme/m")
    fake.manifest("acme/m", index(child | {"size": child["size"] + 1}), "v1")
    with pytest.raises(SourceError, match=f"not {child['size'] + 1} bytes"):
        resolved(fake)


def test_a_manifest_over_the_limit_is_not_read(fake: FakeRegistry) -> None:
    fake.manifests["v1"] = MANIFEST, b" " * (LIMIT + 1)
    with pytest.raises(SourceError, match=f"longer than {LIMIT} bytes"):
        resolved(fake)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a\\b", "C:x", "a\u202eb", "a//b", "nul"])
def test_a_path_of_a_layer_that_leaves_the_folder_is_refused(fake: FakeRegistry, path: str) -> None:
    layer = fake.blob("acme/m", b"x", "application/vnd.cncf.model.weight.v1.raw", annotations={FILEPATH: path})
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer]}
    fake.manifest("acme/m", document, "v1")
    with pytest.raises(SourceError, match="is refused"):
        resolved(fake)


def test_two_layers_with_one_path_are_refused(fake: FakeRegistry) -> None:
    kind = "application/vnd.cncf.model.weight.v1.raw"
    layers = [fake.blob("acme/m", data, kind, annotations={FILEPATH: "a"}) for data in (b"x", b"y")]
    config = fake.blob("acme/m", b"{}", "application/vnd.cncf.model.config.v1+json")
    fake.manifest("acme/m", {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}, "v1")
    with pytest.raises(SourceError, match="are one on some systems"):
        resolved(fake)


def test_a_tampered_small_blob_is_refused(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    artifact, data = resolved(fake), b"other"
    blob = Described(media_type="a/b", digest=digest_of(b"wrong"), size=5)
    fake.blobs[blob.digest] = data
    with pytest.raises(SourceError, match="the registry sends 5 bytes"):
        client().blob(artifact, blob, limit=10)
    empty = Described(media_type="a/b", digest=digest_of(b""), size=0)
    assert client().blob(artifact, empty, limit=10) == b""


def test_a_blob_of_another_size_is_refused(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    registry = client()
    artifact = registry.resolve(f"oci://{fake.host}/acme/m:v1")
    file = artifact.files[0]
    fake.blobs[file.key] += b"more"
    with pytest.raises(SourceError, match=r"bytes 0-3/20|bytes 0-3/16"):
        registry.open(artifact, file).read(0, 4)


def test_a_file_of_another_registry_is_not_opened(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    with pytest.raises(SourceError, match="no blob of an OCI registry"):
        client().open(resolved(fake), File(path="a", size=1, key="../manifests/v1"))


def test_blobs_at_another_origin_are_read_there_without_credentials(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    with site(lambda request: Reply(blob=Blob(fake.blobs[request.path.strip("/")]))) as cdn:
        fake.challenge, fake.openers, fake.blobs_at = "Basic x=y", {"Bearer mine"}, cdn.origin
        registry = client(tokens={fake.origin: "mine"})
        artifact = registry.resolve(f"oci://{fake.host}/acme/m:v1")
        remote = registry.open(artifact, artifact.files[0])
        assert remote.read(0, 4) + b"".join(remote.stream(4, 16)) == WEIGHTS
        assert len(cdn.asked) == 2 and cdn.secrets == []
        assert sum("/blobs/" in request.path for request in fake.asked) == 1


def test_a_registry_that_ignores_ranges_is_refused(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    registry = client()
    artifact = registry.resolve(f"oci://{fake.host}/acme/m:v1")
    fake.server.faults = Faults(ignores_range=True)
    with pytest.raises(SourceError):
        registry.open(artifact, artifact.files[0]).read(4, 4)


def test_referrers_are_asked_of_the_registry_page_by_page(fake: FakeRegistry) -> None:
    subject = modelpack(fake, "acme/m", "v1")
    listed = [signature(fake, subject), {**modelpack(fake, "acme/m"), "artifactType": "a/b"}]
    path = f"/v2/acme/m/referrers/{subject['digest']}"
    pages = [Reply(200, {"Content-Type": INDEX}, json.dumps(index(one)).encode()) for one in listed]
    pages[0].headers["Link"] = f'<{path}?last=1>; rel="next"'
    fake.replies = {f"{path}?last=1": pages[1], path: pages[0]}
    assert [one.digest for one in client().referrers(resolved(fake))] == [one["digest"] for one in listed]
    assert [one.digest for one in client().referrers(resolved(fake), "a/b")] == [listed[1]["digest"]]
    assert any(request.query == {"artifactType": "a/b"} for request in fake.asked)


def test_referrers_that_go_on_elsewhere_or_without_end_are_refused(fake: FakeRegistry) -> None:
    subject = modelpack(fake, "acme/m", "v1")
    path = f"/v2/acme/m/referrers/{subject['digest']}"
    page = Reply(200, {"Content-Type": INDEX}, json.dumps(index()).encode())
    fake.replies = {path: page}
    for link, reason in (("http://localhost:1/x", "another server"), (path, f"over {MAX_PAGES} pages")):
        page.headers["Link"] = f"<{link}>; rel=next"
        with pytest.raises(SourceError, match=reason):
            client().referrers(resolved(fake))


@pytest.mark.parametrize("digest", ["v1", "sha256:0", f"sha512:{'0' * 128}"])
def test_referrers_of_what_is_no_digest_are_not_asked_for(fake: FakeRegistry, digest: str) -> None:
    modelpack(fake, "acme/m", "v1")
    with pytest.raises(SourceError, match="is not a digest"):
        client().referrers(resolved(fake), digest=digest)


def test_a_list_of_referrers_that_is_no_index_is_refused(fake: FakeRegistry) -> None:
    subject = modelpack(fake, "acme/m", "v1")
    fake.manifests[subject["digest"].replace(":", "-")] = fake.manifests["v1"]
    with pytest.raises(SourceError, match="not an index"):
        client().referrers(resolved(fake))


def test_offline_nothing_is_asked(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    with pytest.raises(SourceError, match="offline"):
        client(offline=True).resolve(f"oci://{fake.host}/acme/m:v1")
    assert fake.asked == []


def test_a_reference_is_answered_by_its_scheme() -> None:
    for scheme in ("oci", "oci+http", "OCI"):
        assert isinstance(registry_of(f"{scheme}://h/m", Settings()), OciRegistry)
    with pytest.raises(UsageError):
        client().resolve("oci://h")


def test_an_error_of_the_registry_shows_no_query(fake: FakeRegistry) -> None:
    modelpack(fake, "acme/m", "v1")
    gone = Server(lambda _: Reply(403), Faults())
    fake.blobs_at = gone.origin
    registry = client()
    artifact = registry.resolve(f"oci://{fake.host}/acme/m:v1")
    with pytest.raises(SourceError) as caught:
        registry.open(artifact, artifact.files[0]).read(0, 1)
    gone.close()
    assert "s3cr3t" not in str(caught.value) and "\n" not in str(caught.value)
