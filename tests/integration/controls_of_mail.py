"""SMTP and Host Configuration, and what Advanced has on sending and receiving: how each control shows outside."""

import contextlib
import smtplib
import socket
import time
from collections.abc import Mapping
from typing import Final

import pytest

from tests.support.controls import BUSY, LOOPBACK, MAIL, NO_FROM, House, change, control
from tests.support.house import wait_for
from tests.support.office import command
from tests.support.ports import free_port
from tests.support.sink_mx import SinkMx

# SMTP Configuration.


@control("smtp.delivery", "mx")
def _(house: House) -> None:
    change(house, "smtp.delivery")
    house.send("carl@[127.0.0.2]")
    assert wait_for(house.cmail.queue, "a recipient")[0]["route"] == "mx:[127.0.0.2]"


@control("smtp.host", "127.0.0.3")
def _(house: House) -> None:
    sink = house.sink(host="127.0.0.3")
    change(house, "smtp.host", more={"smtp.port": str(sink.port)})
    house.send()
    wait_for(lambda: sink.taken, "the message at the other host")


PORT: Final = free_port()


@control("smtp.port", str(PORT), PORT)
def _(house: House) -> None:
    sink = house.sink(port=PORT)
    change(house, "smtp.port")
    house.send()
    wait_for(lambda: sink.taken, "the message at the other port")


@control("smtp.tls", "required")
def _(house: House) -> None:
    change(house, "smtp.tls", more={"smtp.port": str(house.sink().port)})
    house.send()
    assert "TLS" in house.waiting()["reason"]


@control("smtp.username", "anna")
def _(house: House) -> None:
    sink = house.sink(users={"anna": ""}, extensions=("AUTH PLAIN",))
    change(house, "smtp.username", more={"smtp.port": str(sink.port)})
    house.send()
    wait_for(lambda: sink.lines("AUTH") or "log" in str(house.cmail.queue()), "a log-in")


@control("smtp.kick", True)
def _(house: House) -> None:
    heard(house, "smtp.kick")


TRIGGER: Final = free_port()


@control("smtp.trigger_port", str(TRIGGER), TRIGGER)
def _(house: House) -> None:
    heard(house, "smtp.trigger_port")


def heard(house: House, key: str) -> None:
    """The provider hears of us when the line comes up."""
    with socket.create_server(("127.0.0.1", TRIGGER)) as trigger:
        trigger.settimeout(60)
        change(house, key, more={"smtp.kick": True, "smtp.trigger_port": str(TRIGGER)})
        command(house.cmail, "link", "down")
        command(house.cmail, "link", "up")
        client, _ = trigger.accept()
        with client:
            client.settimeout(60)
            assert client.recv(100) == b"example.org\r\n"


@control("smtp.validation", False)
def _(house: House) -> None:
    with pytest.raises(smtplib.SMTPDataError):
        house.send("anna@example.org", NO_FROM.replace("Subject", "No Name"))
    change(house, "smtp.validation")
    house.send("anna@example.org", NO_FROM.replace("Subject", "No Name"))


# Host Configuration.


@control("host.hostname", "post.example.org")
def _(house: House) -> None:
    change(house, "host.hostname")
    with house.client() as client:
        assert client.ehlo()[1].startswith(b"post.example.org")


@control("host.domains", "example.org\nexample.net", ["example.org", "example.net"])
def _(house: House) -> None:
    change(house, "host.domains")
    with house.client() as client:
        client.ehlo()
        client.mail("bob@example.com")
        assert b"Nobody here" in client.rcpt("anna@example.net")[1]


@control("relay.networks", LOOPBACK, [LOOPBACK])
def _(house: House) -> None:
    with house.client() as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("bob@example.net", ["carl@example.com"], MAIL)
        change(house, "relay.networks")
    with house.client() as client:
        client.sendmail("bob@example.net", ["carl@example.com"], MAIL)


@control("local.delivery", "lmtp")
def _(house: House) -> None:
    by_lmtp(house, "local.delivery", free_port())


LMTP: Final = free_port()


@control("local.lmtp", f"127.0.0.1:{LMTP}")
def _(house: House) -> None:
    by_lmtp(house, "local.lmtp", LMTP)


def by_lmtp(house: House, key: str, port: int) -> None:
    """Mail for people here goes to another program."""
    sink = house.peers.start(SinkMx(is_lmtp=True, port=port))
    change(house, key, more={"local.delivery": "lmtp", "local.lmtp": f"127.0.0.1:{port}"})
    house.send("anna@example.org")
    wait_for(lambda: sink.taken, "the message at the LMTP server")


# Advanced SMTP Configuration: sending.


