"""What begins and ends an exchange, each once over a real wire: by the clock, by what waits, after a cut in the
middle of one, after one that was missed; mail for people here never waits."""

import time
from pathlib import Path

import pytest

from cmail.app.exchanging import POLL_S
from tests.support.cut_house import (
    ANNA,
    UPSTREAM,
    FarSink,
    attempts,
    command,
    give,
    history,
    is_open,
    serve,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
    wait_until_up,
)
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.netns import Net, There
from tests.support.sink_mx import HANG
from tests.support.wrong_clock import WrongClock, offset_to

pytestmark = [pytest.mark.needs("root", "ip", "faketime"), pytest.mark.limit(400)]


def wait_until_closed(cmail: RunningCmail) -> None:
    """Until no exchange goes on."""
    wait_for(lambda: not is_open(cmail), "the exchange to be over")


def assert_waits(net: Net, cmail: RunningCmail, peer: FarSink, fields: str = "") -> None:
    """One more message: it waits untried, and mail for people here does not."""
    before = len(peer.taken)
    give(net, cmail, "waits", fields=fields)
    count = len(cmail.mailbox(ANNA))
    give(net, cmail, "here", to=ANNA)
    cmail.wait_for_mail(ANNA, count + 1)
    assert set(attempts(cmail).values()) == {0} and len(peer.taken) == before


def test_every_so_often(net: Net, tmp_path: Path) -> None:
    """Each hour: what comes between waits untried for the next one."""
    clock = WrongClock(reachable(tmp_path))
    peer = FarSink()
    more = '[exchange]\nevery = "1h"\n'
    with There(net, peer), serve(net, tmp_path, more, environ=clock.environ) as cmail:
        wait_for(lambda: history(cmail), "the exchange of the start")
        wait_until_closed(cmail)
        assert_waits(net, cmail, peer)
        clock.set(3590)
        wait_until_taken(peer, 1, "the next exchange")
        assert clock.now() * 1000 - history(cmail)[1]["begin_ms"] >= 3_600_000
        assert history(cmail)[0]["why"] == "it is time again (every 1 hour)"


def test_when_the_oldest_has_waited_and_when_mail_is_urgent(net: Net, tmp_path: Path) -> None:
    """After an hour an exchange begins for what waits; for urgent mail one begins at once."""
    clock = WrongClock(reachable(tmp_path))
    peer = FarSink()
    more = '[exchange]\noldest = "1h"\n'
    with There(net, peer), serve(net, tmp_path, more, environ=clock.environ) as cmail:
        assert_waits(net, cmail, peer)
        clock.set(3595)
        wait_until_taken(peer, 1, "it has waited long enough")
        wait_until_closed(cmail)
        took_s = [time_of_an_urgent_one(net, cmail, peer)]
        while min(took_s) >= POLL_S - 1 and len(took_s) < 5:  # somebody else had the machine
            wait_until_closed(cmail)
            took_s.append(time_of_an_urgent_one(net, cmail, peer))
        assert min(took_s) < POLL_S - 1, "nobody looks for so long, so it was told"
        assert [entry["why"] for entry in history(cmail)] == [
            *["urgent mail waits"] * len(took_s),
            "the oldest message has waited 1 hour",
        ]


def time_of_an_urgent_one(net: Net, cmail: RunningCmail, peer: FarSink) -> float:
    """In seconds."""
    before, given = len(peer.taken), time.monotonic()
    give(net, cmail, "urgent", fields="Priority: urgent\r\n")
    wait_until_taken(peer, before + 1, "the urgent one")
    print(f"the urgent one was there after {(time.monotonic() - given) * 1000:.0f} ms")
    return time.monotonic() - given


def test_at_its_time_and_when_that_was_missed(net: Net, tmp_path: Path) -> None:
    """At eight all goes. The next day the cable is out at eight: that exchange is made up for at link-up."""
    clock = WrongClock(reachable(tmp_path), offset_to("07:55:00"))
    peer = FarSink()
    more = '[exchange]\nat = ["08:00"]\n'
    with There(net, peer), serve(net, tmp_path, more, environ=clock.environ) as cmail:
        assert_waits(net, cmail, peer)
        clock.set(offset_to("07:59:58"))
        wait_until_taken(peer, 1, "it to go at eight")
        wait_until_closed(cmail)
        assert_waits(net, cmail, peer)
        net.cut("wire")
        wait_until_down(cmail)
        clock.set(offset_to("08:10:00", days=1))
        time.sleep(2)
        assert set(attempts(cmail).values()) == {0} and len(peer.taken) == 1
        net.join("wire")
        wait_until_taken(peer, 2, "the exchange that was missed")
        assert [entry["why"] for entry in history(cmail)] == ["its time has come: at 08:00"] * 2


