"""The Hugging Face Hub, and every server that speaks its protocol: mirrors, Artifactory, Nexus, olah.

Of huggingface_hub this takes what is about the person (where tokens lie) and sends the requests itself. Its client has
no timeout by default, sends the token along when a listing continues on another origin, follows redirects on its own
and believes a body that has the right size. `set_client_factory` could mend the first three and not the last, and would
change the client of whoever imports this package.

Protocol: huggingface.co/docs/hub/api; the answers relied upon are those of `/api/models/<id>/revision/<revision>`,
`/api/models/<id>/tree/<commit>` and `/<id>/resolve/<commit>/<path>`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urljoin

from weighbridge.artifact import MAX_FILES, Artifact, File
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable
from weighbridge.registries.base import Settings
from weighbridge.registries.exchange import Check
from weighbridge.registries.http import Ranges, Session, decode, origin, show
from weighbridge.registries.hub_reference import COMMIT, HubReference, endpoint, parse

DEFAULT_REVISION: Final = "main"
MAX_INFO: Final = 64 << 20  # bytes; the answer about a revision names every file, and a repository may have 200 000
MAX_PAGE: Final = 16 << 20  # bytes; a page of a listing has at most 1000 entries
MAX_PAGES: Final = 4000  # MAX_FILES at 50 to a page, the shortest that the Hub gives
MAX_SIZE: Final = 1 << 50  # bytes of one file; the Hub stops at 500 GB
_CREDENTIAL: Final = "give a token that may read it: set HF_TOKEN, or `hf auth login`"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LINK: Final = re.compile(r"<([^<>]*)>\s*((?:;[^,<>]*)*)")  # RFC 8288 §3
_YES: Final = ("1", "ON", "YES", "TRUE")


class Hub:
    """Models on the Hub that HF_ENDPOINT names."""

    def __init__(self, settings: Settings) -> None:
        self._endpoint = endpoint()
        try:
            self._origin = origin(self._endpoint)
        except SourceError as error:
            raise UsageError(f"HF_ENDPOINT: {error}") from error
        self._notice = settings.notice
        offline = settings.offline or _is_set("HF_HUB_OFFLINE") or _is_set("TRANSFORMERS_OFFLINE")
        tokens = {origin(key): token for key, token in settings.tokens.items()}
        if not offline and self._origin not in tokens and (token := _token()):
            tokens[self._origin] = token
        self._known = self._origin in tokens
        self._session = Session(dataclasses.replace(settings, offline=offline, tokens=tokens), credential=_CREDENTIAL)

    def resolve(self, reference: str) -> Artifact:
        """Return the files that a reference means now, at the commit that its revision means now."""
        wanted = parse(reference)
        commit = self._commit(wanted)
        if wanted.revision != commit:
            self._notice(f"{wanted.canonical}: {printable(wanted.revision or DEFAULT_REVISION)} is {commit} now")
        files = tuple(file for file in self._files(wanted, commit) if _within(file.path, wanted.path))
        if not files:
            what = f"no file or folder {printable(wanted.path)!r}" if wanted.path else "no files"
            raise SourceError(f"{wanted.canonical}: {what} at {commit}")
        return Artifact(reference=wanted.canonical, requested=wanted.revision, revision=commit, files=files)

    def open(self, artifact: Artifact, file: File) -> Ranges:
        """Return the bytes of a file, from the redirect that the endpoint gives for it at the pinned commit."""
        wanted = parse(artifact.reference)
        url = f"{self._endpoint}/{wanted.model}/resolve/{artifact.revision}/{quote(file.path)}"
        name = f"{wanted.model}/{printable(file.path)}"
        return self._session.remote(url, file.size, name=name, check=self._check(wanted, artifact.revision, file))

    def _commit(self, wanted: HubReference) -> str:
        """Return the commit that the revision means; raise SourceError when the answer is about something else."""
        revision = wanted.revision or DEFAULT_REVISION
        url = f"{self._endpoint}/api/models/{wanted.model}/revision/{quote(revision, safe='')}"
        answer = self._session.get(url, limit=MAX_INFO, check=self._check(wanted))
        match decode(answer):
            case {"id": str(model), "sha": str(commit)} if COMMIT.fullmatch(commit):
                pass
            case _:
                raise SourceError(f"{show(url)}: the answer names no commit; is HF_ENDPOINT a Hub?")
        if model != wanted.model:
            name = printable(model)
            raise SourceError(
                f"{wanted.canonical}: the model is called {name} there; ask for hf://{name} if you mean it"
            )
        if COMMIT.fullmatch(revision) and commit != revision:
            raise SourceError(f"{wanted.canonical}: asked for commit {revision}, the server answers with {commit}")
        return commit

    def _files(self, wanted: HubReference, commit: str) -> list[File]:
        """Return every file at a commit with what the Hub declares of it."""
        files: list[File] = []
        for entry in self._entries(wanted, commit):
            match entry:
                case {"type": "directory"}:
                    continue
                case {"type": "file", "path": str(path), "size": int(size)} if (
                    type(size) is int and 0 <= size <= MAX_SIZE
                ):
                    files.append(File(path=path, size=size, claims=_claims(entry, wanted, size)))
                case _:
                    raise SourceError(f"{wanted.canonical}: the listing has an entry that is no file: {_short(entry)}")
            if len(files) > MAX_FILES:
                raise SourceError(f"{wanted.canonical}: more than {MAX_FILES} files")
        return files

    def _entries(self, wanted: HubReference, commit: str) -> Iterator[Any]:
        """Yield the entries of the listing, page after page, all of them from the endpoint's origin."""
        url = f"{self._endpoint}/api/models/{wanted.model}/tree/{commit}?recursive=true&expand=false"
        seen = {url}
        while True:
            answer = self._session.get(url, limit=MAX_PAGE, check=self._check(wanted, commit))
            page = decode(answer)
            if not isinstance(page, list):
                raise SourceError(f"{show(url)}: the listing is not a list; is HF_ENDPOINT a Hub?")
            yield from page
            following = _following(answer.headers)
            if not following:
                return
            url = urljoin(url, following)
            if origin(url) != self._origin:
                raise SourceError(f"{wanted.canonical}: the listing goes on at {show(url)}, which is another server")
            if url in seen or len(seen) >= MAX_PAGES:
                raise SourceError(f"{wanted.canonical}: the listing does not end")
            seen.add(url)

    def _check(self, wanted: HubReference, commit: str = "", file: File | None = None) -> Check:
        """Return the check of every answer of the endpoint's origin about a model, at a commit when one is given."""

        def check(url: str, status: int, headers: Mapping[str, str]) -> None:
            if origin(url) != self._origin:
                return
            if status in (401, 403, 404):
                raise self._refusal(wanted, commit, file, status, headers)
            if not commit or status >= 400:
                return
            # Listings do not say the commit, and olah says it to HEAD alone; the digests of the listing bind the bytes.
            told = headers.get("x-repo-commit", commit)
            if told != commit:
                reason = f"asked for commit {commit}, the server answers with {told[:64]!a}"
                raise SourceError(f"{wanted.canonical}: {reason}")
            if file is not None:
                _agree(wanted, file, headers)

        return check

    def _refusal(
        self, wanted: HubReference, commit: str, file: File | None, status: int, headers: Mapping[str, str]
    ) -> SourceError:
        """Return the error for an answer that denies a model, a revision or a file."""
        code, told = headers.get("x-error-code", ""), printable(headers.get("x-error-message", ""))[:200]
        revision = commit or wanted.revision or DEFAULT_REVISION
        page = f"{self._endpoint}/{wanted.model}"
        if code == "GatedRepo":
            reason = f"gated: ask its authors for access at {show(page)}, then {_CREDENTIAL}"
        elif code == "RevisionNotFound":
            reason = f"there is no revision {printable(revision)!r}"
        elif code == "EntryNotFound":
            reason = f"there is no file {printable(file.path if file else wanted.path)!r} at {printable(revision)}"
        elif "disabled" in told.lower():
            reason = f"the Hub has disabled it ({told})"
        elif "credentials" in told.lower():
            reason = f"the token is refused ({told}); {_CREDENTIAL}"
        elif code == "RepoNotFound" or status in (401, 404):
            missing = (
                "no such model, or the token may not read it" if self._known else "no such model, or a private one"
            )
            reason = f"{missing}; check the name, or {_CREDENTIAL}"
        else:
            reason = f"access is refused, {status}{f' ({told})' if told else ''}; {_CREDENTIAL}"
        return SourceError(f"{wanted.canonical}: {reason}")


