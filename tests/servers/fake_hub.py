"""A Hugging Face Hub small enough to read, honest enough for huggingface_hub, and dishonest on request.

Three origins: the Hub itself, the one that holds large files behind signed links, and one that has nothing to do with
either. Credentials that reach the last two are leaks.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from servers.serving import Blob, Entry, Faults, Reply, Request, Server

TOKEN = "hf_fake_token"
_LARGE = (".bin", ".pt", ".pth", ".pkl", ".safetensors", ".onnx", ".gguf", ".zip", ".joblib")
_WHEN = "2026-01-01T00:00:00.000Z"


class DeniedError(Exception):
    """An answer with X-Error-Code, as the Hub's own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(
            status=status,
            headers={"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}),
            body=json.dumps({"error": message}).encode(),
        )


@dataclass
class Model:
    """A repository: its commits, what its references point at, and who may read it."""

    name: str
    private: bool = False
    gated: bool = False
    disabled: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)


@dataclass
class Lies:
    """What the Hub itself does wrong until a test sets it back; nothing by default."""

    busy: int = 0  # how many of the next requests are refused with `busy_status`
    busy_status: int = 503
    busy_headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False  # requests are never answered
    commit: str | None = None  # what stands in X-Repo-Commit; empty for none
    sha: str = ""  # what the answer about a revision says instead of the commit
    elsewhere: bool = False  # the second page of a listing is at the third origin
    endless: bool = False  # the last page of a listing names itself as the next
    loop: bool = False  # files redirect to themselves
    target: str = ""  # where large files redirect to instead
    linked: dict[str, str] = field(default_factory=dict)  # headers of the redirect instead of the true ones
    listing: Any = None  # what every page of a listing is instead
    entries: list[Any] = field(default_factory=list)  # further entries of every listing


