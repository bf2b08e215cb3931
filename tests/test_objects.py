"""Object stores: every read is of the version that was resolved, from real S3 (moto) and small fakes of the others."""

from __future__ import annotations

import base64
import hashlib
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from weighbridge.artifact import Artifact
from weighbridge.errors import SourceError, UnavailableError, UsageError
from weighbridge.registries import registry
from weighbridge.registries.base import Registry, Remote, Settings
from weighbridge.registries.objects import Objects

moto_server = pytest.importorskip("moto.server", reason="moto is not installed (extra dev)")
pytest.importorskip("s3fs", reason="s3fs is not installed (extra s3)")

DATA = bytes(range(256)) * 8192  # 2 MiB, more than one piece of a stream


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
    made = boto3.client("s3")
    made.create_bucket(Bucket="models")
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def s3(client: Any, said: list[str]) -> Registry:
    return registry("s3://", Settings(timeout=5, retries=0, notice=said.append))


def versioned(client: Any) -> None:
    client.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})


def opened(registry_: Registry, artifact: Artifact, index: int = 0) -> Remote:
    return registry_.open(artifact, artifact.files[index])


def test_an_object_of_a_versioned_bucket_is_pinned_to_its_version(client: Any, s3: Registry, said: list[str]) -> None:
    versioned(client)
    version = client.put_object(Bucket="models", Key="a/model.bin", Body=DATA)["VersionId"]
    artifact = s3.resolve("s3://models/a/model.bin")
    assert (artifact.reference, artifact.revision) == ("s3://models/a/model.bin", f"version:{version}")
    assert [(file.path, file.size) for file in artifact.files] == [("model.bin", len(DATA))]
    assert said == [f"s3://models/a/model.bin is version:{version} now"]
    client.put_object(Bucket="models", Key="a/model.bin", Body=b"other")
    remote = opened(s3, artifact)
    assert remote.read(1000, 300) == DATA[1000:1300]
    assert b"".join(remote.stream(0, len(DATA))) == DATA
    assert b"".join(remote.stream(5, 5)) == b""
    again = s3.resolve(artifact.pinned)
    assert (again.moving, again.files) == (False, artifact.files)


def test_an_object_without_versions_is_pinned_to_its_entity_tag(client: Any, s3: Registry) -> None:
    client.put_object(Bucket="models", Key="model.bin", Body=DATA)
    artifact = s3.resolve("s3://models/model.bin")
    assert artifact.revision == f"etag:{hashlib.md5(DATA).hexdigest()}"
    assert s3.resolve(artifact.pinned).files == artifact.files
    remote = opened(s3, artifact)
    assert remote.read(0, 10) == DATA[:10]
    client.put_object(Bucket="models", Key="model.bin", Body=DATA[::-1])
    with pytest.raises(SourceError, match="the object changed since it was resolved"):
        remote.read(0, 10)
    with pytest.raises(SourceError, match="the object changed since it was resolved"):
        s3.resolve(artifact.pinned)


def test_the_version_that_the_next_object_overwrites_is_none(client: Any, s3: Registry) -> None:
    client.put_object(Bucket="models", Key="model.bin", Body=DATA)
    versioned(client)
    assert s3.resolve("s3://models/model.bin").revision.startswith("etag:")


def test_a_prefix_is_an_artifact_of_its_objects(client: Any, s3: Registry) -> None:
    versioned(client)
    for key in ("m/config.json", "m/sub/weights.bin", "m/", "m/empty/", "mm/other"):
        client.put_object(Bucket="models", Key=key, Body=b"" if key.endswith("/") else key.encode())
    artifact = s3.resolve("s3://models/m")
    assert artifact.reference == "s3://models/m/"
    assert [(file.path, file.size) for file in artifact.files] == [("config.json", 13), ("sub/weights.bin", 17)]
    assert [opened(s3, artifact, index).read(0, file.size) for index, file in enumerate(artifact.files)] == [
        b"m/config.json",
        b"m/sub/weights.bin",
    ]
    assert s3.resolve(artifact.pinned).files == artifact.files
    client.put_object(Bucket="models", Key="m/config.json", Body=b"m/config.json")
    assert opened(s3, artifact).read(0, 13) == b"m/config.json"
    with pytest.raises(SourceError, match=r"the objects are tree:.*, not tree:"):
        s3.resolve(artifact.pinned)


