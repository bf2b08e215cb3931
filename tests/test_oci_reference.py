"""References to OCI registries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import UsageError
from weighbridge.registries import is_reference
from weighbridge.registries.oci.reference import parse

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


@pytest.mark.parametrize(
    ("text", "canonical", "revision", "api"),
    [
        ("oci://ghcr.io/acme/m", "oci://ghcr.io/acme/m", "", "https://ghcr.io/v2/acme/m"),
        ("oci://ghcr.io/acme/m:v1.0", "oci://ghcr.io/acme/m", "v1.0", "https://ghcr.io/v2/acme/m"),
        (f"OCI://GHCR.io/acme/m@{DIGEST}", "oci://ghcr.io/acme/m", DIGEST, "https://ghcr.io/v2/acme/m"),
        (f"oci://ghcr.io/acme/m:v1@{DIGEST}", "oci://ghcr.io/acme/m", DIGEST, "https://ghcr.io/v2/acme/m"),
        ("oci://h:5000/a/b_c/d--e__f.g:x", "oci://h:5000/a/b_c/d--e__f.g", "x", "https://h:5000/v2/a/b_c/d--e__f.g"),
        ("oci://docker.io/busybox", "oci://docker.io/library/busybox", "", "https://registry-1.docker.io/v2/library/busybox"),
        ("oci://index.docker.io/ai/x:1", "oci://docker.io/ai/x", "1", "https://registry-1.docker.io/v2/ai/x"),
        ("oci://hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", "oci://hf.co/Qwen/Qwen3-0.6B-GGUF", "Q8_0", "https://hf.co/v2/Qwen/Qwen3-0.6B-GGUF"),
        ("oci://localhost:5000/m", "oci://localhost:5000/m", "", "http://localhost:5000/v2/m"),
        ("oci://127.0.0.1:5000/m", "oci://127.0.0.1:5000/m", "", "http://127.0.0.1:5000/v2/m"),
        ("oci://[::1]:5000/m", "oci://[::1]:5000/m", "", "http://[::1]:5000/v2/m"),
        ("oci://10.0.0.1:5000/m", "oci://10.0.0.1:5000/m", "", "https://10.0.0.1:5000/v2/m"),
        ("oci://localhost.evil.example/m", "oci://localhost.evil.example/m", "", "https://localhost.evil.example/v2/m"),
        ("oci+http://lab:5000/m", "oci+http://lab:5000/m", "", "http://lab:5000/v2/m"),
    ],
)  # fmt: skip
def test_a_reference_says_where_its_manifests_are(text: str, canonical: str, revision: str, api: str) -> None:
    reference = parse(text)
    assert is_reference(text)
    assert (reference.canonical, reference.revision, reference.api) == (canonical, revision, api)
    assert parse(reference.canonical).canonical == canonical


@pytest.mark.parametrize(
    "text",
    [
        "oci://", "oci://host", "oci://host/", "oci:///m", "oci://ho st/m", "oci://user@host/m", "oci://u:p@host/m",
        "oci://host:0/m", "oci://host:65536/m", "oci://host:x/m", "oci://-host/m", "oci://host/../m", "oci://host/a//b",
        "oci://host/m:", "oci://host/m:a/b", "oci://host/m:-x", f"oci://host/m:{'x' * 129}", "oci://host/m@",
        "oci://host/m@sha256:00", f"oci://host/m@{DIGEST.upper()}", f"oci://host/m@{DIGEST}:x", "oci://host/m?x=1",
        "oci://host/m#x", "oci://host/m%2e", "oci://host/é", f"oci://host/{'x' * 255}", "oci://host/m\n", "oci://host/m:1:2",
        "hf://acme/m", "oci:host/m", f"oci://host/m@sha512:{'0' * 128}",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert str(caught.value).isprintable()


@given(st.text())
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = parse(f"oci://{text}")
    except UsageError:
        return
    again = parse(f"{reference.canonical}:x")
    assert (again.canonical, again.revision) == (reference.canonical, "x")
