"""Models of an MLflow model registry, over its REST interface: `mlflow://model/version` and `mlflow://model@alias`.

The tracking server is that of MLFLOW_TRACKING_URI, or stands in the reference: `mlflow+https://host/prefix/model/3`,
`mlflow+http://host:5000/model@champion`, and `mlflow://host:5000/model/3`, which is http for this machine and https for
any other. MLflow forbids `/` and `:` in the name of a model, so the forms cannot be confused.

A version names a place and no bytes: MLflow keeps no digests, and whoever may write to the place changes what a version
means. So the revision is the number of the version, and what binds the bytes is the lock.

Interface: https://mlflow.org/docs/latest/api_reference/rest-api.html, and for mlflow-artifacts
`mlflow/server/artifact_router.py`.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from weighbridge.artifact import MAX_FILES, Artifact, File
from weighbridge.errors import SourceError, UsageError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries.base import Remote, Settings
from weighbridge.registries.http import Session, decode, origin, show, split

_SERVED: Final = "mlflow-artifacts"  # the scheme of what the tracking server serves itself
_API: Final = "/api/2.0/mlflow"
_ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
_ANSWER: Final = 16 << 20  # bytes; a folder of a hundred thousand files is listed in about 10 MB
_MAX_FOLDERS: Final = 10_000  # each is a request
_MAX_STEPS: Final = 4  # from a version to the place of its files; a copy of a copy of a logged model takes four
_FORM: Final = "a reference is mlflow://model/version or mlflow://model@alias, with the server in MLFLOW_TRACKING_URI"
_LOOPBACK: Final = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\]):[0-9]+")
_ALIAS: Final = re.compile(r"[\w-]{1,255}", re.ASCII)
_ID: Final = re.compile(r"[\w.-]{1,255}", re.ASCII)
_CREDENTIAL: Final = (
    "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; they are sent to the server "
    "of MLFLOW_TRACKING_URI alone"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A reference; `server` is the URL of a tracking server, `revision` the number of a version or an alias."""

    server: str
    model: str
    revision: str

    @property
    def reference(self) -> str:
        """The canonical reference, without the revision."""
        return f"mlflow+{self.server}/{quote(self.model, safe='')}"


