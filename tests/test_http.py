"""The HTTP client of the registries: where credentials go, how long it waits, and what ends a request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest
from asking import SECRET, refused, session
from servers.serving import Answer, Blob, Faults, Reply, Request, Server
from servers.tls import certificate

from weighbridge.errors import UnavailableError
from weighbridge.registries.http import origin, show

Serve = Callable[[Answer], Server]


def headers_of(request: Request) -> Reply:
    """Answer with the headers of the request."""
    return Reply(body=json.dumps(dict(request.headers)).encode())


def redirecting(target: Callable[[], str], status: int = 302) -> Answer:
    """Return what redirects `/` to a target and answers anything else with its headers."""

    def answer(request: Request) -> Reply:
        if request.path == "/":
            return Reply(status=status, headers={"Location": target(), "Set-Cookie": "a=b; Path=/"})
        return headers_of(request)

    return answer


def test_a_token_goes_to_its_origin(serve: Serve) -> None:
    one, other = serve(headers_of), serve(headers_of)
    http = session(tokens={one.origin: SECRET})
    assert http.json(f"{one.origin}/x", limit=4096)["Authorization"] == f"Bearer {SECRET}"
    assert "Authorization" not in http.json(f"{other.origin}/x", limit=4096)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_with_an_origin_that_redirects_within_itself(serve: Serve, status: int) -> None:
    server = serve(redirecting(lambda: "/there", status))
    http = session(tokens={server.origin: SECRET})
    sent = http.json(f"{server.origin}/", limit=4096, headers={"Cookie": "c"})
    assert (sent["Authorization"], sent["Cookie"]) == (f"Bearer {SECRET}", "c")


def test_no_credential_crosses_to_another_origin(serve: Serve) -> None:
    other = serve(headers_of)
    server = serve(redirecting(lambda: f"{other.origin}/there"))
    http = session(tokens={server.origin: SECRET, other.origin: "another"})
    given = {"Authorization": "Basic x", "Cookie": "c", "X-Api-Key": "k", "Range": "bytes=0-1", "Accept": "a/b"}
    sent = http.json(f"{server.origin}/", limit=4096, headers=given)
    assert sent.keys() == {"Host", "Accept", "Accept-Encoding", "Connection", "Range", "User-Agent"}
    assert sent["Accept"] == "a/b"


def test_no_credential_comes_back_from_another_origin(serve: Serve) -> None:
    other = serve(redirecting(lambda: f"{server.origin}/there"))
    server = serve(redirecting(lambda: f"{other.origin}/"))
    sent = session(tokens={server.origin: SECRET}).json(f"{server.origin}/", limit=4096)
    assert "Authorization" not in sent


def test_a_session_keeps_no_cookies(serve: Serve) -> None:
    server = serve(redirecting(lambda: "/there"))
    http = session()
    assert "Cookie" not in http.json(f"{server.origin}/", limit=4096)
    assert "Cookie" not in http.json(f"{server.origin}/again", limit=4096)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/", "more than 5 redirects"),
        ("", "redirects to nowhere"),
        ("ftp://127.0.0.1/", "not a URL of http or https"),
        ("file:///etc/passwd", "not a URL of http or https"),
        ("http://[::1/", "redirects to what is no URL"),
        (f"http://user:{SECRET}@127.0.0.1/", "a user name or password in a URL is refused"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_refused(serve: Serve, location: str, said: str) -> None:
    server = serve(redirecting(lambda: location))
    assert said in refused(lambda: session().get(server.origin, limit=10))
    assert len(server.log) <= 6


def test_a_body_is_not_sent_to_where_a_redirect_leads(serve: Serve) -> None:
    server = serve(redirecting(lambda: "/there", 307))
    assert "the server answers 307" in refused(
        lambda: session().get(f"{server.origin}/", limit=10, method="POST", body=b"x")
    )
    assert len(server.log) == 1


def test_https_never_becomes_http(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    plain = serve(headers_of)
    secure = Server(redirecting(lambda: f"{plain.origin}/there"), Faults(), tls=context)
    try:
        assert session().json(f"{secure.origin}/other", limit=4096)
        assert "redirects from https to http://127.0.0.1" in refused(lambda: session().get(secure.origin, limit=10))
    finally:
        secure.close()
    assert not plain.log


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    server = Server(headers_of, Faults(), tls=certificate(tmp_path)[1])
    waits: list[float] = []
    try:
        said = refused(lambda: session(waits=waits, retries=3).get(server.origin, limit=10))
    finally:
        server.close()
    assert (
        "the certificate is not trusted; if it is your own authority's, name its certificates in SSL_CERT_FILE" in said
    )
    assert not waits


def test_certificates_and_proxies_that_cannot_be_used_are_said(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda _: Reply(body=b"plain"))
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert session().get(server.origin, limit=10).body == b"plain"  # which needs no certificates
    for url, proxy in (("https://127.0.0.1:1", ""), (server.origin, "http://127.0.0.1:1")):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        said = refused(partial(session().get, url, limit=10))
        assert "the proxy or the certificates of the environment cannot be used" in said
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("HTTPS_PROXY", "gopher://proxy")
    assert "the proxy or the certificates of the environment cannot be used" in refused(
        lambda: session().get("https://127.0.0.1:1", limit=10)
    )


def test_a_proxy_of_the_environment_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(lambda _: Reply(body=b"proxied")), serve(lambda _: Reply(body=b"direct"))
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    monkeypatch.setenv("http_proxy", proxy.origin)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert session().get("http://models.invalid/x", limit=10).body == b"proxied"
    assert session().get(server.origin, limit=10).body == b"direct"
    assert [entry.target for entry in proxy.log] == ["http://models.invalid/x"]


def test_a_body_over_the_limit_is_refused_before_it_has_all_come(serve: Serve) -> None:
    server = serve(lambda _: Reply(blob=Blob(bytes(64 << 20))))
    assert "the answer is longer than 1000 bytes" in refused(lambda: session().get(server.origin, limit=1000))
    assert session().get(serve(lambda _: Reply(body=b"1" * 1000)).origin, limit=1000).body == b"1" * 1000


def test_an_encoded_body_is_refused(serve: Serve) -> None:
    server = serve(lambda request: Reply(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b"))
    assert "encoded as 'gzip'" in refused(lambda: session().get(server.origin, limit=10))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 200_000, b"1" * 5000])
def test_what_is_not_json_is_refused(serve: Serve, body: bytes) -> None:
    server = serve(lambda _: Reply(body=body))
    assert "the answer is not JSON" in refused(lambda: session().json(server.origin, limit=1 << 20))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "not a URL of http or https"),
        ("http://", "not a URL of http or https"),
        ("//host/x", "not a URL of http or https"),
        ("https://[::1/x", "not a URL"),
        ("http://host:99999/", "not a URL"),
        (f"https://me:{SECRET}@host/x", "a user name or password in a URL is refused"),
        ("http://" + "a" * 70 + ".invalid/", ".invalid/: "),
        ("http://127.0.0.1:1/x\x1b[2J\n", "not a URL"),
    ],
)
def test_a_url_that_cannot_be_fetched_is_refused(url: str, said: str) -> None:
    assert said in refused(lambda: session().get(url, limit=10))


def test_nothing_secret_is_shown() -> None:
    assert show(f"https://me:{SECRET}@host:1/a\x07?signature={SECRET}#x") == "https://host:1/a\\x07"
    assert show(f"https://a@b@host/x@y?{SECRET}") == "https://host/x@y"
    assert origin("HTTPS://Host:443/x?y") == "https://host" == origin("https://host/")
    assert origin("http://[::1]:80") == "http://[::1]"
    assert origin("http://host:443") == "http://host:443"


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "é", "hf_very_secret\n"])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(token: str) -> None:
    assert "the token for it" in refused(lambda: session(tokens={"https://host": token}))


def test_a_header_that_cannot_be_sent_is_refused_without_showing_it(serve: Serve) -> None:
    server = serve(headers_of)
    given = {"authorization": f"Bearer {SECRET}\r\nX: y"}
    assert "cannot be sent" in refused(lambda: session().get(server.origin, limit=10, headers=given))


def test_offline_connects_to_nothing(serve: Serve) -> None:
    server = serve(headers_of)
    http = session(offline=True, retries=3)
    assert "connections are switched off (offline)" in refused(lambda: http.get(server.origin, limit=10))
    assert "connections are switched off (offline)" in refused(
        lambda: http.remote(server.origin, 9, name="f").read(0, 9)
    )
    assert not server.log


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_change_is_asked_for_again(serve: Serve, status: int) -> None:
    left = [status, status]
    server = serve(lambda _: Reply(status=left.pop()) if left else Reply(body=b"at last"))
    waits: list[float] = []
    assert session(waits=waits, retries=2).get(server.origin, limit=10).body == b"at last"
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": formatdate(0, usegmt=True)}, 0),
        ({"RateLimit": '"resolvers";r=0;t=55'}, 56),
        ({"RateLimit": '"api";r=0;t=9', "Retry-After": "2"}, 10),
    ],
)
def test_a_server_says_how_long_to_wait(serve: Serve, headers: dict[str, str], wait: float) -> None:
    left = [Reply(status=429, headers=headers)]
    server = serve(lambda _: left.pop() if left else Reply())
    waits: list[float] = []
    notices: list[str] = []
    session(waits=waits, retries=1, notice=notices.append).get(server.origin, limit=10)
    assert waits == [wait]
    assert len(notices) == bool(wait)
    assert all(f"asks to wait {wait} s; trying again in {wait} s" in notice for notice in notices)


@pytest.mark.parametrize("header", ["nonsense", "-1", "²", '"api";r=5;t=9', "Mon, 99 Foo"])
def test_a_wait_that_is_none_is_passed_over(serve: Serve, header: str) -> None:
    left = [Reply(status=503, headers={"Retry-After": header.encode().decode("latin-1"), "RateLimit": '"api";r=5;t=9'})]
    server = serve(lambda _: left.pop() if left else Reply())
    waits: list[float] = []
    session(waits=waits, retries=1).get(server.origin, limit=10)
    assert 0.25 <= waits[0] <= 0.5


def test_nobody_waits_for_ever(serve: Serve) -> None:
    server = serve(lambda _: Reply(status=429, headers={"Retry-After": "86400"}))
    waits: list[float] = []
    with pytest.raises(UnavailableError, match="429 and asks to wait 86400 s") as caught:
        session(waits=waits, retries=4).get(server.origin, limit=10)
    assert (caught.value.wait, waits, len(server.log)) == (86400, [], 1)


def test_a_storm_ends_when_the_repetitions_are_used_up(serve: Serve) -> None:
    server = serve(lambda _: Reply(status=503))
    waits: list[float] = []
    assert "the server answers 503" in refused(lambda: session(waits=waits, retries=4).get(server.origin, limit=10))
    assert (len(server.log), len(waits)) == (5, 4)
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits))


def test_a_server_that_is_not_there_is_tried_again(serve: Serve) -> None:
    server = serve(headers_of)
    server.close()
    waits: list[float] = []
    assert "no connection (" in refused(lambda: session(waits=waits, retries=2).get(server.origin, limit=10))
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=404), "there is no such thing, 404"),
        (Reply(status=410), "it is gone, 410"),
        (Reply(status=418), "the server answers 418"),
        (Reply(status=401), "access is refused, 401; set A_TOKEN"),
        (
            Reply(status=403, headers={"X-Error-Message": "no\x07 entry"}),
            "access is refused, 403 (no\\x07 entry); set A_TOKEN",
        ),
    ],
)
def test_an_answer_that_will_not_change_ends_at_once(serve: Serve, reply: Reply, said: str) -> None:
    server = serve(lambda _: reply)
    text = refused(lambda: session(retries=3).get(f"{server.origin}/x?{SECRET}", limit=10))
    assert text == f"{server.origin}/x: {said}"
    assert len(server.log) == 1


def test_an_answer_may_be_one_that_the_caller_knows(serve: Serve) -> None:
    server = serve(lambda _: Reply(status=503, headers={"X-A": "b"}, body=b"busy"))
    answer = session(retries=3).get(f"{server.origin}/x", limit=10, accept=(200, 503))
    assert (answer.status, answer.headers["x-a"], answer.body, answer.url) == (503, "b", b"busy", f"{server.origin}/x")


def test_the_caller_sees_every_answer_on_the_way(serve: Serve) -> None:
    server = serve(redirecting(lambda: "/there"))
    seen: list[tuple[str, int]] = []
    session().get(f"{server.origin}/", limit=4096, check=lambda url, status, _: seen.append((url, status)))
    assert seen == [(f"{server.origin}/", 302), (f"{server.origin}/there", 200)]


def test_a_server_that_says_nothing_is_given_up(serve: Serve) -> None:
    def answer(_: Request) -> Reply:
        server.closing.wait()
        return Reply()

    server = serve(answer)
    assert "no answer in time" in refused(lambda: session(timeout=0.1).get(server.origin, limit=10))


def test_a_body_that_comes_drop_by_drop_is_given_up(serve: Serve) -> None:
    stop = threading.Event()

    class Drops(Blob):
        def pieces(self, begin: int, end: int) -> Iterator[bytes]:
            while not stop.wait(0.05):
                yield b"."

    server = serve(lambda _: Reply(blob=Drops(b"." * 1000)))
    with pytest.raises(UnavailableError, match=r"too slow|no answer in time"):
        session(timeout=0.4).get(server.origin, limit=1000)
    stop.set()
