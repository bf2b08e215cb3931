"""Who may read a repository: challenges, and the tokens that answer them.

A registry that refuses a request says in `WWW-Authenticate` how to ask: with a user name and password (Basic), or with
a token from another server, its realm (Bearer). A registry chooses the realm, so it could have credentials sent
anywhere, or have an address inside a private network asked. A realm is therefore asked only when it belongs to the
registry (`belongs`), and what it is asked for is to pull the one repository, whatever scope the challenge names.

Specifications: RFC 9110 §11, RFC 7617; distribution.github.io/distribution/spec/auth (token, oauth).
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from weighbridge.errors import SourceError
from weighbridge.location import printable
from weighbridge.registries.http import Session
from weighbridge.registries.http import origin as origin_of
from weighbridge.registries.oci.credentials import Credentials, Keychain
from weighbridge.registries.oci.reference import Reference

LIMIT: Final = 256 << 10  # bytes of a token server's answer; tokens with many grants reach some ten KiB
LIFETIME: Final = 60.0  # seconds that a token lasts when its server does not say
MARGIN: Final = 10.0  # seconds before its end at which a token is replaced
MAX_CHALLENGE: Final = 4096  # characters; what a registry needs to say fits into a few hundred
CLIENT: Final = "weighbridge"

_PART: Final = re.compile(
    r'([A-Za-z]+)[ \t]+(?=[A-Za-z_-]+[ \t]*=)|([A-Za-z_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))'
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=:|-]+")
# Below these, names belong to strangers, so that a common parent says nothing. No list of them ships with Python; these
# are the ones under which registries are rented, and the pattern is that of `co.uk`.
_SHARED: Final = frozenset(
    {"azurecr.io", "jfrog.io", "jfrog.team", "pkg.dev", "amazonaws.com", "run.app", "github.io", "gitlab.io"}
    | {"cloudfront.net", "azurewebsites.net", "herokuapp.com", "ngrok.io", "ngrok.app", "appspot.com", "on.aws"}
)
_NAME: Final = re.compile(r"[a-z0-9.-]+\.[a-z][a-z0-9-]+")
_COUNTRY: Final = re.compile(r"[a-z]{2,3}\.[a-z]{2}")


class Access:
    """What is sent along to read one repository; safe to share between threads.

    As a mapping of headers it is never out of date: a token is replaced shortly before its end.
    """

    def __init__(
        self,
        session: Session,
        reference: Reference,
        keychain: Keychain,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._reference = reference
        self._keychain = keychain
        self._clock = clock
        self._lock = Lock()
        self._challenge: Mapping[str, str] | None = None
        self._value = ""
        self._end = 0.0
        self.headers: Mapping[str, str] = _Headers(self)

    def answer(self, challenges: str) -> None:
        """Get what a refused request lacked; raise SourceError when it cannot be had."""
        found = dict(parse(challenges))
        with self._lock:
            if "bearer" in found:
                self._challenge = found["bearer"]
                self._renew(self._challenge)
            elif "basic" in found:
                self._value, self._end = self._basic(), float("inf")
            else:
                raise self._refusal(f"it asks for {challenges[:100]!a}, and not for Basic or Bearer")

    def forget(self) -> None:
        """Let the next request ask for a new token."""
        with self._lock:
            if self._challenge is not None:
                self._end = 0.0

    def current(self) -> str:
        """Return the value of the header `Authorization`, or nothing."""
        with self._lock:
            if self._challenge is not None and self._clock() >= self._end:
                self._renew(self._challenge)
            return self._value

    def refused(self) -> SourceError:
        """Return the error for a repository that credentials, or the lack of them, do not open."""
        return self._refusal("it does not exist or may not be read")

    def _refusal(self, reason: str) -> SourceError:
        reference = self._reference
        helper = self._keychain.helper(reference.host)
        hint = "log in with `docker login` or `podman login`, or give credentials in DOCKER_AUTH_CONFIG"
        if helper and self._keychain.find(reference.host, reference.repository) is None:
            hint = f"{printable(helper)} may know credentials but is not run; give them in DOCKER_AUTH_CONFIG"
        return SourceError(f"{reference.canonical}: access is refused: {reason}; {hint}")

    def _basic(self) -> str:
        credentials = self._keychain.find(self._reference.host, self._reference.repository)
        if credentials is None or not credentials.username:
            raise self._refusal("it asks for a user name and password")
        return _basic(credentials)

    def _renew(self, challenge: Mapping[str, str]) -> None:
        """Get a token from the realm of a challenge."""
        credentials = self._keychain.find(self._reference.host, self._reference.repository)
        if credentials is not None and credentials.registry_token:
            self._value, self._end = _bearer(credentials.registry_token, self._refusal), float("inf")
            return
        realm = challenge.get("realm", "")
        if not belongs(realm, self._reference.origin):
            raise self._refusal(f"it sends clients for a token to {printable(realm[:200])}, which is not its own")
        wanted = {"scope": f"repository:{self._reference.repository}:pull"}
        if service := challenge.get("service"):
            wanted["service"] = service
        body = self._ask(realm, wanted, credentials)
        token = body.get("token") or body.get("access_token")
        lifetime = body.get("expires_in", LIFETIME)
        if not isinstance(token, str):
            raise self._refusal("its token server answers without a token")
        self._value = _bearer(token, self._refusal)
        lifetime = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else LIFETIME
        self._end = self._clock() + max(lifetime - MARGIN, 1.0)

    def _ask(self, realm: str, wanted: dict[str, str], credentials: Credentials | None) -> dict[str, Any]:
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token, "client_id": CLIENT}
            headers = {"content-type": "application/x-www-form-urlencoded"}
            text = urlencode(form | wanted).encode()
            answer = self._session.get(
                realm, limit=LIMIT, method="POST", headers=headers, body=text, accept=(200, 400, 401)
            )
        else:
            headers = {"authorization": _basic(credentials)} if credentials else {}
            mark = "&" if urlsplit(realm).query else "?"
            answer = self._session.get(
                f"{realm}{mark}{urlencode(wanted)}", limit=LIMIT, headers=headers, accept=(200, 401)
            )
        if answer.status != 200:
            raise self._refusal(f"its token server refuses {'these credentials' if credentials else 'strangers'}")
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self._refusal("its token server answers what is no JSON") from error
        if not isinstance(found, dict):
            raise self._refusal("its token server answers without a token")
        return found


class _Headers(Mapping[str, str]):
    """The headers of an `Access`, looked up whenever a request is made."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __getitem__(self, name: str) -> str:
        value = self._access.current() if name == "authorization" else ""
        if not value:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        if self._access.current():
            yield "authorization"

    def __len__(self) -> int:
        return int(bool(self._access.current()))


