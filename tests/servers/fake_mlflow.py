"""A tracking server that answers what a real one said (MLflow 3.17.2), and serves files as its artifact proxy does.

`mlflow_replies.json` holds the answers by target: a model logged under a run, one logged as an MLflow 3 model, a copy,
and one in S3. In front of a folder the real server answers Range; in front of an object store it sends whole files, or,
under gunicorn, ranges with another entity tag each time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from servers.serving import Blob, Faults, Reply, Request, Server

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
WEIGHTS = bytes(range(256)) * 4000
FILES = {
    "model/weights.bin": WEIGHTS,
    "model/empty.bin": b"",
    "model/sub/config.json": b"{}",
    "model/sub/a b%c.txt": b"x",
}


class FakeMLflow:
    """The server; `replies` may be changed, `login` is the header that every request must carry, if any.

    `redirect` is where every file leads instead.
    """

    def __init__(self) -> None:
        recorded = Path(__file__).with_name("mlflow_replies.json").read_text(encoding="utf-8")
        self.replies: dict[str, dict[str, Any]] = json.loads(recorded)
        self.files = dict(FILES)
        self.login = ""
        self.redirect = ""
        self.faults = Faults()
        self.seen: list[str] = []
        self.server = Server(self._answer, self.faults)

    @property
    def origin(self) -> str:
        return self.server.origin

    @property
    def host(self) -> str:
        return self.origin.partition("://")[2]

    def reply(self, part: str) -> Any:
        """Return the body of the only recorded answer whose target holds `part`, to be changed by a test."""
        (found,) = (reply for target, reply in self.replies.items() if part in target)
        return found["body"]

    def _answer(self, request: Request) -> Reply:
        self.seen.append(request.headers.get("Authorization", ""))
        if self.login and request.headers.get("Authorization") != self.login:
            return Reply(status=401, body=b"You are not authenticated", headers={"Content-Type": "text/html"})
        if request.path.startswith(f"{ARTIFACTS}/"):
            return self._file(request)
        found = self.replies.get(request.target)
        if found is None:
            return Reply(status=404, body=b"<html>", headers={"Content-Type": "text/html"})
        return Reply(status=found["status"], body=json.dumps(found["body"]).encode())

    def _file(self, request: Request) -> Reply:
        if self.redirect:
            return Reply(status=302, headers={"Location": self.redirect})
        name = request.path.partition("/artifacts/1/")[2].partition("/artifacts/")[2]
        data = self.files.get(name)
        if data is None:
            return Reply(status=404, body=b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such artifact"}')
        tags = {} if self.faults.ignores_range else {"ETag": f'"{len(self.seen)}"'}  # another one with each answer
        return Reply(blob=Blob(data), headers=tags)
