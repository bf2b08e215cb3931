"""References to models of the Hub, as text."""

from __future__ import annotations

import subprocess
import sys

import pytest
from asking import refused
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.artifact import Artifact
from weighbridge.errors import UsageError
from weighbridge.registries import is_reference, registry
from weighbridge.registries.base import Settings
from weighbridge.registries.hub import Hub
from weighbridge.registries.hub_reference import HubReference, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


REFERENCES = {
    "hf://acme/m": HubReference(model="acme/m"),
    "HF://acme/m": HubReference(model="acme/m"),
    "hf://gpt2": HubReference(model="gpt2"),
    "hf://models/acme/m": HubReference(model="acme/m"),
    "hf://acme/m@v1.0": HubReference(model="acme/m", revision="v1.0"),
    "hf://acme/m@refs/pr/1": HubReference(model="acme/m", revision="refs/pr/1"),
    "hf://acme/m@feature/x:a/b.bin": HubReference(model="acme/m", revision="feature/x", path="a/b.bin"),
    "hf://acme/m:unet/": HubReference(model="acme/m", path="unet"),
    "hf://acme/m:a@b.bin": HubReference(model="acme/m", path="a@b.bin"),
    f"hf://acme/m:a@{COMMIT}": HubReference(model="acme/m", revision=COMMIT, path="a"),
    f"hf://acme/m@main:a@{COMMIT}": HubReference(model="acme/m", revision="main", path=f"a@{COMMIT}"),
    "https://huggingface.co/acme/m": HubReference(model="acme/m"),
    "https://huggingface.co/gpt2/": HubReference(model="gpt2"),
    "https://hf.co/gpt2/tree/main": HubReference(model="gpt2", revision="main"),
    "https://huggingface.co/acme/m/tree/main/unet": HubReference(model="acme/m", revision="main", path="unet"),
    "https://huggingface.co/acme/m/blob/v1/a%20b.bin?x=1#L2": HubReference(
        model="acme/m", revision="v1", path="a b.bin"
    ),
    "https://huggingface.co/acme/m/resolve/refs%2Fpr%2F1/a": HubReference(
        model="acme/m", revision="refs/pr/1", path="a"
    ),
    "https://huggingface.co/acme/m/tree/refs/pr/12/a": HubReference(model="acme/m", revision="refs/pr/12", path="a"),
    "https://mirror.example/hub/acme/m/tree/main": HubReference(model="acme/m", revision="main"),
}


@pytest.mark.parametrize("text", REFERENCES)
def test_references(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/")
    assert is_reference(text)
    assert parse(text) == REFERENCES[text]


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf:///m",
        "hf://acme/",
        "hf://acme/m@",
        "hf://acme/m@:a",
        "hf://a/b/c",
        "hf://../m",
        "hf://acme/..",
        "hf://acme/m--n",
        "hf://acme/m?x",
        "hf://acme/m%2f..",
        "hf://acme/m\x1b[2J",
        "hf://acme/m@a..b/../c",
        "hf://acme/m@a b",
        "hf://acme/m:../x",
        "hf://acme/m:/../x",
        "hf://acme/m:a\\b",
        "hf://acme/m:con",
        "hf://acme/" + "m" * 97,
        "https://huggingface.co",
        "https://huggingface.co/datasets/acme/d",
        "https://huggingface.co/acme/m/tree",
        "https://huggingface.co/acme/m/commit/" + COMMIT,
        "https://huggingface.co/acme/m/discussions/1",
        "https://huggingface.co/acme/m/blob/main/%2e%2e/x",
    ],
)
def test_what_cannot_be_a_reference_is_refused(text: str) -> None:
    assert is_reference(text)
    refused(lambda: parse(text), UsageError)


@pytest.mark.parametrize("text", ["acme/m", "./hf:/x", "hf:/acme/m", "C:\\models", "hfx://acme/m", "model.pt"])
def test_what_is_a_path_is_no_reference(text: str) -> None:
    assert not is_reference(text)


@pytest.mark.parametrize("text", ["https://huggingface.co.evil.example/a/b", "https://evil.example/https://hf.co/a/b"])
def test_another_host_is_not_the_hub(text: str) -> None:
    assert registry(text, Settings()).__class__ is not Hub


NAME = st.from_regex(r"[A-Za-z0-9]{1,5}([._-][A-Za-z0-9]{1,3})?", fullmatch=True)


@given(NAME, NAME, st.from_regex(r"[a-z@.]{0,5}[a-z]", fullmatch=True) | st.just(""))
def test_a_pinned_reference_means_the_same(owner: str, name: str, path: str) -> None:
    wanted = HubReference(model=f"{owner}/{name}", path=path)
    artifact = Artifact(reference=wanted.canonical, requested="", revision=COMMIT, files=())
    assert parse(artifact.pinned) == HubReference(model=wanted.model, path=path, revision=COMMIT)


@given(st.text())
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    for start in ("hf://", "https://huggingface.co/"):
        try:
            assert parse(start + text).canonical.isprintable()
        except UsageError as error:
            assert str(error).isprintable()


def test_asking_for_the_kind_of_an_argument_imports_no_client() -> None:
    script = (
        "import sys; from weighbridge.registries import is_reference\n"
        "assert is_reference('hf://a/b') and not is_reference('a/b')\n"
        "assert is_reference('https://huggingface.co/a/b')\n"
        "print([name for name in ('httpx2', 'huggingface_hub', 'ssl', 'asyncio') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
