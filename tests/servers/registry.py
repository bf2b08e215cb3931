"""Debian's docker-registry on a port of its own: an OCI registry that is not ours."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Any, Final
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import pytest

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
PROGRAM: Final = "docker-registry"
Descriptor = dict[str, Any]


def digest_of(data: bytes) -> str:
    """Return the digest of bytes as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class DockerRegistry:
    """A running registry and what tests put into it."""

    def __init__(self, host: str, headers: Mapping[str, str]) -> None:
        self.host = host
        self.headers = headers

    def blob(self, repository: str, data: bytes, media_type: str, **more: Any) -> Descriptor:
        """Put a blob into a repository and return its descriptor."""
        with self.request("POST", f"/v2/{repository}/blobs/uploads/") as answer:
            place = urljoin(f"http://{self.host}", answer.headers["location"])
        mark = "&" if "?" in place else "?"
        self.request("PUT", f"{place}{mark}digest={digest_of(data)}", data, "application/octet-stream").close()
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    def manifest(self, repository: str, document: dict[str, Any], tag: str = "", **more: Any) -> Descriptor:
        """Put a manifest or index into a repository and return its descriptor."""
        data, media_type = json.dumps(document).encode(), document["mediaType"]
        self.request("PUT", f"/v2/{repository}/manifests/{tag or digest_of(data)}", data, media_type).close()
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    def request(self, method: str, url: str, data: bytes | None = None, media_type: str = "") -> Any:
        """Return the answer to a request, whose body is open."""
        headers = {**self.headers, **({"Content-Type": media_type} if media_type else {})}
        return urlopen(Request(urljoin(f"http://{self.host}", url), data, headers, method=method), timeout=30)


@contextmanager
def docker_registry(
    folder: Path, auth: str = "{}", headers: Mapping[str, str] | None = None
) -> Iterator[DockerRegistry]:
    """Run a registry that keeps its data in `folder`; `auth` is its configuration of access, in JSON."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"{PROGRAM} is not installed (apt-get install {PROGRAM})")
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    configuration = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": storage,
        "http": {"addr": "127.0.0.1:0", "secret": "test"},
        **({"auth": json.loads(auth)} if auth != "{}" else {}),
    }
    (folder / "config.yml").write_text(json.dumps(configuration))
    command = [program, "serve", str(folder / "config.yml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            yield DockerRegistry(_address(process.stderr), headers or {})
        finally:
            process.terminate()


def _address(log: IO[bytes]) -> str:
    """Return where the registry listens, which its log tells, and keep reading the log so that it never blocks."""
    for line in log:
        if match := re.search(rb"listening on (127\.0\.0\.1:[0-9]+)", line):
            Thread(target=log.read, daemon=True).start()
            return match[1].decode()
    raise AssertionError("docker-registry does not start")
