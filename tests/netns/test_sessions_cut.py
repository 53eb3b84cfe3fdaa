"""A connection and the link under it: it ends the moment the cable is out, but for one that awaits the reply to
its final dot; it ends when its address is another's; silence in the middle of a large message is noticed."""

from pathlib import Path

import pytest

from tests.support.cut_house import (
    ANNA,
    FarSink,
    attempts,
    connections,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import wait_for
from tests.support.netns import Net, There
from tests.support.sink_mx import HANG

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]


def test_the_reply_to_a_final_dot_is_waited_for(net: Net, tmp_path: Path) -> None:
    """The cable is out when the peer has all of a message and thinks, and in before it has said anything:
    the connection is still there, the message is delivered once, and was not begun again."""
    peer = FarSink()
    peer.think_s = 3
    with There(net, peer), serve(net, tmp_path) as cmail:
        give(net, cmail, "thought about")
        wait_for(lambda: peer.came, "the peer to have all of it")
        net.cut("wire")
        wait_until_down(cmail)
        assert connections(cmail) == 1, "in doubt: whether it is taken is yet to be heard"
        net.join("wire")
        wait_until_empty(cmail)
        assert peer.subjects() == ["thought about"] and len(peer.lines("MAIL")) == 1


def test_another_address_at_each_link_up(net: Net, tmp_path: Path) -> None:
    """As with most who dial: nothing comes to the old address any more, so what went by it ends at once, even
    if its reply is awaited, and goes again from the new one. Nothing is counted, nothing is lost."""
    peer = FarSink()
    with There(net, peer) as there, serve(net, tmp_path) as cmail:
        for n, host in enumerate((11, 12, 13)):
            there.call(lambda: peer.script.update({"content": HANG}))  # type: ignore[attr-defined]
            before = len(peer.came)
            give(net, cmail, f"message {n}")
            wait_for(lambda: len(peer.came) > before, "the peer to have it")  # noqa: B023
            net.cut("wire")
            wait_until_down(cmail)
            net.readdress("wire", host)
            wait_for(lambda: not connections(cmail), "the connection to be over", 30)
            assert set(attempts(cmail).values()) == {0}
            there.call(peer.script.clear)  # type: ignore[attr-defined]
            net.join("wire")
            wait_until_taken(peer, n + 1, "it to arrive by the new address")
            assert peer.addresses[-1] == f"10.1.0.{host}"
            wait_until_empty(cmail)
            wait_for(lambda: not connections(cmail), "the connection to be over")
        assert peer.subjects() == ["message 0", "message 1", "message 2"]
        assert not cmail.mailbox(ANNA)


def test_silence_in_the_middle_of_a_large_message(net: Net, tmp_path: Path) -> None:
    """Half of it is out and nothing moves any more, but carrier and route are there: it is noticed, the
    connection ends, nothing is counted; when the wire carries again all of it goes, and is whole."""
    peer = FarSink({"in content": b""})
    with There(net, peer) as there, serve(net, tmp_path, '[link]\nprobe_every = "5s"\n') as cmail:
        give(net, cmail, "large", size=4_000_000)
        wait_for(lambda: peer.lines("DATA"), "it to be on its way")
        net.silence("wire")
        words = wait_until_down(cmail, 150)
        assert words.startswith("nothing answers: ")
        wait_for(lambda: not connections(cmail), "the connection to be over", 30)
        assert attempts(cmail) == {"bob@example.net": 0} and not peer.taken
        there.call(peer.script.clear)  # type: ignore[attr-defined]
        net.speak("wire")
        wait_until_taken(peer, 1, "all of it")
        assert len(peer.taken[0].content) > 4_000_000
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA) and not status(cmail)["is_down"]
