"""Who may ask, and from where: foreign names and pages, wrong passwords, sessions."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from edgevision.web.access import MAX_FAILURES, SESSION_S, Attempts, Sessions, client_of, cookie_of
from edgevision.web.passwords import Passwords, hash_password, hash_token
from edgevision.web.server import WebServer
from tests.support.web import ask, served

PASSWORD, TOKEN = "correct horse", "a token for programs"
KEYS = Passwords((hash_password(PASSWORD),), (hash_token(TOKEN),))
FOREIGN = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.1.2.3", "[2001:db8::1]",
           "", "localhost@evil.example", "evil.example:8080", "0.0.0.0", "xn--lclhost-uwa"]  # fmt: skip


def asked(server: WebServer, path: str, method: str = "GET", **headers: str) -> int:
    """The status, with exactly these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_foreign_hosts_and_origins_are_refused() -> None:
    with served(names=("cam.example.org",)) as server:
        own = f"127.0.0.1:{server.port}"
        for host in FOREIGN:
            assert asked(server, "/api/state", Host=host) in (400, 421), host
            origin = f"http://{host}" if host else "null"
            assert asked(server, "/api/state", Host=own, Origin=origin) == 403, origin
            assert asked(server, "/api/logout", "POST", Host=own, Origin=origin) == 403, origin
        # Another program of this machine is another origin too.
        assert asked(server, "/api/logout", "POST", Host=own, Origin="http://127.0.0.1:1") == 403
        assert asked(server, "/api/logout", "POST", Host=own, Sec_Fetch_Site="cross-site") == 403


def test_own_names_and_a_proxy_that_changes_host_and_port_pass() -> None:
    with served(names=("cam.example.org",)) as server:
        own = f"127.0.0.1:{server.port}"
        assert asked(server, "/api/state", Host=own) == 200
        assert (
            asked(
                server,
                "/api/state",
                Host=f"localhost:{server.port}",
                Origin=f"http://localhost:{server.port}",
            )
            == 200
        )
        assert asked(server, "/api/state", Host="cam.example.org", Origin="https://cam.example.org") == 200
        assert asked(server, "/api/logout", "POST", Host=own, Origin="https://cam.example.org:8443") == 200


def test_every_answer_has_the_headers_that_keep_a_page_in() -> None:
    with served() as server:
        for path in ("", "api/state", "nothing", "main.js"):
            headers = ask(server.url + path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "media-src 'self' blob:" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "server" not in headers


def test_where_a_password_is_set_everything_but_the_page_asks_for_it() -> None:
    with served(passwords=KEYS) as server:
        for path in ("api/state", "metrics", "api/openapi.json", "api/streams/x/still.jpg", "anything"):
            assert ask(server.url + path).status == 401, path
        for path in ("", "main.js", "api/session"):
            assert ask(server.url + path).status == 200, path
        assert ask(server.url + "healthz").json() == {"healthy": True, "stalled": False, "streams": {}}
        assert ask(server.url + "api/state", Authorization=f"Bearer {TOKEN}").status == 200
        assert ask(server.url + "api/state", Authorization="Bearer x").status == 401


def logged_in(server: WebServer, **headers: str) -> tuple[Any, str]:
    answer = ask(server.url + "api/login", {"password": PASSWORD}, **headers)
    return answer, str(answer.headers["set-cookie"]).partition(";")[0]


def test_a_session_begins_with_the_password_and_ends_with_the_logout() -> None:
    with served(passwords=KEYS) as server:
        assert ask(server.url + "api/login", {"password": "wrong password"}).status == 401
        answer, cookie = logged_in(server)
        attributes = answer.headers["set-cookie"].lower()
        assert "httponly" in attributes
        assert "samesite=strict" in attributes
        assert "secure" not in attributes  # over plain HTTP it would never come back
        assert "secure" in logged_in(server, X_Forwarded_Proto="https")[0].headers["set-cookie"].lower()
        assert ask(server.url + "api/state", Cookie=cookie).status == 200
        assert ask(server.url + "api/session", Cookie=cookie).json() == {
            "needs_login": False,
            "has_password": True,
        }
        # A change with a session must come from the page.
        assert ask(server.url + "api/logout", {}, "POST", Cookie=cookie).status == 403
        own = server.url.rstrip("/")
        assert ask(server.url + "api/logout", {}, "POST", Cookie=cookie, Origin=own).status == 200
        assert ask(server.url + "api/state", Cookie=cookie).status == 401


def test_who_guesses_waits_and_nobody_else_does() -> None:
    with served(passwords=KEYS) as server:
        for _ in range(MAX_FAILURES):
            assert (
                ask(server.url + "api/login", {"password": "x"}, X_Forwarded_For="198.51.100.7").status == 401
            )
        locked = ask(server.url + "api/login", {"password": PASSWORD}, X_Forwarded_For="198.51.100.7")
        assert locked.status == 429
        assert int(locked.headers["retry-after"]) > 200
        assert (
            ask(server.url + "api/login", {"password": PASSWORD}, X_Forwarded_For="198.51.100.8").status
            == 200
        )


def test_attempts_are_forgotten_after_a_while() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(MAX_FAILURES):
        attempts.fail("a")
    assert attempts.wait_s("a") == pytest.approx(300)
    assert attempts.wait_s("b") == 0
    now[0] = 301
    assert attempts.wait_s("a") == 0
    attempts.fail("a")
    attempts.succeed("a")
    assert attempts.wait_s("a") == 0


def test_a_session_lasts_a_week_after_its_last_use() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    secret = sessions.begin()
    now[0] = SESSION_S - 1
    assert sessions.is_open(secret)
    now[0] = 2 * SESSION_S - 2
    assert sessions.is_open(secret)
    now[0] = 4 * SESSION_S
    assert not sessions.is_open(secret)
    assert not sessions.is_open("")


def test_only_a_proxy_of_this_machine_says_whom_it_asks_for() -> None:
    header = {b"x-forwarded-for": "6.6.6.6, 198.51.100.7"}
    assert client_of({"client": ("127.0.0.1", 1)}, header) == "198.51.100.7"
    assert client_of({"client": ("203.0.113.9", 1)}, header) == "203.0.113.9"
    assert client_of({"client": ("127.0.0.1", 1)}, {}) == "127.0.0.1"
    assert cookie_of({b"cookie": "a=1; edgevision_8080=x"}, "edgevision_8080") == "x"
    assert cookie_of({}, "edgevision_8080") == ""
