"""The page beyond this machine: TLS and nothing else, closed until there is a password, cookies that stay with TLS."""

import http.client
import ssl
import urllib.parse
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail
from tests.support.office import PASSWORD, command

PAGES = ("/", "/smtp", "/queue", "/save", "/setup", "/api/v1/settings")


def ask(
    house: RunningCmail, method: str, path: str, form: dict[str, str] | None = None, *, is_tls: bool = True
) -> http.client.HTTPResponse:
    """One request; its body is read."""
    port = house.port("admin")
    connection: http.client.HTTPConnection
    if is_tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"content-type": "application/x-www-form-urlencoded"} if form else {}
    connection.request(method, path, urllib.parse.urlencode(form) if form else None, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_beyond_loopback_there_is_tls_and_a_password(tmp_path: Path) -> None:
    """In the clear nothing answers; without a password there is no way in but the link; with one the cookie is for
    TLS alone, for no script, and for no other site."""
    settings = SETTINGS.replace('address = ""', 'address = "0.0.0.0:0"')
    with RunningCmail(tmp_path, settings=settings) as house:
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(house, "GET", "/login", is_tls=False)
        for path in PAGES:
            answer = ask(house, "GET", path)
            assert answer.status in (303, 401), path
        assert ask(house, "POST", "/login", {"password": ""}).getheader("set-cookie") is None

        command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        for path in PAGES:
            assert ask(house, "GET", path).status in (303, 401), path
        assert ask(house, "POST", "/login", {"password": "wrong"}).getheader("set-cookie") is None
        answer = ask(house, "POST", "/login", {"password": PASSWORD})
        cookie = (answer.getheader("set-cookie") or "").lower()
        assert answer.status == 303
        assert {"secure", "httponly"} <= set(cookie.split("; "))
        assert "samesite=" in cookie


def test_on_this_machine_it_is_in_the_clear(tmp_path: Path) -> None:
    """On loopback without TLS the cookie is not for TLS alone: a browser would not send it."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path, settings=settings) as house:
        command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        answer = ask(house, "POST", "/login", {"password": PASSWORD}, is_tls=False)
        cookie = (answer.getheader("set-cookie") or "").lower()
        assert "httponly" in cookie and "samesite=" in cookie and "secure" not in cookie