def test_a_window_is_open_to_its_end(net: Net, tmp_path: Path) -> None:
    """From ten to five past mail goes as it comes; then it waits again."""
    clock = WrongClock(reachable(tmp_path), offset_to("21:58:00"))
    peer = FarSink()
    more = '[exchange]\nat = ["22:00-22:05"]\nurgent = false\n'
    with There(net, peer), serve(net, tmp_path, more, environ=clock.environ) as cmail:
        assert_waits(net, cmail, peer)
        clock.set(offset_to("22:01:00"))
        wait_until_taken(peer, 1, "it to go in its window")
        give(net, cmail, "as it comes")
        wait_until_taken(peer, 2, "the next one")
        clock.set(offset_to("22:05:01"))
        wait_until_closed(cmail)
        wait_until_empty(cmail)
        assert_waits(net, cmail, peer)
        (entry,) = history(cmail)
        assert (entry["why"], entry["ended"]) == ("its window is open", "its window is over")
        assert entry["messages_out"] == 2


def test_the_cable_is_pulled_in_the_middle_of_an_exchange(net: Net, tmp_path: Path) -> None:
    """It is over then, with what it has brought; at link-up another takes what is left, all of it once."""
    peer = FarSink({"DATA#1": HANG})  # the second one of each connection
    upstream = UPSTREAM + "connections = 2\n"  # one of each worker
    with There(net, peer) as there, serve(net, tmp_path, "[exchange]\nmessages = 4\n", upstream) as cmail:
        for n in range(4):
            give(net, cmail, f"message {n}")
        wait_until_taken(peer, 1, "the first ones")
        wait_for(lambda: len(peer.lines("DATA")) > len(peer.taken), "one to be on its way")
        net.cut("wire")
        wait_until_down(cmail)
        wait_for(lambda: history(cmail)[0]["ended"] == "the link went down", "the exchange to be over")
        wait_for(lambda: len(cmail.queue()) == 4 - len(peer.taken), "what is left")
        taken = len(peer.taken)
        assert not is_open(cmail) and set(attempts(cmail).values()) == {0}
        there.call(peer.script.clear)  # type: ignore[attr-defined]
        net.join("wire")
        wait_until_taken(peer, 4, "the rest")
        wait_until_empty(cmail)
        assert sorted(peer.subjects()) == [f"message {n}" for n in range(4)]
        first, second = sorted(history(cmail), key=lambda entry: int(entry["begin_ms"]))
        assert second["why"] == "the link came up"
        assert first["messages_out"] == taken


def test_asked_for_by_hand_around_a_cut(net: Net, tmp_path: Path) -> None:
    """An exchange each hour, and `cmail link exchange`: while one goes on none begins; while the cable is out it says
    so; what the cut one left waits for the next hour, or until it is asked for again. Each message goes once."""
    peer = FarSink({"DATA#1": HANG})  # the second one of each connection
    upstream = UPSTREAM + "connections = 2\n"
    with There(net, peer) as there, serve(net, tmp_path, '[exchange]\nevery = "1h"\n', upstream) as cmail:
        wait_for(lambda: history(cmail), "the exchange of the start")
        wait_until_closed(cmail)
        for n in range(4):
            give(net, cmail, f"message {n}")
        assert not peer.taken
        command(cmail, "link", "exchange")
        wait_for(lambda: len(peer.lines("DATA")) > len(peer.taken) > 0, "one to be on its way")
        assert "goes on already" in command(cmail, "link", "exchange")
        net.cut("wire")
        wait_until_down(cmail)
        wait_for(lambda: history(cmail)[0]["ended"] == "the link went down", "the exchange to be over")
        assert "there can be no exchange now" in command(cmail, "link", "exchange", code=75)
        there.call(peer.script.clear)  # type: ignore[attr-defined]
        net.join("wire")
        wait_until_up(cmail)
        assert set(attempts(cmail).values()) == {0} and not is_open(cmail)
        command(cmail, "link", "exchange")
        wait_until_taken(peer, 4, "the rest")
        wait_until_empty(cmail)
        assert sorted(peer.subjects()) == [f"message {n}" for n in range(4)]
        assert [entry["why"] for entry in history(cmail)][:-1] == ["asked for by hand"] * 2


def test_a_batch_that_is_cut_is_still_released(net: Net, tmp_path: Path) -> None:
    """queue.batch: what was sent off and did not get through goes on at link-up; what came later waits for
    the next time that somebody says so."""
    peer = FarSink({"DATA": HANG})
    with There(net, peer) as there, serve(net, tmp_path, "[queue]\nbatch = true\n") as cmail:
        give(net, cmail, "sent off")
        time.sleep(1)
        assert not peer.connections
        command(cmail, "link", "exchange")
        wait_for(lambda: peer.lines("DATA"), "it to be on its way")
        net.cut("wire")
        wait_until_down(cmail)
        give(net, cmail, "later", to="later@example.net")
        there.call(peer.script.clear)  # type: ignore[attr-defined]
        net.join("wire")
        wait_until_taken(peer, 1, "what was sent off")
        wait_until_up(cmail)
        wait_for(lambda: len(cmail.queue()) == 1, "that to be recorded")
        time.sleep(2)
        assert peer.subjects() == ["sent off"] and attempts(cmail) == {"later@example.net": 0}
        command(cmail, "link", "exchange")
        wait_until_taken(peer, 2, "the later one")
