"""Challenges, realms, credentials: who is told a secret, and who is not."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.fake_registry import FakeRegistry, Site, fake_registry, site
from servers.oci_layouts import modelpack
from servers.serving import Reply, Request

from weighbridge.errors import DocumentError, SourceError
from weighbridge.registries.base import Settings
from weighbridge.registries.http import Session
from weighbridge.registries.oci.auth import Access, belongs, parse
from weighbridge.registries.oci.credentials import Credentials, Keychain
from weighbridge.registries.oci.reference import parse as parse_reference
from weighbridge.registries.oci.registry import OciRegistry

PASSWORD = "pass:w\u00f6rd"
BASIC = f"Basic {b64encode(f'user:{PASSWORD}'.encode()).decode()}"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as fake:
        modelpack(fake, "acme/m", "v1")
        yield fake


@pytest.fixture
def tokens() -> Iterator[Site]:
    """A token server that gives the token `t0`, then `t1`, ..."""
    count = iter(range(100))
    with site(lambda _: Reply(body=json.dumps({"token": f"t{next(count)}", "expires_in": 300}).encode())) as running:
        yield running


def configuration(registry: FakeRegistry, **entry: str) -> dict[str, str]:
    """Return an environment with credentials for a registry."""
    given = entry or {"auth": b64encode(f"user:{PASSWORD}".encode()).decode()}
    return {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {registry.host: given}})}


def resolve(registry: FakeRegistry, environment: dict[str, str] | None = None) -> str:
    """Return the revision that a registry gives."""
    made = OciRegistry(Settings(retries=0), environment or {})
    return made.resolve(f"oci://{registry.host}/acme/m:v1").revision


def test_a_token_is_asked_for_to_pull_one_repository_and_sent_to_the_registry_alone(
    registry: FakeRegistry, tokens: Site
) -> None:
    registry.challenge = f'Bearer realm="{tokens.origin}/token?a=b",service="s, x",scope="repository:other:pull,push"'
    registry.openers = {"Bearer t0"}
    assert resolve(registry, configuration(registry))
    (asked,) = tokens.asked
    assert parse_qs(asked.target.partition("?")[2]) == {
        "a": ["b"],
        "scope": ["repository:acme/m:pull"],
        "service": ["s, x"],
    }
    assert tokens.secrets == [BASIC]
    assert set(registry.secrets) == {"Bearer t0"}


def test_a_stranger_asks_without_credentials(registry: FakeRegistry, tokens: Site) -> None:
    registry.challenge, registry.openers = f'Bearer realm="{tokens.origin}/token"', {"Bearer t0"}
    assert resolve(registry)
    assert tokens.secrets == []


def test_an_identity_token_is_traded_for_a_token(registry: FakeRegistry, tokens: Site) -> None:
    registry.challenge, registry.openers = f'Bearer realm="{tokens.origin}/token",service="s"', {"Bearer t0"}
    assert resolve(registry, configuration(registry, identitytoken="id+1"))
    assert tokens.asked[0].method == "POST"
    assert parse_qs(tokens.asked[0].body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["id+1"],
        "client_id": ["weighbridge"],
        "service": ["s"],
        "scope": ["repository:acme/m:pull"],
    }


def test_a_registry_token_is_shown_as_it_is(registry: FakeRegistry, tokens: Site) -> None:
    registry.challenge, registry.openers = f'Bearer realm="{tokens.origin}/token"', {"Bearer mine"}
    assert resolve(registry, configuration(registry, registrytoken="mine"))
    assert tokens.asked == []


def test_a_user_name_and_password_answer_a_basic_challenge(registry: FakeRegistry) -> None:
    registry.challenge, registry.openers = 'Basic realm="x"', {BASIC}
    assert resolve(registry, configuration(registry))
    assert "Authorization" not in registry.asked[0].headers


def test_a_token_of_the_settings_is_sent_at_once(registry: FakeRegistry) -> None:
    registry.challenge, registry.openers = 'Basic realm="x"', {"Bearer given"}
    made = OciRegistry(Settings(retries=0, tokens={registry.origin: "given"}), {})
    made.resolve(f"oci://{registry.host}/acme/m:v1")
    assert set(registry.secrets) == {"Bearer given"}


def test_what_is_read_later_gets_a_new_token_when_the_old_one_is_over(registry: FakeRegistry, tokens: Site) -> None:
    registry.challenge, registry.openers = f'Bearer realm="{tokens.origin}/token"', {"Bearer t0", "Bearer t1"}
    now = [0.0]
    access = Access(Session(Settings()), parse_reference(f"oci://{registry.host}/acme/m"), Keychain({}), lambda: now[0])
    access.answer(registry.challenge)
    for second, token in ((0, "t0"), (289, "t0"), (290, "t1"), (579, "t1")):
        now[0] = second
        assert dict(access.headers) == {"authorization": f"Bearer {token}"}
    access.forget()
    assert access.headers["authorization"] == "Bearer t2"


def test_a_token_that_is_refused_before_its_end_is_replaced(registry: FakeRegistry, tokens: Site) -> None:
    registry.challenge, registry.openers = f'Bearer realm="{tokens.origin}/token"', {"Bearer t0"}
    made = OciRegistry(Settings(retries=0), {})
    artifact = made.resolve(f"oci://{registry.host}/acme/m:v1")
    remote = made.open(artifact, artifact.files[0])
    assert remote.read(0, 4) == b"\x08\0\0\0"
    registry.openers = {"Bearer t1"}
    assert remote.read(4, 4) == b"\0\0\0\0"


def test_a_file_of_a_private_repository_is_opened_without_resolving_it_again(
    registry: FakeRegistry, tokens: Site
) -> None:
    registry.challenge, registry.openers = f'Bearer realm="{tokens.origin}/token"', {"Bearer t0", "Bearer t1"}
    artifact = OciRegistry(Settings(retries=0), {}).resolve(f"oci://{registry.host}/acme/m:v1")
    assert OciRegistry(Settings(retries=0), {}).open(artifact, artifact.files[0]).read(0, 1) == b"\x08"


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Digest realm="x", nonce="y"', "Bearer", 'Bearer realm=""'])
def test_a_challenge_that_cannot_be_met_is_refused(registry: FakeRegistry, challenge: str) -> None:
    registry.challenge = challenge or " "
    with pytest.raises(SourceError, match="access is refused"):
        resolve(registry, configuration(registry))
    assert registry.secrets == []


def test_a_realm_of_somebody_else_is_told_nothing(registry: FakeRegistry, tokens: Site) -> None:
    stranger = tokens.origin.replace("127.0.0.1", "localhost")
    registry.challenge = f'Bearer realm="{stranger}/token"'
    with pytest.raises(SourceError, match="is not its own"):
        resolve(registry, configuration(registry))
    assert tokens.asked == []


def test_a_realm_that_redirects_elsewhere_takes_no_password_along(registry: FakeRegistry, tokens: Site) -> None:
    with site(lambda _: Reply(307, {"Location": f"{tokens.origin}/token"})) as realm:
        registry.challenge, registry.openers = f'Bearer realm="{realm.origin}/"', {"Bearer t0"}
        assert resolve(registry, configuration(registry))
        assert realm.secrets == [BASIC]
    assert tokens.secrets == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"token": 1}',
        b'{"token": ""}',
        b'{"token": "a b"}',
        b'{"token": "a\\r\\nX: y"}',
        b"[" * 9999,
    ],
)
def test_a_token_server_that_gives_no_token_is_refused(registry: FakeRegistry, tokens: Site, body: bytes) -> None:
    tokens.answer = lambda _: Reply(body=body)
    registry.challenge = f'Bearer realm="{tokens.origin}/"'
    with pytest.raises(SourceError, match="token"):
        resolve(registry)


def test_refused_credentials_are_told_without_being_shown(registry: FakeRegistry, tokens: Site) -> None:
    def refuse(_: Request) -> Reply:
        return Reply(401, {}, b"{}")

    tokens.answer = refuse
    registry.challenge = f'Bearer realm="{tokens.origin}/"'
    with pytest.raises(SourceError, match="refuses these credentials") as caught:
        resolve(registry, configuration(registry))
    assert PASSWORD not in str(caught.value)
    with pytest.raises(SourceError, match="refuses strangers; log in"):
        resolve(registry)


def test_a_token_that_does_not_open_is_asked_for_once(registry: FakeRegistry, tokens: Site) -> None:
    registry.challenge = f'Bearer realm="{tokens.origin}/"'
    with pytest.raises(SourceError, match="may not be read"):
        resolve(registry)
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    ("realm", "registry", "own"),
    [
        ("https://ghcr.io/token", "https://ghcr.io", True),
        ("https://ghcr.io:8443/token", "https://ghcr.io", True),
        ("https://auth.docker.io/token", "https://registry-1.docker.io", True),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com", True),
        ("https://sso.corp.example/auth", "https://oci.corp.example:5000", True),
        ("http://127.0.0.1:1/token", "http://127.0.0.1:2", True),
        ("http://ghcr.io/token", "https://ghcr.io", False),
        ("https://evil.example/token", "https://ghcr.io", False),
        ("https://evil.io/token", "https://ghcr.io", False),
        ("https://notdocker.io/token", "https://registry-1.docker.io", False),
        ("https://evil.co.uk/token", "https://registry.co.uk", False),
        ("https://evil.azurecr.io/token", "https://acme.azurecr.io", False),
        ("https://user@auth.docker.io/token", "https://registry-1.docker.io", False),
        ("https://ghcr.io@evil.example/token", "https://ghcr.io", False),
        ("https://ghcr.io\\@evil.example/token", "https://ghcr.io", False),
        ("http://10.0.0.2/token", "http://10.0.0.1", False),
        ("https://9.0.0.1/token", "https://10.0.0.1", False),
        ("http://169.254.169.254/latest", "http://lab.example", False),
        ("file:///etc/passwd", "https://ghcr.io", False),
        ("https://evil.example\\.docker.io/", "https://registry-1.docker.io", False),
        ("https://evil.example%2f.docker.io/", "https://registry-1.docker.io", False),
        ("https://evil.example#.docker.io/", "https://registry-1.docker.io", False),
        ("https://evil.example\t.docker.io/", "https://registry-1.docker.io", False),
        ("https://\uff47hcr.io/token", "https://ghcr.io", False),
        ("https://[::1/token", "https://ghcr.io", False),
        ("https://ghcr.io:99999/token", "https://ghcr.io", False),
        ("/token", "https://ghcr.io", False),
        ("", "https://ghcr.io", False),
    ],
)  # fmt: skip
def test_a_realm_belongs_to_the_registry_or_is_not_asked(realm: str, registry: str, own: bool) -> None:
    assert belongs(realm, registry) is own


@pytest.mark.parametrize(
    ("header", "schemes"),
    [
        ('Bearer realm="a",service="b"', {"bearer": {"realm": "a", "service": "b"}}),
        ('BASIC realm="a", Bearer scope="x,y"', {"basic": {"realm": "a"}, "bearer": {"scope": "x,y"}}),
        ('Bearer realm="a \\" Basic realm=b"', {"bearer": {"realm": 'a " Basic realm=b'}}),
        ('Bearer realm="a",realm="b"', {"bearer": {"realm": "a"}}),
        ("Bearer realm=a", {"bearer": {"realm": "a"}}),
        ('Basic REALM = "a"', {"basic": {"realm": "a"}}),
        ("", {}),
    ],
)  # fmt: skip
def test_challenges_are_parsed(header: str, schemes: dict[str, dict[str, str]]) -> None:
    assert dict(parse(header)) == schemes


@given(st.text(alphabet='Bearealm ="\\,x\t') | st.text())
def test_any_challenge_is_parsed_or_ignored(header: str) -> None:
    list(parse(header))


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_the_narrowest_key_counts_and_only_for_its_host(tmp_path: Path) -> None:
    auths = {
        "r.example/acme/m": {"auth": encoded("narrow:1")},
        "https://r.example/v2/": {"auth": encoded("wide:2")},
        "https://index.docker.io/v1/": {"username": "hub", "password": "3"},
        "empty.example": {},
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    keychain = Keychain({"DOCKER_CONFIG": str(tmp_path)})
    assert keychain.find("r.example", "acme/m") == Credentials(username="narrow", password="1")
    assert keychain.find("r.example", "acme/m2") == Credentials(username="wide", password="2")
    assert keychain.find("docker.io", "ai/x") == Credentials(username="hub", password="3")
    for host in ("example", "xr.example", "r.example.evil", "r.example:5000", "empty.example"):
        assert keychain.find(host, "acme/m") is None


def test_the_environment_comes_before_files_and_a_home_without_any_is_empty(tmp_path: Path) -> None:
    for name, user in (("named.json", "named"), (".docker/config.json", "home")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"auths": {"h": {"auth": encoded(f"{user}:x")}}}))
    environment = {"HOME": str(tmp_path)}
    users = []
    for more in (
        {},
        {"REGISTRY_AUTH_FILE": str(tmp_path / "named.json")},
        {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"h": {"auth": encoded("text:x")}}})},
    ):
        environment |= more
        found = Keychain(environment).find("h", "m")
        users.append(found and found.username)
    assert users == ["home", "named", "text"]
    assert Keychain({"HOME": str(tmp_path / "nobody")}).find("h", "m") is None
    assert Keychain({}).find("h", "m") is None


def test_a_helper_is_named_and_not_run(registry: FakeRegistry, tmp_path: Path) -> None:
    program, mark = tmp_path / "docker-credential-trap", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    registry.challenge = 'Basic realm="x"'
    settings = {"credHelpers": {registry.host: "trap"}, "auths": {registry.host: {}}}
    with pytest.raises(SourceError, match="docker-credential-trap may know credentials but is not run"):
        resolve(registry, {"PATH": str(tmp_path), "DOCKER_AUTH_CONFIG": json.dumps(settings)})
    assert not mark.exists()
    assert Keychain({"DOCKER_AUTH_CONFIG": '{"credsStore": "desktop"}'}).helper("h") == "docker-credential-desktop"


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"auths": []}', '{"auths": {"h": 1}}', '{"auths": {"h": {"auth": 1}}}',
        '{"auths": {"h": {"auth": "s3cr3t!"}}}', '{"auths": {"h": {"auth": "/w=="}}}', "[" * 99999,
    ],
)  # fmt: skip
def test_a_malformed_configuration_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        Keychain({"DOCKER_AUTH_CONFIG": text}).find("h", "m")
    assert "s3cr3t" not in str(caught.value)


def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        Keychain({"REGISTRY_AUTH_FILE": str(tmp_path)}).find("h", "m")
    (tmp_path / "long").write_text(" " * (1 << 20) + "{}")
    with pytest.raises(DocumentError, match="longer than"):
        Keychain({"REGISTRY_AUTH_FILE": str(tmp_path / "long")}).find("h", "m")