@control("smtp.advanced.timeout", "1s")
def _(house: House) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # nobody takes them, so that the next one hangs
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        change(house, "smtp.advanced.timeout", more={"smtp.port": str(full.getsockname()[1])})
        begun = time.monotonic()
        house.send()
        assert "refused" not in house.waiting()["reason"]
        assert time.monotonic() - begun < 25, "thirty seconds are the default"


@control("smtp.advanced.fallback_to_host", False)
def _(house: House) -> None:
    sink = house.sink()
    ways = {
        "smtp.delivery": "mx",
        "smtp.port": str(sink.port),
        "smtp.advanced.outbound_port": str(free_port()),
    }
    house.ok(ways)
    house.save()
    house.send("carl@[127.0.0.2]")
    wait_for(lambda: sink.taken, "the message at the SMTP host")
    change(house, "smtp.advanced.fallback_to_host")
    house.send("carl@[127.0.0.4]")
    house.waiting()
    assert len(sink.taken) == 1


OUTBOUND: Final = free_port()


@control("smtp.advanced.outbound_port", str(OUTBOUND), OUTBOUND)
def _(house: House) -> None:
    sink = house.sink(host="127.0.0.2", port=OUTBOUND)
    change(house, "smtp.advanced.outbound_port", more={"smtp.delivery": "mx"})
    house.send("carl@[127.0.0.2]")
    wait_for(lambda: sink.taken, "the message at the mail host")


@control("smtp.advanced.connections", "4", 4)
def _(house: House) -> None:
    change(house, "smtp.advanced.connections", more={"smtp.port": str(house.sink(script=BUSY).port)})
    house.send()
    house.waiting()
    routes = house.cmail.ask("worker-0", "status")["routes"]
    assert [each["connections_max"] for each in routes if each["route"] == "relay"] == [4]


@control("smtp.advanced.messages_per_connection", "1", 1)
def _(house: House) -> None:
    sink = house.sink()
    change(house, "smtp.advanced.messages_per_connection", more={"smtp.port": str(sink.port)})
    left = [3, 2, 1]
    while left:
        house.send()
        wait_for(lambda: len(sink.taken) + len(left) == 4, "the message")
        left.pop()
    assert sink.connections == 3


@control("smtp.advanced.idle", "1s")
def _(house: House) -> None:
    sink = house.sink()
    change(house, "smtp.advanced.idle", more={"smtp.port": str(sink.port)})
    house.send()
    wait_for(lambda: sink.lines("QUIT"), "the connection to be ended, not after five minutes")


@control("queue.retry", "7h\n8h", ["7h", "8h"])
def _(house: House) -> None:
    change(house, "queue.retry", more={"smtp.port": str(house.sink(script=BUSY).port)})
    house.send()
    row = house.waiting()
    assert row["next_ms"] > (time.time() + 6 * 3600) * 1000


@control("queue.lifetime", "2s")
def _(house: House) -> None:
    told(house, "queue.lifetime", {"queue.delay_notice": "1d"}, b"Action: failed")


@control("queue.delay_notice", "1s")
def _(house: House) -> None:
    told(house, "queue.delay_notice", {}, b"Action: delayed")


def told(house: House, key: str, more: Mapping[str, str], words: bytes) -> None:
    """The sender hears of mail that cannot be delivered."""
    port = str(house.sink(script=BUSY).port)
    change(house, key, more={"queue.retry": "1s", "smtp.port": port, **more})
    house.send()
    wait_for(lambda: any(words in each for each in house.cmail.mailbox("anna@example.org")), "the report")


@control("queue.batch", True)
def _(house: House) -> None:
    change(house, "queue.batch", more={"smtp.host": "smtp.isp.example"})
    house.send()
    assert wait_for(house.cmail.queue, "a recipient")[0]["attempts"] == 0
    assert "send now" in house.browser.get("/queue").text.lower()


# Receiving.


@control("smtp.advanced.max_message_size", "1MiB")
def _(house: House) -> None:
    change(house, "smtp.advanced.max_message_size")
    with house.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(2**20)


@control("smtp.advanced.refuse_unknown_users", False)
def _(house: House) -> None:
    assert rcpt(house, "nobody-knows@example.org") == 550
    change(house, "smtp.advanced.refuse_unknown_users")
    assert rcpt(house, "nobody-knows@example.org") == 250


@control("local.separator", "-")
def _(house: House) -> None:
    assert rcpt(house, "anna-roof@example.org") == 550
    change(house, "local.separator")
    assert rcpt(house, "anna-roof@example.org") == 250


def rcpt(house: House, address: str) -> int:
    """What a stranger hears who writes to it."""
    with house.client() as client:
        client.ehlo()
        client.mail("bob@example.com")
        return client.rcpt(address)[0]
