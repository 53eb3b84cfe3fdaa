"""Timed Operations, the line, and how far ahead mail may be handed in: how each control shows outside."""

import contextlib
import socket
import time
from typing import Any, Final

import pytest

from tests.support.controls import MAIL, House, change, control
from tests.support.house import wait_for
from tests.support.office import command
from tests.support.ports import free_port

FAR: Final = {"smtp.host": "smtp.isp.example"}  # what waits for it needs the Internet
HOUR_S: Final = 3600


def plan(house: House) -> dict[str, Any]:
    """What the link process will do, as `cmail link plan` shows it."""
    return house.cmail.ask("link", "link.plan")


def waits(house: House) -> None:
    """Mail for the Internet is not tried before there is an exchange."""
    house.send()
    assert wait_for(house.cmail.queue, "a recipient")[0]["attempts"] == 0


@control("exchange.every", "1h")
def _(house: House) -> None:
    assert plan(house)["is_always"]
    change(house, "exchange.every", more=FAR)
    found = plan(house)
    assert found["is_planned"] and 0 < found["next_s"] <= HOUR_S
    waits(house)


@control("exchange.at", "Mon 03:17\n22:00-22:01", ["Mon 03:17", "22:00-22:01"])
def _(house: House) -> None:
    change(house, "exchange.at", more=FAR)
    then = time.localtime(plan(house)["next_ms"] / 1000)
    assert (then.tm_hour, then.tm_min) in ((3, 17), (22, 0)) or plan(house)["is_open"]


@control("exchange.messages", "3", 3)
def _(house: House) -> None:
    change(house, "exchange.messages", more=FAR)
    assert "as soon as 3 messages wait" in command(house.cmail, "link", "plan")
    waits(house)


@control("exchange.oldest", "2h")
def _(house: House) -> None:
    change(house, "exchange.oldest", more=FAR)
    assert "as soon as the oldest has waited 2 hours" in command(house.cmail, "link", "plan")
    waits(house)


@control("exchange.urgent", False)
def _(house: House) -> None:
    house.ok({"exchange.every": "1h"})
    house.save()
    assert "at once for urgent mail" in command(house.cmail, "link", "plan")
    change(house, "exchange.urgent")
    assert "urgent" not in command(house.cmail, "link", "plan")


@control("exchange.longest", "1m")
def _(house: House) -> None:
    typed = {"link.via.name": "thin", "link.via.rate": "8"}  # a thousand octets a second
    house.browser.post("/links/add", "/links/add", typed)
    change(house, "exchange.longest", more={**FAR, "exchange.every": "1h"})
    house.send(text=MAIL + "Hello once more.\r\n" * 5000)
    held = wait_for(lambda: [row for row in house.cmail.queue() if row["state"] == "held"], "it is held")
    assert "58.6 KiB in its longest" in held[0]["reason"], held  # a minute of it


PROBED: Final = free_port()


def probed(house: House) -> None:
    """Somebody says that we are on line: it is looked whether that is so."""
    command(house.cmail, "link", "down")
    command(house.cmail, "link", "up")


@control("link.probe", f"127.0.0.1:{PROBED}")
def _(house: House) -> None:
    change(house, "link.probe")
    with socket.create_server(("127.0.0.1", PROBED)) as there:
        there.settimeout(60)
        probed(house)
        there.accept()[0].close()


@control("link.probe_every", "20s")
def _(house: House) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", PROBED), backlog=0))
        hanging = stack.enter_context(contextlib.ExitStack())
        for _ in range(3):  # nobody takes them, so that a probe gets no answer
            client = hanging.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        change(house, "link.probe_every", more={"link.probe": f"127.0.0.1:{PROBED}"})
        probed(house)
        wait_for(lambda: house.cmail.ask("link", "link.status")["is_down"], "three probes that fail")
        hanging.close()
        full.close()
        there = stack.enter_context(socket.create_server(("127.0.0.1", PROBED)))
        there.settimeout(8)
        with pytest.raises(TimeoutError):  # by default it would be tried every five seconds
            there.accept()
        wait_for(lambda: not house.cmail.ask("link", "link.status")["is_down"], "a probe that succeeds")


@control("link.small", "200KiB")
def _(house: House) -> None:
    house.browser.post("/links/add", "/links/add", {"link.via.name": "thin", "link.via.use": "small"})
    house.save()
    change(house, "link.small")
    [row] = house.cmail.ask("link", "link.status")["links"]
    assert row["policy"].startswith("mail up to 200 KiB and urgent"), row["policy"]


def offered(house: House) -> dict[str, str]:
    """What submission offers to who has logged in."""
    with house.client("submission") as client:
        client.login("anna@example.org", "secret")
        client.ehlo()
        return dict(client.esmtp_features)


@control("limits.future_release", "2h")
def _(house: House) -> None:
    change(house, "limits.future_release")
    assert offered(house)["futurerelease"].split()[0] == str(2 * HOUR_S)


@control("limits.deliver_by", "10m")
def _(house: House) -> None:
    change(house, "limits.deliver_by")
    assert offered(house)["deliverby"].split()[0] == "600"
