"""The limits of clients, the log and the machine: how each control shows outside."""

import contextlib
import smtplib
import socket
import ssl
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.support.controls import House, change, control
from tests.support.fake_dns import SERVFAIL, FakeDnsServer
from tests.support.house import wait_for
from tests.support.ports import free_port

# Limits of clients.


def greetings(house: House, count: int) -> str:
    """What so many connections at once are told first."""
    with contextlib.ExitStack() as stack:
        return "".join(stack.enter_context(house.talk()).recv(1000).decode() for _ in range(count))


@control("limits.sessions", "4", 4)
def _(house: House) -> None:
    change(house, "limits.sessions")
    assert "Too many sessions: try" in greetings(house, 6)


@control("limits.sessions_per_address", "2", 2)
def _(house: House) -> None:
    change(house, "limits.sessions_per_address")
    assert "Too many sessions from your address" in greetings(house, 4)


@control("limits.connections_per_minute", "3", 3)
def _(house: House) -> None:
    change(house, "limits.connections_per_minute")
    assert "Too many connections" in "".join(greetings(house, 1) for _ in range(6))


def answers(house: House, kind: str, lines: list[bytes], last: bytes = b"421") -> list[bytes]:
    """The replies to these lines, one after the other, up to one with this code."""
    found = []
    with house.talk(kind) as client, client.makefile("rb") as reader:
        reader.readline()
        for line in lines:
            client.sendall(line + b"\r\n")
            while (reply := reader.readline())[3:4] == b"-":
                pass
            found.append(reply)
            if reply.startswith(last) or not reply:
                break
    return found


@control("limits.messages_per_minute", "2", 2)
def _(house: House) -> None:
    change(house, "limits.messages_per_minute")
    lines = [b"EHLO a", *[b"MAIL FROM:<bob@example.com>", b"RSET"] * 4]
    assert answers(house, "smtp", lines, b"450")[-1].startswith(b"450 4.7.0 Too many messages")


@control("limits.recipients_per_minute", "100", 100)
def _(house: House) -> None:
    change(house, "limits.recipients_per_minute")
    lines = [b"EHLO a", b"MAIL FROM:<bob@example.com>", *[b"RCPT TO:<anna@example.org>"] * 120]
    assert answers(house, "smtp", lines, b"450")[-1].startswith(b"450 4.7.0 Too many recipients")


@control("limits.recipients", "100", 100)
def _(house: House) -> None:
    change(house, "limits.recipients")
    lines = [b"EHLO a", b"MAIL FROM:<bob@example.com>", *[b"RCPT TO:<anna@example.org>"] * 101]
    assert [each[:3] for each in answers(house, "smtp", lines, b"9")][-2:] == [b"250", b"452"]


@control("limits.errors", "3", 3)
def _(house: House) -> None:
    change(house, "limits.errors")
    assert len(answers(house, "smtp", [b"NONSENSE"] * 10)) == 4


@control("limits.idle_commands", "5", 5)
def _(house: House) -> None:
    change(house, "limits.idle_commands")
    assert len(answers(house, "smtp", [b"NOOP"] * 20)) == 7  # the seventh reads nothing but the end


def guess(house: House, username: str, count: int) -> set[int]:
    """Wrong passwords; the codes that came."""
    codes = set()
    for _ in range(count):
        with house.client("submission") as client, contextlib.suppress(smtplib.SMTPServerDisconnected):
            client.ehlo()
            try:
                client.login(username, "wrong")
            except smtplib.SMTPAuthenticationError as error:
                codes.add(error.smtp_code)
    return codes


@control("limits.login_failures_per_address", "1", 1)
def _(house: House) -> None:
    assert guess(house, "zoe@example.org", 1) == {535}
    change(house, "limits.login_failures_per_address")
    assert 454 in guess(house, "zoe@example.org", 3)


@control("limits.login_failures_per_account", "1", 1)
def _(house: House) -> None:
    assert guess(house, "carl@example.org", 1) == {535}
    change(house, "limits.login_failures_per_account")
    assert 454 in guess(house, "carl@example.org", 3)


def until_421(client: socket.socket) -> None:
    """The server ends it, within a minute."""
    octets = b""
    while b"421 " not in octets:
        octets += (more := client.recv(1000))
        assert more, octets


@control("limits.login_timeout", "2s")
def _(house: House) -> None:
    change(house, "limits.login_timeout")
    with house.talk("submission") as client:
        until_421(client)


@control("limits.command_timeout", "2s")
def _(house: House) -> None:
    change(house, "limits.command_timeout")
    with house.talk() as client:
        until_421(client)


