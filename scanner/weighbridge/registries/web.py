"""One file behind a URL: `https://host/path/model.safetensors`, with `@sha256:…` or `@etag:…` to pin it.

A web server promises nothing about what a URL will mean tomorrow. The revision is the strongest validator that it
gives (RFC 9110 §8.8): an entity tag, which identifies the bytes until the file changes; else the time of the last
change, which two files may share; else the size alone. A sha256 in the reference is the only pin that does not rest on
the server's word: it is a claim, and whoever downloads the bytes verifies it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl, unquote

from weighbridge.artifact import Artifact, File
from weighbridge.digest import Digest
from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable
from weighbridge.registries.base import Remote, Settings
from weighbridge.registries.exchange import Check
from weighbridge.registries.http import Answer, Session, origin, show, split

_PROBE_LIMIT: Final = 64 << 10  # bytes of an answer that was to have one byte or none
_NO_HEAD: Final = (400, 401, 403, 404, 405, 501)  # servers and signed links that only know GET say one of these
_PIN: Final = re.compile(r"etag:.+|modified:.+|size:[0-9]+|sha256:.*", re.ASCII)
_GMT: Final = timedelta()  # the only zone that RFC 9110 §5.6.7 allows
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_STRONG: Final = re.compile(r'"([\x21\x23-\x3f\x41-\x7e]{1,512})"')  # what Session compares, without an `@`
_LOOPBACK: Final = re.compile(r"http://(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")
# Names of parameters under which links carry a signature or a password.
_SECRET: Final = re.compile(
    r"(?i)x-amz-|x-goog-|awsaccesskeyid|(?:.*[_-])?(?:sig|signature|token|key|secret|password|auth|jwt|credential|code|policy)\b"
)


class Web:
    """Files on web servers, each an artifact of its own."""

    def __init__(self, settings: Settings) -> None:
        self._notice = settings.notice
        self._session = Session(settings, credential="it needs a token for that origin, or a link that is still valid")
        self._signed: dict[str, str] = {}

    def resolve(self, reference: str) -> Artifact:
        """Return the file of a URL as an artifact, pinned to what identifies its bytes.

        Raises UsageError when the URL names no file, SourceError when the server does not have it, does not say how
        large it is, or has another version than the pinned one.
        """
        url, pin = _parts(reference)
        name, canonical = _name(url), self._canonical(url)
        answer = self._probe(url)
        size = _size(answer)
        validator = _validator(answer.headers) or f"size:{size}"
        expected = pin if pin.startswith("sha256:") else ""
        if pin and not expected and pin != validator:
            raise SourceError(f"{show(url)}: the server has {printable(validator)} now, not {printable(pin)}")
        revision = expected or validator
        self._tell(canonical, pin, validator)
        claims = (Digest("sha256", expected.removeprefix("sha256:")),) if expected else ()
        file = File(path=name, size=size, claims=claims, key=validator)
        return Artifact(reference=canonical, requested=pin, revision=revision, files=(file,))

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Return the bytes, pinned to the validator that `resolve` saw."""
        kind, _, value = file.key.partition(":")
        url = self._signed.get(artifact.reference, artifact.reference)
        return self._session.remote(
            url,
            file.size,
            name=file.path,
            tag=f'"{value}"' if kind == "etag" else None,
            check=_unchanged(value) if kind == "modified" else None,
        )

    def _canonical(self, url: str) -> str:
        """Return the URL as it is recorded: without a query that grants access, which is remembered here."""
        parts = split(url)
        bare = f"{origin(url)}{parts.path}"
        if not parts.query:
            return bare
        if not any(_SECRET.match(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            return f"{bare}?{parts.query}"
        self._notice(f"{show(url)}: the query of the link may grant access, so it is not recorded")
        self._signed[bare] = url
        return bare

    def _probe(self, url: str) -> Answer:
        """Return an answer whose headers describe the file; its body is of no interest."""
        answer = self._session.get(url, limit=_PROBE_LIMIT, method="HEAD", accept=(200, *_NO_HEAD))
        if answer.status == 200:
            return answer
        return self._session.get(url, limit=_PROBE_LIMIT, headers={"range": "bytes=0-0"}, accept=(206,))

    def _tell(self, url: str, pin: str, validator: str) -> None:
        """Say what a person should know about how far the pin can be trusted."""
        shown, kind = show(url), validator.partition(":")[0]
        if url.startswith("http:") and not _LOOPBACK.match(url):
            self._notice(f"{shown}: plain http, anybody on the way can change the bytes")
        if pin.startswith("sha256:"):
            return
        if kind == "modified":
            self._notice(f"{shown}: no strong entity tag; pinned to its size and the time of its last change alone")
        elif kind == "size":
            self._notice(f"{shown}: neither an entity tag nor a time of change; pinned to its size alone")
        if kind != "etag":
            self._notice(f"{shown}: to pin its bytes, add @sha256:… to the reference")
        elif not pin:
            self._notice(f"{shown} is {printable(validator)} now")


def _parts(reference: str) -> tuple[str, str]:
    """Split a reference into the URL and the pin behind it."""
    if not reference.isprintable() or " " in reference:
        raise UsageError(f"{printable(reference)}: a URL holds no spaces and no control characters")
    url, mark, pin = reference.rpartition("@")
    if not mark or not _PIN.fullmatch(pin):
        url, pin = reference, ""
    if pin.startswith("sha256:") and not _SHA256.fullmatch(pin, 7):
        raise UsageError(f"{show(url)}: a sha256 has 64 hexadecimal digits in lower case")
    if "#" in url:
        raise UsageError(f"{show(url)}: a reference to a file has no fragment (to pin its bytes, add @sha256:…)")
    return url, pin


def _name(url: str) -> str:
    """Return the name of the file: the last part of the path, which `Artifact` admits or refuses."""
    name = unquote(split(url).path.rpartition("/")[2], errors="replace")
    if not name:
        raise UsageError(f"{show(url)}: the URL names no file")
    return name


def _size(answer: Answer) -> int:
    """Return how many bytes the file has."""
    ranged = re.fullmatch(r"bytes 0-0/([0-9]{1,19})", answer.headers.get("content-range", "").strip(), re.ASCII)
    length = re.fullmatch(r"[0-9]{1,19}", answer.headers.get("content-length", "").strip(), re.ASCII)
    if answer.status == 206 and ranged:
        return int(ranged[1])
    if answer.status == 200 and length:
        return int(length[0])
    raise SourceError(f"{show(answer.url)}: the server does not say how large the file is")


def _validator(headers: Mapping[str, str]) -> str:
    """Return the strongest thing that the server says to tell this version from another, or nothing."""
    tag = _STRONG.fullmatch(headers.get("etag", ""))
    if tag:
        return f"etag:{tag[1]}"
    changed = _changed(headers)
    return f"modified:{changed}" if changed else ""


def _changed(headers: Mapping[str, str]) -> str:
    """Return the time of the last change as `2026-11-21T12:00:00Z`; nothing when the server gives none."""
    try:
        time = parsedate_to_datetime(headers.get("last-modified", ""))
    except (ValueError, OverflowError):
        return ""
    return f"{time.replace(tzinfo=None).isoformat(timespec='seconds')}Z" if time.utcoffset() == _GMT else ""


def _unchanged(changed: str) -> Check:
    """Return the check that every answer with bytes of the file has the time of change `changed`."""

    def check(url: str, status: int, headers: Mapping[str, str]) -> None:
        if status in (200, 206) and _changed(headers) != changed:
            raise SourceError(f"{show(url)}: the file changed while it was read")

    return check
