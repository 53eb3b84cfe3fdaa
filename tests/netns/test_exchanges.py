"""Exchanges over a real wire: mail waits for them, goes in them, and is told of; budgets; batch."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    FarSink,
    command,
    give,
    history,
    is_open,
    serve,
    status,
    tries,
    wait_until_down,
)
from tests.support.house import RunningCmail, wait_for
from tests.support.netns import Net, There
from tests.support.sink_mx import SinkMx
from tests.support.trigger import Trigger

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]


def test_mail_waits_for_its_exchange(net: Net, tmp_path: Path) -> None:
    """As soon as two wait: one waits untouched, also over a restart; the second takes it along; then it is
    closed again. Asked for by hand it opens at once. The history knows all of it, and so do the commands."""
    peer, finger = FarSink(), Trigger()
    more = "\n[exchange]\nmessages = 2\nurgent = false\n"
    with There(net, peer, finger), serve(net, tmp_path, more) as cmail:
        give(net, cmail, "one")
        cmail.stop()
        cmail.start()
        time.sleep(2)
        assert tries(cmail) == [0] and not peer.taken and not is_open(cmail)
        give(net, cmail, "two")
        wait_for(lambda: len(peer.taken) == 2, "both to arrive")
        wait_for(lambda: not is_open(cmail), "the exchange to be over")
        give(net, cmail, "waits")
        time.sleep(2)
        assert tries(cmail) == [0] and len(peer.taken) == 2
        plan = command(cmail, "link", "plan")
        assert "1 message waits" in plan and "as soon as 2 messages" in plan
        assert "It waits for the next exchange." in command(cmail, "queue", "why")
        assert "An exchange begins" in command(cmail, "link", "exchange")
        wait_for(lambda: len(peer.taken) == 3, "the last message to arrive")
        wait_for(lambda: not is_open(cmail), "the exchange to be over")
        last = history(cmail)[0]
        assert (last["why"], last["ended"]) == ("asked for by hand", "all that may go has gone")
        assert last["messages_out"] == 1 and last["octets_out"] > 500 and last["octets_in"] > 50
        assert "asked for by hand" in command(cmail, "link", "history")
        assert [entry["why"] for entry in history(cmail)] == ["asked for by hand", "2 messages wait"]
        wait_for(lambda: told_opened(cmail)[-4:] == [True, False, True, False], "it to be kept for a restart")


def told_opened(cmail: RunningCmail) -> list[bool]:
    """What the workers were told of exchanges, as the next start will read it."""
    rows = json.loads((cmail.data / "link-orders.json").read_text())["orders"]
    return [is_open for *_, is_open in rows]


def ids(cmail: RunningCmail) -> list[str]:
    return [row["id"] for row in json.loads(command(cmail, "queue", "list", "--json"))]


def test_send_now_while_exchanges_are_planned(net: Net, tmp_path: Path) -> None:
    """`cmail queue flush ID` sends that message and no other, and no exchange begins; `cmail queue flush`
    begins one; off line it says what becomes of it, and does it at link-up."""
    peer = FarSink()
    more = '\n[exchange]\nevery = "1d"\nurgent = false\n'
    with There(net, peer), serve(net, tmp_path, more) as cmail:
        wait_for(lambda: history(cmail) and not is_open(cmail), "the first exchange to be over")
        before = len(history(cmail))
        for subject in ("one", "two", "three", "four"):
            give(net, cmail, subject)
        told = command(cmail, "queue", "flush", ids(cmail)[1])
        assert "It goes now, without an exchange" in told
        wait_for(lambda: len(peer.taken) == 1, "the one that was named to arrive")
        wait_for(lambda: len(ids(cmail)) == 3, "that to be recorded")
        net.cut("wire")
        wait_until_down(cmail)
        told = command(cmail, "queue", "flush", ids(cmail)[1])
        assert "goes as soon as that is up, without waiting for an exchange" in told
        assert "No exchange can begin now" in command(cmail, "queue", "flush")
        net.join("wire")
        wait_for(lambda: len(peer.taken) == 2, "the other that was named to arrive")
        wait_for(lambda: len(ids(cmail)) == 2, "that to be recorded")
        time.sleep(1)
        assert len(peer.taken) == 2 and len(ids(cmail)) == 2 and len(history(cmail)) == before
        assert "An exchange begins" in command(cmail, "queue", "flush")
        wait_for(lambda: len(peer.taken) == 4, "all to arrive")
        wait_for(lambda: not is_open(cmail), "the exchange to be over")
        assert history(cmail)[0]["why"] == "all that waits is to be sent now"
        assert len(history(cmail)) == before + 1
        assert b"Subject: two" in peer.taken[0].content and b"Subject: three" in peer.taken[1].content


def test_an_exchange_kicks(net: Net, tmp_path: Path) -> None:
    """By hand, with smtp.kick: the upstream server is told our domain, and how that ended stands in the
    history; while the link is down there is none, in words."""
    peer, finger = FarSink(), Trigger()
    more = '\n[exchange]\nevery = "1d"\n'
    with There(net, peer, finger), serve(net, tmp_path, more) as cmail:
        text = cmail.config.read_text().replace("[smtp]\n", "[smtp]\nkick = true\n", 1)
        cmail.config.write_text(text)
        cmail.stop()
        cmail.start()
        command(cmail, "link", "exchange")
        wait_for(lambda: b"example.org\r\n" in finger.heard, "the kick")
        net.cut("wire")
        wait_until_down(cmail)
        assert "wire has no carrier" in command(cmail, "link", "exchange", code=75)


def test_batch_goes_in_an_exchange(net: Net, tmp_path: Path) -> None:
    """queue.batch alone: a link-up releases nothing, an exchange by hand releases what is there."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, "\n[queue]\nbatch = true\n") as cmail:
        give(net, cmail)
        net.cut("wire")
        wait_until_down(cmail)
        net.join("wire")
        wait_for(lambda: not status(cmail)["is_down"], "the link to be up")
        time.sleep(2)
        assert tries(cmail) == [0] and not peer.taken
        command(cmail, "link", "exchange")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")
        wait_for(lambda: not is_open(cmail), "the exchange to be over")
        give(net, cmail)
        time.sleep(1)
        assert len(peer.taken) == 1
        assert "due" in command(cmail, "queue", "flush")
        wait_for(lambda: len(peer.taken) == 2, "what was flushed to arrive")


