"""References to what an OCI registry keeps: `oci://host[:port]/repository[:tag|@sha256:…]`.

A tag and a digest together are what container tools print; the digest counts then. Plain HTTP is spoken to the
machine itself, and to another one only when the reference says so: `oci+http://registry.example:5000/model:1`.

Grammar: OCI distribution specification 1.1 ("Pulling manifests"), with capitals in the name of the repository, which
registries in front of the Hub have.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.records import dataclass

SCHEME: Final = "oci"
PLAIN: Final = "oci+http"
DEFAULT_TAG: Final = "latest"
FORM: Final = "oci://host[:port]/repository[:tag|@sha256:…]"
MAX_NAME: Final = 255  # characters of host and repository together, as the specification advises clients

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_REPOSITORY: Final = re.compile(
    r"[A-Za-z0-9]+(?:(?:\.|_|__|-+)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:\.|_|__|-+)[A-Za-z0-9]+)*)*"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# The one registry whose name is not the name of its server, and whose repositories may lack their first part.
_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_SERVER: Final = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference in parts: `host` as it is written in references, with its port; `revision` as it was asked for."""

    scheme: str
    host: str
    repository: str
    revision: str

    @property
    def canonical(self) -> str:
        """The reference without a revision."""
        return f"{self.scheme}://{self.host}/{self.repository}"

    @property
    def origin(self) -> str:
        """Where the registry's API is."""
        server = _HUB_SERVER if self.host in _HUB else self.host
        plain = self.scheme == PLAIN or _is_this_machine(self.host)
        return f"{'http' if plain else 'https'}://{server}"

    @property
    def api(self) -> str:
        """The URL below which the repository's manifests, blobs and referrers are."""
        return f"{self.origin}/v2/{self.repository}"

    @property
    def asked(self) -> str:
        """The tag or digest to ask for."""
        return self.revision or DEFAULT_TAG


def parse(text: str) -> Reference:
    """Return a reference in parts; raise UsageError, with the form it must have, when it cannot be read."""
    scheme, mark, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    scheme, host = scheme.lower(), host.lower()
    if not mark or not slash or scheme not in (SCHEME, PLAIN):
        raise _refusal(text, f"the form is {FORM}")
    repository, at, digest = path.partition("@")
    repository, colon, tag = repository.partition(":")
    port = _HOST.fullmatch(host)
    if port is None or int(port[1] or 1) > 0xFFFF:
        raise _refusal(text, f"{printable(host)!r} is not the name of a host; the form is {FORM}")
    if not _REPOSITORY.fullmatch(repository) or len(host) + len(repository) >= MAX_NAME:
        raise _refusal(text, f"{printable(repository)!r} is not the name of a repository; the form is {FORM}")
    if at and not DIGEST.fullmatch(digest):
        raise _refusal(text, "a digest is `sha256:` and 64 hexadecimal digits in lower case")
    if colon and not _TAG.fullmatch(tag):
        raise _refusal(text, f"{printable(tag)!r} is not a tag")
    plain = scheme == PLAIN or _is_this_machine(host)
    if port[1] == ("80" if plain else "443"):  # said or not, it is the same server
        host = host.removesuffix(f":{port[1]}")
    if host in _HUB:
        host, repository = "docker.io", repository if "/" in repository else f"library/{repository}"
    return Reference(scheme=scheme, host=host, repository=repository, revision=digest or tag)


def _refusal(text: str, reason: str) -> UsageError:
    return UsageError(f"{printable(text)}: {reason}")


def _is_this_machine(host: str) -> bool:
    name = re.sub(r":[0-9]+$", "", host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
