"""atrn: mail that waits at a hub comes over the connection that we opened, under its TLS, into the mailbox."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.atrn_hub import AtrnHub, hub_context
from tests.support.house import RunningCmail, reachable

MESSAGE = (
    b"From: bert@example.net\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: number %d\r\n"
    b"Message-ID: <%d@example.net>\r\n\r\nhello\r\n"
)
LARGE = MESSAGE % (9, 9) + b"0123456789abcdef\r\n" * 20_000


def messages(count: int) -> list[bytes]:
    return [MESSAGE % (number, number) for number in range(count)]


@contextmanager
def running(hub: AtrnHub) -> Iterator[AtrnHub]:
    """The hub in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(hub.__aenter__(), loop).result(60)
        yield hub
        asyncio.run_coroutine_threadsafe(hub.__aexit__(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def plan(folder: Path, hub: AtrnHub, more: str = "", password: str = "secret", wait: str = "20s") -> str:
    """One [[link.kick]] that asks the hub."""
    file = reachable(folder) / "hub-password"
    file.write_text(password + "\n")
    file.chmod(0o600)
    return (
        f'\n[[link.kick]]\nmethod = "atrn"\nhost = "127.0.0.1"\nport = {hub.port}\nusername = "site"\n'
        f'password_file = "{file}"\nwait = "{wait}"\n{more}\n'
    )


def kick(cmail: RunningCmail) -> tuple[int, list[dict[str, Any]]]:
    """`cmail link kick --json`: exit code and rows."""
    command = [sys.executable, "-m", "cmail", "link", "kick", "--json", "--config", str(cmail.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def states(rows: list[dict[str, Any]]) -> list[str]:
    return [row.get("state") or row["ending"] for row in rows]


@pytest.mark.parametrize("tls", ["opportunistic", "required", "implicit", "none"])
def test_mail_comes_over_the_turned_connection(tmp_path: Path, tls: str) -> None:
    """Three small messages and a large one, under the TLS of the connection that we opened; the password
    was read by root and is sent under TLS (or on loopback) alone."""
    context, authority = hub_context()
    hub = AtrnHub([*messages(3), LARGE], tls=context, is_implicit_tls=tls == "implicit")
    with running(hub):
        ca_file = reachable(tmp_path) / "ca.pem"
        ca_file.write_bytes(authority.cert_pem.bytes())
        ca_file.chmod(0o644)
        more = plan(tmp_path, hub, f'tls = "{tls}"') + f'\n[tls]\nca_file = "{ca_file}"\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            code, rows = kick(cmail)
            assert (code, states(rows)) == (0, ["sent", "answered", "answered"]), rows
            got = cmail.wait_for_mail("anna@example.org", 4)
            assert sum(b"0123456789abcdef" in each for each in got) == 1
            assert all(b"from hub.example.net (127.0.0.1" in each for each in got)
            log = cmail.wait_for_log("quit=1")
    assert "ATRN example.org" in hub.heard and hub.is_encrypted is (tls != "none")
    assert "password" not in log and "secret" not in log


def test_the_hub_is_a_stranger(tmp_path: Path) -> None:
    """It is on loopback, which may relay; over a turned connection nothing is relayed for it, nobody logs
    in, and an unknown user is refused."""
    asks = [
        b"AUTH PLAIN AGFubmFAZXhhbXBsZS5vcmcAc2VjcmV0\r\n",
        b"MAIL FROM:<bert@example.net>\r\n",
        b"RCPT TO:<victim@example.com>\r\n",
        b"RCPT TO:<nobody@example.org>\r\n",
        b"RSET\r\n",
    ]
    with running(AtrnHub(messages(1), asks=asks)) as hub:
        with RunningCmail(tmp_path, more=plan(tmp_path, hub)) as cmail:
            assert kick(cmail)[0] == 0
            cmail.wait_for_mail("anna@example.org")
            heard = " ".join(hub.heard)
            assert "550 5.7.1" in heard and "550 5.1.1" in heard and "235" not in heard
            said = heard[heard.index("ATRN") :]
            assert "AUTH" not in said.replace("ATRN", "")


REPLIES: dict[str, tuple[dict[str, Any], int, list[str], str]] = {
    "nothing waits": (
        {"replies": [b"453 You have no mail\r\n"]},
        0,
        ["nothing", "nothing waits"],
        "no mail waits",
    ),
    "not now, then it does": (
        {"replies": [b"451 Unable to process ATRN request now\r\n"], "messages": messages(1)},
        0,
        ["not now", "sent", "answered", "answered"],
        "cannot do it now",
    ),
    "not for this name": (
        {"replies": [b"450 ATRN request refused\r\n"] * 2},
        75,
        ["not now", "not now", "unanswered"],
        "refuses that for this name",
    ),
    "it does not know it": (
        {"replies": [b"502 Command not implemented\r\n"]},
        75,
        ["refused", "unanswered"],
        "does not know ATRN",
    ),
    "it turns round and hangs up": (
        {"is_leaving": True},
        75,
        ["sent", "unanswered", "sent", "unanswered", "unanswered"],
        "turns round",
    ),
    "it speaks before we greet": (
        {"before": b"250 more\r\n"},
        75,
        ["not now", "not now", "unanswered"],
        "more than it was asked",
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_what_a_hub_can_say(tmp_path: Path, name: str) -> None:
    """Each answer in words, and what is done about it."""
    options, code, expected, words = REPLIES[name]
    with running(AtrnHub(**options)) as hub:
        with RunningCmail(
            tmp_path, more=plan(tmp_path, hub, wait="60s" if "answered" in expected else "2s")
        ) as cmail:
            found, rows = kick(cmail)
            assert (found, states(rows)) == (code, expected), rows
            assert words in rows[0]["words"]


def test_a_wrong_password_is_not_tried_again(tmp_path: Path) -> None:
    """It would be refused again, and an account that is tried too often is locked."""
    with running(AtrnHub(messages(1))) as hub:
        with RunningCmail(tmp_path, more=plan(tmp_path, hub, password="wrong")) as cmail:
            code, rows = kick(cmail)
            assert (code, states(rows)) == (75, ["refused", "unanswered"])
            assert "log-in" in rows[0]["words"] and "wrong" not in json.dumps(rows)
            assert sum(line.startswith("AUTH") for line in hub.heard) == 1


def test_a_session_goes_on_through_a_reload(tmp_path: Path) -> None:
    """Other settings do not make the hub one of our own networks."""
    gate = threading.Event()

    class SlowHub(AtrnHub):
        async def _send(self, reader: Any, writer: Any) -> None:
            await asyncio.to_thread(gate.wait, 60)
            await super()._send(reader, writer)

    asks = [b"MAIL FROM:<bert@example.net>\r\n", b"RCPT TO:<victim@example.com>\r\n", b"RSET\r\n"]
    with running(SlowHub(messages(1), asks=asks)) as hub:
        with RunningCmail(tmp_path, more=plan(tmp_path, hub, wait="50s")) as cmail:
            done: list[Any] = []
            asking = threading.Thread(target=lambda: done.append(kick(cmail)))
            asking.start()
            _wait(lambda: hub.turned)
            number = cmail.status()["settings"] if "settings" in cmail.status() else 1
            cmail.hang_up()
            _wait(lambda: cmail.ask("worker-0", "status")["settings"] > number)
            gate.set()
            asking.join(80)
            assert done and done[0][0] == 0
            assert "550 5.7.1" in " ".join(hub.heard)


def _wait(condition: Callable[[], Any]) -> None:
    from tests.support.house import wait_for

    wait_for(condition)
