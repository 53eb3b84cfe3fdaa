"""By MX, with a real name server (nsd): which hosts are tried in which order, and what is a bounce."""

import smtplib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.nsd_server import NsdServer
from tests.support.ports import free_port
from tests.support.sink_mx import CLOSE, Script, SinkMx
from tests.support.threads import in_thread

pytestmark = pytest.mark.needs("nsd", "root")

ANNA: Final = "anna@example.org"
# Nobody listens at dead. What the others say stands in SCRIPTS.
ZONE: Final = """
a A 127.0.0.2
b A 127.0.0.3
rude A 127.0.0.4
busy A 127.0.0.5
six AAAA ::1
dead A 127.0.0.9
alias CNAME b
addressless TXT "no address"

plain MX 10 b
plain MX 5 a
second MX 10 dead
second MX 20 b
third MX 10 dead
third MX 20 closing
third MX 30 b
closing A 127.0.0.6
equal MX 10 a
equal MX 10 b
implicit A 127.0.0.2
v6 MX 10 six
cnamed MX 10 alias
elsewhere CNAME plain
null MX 0 .
gone MX 10 missing
gone MX 20 b
txt TXT "neither MX nor address"
refused MX 10 rude
refused MX 20 a
waits MX 10 busy
nobody MX 10 dead
myself MX 10 mail.example.org.
myself MX 20 b
lost MX 10 missing
"""
SCRIPTS: Final[dict[str, Script]] = {
    "127.0.0.2": {},
    "127.0.0.3": {},
    "127.0.0.4": {"RCPT": b"550 5.1.1 nobody of that name\r\n"},
    "127.0.0.5": {"RCPT": b"450 4.2.0 come again\r\n"},
    "127.0.0.6": {"connect": CLOSE},
    "::1": {},
}


@dataclass
class World:
    """A server that sends by MX, the sinks by their addresses, and who is its smarthost."""

    cmail: RunningCmail
    sinks: dict[str, SinkMx]
    smarthost: SinkMx

    def send(self, to: str) -> None:
        """One message from anna."""
        with smtplib.SMTP("127.0.0.1", self.cmail.port("smtp"), timeout=60) as client:
            client.sendmail(
                ANNA, [to], f"From: <a@example.net>\r\nSubject: to {to}\r\n\r\nhello\r\n".encode()
            )

    def takers(self, to: str) -> list[str]:
        """The addresses of who took mail for a recipient."""
        here = [*self.sinks.items(), ("smarthost", self.smarthost)]
        return [
            address for address, sink in here for t in sink.taken if any(f"<{to}>" in r for r in t.recipients)
        ]

    def bounces(self, to: str) -> list[bytes]:
        """What anna was told of a recipient."""
        field = f"\nFinal-Recipient: rfc822; {to}\n".encode()
        return [text for text in self.cmail.mailbox(ANNA) if field in text]

    def waiting(self, to: str) -> dict[str, object] | None:
        """Its row in the queue once it has a reason."""
        return next((row for row in self.cmail.queue() if row["to"] == to and row["reason"]), None)


@contextmanager
def a_world(folder: Path, smtp: str = "", advanced: str = "") -> Iterator[World]:
    """All of it. In `smtp` {port} is the smarthost's."""
    with ExitStack() as stack:
        nsd = stack.enter_context(NsdServer({"test": ZONE}, broken=["broken"]))
        port = free_port("127.0.0.2")
        sinks = {
            address: stack.enter_context(in_thread(SinkMx(script, host=address, port=port)))
            for address, script in SCRIPTS.items()
        }
        smarthost = stack.enter_context(in_thread(SinkMx()))
        more = (
            f'[dns]\nservers = ["{nsd.address}"]\n[smtp]\ndelivery = "mx"\n{smtp.format(port=smarthost.port)}\n'
            f"[smtp.advanced]\noutbound_port = {port}\n{advanced}\n"
        )
        cmail = stack.enter_context(RunningCmail(folder, more=more))
        yield World(cmail, sinks, smarthost)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Without a smarthost."""
    with a_world(tmp_path_factory.mktemp("world"), advanced="messages_per_connection = 1") as world:
        yield world


# name -> recipient, who takes it
DELIVERED: Final = {
    "the lower preference first": ("u@plain.test", "127.0.0.2"),
    "the first does not answer": ("u@second.test", "127.0.0.3"),
    "one is dead, one hangs up": ("u@third.test", "127.0.0.3"),
    "no MX but an address": ("u@implicit.test", "127.0.0.2"),
    "AAAA": ("u@v6.test", "::1"),
    "MX that is a CNAME": ("u@cnamed.test", "127.0.0.3"),
    "a domain that is a CNAME": ("u@elsewhere.test", "127.0.0.2"),
    "the first has no address": ("u@gone.test", "127.0.0.3"),
    "an address literal": ("u@[127.0.0.2]", "127.0.0.2"),
    "an IPv6 literal": ("u@[IPv6:::1]", "::1"),
}


@pytest.mark.parametrize("name", DELIVERED)
def test_which_host_gets_it(world: World, name: str) -> None:
    """'By MX (preference, implicit MX, A and AAAA, address literals; connection failure goes on to the next
    host)': one host takes it, once."""
    to, host = DELIVERED[name]
    world.send(to)
    wait_for(lambda: world.takers(to), f"{to} at {host}:\n{world.cmail.log()[-2000:]}")
    wait_for(lambda: not [row for row in world.cmail.queue() if row["to"] == to], "an empty queue")
    assert world.takers(to) == [host]