class MLflow:
    """Model versions of MLflow tracking servers."""

    def __init__(self, settings: Settings) -> None:
        from weighbridge.registries.objects import Objects

        self._settings = settings
        self._session = Session(settings, credential=_CREDENTIAL)
        self._objects = Objects(settings)

    def resolve(self, reference: str) -> Artifact:
        """Return the files of a model version.

        Raises UsageError when the reference cannot be read or names no server, SourceError when the server does not
        answer, has no such model, or keeps it where only the server can read it.
        """
        wanted = _parse(reference)
        version = self._version(wanted)
        number, status = version.get("version"), version.get("status", "READY")
        if not isinstance(number, str | int) or not re.fullmatch(r"[0-9]{1,9}", str(number), re.ASCII):
            raise SourceError(f"{wanted.reference}: the server names no version of the model")
        if status != "READY":
            raise SourceError(f"{wanted.reference}@{number}: the version is not ready, it is {printable(str(status))}")
        place = self._place(wanted, {"name": wanted.model, "version": str(number)})
        files = tuple(self._files(wanted, place))
        if not files:
            raise SourceError(f"{wanted.reference}@{number}: there are no files at {printable(place)}")
        found = f"is version {number} now, at {printable(place)}; only a lock binds its bytes"
        self._settings.notice(f"{wanted.reference}@{wanted.revision} {found}")
        return Artifact(reference=wanted.reference, requested=wanted.revision, revision=str(number), files=files)

    def open(self, artifact: Artifact, file: File) -> Remote:
        """Return the bytes of a file, from the tracking server or from the object store that it names."""
        scheme, _, path = file.key.partition(":")
        if scheme != _SERVED:
            return self._objects.at(file.key, file.size)
        server = artifact.reference.removeprefix("mlflow+").rpartition("/")[0]
        url = _artifact_url(server, path)
        # In front of an object store, under gunicorn, every answer is a copy of its own with a tag of its own.
        return self._session.remote(url, file.size, name=file.path, headers=_credentials(server), tagged=False)

    def _version(self, wanted: _Wanted) -> dict[str, Any]:
        """Return what the server says of a version."""
        if wanted.revision.isdigit():
            asked = {"name": wanted.model, "version": wanted.revision}
            answer = self._ask(wanted.server, "/model-versions/get", asked)
        else:
            asked = {"name": wanted.model, "alias": wanted.revision}
            answer = self._ask(wanted.server, "/registered-models/alias", asked)
        return _member(answer, "model_version")

    def _place(self, wanted: _Wanted, asked: dict[str, str]) -> str:
        """Return the URI of the folder that holds a version, following what stands for another place."""
        uri = _text(self._ask(wanted.server, "/model-versions/get-download-uri", asked), "artifact_uri")
        for _ in range(_MAX_STEPS):
            scheme, _, rest = uri.partition(":")
            head, _, path = rest.lstrip("/").partition("/")
            if scheme == "runs" and _ID.fullmatch(head):
                run = _member(self._ask(wanted.server, "/runs/get", {"run_id": head}), "run", "info")
                uri = _below(_text(run, "artifact_uri"), path)
            elif scheme == "models" and head.startswith("m-") and _ID.fullmatch(head):
                model = _member(self._ask(wanted.server, f"/logged-models/{head}", {}), "model", "info")
                uri = _below(_text(model, "artifact_uri"), path)
            elif scheme == "models" and path.isdigit():
                copied = {"name": unquote(head), "version": path}
                uri = _text(self._ask(wanted.server, "/model-versions/get-download-uri", copied), "artifact_uri")
            else:
                return uri
        raise SourceError(f"{wanted.reference}: the place of the version leads to another more than {_MAX_STEPS} times")

    def _files(self, wanted: _Wanted, uri: str) -> Iterator[File]:
        """Yield the files at a place."""
        scheme, _, rest = uri.partition(":")
        if scheme == _SERVED:
            yield from self._listed(wanted, _served(wanted, uri))
        elif scheme in ("s3", "gs") and rest.startswith("//"):
            from weighbridge.registries.objects import object_reference

            stored = self._objects.resolve(uri)
            for file in stored.files:
                key = object_reference(stored, file)
                yield File(path=file.path, size=file.size, claims=file.claims, key=key)
        else:
            reason = "which cannot be read from here; keep it with the server (mlflow-artifacts), in s3:// or in gs://"
            raise SourceError(f"{wanted.reference}: the version is kept at {printable(uri)}, {reason}")

    def _listed(self, wanted: _Wanted, top: str) -> Iterator[File]:
        """Yield the files that the tracking server itself serves, folder by folder."""
        folders, files, seen = [""], 0, 0
        while folders:
            folder = folders.pop()
            seen += 1
            for entry in self._folder(wanted, _below(top, folder)):
                path = _below(folder, entry["path"])
                if entry.get("is_dir"):
                    folders.append(path)
                else:
                    files += 1
                    yield self._file(wanted, top, path, entry.get("file_size"))
            if files > MAX_FILES or seen + len(folders) > _MAX_FOLDERS:
                raise SourceError(f"{wanted.reference}: more than {MAX_FILES} files or {_MAX_FOLDERS} folders")

    def _file(self, wanted: _Wanted, top: str, path: str, size: object) -> File:
        """Return a file of the listing, which leaves the size out where it is 0, and where nobody knows it."""
        key = _below(top, path)
        if size is None:
            self._session.get(_artifact_url(wanted.server, key), limit=0, headers=_credentials(wanted.server))
            size = 0
        if not re.fullmatch(r"[0-9]{1,19}", str(size), re.ASCII):
            raise SourceError(f"{wanted.reference}: {path!a} has the size {size!a}")
        return File(path=path, size=int(str(size)), key=f"{_SERVED}:{key}")

    def _folder(self, wanted: _Wanted, path: str) -> list[dict[str, Any]]:
        """Return the entries of one folder, each of which is in it."""
        answer = self._get(f"{wanted.server}{_ARTIFACTS}", {"path": path}, wanted.server)
        entries = answer.get("files", [])
        if answer.get("next_page_token") or not isinstance(entries, list):
            raise SourceError(f"{wanted.reference}: the server lists {path!a} in an unknown way")
        for entry in entries:
            name = _text(entry, "path")
            if "/" in name or name in ("", ".", ".."):
                raise SourceError(f"{wanted.reference}: the server lists {name!a} in {path!a}")
        return entries

    def _ask(self, server: str, path: str, query: dict[str, str]) -> dict[str, Any]:
        return self._get(f"{server}{_API}{path}", query, server)

    def _get(self, url: str, query: dict[str, str], server: str) -> dict[str, Any]:
        """Return the JSON object that a URL answers with, or raise what the server says against it."""
        full = f"{url}?{urlencode(query)}" if query else url
        answer = self._session.get(full, limit=_ANSWER, headers=_credentials(server), accept=(200, 400, 404))
        if answer.status != 200 and "json" not in answer.headers.get("content-type", ""):
            raise SourceError(f"{show(url)}: the server answers {answer.status}; is it an MLflow tracking server?")
        found = decode(answer)
        if answer.status != 200 or not isinstance(found, dict):
            said = found.get("message") if isinstance(found, dict) else None
            raise SourceError(f"{show(url)}: {printable(str(said or f'the server answers {answer.status}'))[:300]}")
        return found


