"""References to models on a Hugging Face Hub: `hf://org/name[@revision][:path]` and the addresses of its web pages.

Everything here is text: whether an argument of the command line is a reference is asked before any client is imported.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from weighbridge.artifact import admit
from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable
from weighbridge.records import dataclass

SCHEME: Final = "hf://"
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_PUBLIC: Final = "https://huggingface.co"
_PAGES: Final = (_PUBLIC, "https://www.huggingface.co", "https://hf.co")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}\w)?", re.ASCII)  # of an owner or a model
_REVISION: Final = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]{1,255}")  # what git admits in the name of a reference
_SPECIAL: Final = re.compile(r"refs/(?:pr/[0-9]+|convert/[\w.-]+)", re.ASCII)
_PINNED: Final = re.compile(r"(.+)@([0-9a-f]{40})")
_VIEWS: Final = frozenset({"tree", "blob", "resolve", "raw", "blame"})
_OTHERS: Final = frozenset({"datasets", "spaces", "kernels", "buckets", "collections", "papers", "docs", "blog"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HubReference:
    """A model, the revision that was asked for (empty when none was) and the file or folder (empty for all files)."""

    model: str
    revision: str = ""
    path: str = ""

    @property
    def canonical(self) -> str:
        """The reference without its revision."""
        return f"{SCHEME}{self.model}:{self.path}" if self.path else f"{SCHEME}{self.model}"


def endpoint() -> str:
    """Return the address of the Hub: HF_ENDPOINT, which may have a path, or the public one."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _PUBLIC


def is_page(text: str) -> bool:
    """Tell whether `text` is the address of something on the Hub."""
    return _page(text) is not None


def parse(text: str) -> HubReference:
    """Return what a reference means; `hf://org/name:path@commit`, the pinned form, is understood too.

    Raises UsageError when it can mean nothing.
    """
    page = _page(text)
    found = _parse_scheme(text) if page is None else _parse_page(text, page)
    return _checked(text, found)


def _page(text: str) -> str | None:
    """Return the path of the address of a page of the Hub, or None."""
    for base in (endpoint(), *_PAGES):
        if text.lower().startswith(base.lower()) and text[len(base) : len(base) + 1] in ("/", "", "?", "#"):
            return urlsplit(text[len(base) :]).path.strip("/")
    return None


def _parse_scheme(text: str) -> HubReference:
    rest = text[len(SCHEME) :]
    head, _, path = rest.partition(":")
    model, mark, revision = head.partition("@")
    if mark and not revision:
        raise _wrong(text, "there is no revision behind the @")
    if not mark and (pinned := _PINNED.fullmatch(path)):
        path, revision = pinned[1], pinned[2]
    return HubReference(model=model.removeprefix("models/"), revision=revision, path=path.strip("/"))


def _parse_page(text: str, page: str) -> HubReference:
    parts = page.split("/")
    if parts[0] in _OTHERS:
        raise _wrong(text, f"it is not a model but one of {parts[0]}")
    count = 1 if len(parts) == 1 or parts[1] in _VIEWS else 2
    model, view = "/".join(parts[:count]), parts[count : count + 1]
    rest = "/".join(parts[count + 1 :])
    if view and view[0] not in _VIEWS:
        raise _wrong(text, "it is the address of neither a model nor one of its files")
    if view and not rest:
        raise _wrong(text, "there is no revision in it")
    special = _SPECIAL.match(rest)
    revision = special[0] if special else rest.partition("/")[0]
    return HubReference(model=model, revision=unquote(revision), path=unquote(rest[len(revision) :]).strip("/"))


def _checked(text: str, found: HubReference) -> HubReference:
    parts = found.model.split("/")
    if len(parts) > 2 or not all(_NAME.fullmatch(part) and ".." not in part and "--" not in part for part in parts):
        raise _wrong(text, f"{printable(found.model)!r} is not the name of a model (org/name)")
    revision = found.revision
    if revision and (not _REVISION.fullmatch(revision) or any(p in ("", ".", "..") for p in revision.split("/"))):
        raise _wrong(text, f"{printable(revision)!r} cannot be a revision")
    try:
        admit([found.path] if found.path else [], text)
    except SourceError as error:
        raise UsageError(str(error)) from error
    return found


def _wrong(text: str, reason: str) -> UsageError:
    return UsageError(f"{printable(text)}: {reason}; a reference is hf://org/name[@revision][:path]")