DATA: Final = b"EHLO a\r\nMAIL FROM:<bob@example.com>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n"


@control("limits.data_timeout", "2s")
def _(house: House) -> None:
    change(house, "limits.data_timeout")
    with house.talk() as client:
        client.sendall(DATA)
        until_421(client)


@control("limits.data_rate", "1000000", 1000000)
def _(house: House) -> None:
    change(house, "limits.data_rate", more={"limits.data_timeout": "2s"})
    with house.talk() as client:
        client.sendall(DATA)
        client.settimeout(0.1)
        heard = b""
        until = time.monotonic() + 60
        while b"421 " not in heard and time.monotonic() < until:
            client.sendall(b"x" * 70 + b"\r\n")  # seventy times what the default wants
            with contextlib.suppress(TimeoutError):
                heard += client.recv(1000)
        assert b"421 " in heard


@control("limits.handshakes", "1", 1)
def _(house: House) -> None:
    change(house, "limits.handshakes")
    context = ssl._create_unverified_context()
    with house.client(source="127.0.0.8") as first, house.client(source="127.0.0.9") as second:
        for client in (first, second):
            client.ehlo()
            assert client.docmd("STARTTLS")[0] == 220
        assert first.sock is not None and second.sock is not None
        second.sock.settimeout(1)
        with pytest.raises(TimeoutError):  # the first has the only place, and says nothing
            context.wrap_socket(second.sock)


# The log, the machine.


def old_day(house: House, days: int, octets: int) -> Path:
    """A file of the journal."""
    path = house.cmail.data / "log" / f"{date.today() - timedelta(days)}.log"
    path.write_bytes(b"x" * octets)
    return path


@control("log.keep", "3d")
def _(house: House) -> None:
    path = old_day(house, 5, 10)
    change(house, "log.keep")
    wait_for(lambda: not path.exists(), "the old day to be removed")


@control("log.keep_size", "1MiB")
def _(house: House) -> None:
    path = old_day(house, 1, 2**21)
    change(house, "log.keep_size")
    wait_for(lambda: not path.exists(), "what is too much to be removed")


@control("log.format", "json")
def _(house: House) -> None:
    assert "log.format takes effect when the server is started again" in change(house, "log.format")
    house.restart()
    assert house.cmail.log().splitlines()[-1].startswith("{")


DNS_PORT: Final = free_port()


@control("dns.servers", f"127.0.0.1:{DNS_PORT}", [f"127.0.0.1:{DNS_PORT}"])
def _(house: House) -> None:
    server = house.peers.start(FakeDnsServer(port=DNS_PORT))
    change(house, "dns.servers", more={"smtp.delivery": "mx"})
    house.send("carl@example.com")
    wait_for(lambda: "MX example.com" in server.asked, "a question")


NTP_PORT: Final = free_port()


@control("checks.time_servers", f"127.0.0.1:{NTP_PORT}", [f"127.0.0.1:{NTP_PORT}"])
def _(house: House) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", NTP_PORT))
        server.settimeout(60)
        change(house, "checks.time_servers")
        check(house, "clock")
        assert server.recv(1000)


@control("checks.port25_domain", "probe.example.net")
def _(house: House) -> None:
    server = house.peers.start(FakeDnsServer({("probe.example.net", "MX"): SERVFAIL}))
    change(house, "checks.port25_domain", more={"dns.servers": server.address})
    check(house, "port25")
    wait_for(lambda: "MX probe.example.net" in server.asked, "a question")


def check(house: House, name: str) -> None:
    """[Check again]."""
    for form in house.browser.get("/checks").forms:
        if form.action == "/checks/run" and form.values.get("name") == name:
            house.browser.send("/checks/run", form.values)
            return
    raise AssertionError(f"no check {name}")


@control("limits.free_space", "1000000GiB")
def _(house: House) -> None:
    assert "started again" in change(house, "limits.free_space")
    house.restart()
    with house.client() as client:
        client.ehlo()
        assert client.mail("bob@example.com")[0] == 452


ADMIN: Final = free_port()


@control("admin.address", f"127.0.0.1:{ADMIN}")
def _(house: House) -> None:
    assert "started again" in change(house, "admin.address")
    house.restart()
    assert house.cmail.port("admin") == ADMIN


@control("host.workers", "2", 2)
def _(house: House) -> None:
    assert "started again" in change(house, "host.workers")
    house.restart()
    assert {"worker-0", "worker-1"} <= {child["name"] for child in house.cmail.status()["children"]}
