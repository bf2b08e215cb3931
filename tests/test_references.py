"""Any text after the scheme of a registry is a reference or one line about it, and nothing is connected to for that."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import WeighbridgeError
from weighbridge.registries import SCHEMES, is_reference, registry
from weighbridge.registries.base import Registry, Settings

PARTS = st.sampled_from(
    [
        "/",
        "//",
        ":",
        "@",
        "?",
        "#",
        "%",
        "..",
        "sha256:",
        "etag:",
        "version:",
        "tree:",
        "a" * 64,
        "host",
        ":5000",
        "[",
        " ",
    ]
)
TEXTS = st.lists(PARTS | st.text(max_size=5), max_size=8).map("".join)
OFFLINE = Settings(offline=True)


@cache
def made(scheme: str) -> Registry:
    return registry(f"{scheme}://", OFFLINE)


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"file"}))
@given(text=TEXTS)
def test_any_text_is_a_reference_or_one_line(scheme: str, text: str) -> None:
    reference = f"{scheme}://{text}"
    if not is_reference(reference):
        return
    with pytest.raises(WeighbridgeError) as caught:
        made(scheme).resolve(reference)
    assert str(caught.value).isprintable()


@given(text=TEXTS)
def test_any_file_url_is_a_path_or_one_line(text: str) -> None:
    try:
        made("file").resolve(f"file:///no/such/folder/{text}")
    except WeighbridgeError as error:
        assert str(error).isprintable()