def parse(challenges: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the schemes of a `WWW-Authenticate` header, in lower case, with their parameters."""
    scheme, parameters = "", dict[str, str]()
    for match in _PART.finditer(challenges[:MAX_CHALLENGE]):
        if match[1]:
            if scheme:
                yield scheme, parameters
            scheme, parameters = match[1].lower(), {}
        else:
            quoted = match[3]
            parameters.setdefault(match[2].lower(), match[4] if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    if scheme:
        yield scheme, parameters


def belongs(realm: str, origin: str) -> bool:
    """Tell whether a token server is the registry's own.

    It is when it has the registry's host, or a host above it, or one beside it below a domain that is not known to be
    shared by strangers; over https, unless the registry itself is asked without.
    """
    try:
        there, here = urlsplit(origin_of(realm)), urlsplit(origin_of(origin))  # as the client reads them
    except SourceError:
        return False
    host, own = there.hostname or "", here.hostname or ""
    if there.scheme == "http" and not (here.scheme == "http" and host == own):
        return False
    if host == own:
        return True
    parent = own.partition(".")[2]
    if not _NAME.fullmatch(own) or not _NAME.fullmatch(host) or "." not in parent or _is_shared(parent):
        return False
    return host == parent or host.endswith(f".{parent}")


def _is_shared(domain: str) -> bool:
    return domain in _SHARED or _COUNTRY.fullmatch(domain) is not None


def _basic(credentials: Credentials) -> str:
    return f"Basic {b64encode(f'{credentials.username}:{credentials.password}'.encode()).decode('ascii')}"


def _bearer(token: str, refusal: Callable[[str], SourceError]) -> str:
    if not _TOKEN.fullmatch(token):
        raise refusal("a token holds what no header may hold")
    return f"Bearer {token}"