class FakeHub:
    """The servers, from construction until `close`.

    `prefix` is a path in front of everything, as mirrors have; `page` how many entries a page of a listing has.
    """

    def __init__(self, *, prefix: str = "", page: int = 1000, tls: ssl.SSLContext | None = None) -> None:
        self.prefix, self.page = prefix, page
        self.faults, self.lies = Faults(), Lies()
        self.models: dict[str, Model] = {}
        self.renamed: dict[str, str] = {}
        self.instead: bytes | None = None  # the body of every answer, when it is to be no Hub at all
        self._blobs: dict[str, Blob] = {}
        self._signature = 0  # links signed with a smaller number have expired
        self._issued = 0
        self._hub = Server(self._answer, self.faults, tls=tls)
        self._files = Server(self._file_link, self.faults)
        self._elsewhere = Server(lambda _: Reply(status=401, headers={"WWW-Authenticate": "Bearer"}), Faults())
        self.url = self._hub.origin + prefix
        self.files, self.elsewhere = self._files.origin, self._elsewhere.origin

    def publish(
        self,
        name: str,
        files: Mapping[str, bytes | Path],
        *,
        ref: str = "main",
        private: bool = False,
        gated: bool = False,
        disabled: bool = False,
    ) -> str:
        """Add a commit that holds these files and nothing else, point `ref` at it, and return it."""
        model = self.models.setdefault(name, Model(name))
        model.private, model.gated, model.disabled = private, gated, disabled
        blobs = {path: Blob(content) for path, content in files.items()}
        listing = "\n".join(f"{path} {blob.git_sha1}" for path, blob in sorted(blobs.items()))
        commit = hashlib.sha1(f"{name} {ref} {len(model.commits)}\n{listing}".encode()).hexdigest()
        model.commits[commit], model.refs[ref] = blobs, commit
        self._blobs |= {blob.sha256: blob for blob in blobs.values()}
        return commit

    def set_faults(self, faults: Faults) -> None:
        """Let bodies be sent as `faults` say from now on."""
        self.faults = self._hub.faults = self._files.faults = faults

    def expire(self) -> None:
        """Let every signed link that was given out so far be refused."""
        self._signature = self._issued + 1

    @property
    def log(self) -> list[Entry]:
        """The requests to the Hub and to its large files, those of each in order."""
        return self._hub.log + self._files.log

    @property
    def sent(self) -> int:
        """How many bytes of bodies were sent."""
        return self._hub.sent + self._files.sent

    @property
    def leaks(self) -> list[Entry]:
        """The requests that took a credential where it does not belong."""
        return [entry for entry in self._files.log + self._elsewhere.log if entry.authorised]

    @property
    def reached_elsewhere(self) -> bool:
        """Whether the third origin was asked for anything."""
        return bool(self._elsewhere.log)

    def close(self) -> None:
        """Stop all servers."""
        for server in (self._hub, self._files, self._elsewhere):
            server.close()

    def __enter__(self) -> FakeHub:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _answer(self, request: Request) -> Reply:
        if self.lies.silent:
            self._hub.closing.wait()
        if self.instead is not None:
            return Reply(body=self.instead)
        if self.lies.busy:
            self.lies.busy -= 1
            return Reply(status=self.lies.busy_status, headers=dict(self.lies.busy_headers))
        if not request.path.startswith(f"{self.prefix}/"):
            return Reply(status=404)
        path = request.target.partition("?")[0][len(self.prefix) :]
        try:
            for pattern, route in _ROUTES:
                if match := re.fullmatch(pattern, path):
                    return route(self, request, *(_decoded(part) for part in match.groups()))
        except DeniedError as denied:
            return denied.reply
        return Reply(status=404)

    def _whoami(self, request: Request) -> Reply:
        if request.token != TOKEN:
            raise DeniedError(401, "", "Invalid username or password.")
        access = {"displayName": "t", "role": "read"}
        return _json({"type": "user", "id": "1", "name": "tester", "orgs": [], "auth": {"accessToken": access}})

    def _revision(self, request: Request, name: str, revision: str = "main") -> Reply:
        model = self._model(request, name)
        if isinstance(model, Reply):
            return model
        commit = self._commit(model, revision)
        siblings = [{"rfilename": path} for path in sorted(model.commits[commit])]
        about: dict[str, Any] = {
            "_id": "1",
            "id": model.name,
            "sha": self.lies.sha or commit,
            "siblings": siblings,
            "tags": [],
        }
        about |= {"private": model.private, "gated": "manual" if model.gated else False, "disabled": model.disabled}
        return _json(about | {"downloads": 0, "likes": 0, "lastModified": _WHEN, "createdAt": _WHEN})

    def _tree(self, request: Request, name: str, revision: str, folder: str) -> Reply:
        model = self._model(request, name)
        if isinstance(model, Reply):
            return model
        commit = self._commit(model, revision)
        deep = request.query.get("recursive", "").lower() == "true"
        entries = _entries(model.commits[commit], folder, deep=deep) + self.lies.entries
        begin = int(request.query.get("cursor", 0))
        end = begin + (50 if request.query.get("expand", "").lower() == "true" else self.page)
        headers = {}
        if end < len(entries) or self.lies.endless:
            base = (self.elsewhere if self.lies.elsewhere else self._hub.origin) + request.target.partition("?")[0]
            following = f"{base}?recursive={deep}&cursor={begin if self.lies.endless else end}"
            headers["Link"] = f'<{following}>; rel="next"'
        return _json(entries[begin:end] if self.lies.listing is None else self.lies.listing, headers)

    def _paths(self, request: Request, name: str, revision: str) -> Reply:
        model = self._model(request, name)
        if isinstance(model, Reply):
            return model
        files = model.commits[self._commit(model, revision)]
        wanted = parse_qs(request.body.decode()).get("paths", [])
        return _json([_entry(path, files[path]) for path in wanted if path in files])

    def _refs(self, request: Request, name: str) -> Reply:
        model = self._model(request, name)
        if isinstance(model, Reply):
            return model
        branches = [
            {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit} for ref, commit in model.refs.items()
        ]
        return _json({"branches": branches, "converts": [], "tags": []})

    def _resolve(self, request: Request, name: str, revision: str, path: str) -> Reply:
        """Redirect to where a file lies: to a signed link of another origin, or to a path of this one."""
        model = self._model(request, name)
        if isinstance(model, Reply):
            return model
        commit, blob = self._blob(request, model, revision, path)
        headers = self._commit_header(commit)
        if self.lies.loop:
            return Reply(status=302, headers=headers | {"Location": request.target})
        if not path.endswith(_LARGE):
            location = f"{self.prefix}/api/resolve-cache/models/{name}/{commit}/{quote(path)}"
            return Reply(status=307, headers=headers | {"Location": location, "ETag": f'"{blob.git_sha1}"'})
        self._issued += 1
        tag = f'"{blob.sha256}"'
        headers |= {"X-Linked-Etag": tag, "ETag": tag, "X-Linked-Size": str(blob.size)} | self.lies.linked
        link = self.lies.target or f"{self.files}/{blob.sha256}?signature={self._issued}"
        return Reply(status=302, headers=headers | {"Location": link})

    def _cached(self, request: Request, name: str, revision: str, path: str) -> Reply:
        model = self._model(request, name)
        if isinstance(model, Reply):
            return model
        commit, blob = self._blob(request, model, revision, path)
        return Reply(headers=self._commit_header(commit) | {"ETag": f'"{blob.git_sha1}"'}, blob=blob)

    def _file_link(self, request: Request) -> Reply:
        """Answer for the origin of large files."""
        if int(request.query.get("signature", 0)) < self._signature:
            return Reply(status=403)
        blob = self._blobs.get(request.path[1:])
        return Reply(status=404) if blob is None else Reply(headers={"ETag": f'"{blob.sha256}"'}, blob=blob)

    def _model(self, request: Request, name: str) -> Model | Reply:
        """Return a model that the request may see, or the redirect to the name that it has now."""
        if name in self.renamed:
            target = request.target.replace(f"/{name}/", f"/{self.renamed[name]}/", 1)
            return Reply(status=307, headers={"Location": target})
        if request.token not in ("", TOKEN):
            raise DeniedError(401, "", "Invalid credentials in Authorization header")
        model = self.models.get(name)
        if model is None or (model.private and request.token != TOKEN):
            raise DeniedError(404 if request.token else 401, "RepoNotFound", "Repository not found")
        if model.disabled:
            raise DeniedError(403, "", "Access to this resource is disabled.")
        return model

    def _commit(self, model: Model, revision: str) -> str:
        commit = model.refs.get(revision, revision)
        if commit not in model.commits:
            raise DeniedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _blob(self, request: Request, model: Model, revision: str, path: str) -> tuple[str, Blob]:
        if model.gated and request.token != TOKEN:
            raise DeniedError(
                403 if request.token else 401, "GatedRepo", f"Access to model {model.name} is restricted."
            )
        commit = self._commit(model, revision)
        if path not in model.commits[commit]:
            raise DeniedError(404, "EntryNotFound", "Entry not found")
        return commit, model.commits[commit][path]

    def _commit_header(self, commit: str) -> dict[str, str]:
        told = commit if self.lies.commit is None else self.lies.commit
        return {"X-Repo-Commit": told} if told else {}