def _claims(entry: dict[str, Any], wanted: HubReference, size: int) -> tuple[Digest, ...]:
    """Return the digest that the listing declares of a file's bytes: of the LFS object, or of the git blob."""
    match entry:
        case {"lfs": {"oid": str(oid), "size": int(length)}} if _SHA256.fullmatch(oid) and length == size:
            return (Digest("sha256", oid),)
        case {"lfs": value} if value is not None:
            pass
        case {"oid": str(oid)} if COMMIT.fullmatch(oid):
            return (Digest("git-sha1", oid),)
    raise SourceError(f"{wanted.canonical}: the listing has a file without a valid digest: {_short(entry)}")


def _agree(wanted: HubReference, file: File, headers: Mapping[str, str]) -> None:
    """Raise SourceError when an answer declares another size or digest of a file than the listing did."""
    size, tag = headers.get("x-linked-size", ""), headers.get("x-linked-etag", "").strip('"')
    if size and size != str(file.size):
        raise SourceError(
            f"{wanted.canonical}: {printable(file.path)} has {file.size} bytes in the listing, not {size!a}"
        )
    sha256 = next((claim.value for claim in file.claims if claim.algorithm == "sha256"), "")
    if sha256 and _SHA256.fullmatch(tag) and tag != sha256:
        raise SourceError(f"{wanted.canonical}: {printable(file.path)} has sha256 {sha256} in the listing, not {tag}")


def _following(headers: Mapping[str, str]) -> str:
    """Return where a listing goes on, or nothing."""
    for target, parameters in _LINK.findall(headers.get("link", "")):
        if re.search(r';\s*rel\s*=\s*"?next"?\s*(?:;|$)', parameters, re.IGNORECASE):
            return str(target)
    return ""


def _within(path: str, wanted: str) -> bool:
    return not wanted or path == wanted or path.startswith(f"{wanted}/")


def _short(entry: object) -> str:
    return ascii(entry)[:200]


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in _YES


def _token() -> str | None:
    """Return the token that huggingface_hub finds: of a CI job, HF_TOKEN, the file that `hf auth login` writes."""
    if _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    import httpx2
    from huggingface_hub import errors, get_token

    try:
        return get_token()
    except (OSError, ValueError, httpx2.HTTPError, getattr(errors, "OIDCError", OSError)) as error:
        raise SourceError(f"the Hub's token cannot be had: {printable(str(error))}") from error