def test_what_comes_in_a_window_goes_at_once(net: Net, tmp_path: Path) -> None:
    """queue.batch and an exchange that is open for hours: mail does not wait for the next one."""
    peer = FarSink()
    more = '\n[exchange]\nat = ["00:00-24:00"]\n[queue]\nbatch = true\n'
    with There(net, peer), serve(net, tmp_path, more) as cmail:
        wait_for(lambda: is_open(cmail), "the window to be open")
        time.sleep(1)
        give(net, cmail)
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def _has_taken(peer: SinkMx, count: int) -> Callable[[], bool]:
    return lambda: len(peer.taken) == count


def _has_used(cmail: RunningCmail, octets: int) -> Callable[[], bool]:
    return lambda: status(cmail)["links"][0]["used_today"] > octets


LONG_354: Final = b"354 " + b"go on " * 70 + b"\r\n"  # so each message costs more than a connection does
SPARE: Final = 300  # octets: of a connection or two that are opened, and of one that is closed


def _used_at_last(cmail: RunningCmail) -> int:
    """When all is counted: two looks two seconds apart see the same."""
    before = -1
    while (used := int(status(cmail)["links"][0]["used_today"])) != before:
        before = used
        time.sleep(2)
    return used


def test_a_budget_that_is_used_up(net: Net, tmp_path: Path) -> None:
    """What goes over the link is counted; what is larger than the rest of the day waits while smaller mail
    goes, and what just fits into that; then the link rests. Nothing of that counts as an attempt, and a restart
    gives nothing back."""
    peer = FarSink({"DATA": LONG_354})
    more = '\n[[link.via]]\nname = "thin"\ndevice = ["wire"]\nbudget = "25KiB"\ncost = 2.0\n'
    with There(net, peer), serve(net, tmp_path, more) as cmail:
        wait_for(lambda: status(cmail)["link"] == "thin", "the link to be seen")
        for count, size in ((1, 14_000), (2, 7_000)):
            give(net, cmail, size=size)
            wait_for(_has_taken(peer, count), "a message to arrive")
            wait_for(_has_used(cmail, count * 7_000 + 7_000), "it to be counted")
        give(net, cmail, size=7_000)
        give(net, cmail)
        wait_for(_has_taken(peer, 3), "the small message to arrive")
        wait_for(lambda: tries(cmail) == [0], "the large one alone to wait")
        [waits] = json.loads(command(cmail, "queue", "list", "--json"))
        left = 25 * 1024 - _used_at_last(cmail)
        give(net, cmail, size=left - (waits["size"] - 7_000) - SPARE)
        wait_for(_has_taken(peer, 4), "what just fits to arrive")
        assert "the 25 KiB of today are used; it rests until midnight" in wait_until_down(cmail)
        wait_for(
            lambda: history(cmail)[0]["ended"] == "the 25 KiB of today are used", "the history to say so"
        )
        give(net, cmail)
        time.sleep(1)
        assert len(peer.taken) == 4
        assert not any(tries(cmail))
        assert history(cmail)[0]["cost"] == pytest.approx(2.0 * 25 / 1024, rel=0.2)
        cmail.stop()
        cmail.start()
        assert "rests until midnight" in wait_until_down(cmail)
        assert not any(tries(cmail))
