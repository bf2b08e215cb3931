"""Credentials for registries, from where container tools keep them.

In this order: the environment variable `DOCKER_AUTH_CONFIG` (the text of a configuration), the file that
`REGISTRY_AUTH_FILE` names (podman, skopeo), `config.json` in the folder that `DOCKER_CONFIG` names or in `~/.docker`.
What stands under a host is for that host alone; `host/repository` before `host`.

Credential helpers (`credsStore`, `credHelpers`) are programs named by that file. They are not run: a scan starts no
program that it does not need. `Keychain.helper` names the one that would know, so that a person can be told.

Formats: docs.docker.com/reference/cli/docker/login, containers-auth.json(5).
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import DocumentError
from weighbridge.records import dataclass

LIMIT: Final = 1 << 20  # bytes of a configuration; those of clusters with hundreds of registries are far smaller
_HUB_KEYS: Final = ("index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What opens a registry: a user name and password, an identity token to trade for another, or a token to show."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


class Keychain:
    """The credentials of a person, read when they are first asked for."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._documents: list[tuple[str, dict[str, Any]]] | None = None

    def find(self, host: str, repository: str) -> Credentials | None:
        """Return the credentials for a repository, None without any; raise DocumentError when a file is malformed."""
        for name, document in self._read():
            entries = {_normalised(key): value for key, value in document.get("auths", {}).items()}
            for key in _keys(host, repository):
                found = _credentials(entries.get(key, {}), f"{name}: auths.{key}")
                if found is not None:
                    return found
        return None

    def helper(self, host: str) -> str:
        """Return the name of the program that keeps the credentials of a host, or nothing."""
        for _, document in self._read():
            helpers = document.get("credHelpers", {})
            named = helpers.get(host) if isinstance(helpers, dict) else None
            if found := named or document.get("credsStore"):
                return f"docker-credential-{found}"
        return ""

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        if self._documents is None:
            self._documents = [(name, _decode(name, text)) for name, text in self._texts()]
        return self._documents

    def _texts(self) -> Iterator[tuple[str, str]]:
        given = self._environment.get("DOCKER_AUTH_CONFIG")
        if given:
            yield "DOCKER_AUTH_CONFIG", given
        home = self._environment.get("HOME") or self._environment.get("USERPROFILE")
        folder = self._environment.get("DOCKER_CONFIG") or (home and f"{home}/.docker")
        named = self._environment.get("REGISTRY_AUTH_FILE")
        for path in (named, folder and f"{folder}/config.json"):
            text = _text(path) if path else None
            if path and text is not None:
                yield path, text


def _text(path: str) -> str | None:
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(LIMIT + 1)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(path, f"cannot be read: {error}") from error
    if len(text) > LIMIT:
        raise DocumentError(path, f"longer than {LIMIT} bytes")
    return text


def _decode(name: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(name, "not JSON") from error  # its text may hold a password
    if not isinstance(document, dict) or not isinstance(document.get("auths", {}), dict):
        raise DocumentError(name, "not the configuration of a container tool")
    return document


def _normalised(key: str) -> str:
    """Return the host, or host and repository, that a key stands for; Docker's own keys are URLs."""
    bare = key.lower().removeprefix("https://").removeprefix("http://").rstrip("/")
    for version in ("/v1", "/v2"):
        bare = bare.removesuffix(version)
    return "docker.io" if bare in _HUB_KEYS else bare


def _keys(host: str, repository: str) -> Iterator[str]:
    """Yield the keys that cover a repository, the narrowest first."""
    key = f"{host}/{repository}".lower()
    while key:
        yield key
        key = key.rpartition("/")[0]


def _credentials(entry: Any, where: str) -> Credentials | None:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise DocumentError(where, "not credentials")
    username, password = entry.get("username", ""), entry.get("password", "")
    if encoded := entry.get("auth", ""):
        try:
            username, _, password = b64decode(encoded, validate=True).decode("utf-8").rstrip("\0").partition(":")
        except ValueError as error:
            raise DocumentError(where, "auth is not the base64 of a user name and password") from error
    identity, token = entry.get("identitytoken", ""), entry.get("registrytoken", "")
    if not (username and password) and not identity and not token:
        return None
    return Credentials(username=username, password=password, identity_token=identity, registry_token=token)