def test_equal_preference_is_shared(world: World) -> None:
    """'Equal-weight shuffle': of thirty messages each of two equal hosts gets some."""
    for _ in range(30):
        world.send("u@equal.test")
    wait_for(lambda: len(world.takers("u@equal.test")) == 30, "thirty messages")
    assert set(world.takers("u@equal.test")) == {"127.0.0.2", "127.0.0.3"}


# name -> recipient, the status in the bounce, a word of the reason
BOUNCED: Final = {
    "null MX": ("u@null.test", "5.1.10", b"takes no mail"),
    "NXDOMAIN": ("u@nowhere.test", "5.1.2", b"does not exist"),
    "neither MX nor address": ("u@txt.test", "5.1.2", b"neither"),
    "550 to RCPT": ("u@refused.test", "5.1.1", b"550 5.1.1 nobody of that name"),
}


@pytest.mark.parametrize("name", BOUNCED)
def test_what_is_returned_at_once(world: World, name: str) -> None:
    """What can never arrive is returned at once, with the status that RFC 3463 and RFC 7505 name; a 5xx of
    one host does not go on to the next."""
    to, status, reason = BOUNCED[name]
    world.send(to)
    wait_for(lambda: world.bounces(to), f"the bounce:\n{world.cmail.log()[-2000:]}")
    [bounce] = world.bounces(to)
    assert f"\nAction: failed\nStatus: {status}\n".encode() in bounce and reason in bounce
    assert world.takers(to) == []


# name -> recipient, a word of the reason
DEFERRED: Final = {
    "SERVFAIL": ("u@broken", "SERVFAIL"),
    "450 to RCPT": ("u@waits.test", "450 4.2.0 come again"),
    "nobody answers": ("u@nobody.test", "refused"),
    "the best MX is ourselves": ("u@myself.test", "this server"),
    "the only MX does not exist": ("u@lost.test", "does not exist"),
}


@pytest.mark.parametrize("name", DEFERRED)
def test_what_waits(world: World, name: str) -> None:
    """'Trouble before that is never a bounce': it waits, with a reason, nobody takes it and nobody is told."""
    to, reason = DEFERRED[name]
    world.send(to)
    row = wait_for(lambda: world.waiting(to), f"a reason:\n{world.cmail.log()[-2000:]}")
    assert row["state"] == "queued" and reason.lower() in str(row["reason"]).lower()
    assert world.bounces(to) == [] and world.takers(to) == []


def test_no_name_server(tmp_path: Path) -> None:
    """Without any DNS nothing is returned, and no attempt is counted: that is 'we are off line'."""
    more = f'[dns]\nservers = ["127.0.0.1:{free_port()}"]\n[smtp]\ndelivery = "mx"\n'
    with RunningCmail(tmp_path, more=more) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.sendmail(ANNA, ["u@plain.test"], b"From: <a@example.net>\r\nSubject: x\r\n\r\nhello\r\n")
        [row] = wait_for(lambda: [row for row in cmail.queue() if row["reason"]], "a reason")
        assert row["attempts"] == 0 and cmail.mailbox(ANNA) == []


# recipient -> who takes it when a fallback host is set; "" for a bounce, None when it waits
FALLBACK: Final[dict[str, str | None]] = {
    "u@plain.test": "127.0.0.2",
    "u@nobody.test": "smarthost",
    "u@broken": "smarthost",
    "u@refused.test": "",
    "u@nowhere.test": "",
    "u@null.test": "",
    "u@waits.test": None,
}


def test_fallback_to_the_smarthost(tmp_path: Path) -> None:
    """'fallback_to_host for connection and temporary DNS failures only': never after a host has spoken."""
    with a_world(tmp_path, 'host = "127.0.0.1"\nport = {port}\n') as world:
        for to in FALLBACK:
            world.send(to)
        for to, host in FALLBACK.items():
            check = {None: world.waiting, "": world.bounces}.get(host, world.takers)
            wait_for(lambda: check(to), f"{to}:\n{world.cmail.log()[-3000:]}")  # noqa: B023
            assert world.takers(to) == ([host] if host else [])
            assert bool(world.bounces(to)) == (host == "")


def test_no_fallback_when_switched_off(tmp_path: Path) -> None:
    """fallback_to_host = false: what cannot be reached waits, the smarthost hears nothing."""
    off = "fallback_to_host = false"
    with a_world(tmp_path, 'host = "127.0.0.1"\nport = {port}\n', off) as world:
        for to in ("u@nobody.test", "u@broken"):
            world.send(to)
            wait_for(lambda: world.waiting(to), to)  # noqa: B023
        assert world.smarthost.connections == 0