def _parse(reference: str) -> _Wanted:
    """Split a reference; raise UsageError when it is none."""
    scheme, _, rest = reference.partition("://")
    shown = printable(reference)
    if not reference.isprintable() or "?" in rest or "#" in rest:
        raise UsageError(f"{shown}: {_FORM}")
    server, parts = _server(scheme.lower(), rest.split("/"), shown)
    name, mark, revision = parts[-1].rpartition("@") if parts else ("", "", "")
    if mark:
        prefix = parts[:-1]
    else:
        name, revision, prefix = (parts[-2], parts[-1], parts[:-2]) if parts[1:] else ("", "", [])
    name = unquote(name)
    wrong = not name or "/" in name or ":" in name or not _ALIAS.fullmatch(revision) or revision == "latest"
    if wrong or (prefix and server is None):
        raise UsageError(f"{shown}: {_FORM}")
    base = _tracking_server(shown) if server is None else "/".join([server, *prefix])
    return _Wanted(server=base, model=name, revision=revision)


def _server(scheme: str, parts: list[str], shown: str) -> tuple[str | None, list[str]]:
    """Return the origin of the server that a reference names, None for that of the environment, and what is left."""
    kind = scheme.partition("+")[2]
    if not kind and ":" not in parts[0]:
        return None, parts
    if not kind:
        kind = "http" if _LOOPBACK.fullmatch(parts[0]) else "https"
    if "@" in parts[0]:
        raise UsageError(f"{shown}: a user name or password in a reference is refused")
    return origin(f"{kind}://{parts[0]}"), parts[1:]


def _tracking_server(shown: str) -> str:
    """Return the URL of the server that MLFLOW_TRACKING_URI names, without what it says of a user."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    parts = split(uri)
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"{shown}: MLFLOW_TRACKING_URI does not name a server (http or https); {_FORM}")
    return origin(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}") + parts.path.rstrip("/")


def _credentials(server: str) -> dict[str, str]:
    """Return the header with the credentials of the environment, when they are for this server."""
    parts = split(os.environ.get("MLFLOW_TRACKING_URI", ""))
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or origin(f"{parts.scheme}://{host}") != origin(server):
        return {}
    name, _, password = (unquote(one) for one in user.partition(":"))
    name = os.environ.get("MLFLOW_TRACKING_USERNAME") or name
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or password
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if name and password:
        return {"authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode('ascii')}"}
    return {"authorization": f"Bearer {token}"} if token else {}


def _served(wanted: _Wanted, uri: str) -> str:
    """Return the path of a place that the tracking server serves; raise SourceError when another server does."""
    parts = split(uri)
    if parts.netloc and f"//{parts.netloc}" != f"//{split(wanted.server).netloc}":
        raise SourceError(f"{wanted.reference}: the version is kept on another server, {printable(parts.netloc)}")
    return unquote(parts.path).strip("/")


def _artifact_url(server: str, path: str) -> str:
    return f"{server}{_ARTIFACTS}/{quote(path)}"


def _below(folder: str, path: str) -> str:
    """Return a path below a folder; either may be empty."""
    return "/".join(part for part in (folder.rstrip("/"), path.strip("/")) if part)


def _member(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an object inside an answer."""
    found: Any = answer
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise SourceError(f"the MLflow server's answer has no {'.'.join(names)!r}")
    return found


def _text(answer: object, name: str) -> str:
    """Return a text inside an answer."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, str) or not found:
        raise SourceError(f"the MLflow server's answer has no {name!r}")
    return found