def test_a_prefix_of_more_than_a_page_of_objects_is_whole(
    client: Any, s3: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.registries.objects.s3._PAGE", 2)
    for number in range(5):
        client.put_object(Bucket="models", Key=f"many/{number}", Body=b"x")
    assert [file.path for file in s3.resolve("s3://models/many/").files] == ["0", "1", "2", "3", "4"]


def test_a_prefix_of_too_many_objects_is_refused_before_each_is_asked_for(
    client: Any, s3: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.registries.objects.s3.MAX_FILES", 1)
    for key in ("many/a", "many/b"):
        client.put_object(Bucket="models", Key=key, Body=b"x")
    with pytest.raises(SourceError, match="more than 1 objects"):
        s3.resolve("s3://models/many/")


def test_the_bucket_itself_is_a_prefix(client: Any, s3: Registry) -> None:
    client.put_object(Bucket="models", Key="model.bin", Body=b"x")
    for reference in ("s3://models", "s3://models/", "S3://models"):
        artifact = s3.resolve(reference)
        assert artifact.reference == "s3://models/"
        assert opened(s3, artifact).read(0, 1) == b"x"


def test_a_checksum_of_all_bytes_is_a_claim(client: Any, s3: Registry) -> None:
    client.put_object(Bucket="models", Key="model.bin", Body=DATA, ChecksumAlgorithm="SHA256")
    (file,) = s3.resolve("s3://models/model.bin").files
    assert [str(claim) for claim in file.claims] == [f"sha256:{hashlib.sha256(DATA).hexdigest()}"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ChecksumType": "FULL_OBJECT", "ETag": '"a"'}, True),
        ({"ChecksumType": "FULL_OBJECT", "ETag": '"a-2"'}, True),
        ({"ChecksumType": "COMPOSITE", "ETag": '"a-2"'}, False),
        ({"ETag": '"a"'}, True),
        ({"ETag": '"a-2"'}, False),
    ],
)
def test_a_checksum_of_parts_is_no_claim(answer: dict[str, str], expected: bool) -> None:
    from weighbridge.registries.objects import s3

    digest = hashlib.sha256(DATA).digest()
    text = base64.b64encode(digest).decode()
    told: dict[str, Any] = {**answer, "ContentLength": 1}
    assert s3._found("", "", told | {"ChecksumSHA256": text}, None).sha256 == (digest.hex() if expected else "")
    assert not s3._found("", "", told | {"ChecksumSHA256": text + "-2"}, None).sha256


def test_a_multipart_upload_claims_nothing(client: Any, s3: Registry) -> None:
    part = b"x" * (5 << 20)
    upload = client.create_multipart_upload(Bucket="models", Key="model.bin", ChecksumAlgorithm="SHA256")["UploadId"]
    parts = []
    for number, body in enumerate((part, b"end"), 1):
        answer = client.upload_part(
            Bucket="models", Key="model.bin", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256"
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    client.complete_multipart_upload(
        Bucket="models", Key="model.bin", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    artifact = s3.resolve("s3://models/model.bin")
    assert artifact.files[0].claims == ()
    assert opened(s3, artifact).read(len(part) - 1, 4) == b"xend"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("s3://models/missing", "no such object, and none below it"),
        ("s3://models/missing/", "no such object, and none below it"),
        ("s3://models/missing@etag:abc", "no such object or no such revision"),
        ("s3://nowhere/model.bin", "no such object, bucket or revision, 404"),
        ("s3://models/model.bin@version:abc", "no such object or no such revision|400"),
    ],
)
def test_what_is_not_there_is_one_line(client: Any, s3: Registry, reference: str, reason: str) -> None:
    client.put_object(Bucket="models", Key="model.bin", Body=b"x")
    with pytest.raises(SourceError, match=reason) as caught:
        s3.resolve(reference)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_no_path_is_refused(client: Any, s3: Registry) -> None:
    client.put_object(Bucket="models", Key="m/a//b", Body=b"x")
    with pytest.raises(SourceError, match="empty or dotted part"):
        s3.resolve("s3://models/m/")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("s3://", "a reference is s3://bucket/key"),
        ("s3:///key", "a reference is s3://bucket/key"),
        ("s3://me:secret@host/key", "a reference is s3://bucket/key"),
        ("s3://bucket/a\nb", "a reference is s3://bucket/key"),
        ("s3://bucket/a@generation:1", "is version:…, etag:… or, of a prefix, tree:…"),
        ("gs://bucket/a@etag:1", "is generation:… or, of"),
    ],
)
def test_what_is_no_reference_is_one_line(reference: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Objects(Settings()).resolve(reference)


def test_a_key_may_hold_what_looks_like_no_revision(client: Any, s3: Registry) -> None:
    client.put_object(Bucket="models", Key="a@v1?b#c%20d", Body=b"x")
    artifact = s3.resolve("s3://models/a@v1?b#c%20d")
    assert artifact.files[0].path == "a@v1?b#c%20d"
    assert opened(s3, artifact).read(0, 1) == b"x"


def test_a_server_that_is_not_there_may_be_there_later(
    client: Any, s3: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match=r"s3://models/model.bin: Could not connect"):
        s3.resolve("s3://models/model.bin")


def test_missing_credentials_are_one_line(client: Any, s3: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SourceError, match="Unable to locate credentials"):
        s3.resolve("s3://models/model.bin")


def test_offline_connects_to_nothing(client: Any) -> None:
    with pytest.raises(SourceError, match="switched off"):
        Objects(Settings(offline=True)).resolve("s3://models/model.bin")


@pytest.mark.parametrize(
    ("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")]
)
def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, scheme: str, library: str, extra: str) -> None:
    module = {"s3": "s3", "gs": "google", "az": "azure"}[scheme]
    monkeypatch.delitem(sys.modules, f"weighbridge.registries.objects.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SourceError, match=rf"{scheme}:// needs {library}: pip install 'weighbridge\[{extra}\]'"):
        Objects(Settings()).resolve(f"{scheme}://models/model.bin")