_NAME = r"([^/]+(?:/(?!revision/|tree/|paths-info/|refs\b|resolve/)[^/]+)?)"
_REVISION = r"(refs(?:/|%2F)[^/]+(?:/|%2F)[^/%]+|[^/]+)"
_ROUTES: tuple[tuple[str, Callable[..., Reply]], ...] = (
    (r"/api/whoami-v2", FakeHub._whoami),
    (rf"/api/models/{_NAME}", FakeHub._revision),
    (rf"/api/models/{_NAME}/revision/{_REVISION}", FakeHub._revision),
    (rf"/api/models/{_NAME}/tree/{_REVISION}(?:/(.*))?", FakeHub._tree),
    (rf"/api/models/{_NAME}/paths-info/{_REVISION}", FakeHub._paths),
    (rf"/api/models/{_NAME}/refs", FakeHub._refs),
    (rf"/api/resolve-cache/models/{_NAME}/{_REVISION}/(.+)", FakeHub._cached),
    (rf"/{_NAME}/resolve/{_REVISION}/(.+)", FakeHub._resolve),
)


def _decoded(part: str | None) -> str:
    return unquote(part or "")


def _entries(files: Mapping[str, Blob], folder: str, *, deep: bool) -> list[dict[str, Any]]:
    """Return the entries of a folder, sorted by path."""
    base = f"{folder}/" if folder else ""
    inside = {path: blob for path, blob in files.items() if path.startswith(base)}
    if folder and not inside:
        raise DeniedError(404, "EntryNotFound", "Entry not found")
    folders = {path[:at] for path in inside for at in range(len(base), len(path)) if path[at] == "/"}
    entries = [_entry(path, blob) for path, blob in inside.items()]
    entries += [
        {"type": "directory", "oid": hashlib.sha1(p.encode()).hexdigest(), "size": 0, "path": p} for p in folders
    ]
    shown = entries if deep else [entry for entry in entries if "/" not in entry["path"][len(base) :]]
    return sorted(shown, key=lambda entry: str(entry["path"]))


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry = {"type": "file", "oid": blob.git_sha1, "size": blob.size, "path": path}
    if path.endswith(_LARGE):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{blob.sha256}\nsize {blob.size}\n"
        entry["oid"] = Blob(pointer.encode()).git_sha1
        entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": len(pointer)}
    return entry


def _json(value: object, headers: dict[str, str] | None = None) -> Reply:
    return Reply(headers=headers or {}, body=json.dumps(value).encode())
