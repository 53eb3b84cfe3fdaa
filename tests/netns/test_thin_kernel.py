"""What a thin link asks of each connection, seen from outside of the server: how fast the kernel may send, how
little of a message it is given ahead, how much is out at most that nobody has acknowledged."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cmail.delivery.fit import unacknowledged
from tests.support.borrowed import connections_of
from tests.support.cut_house import (
    PORT,
    FarSink,
    command,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.netns import FAR, There
from tests.support.thin_net import ThinNet

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

SO_MAX_PACING_RATE, TCP_NOTSENT_LOWAT = 47, 25
KBIT: Final = 256
OCTETS_A_SECOND: Final = KBIT * 125
ROUND_TRIP_S: Final = 0.2
VIA: Final = f'[link]\nprobe = "off"\n[[link.via]]\nname = "satellite"\ndevice = ["sat0"]\nrate = {KBIT}\n'
ONE: Final = SETTINGS.replace("workers = 2", "workers = 1")


@pytest.fixture
def net() -> Iterator[ThinNet]:
    """A line of 256 kbit/s and a fifth of a second."""
    with ThinNet() as made:
        yield made


@contextlib.contextmanager
def connection(cmail: RunningCmail) -> Iterator[socket.socket]:
    """Its only one to the upstream server."""
    [found] = connections_of(cmail.pid("worker-0"), FAR, PORT)
    with found:
        yield found


def test_the_kernel_is_told_of_the_rate_and_given_little(net: ThinNet, tmp_path: Path) -> None:
    """While a large message is under way: paced at the rate or a little above, less than half a second of it not
    sent yet, and never more out than a few round trips' worth."""
    net.thin("sat0", kbit=KBIT, round_trip_ms=1000 * ROUND_TRIP_S)
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, VIA, settings=ONE) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        give(net, cmail, "large", size=300_000)
        wait_for(lambda: peer.lines("DATA"), "it to be on its way")
        with connection(cmail) as sock:
            paced = sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE)
            assert OCTETS_A_SECOND <= paced <= 1.1 * OCTETS_A_SECOND
            least = sock.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT)
            assert 0 < least <= OCTETS_A_SECOND / 2
            out: list[int] = []
            while len(out) < 60 and not peer.came:
                out.append(unacknowledged(sock))
                time.sleep(0.05)
        print(f"paced at {paced} octets a second, at most {max(out)} out")
        assert max(out) < 3 * OCTETS_A_SECOND, "two seconds' worth is a piece"
        wait_until_taken(peer, 1, "it to arrive")
        wait_until_empty(cmail)


def test_another_rate_holds_for_what_is_under_way(net: ThinNet, tmp_path: Path) -> None:
    """A large message goes at a rate that somebody has mistyped, for three minutes. When that is put right the
    same connection has the new pace, and the message is there soon; without a rate it has none."""
    net.thin("sat0", kbit=KBIT, round_trip_ms=50)
    peer = FarSink()
    slow = VIA.replace(f"rate = {KBIT}", "rate = 8")
    with There(net, peer), serve(net, tmp_path, slow, settings=ONE) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        give(net, cmail, "large", size=200_000)
        wait_for(lambda: peer.lines("DATA"), "it to be on its way")
        why = command(cmail, "queue", "why")
        assert "It is being sent now, through the upstream server" in why, why
        assert "being sent," in command(cmail, "queue", "list")
        before = cmail.config.read_text()

        def pace(text: str, least: int) -> None:
            cmail.config.write_text(before.replace("rate = 8", text))
            cmail.hang_up()
            wait_for(
                lambda: sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) & 0xFFFFFFFF >= least, text
            )

        with connection(cmail) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) < 1200
            pace("rate = 16", 2000)
            pace("", 0xFFFFFFFF)
        wait_until_taken(peer, 1, "it to arrive", 120)
        wait_until_empty(cmail)
        assert len(peer.lines("MAIL")) == 1, "it was not begun again"


def test_a_window_of_small_messages(net: ThinNet, tmp_path: Path) -> None:
    """Many small ones by BDAT, to a host that takes its time with the first: no more of them are out without a
    reply than the link holds, and when it is back to work all of them arrive, each once."""
    wire = net.thin("sat0", kbit=KBIT, round_trip_ms=1000 * ROUND_TRIP_S)
    count, octets = 50, 8_000
    peer = FarSink(extensions=("CHUNKING",))
    with There(net, peer), serve(net, tmp_path, VIA, settings=ONE) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        wire.down()
        wait_until_down(cmail)
        for n in range(count):
            give(net, cmail, f"number {n}", size=octets)
        peer.think_s = 15
        before = wire.counts()
        wire.up()
        wait_for(lambda: peer.came, "the first of them")
        time.sleep(8)  # in which the line could carry two thirds of it
        out = wire.counts().since(before).octets_out
        assert len(peer.came) <= 2, "a connection or two, each with its first"
        peer.think_s = 0
        wait_until_taken(peer, count, "all of them")
        wait_until_empty(cmail)
        print(f"{out} octets out without a reply")
        assert out < 4 * OCTETS_A_SECOND, "each connection four round trips' worth and a message"
        assert sorted(peer.subjects()) == sorted(f"number {n}" for n in range(count))
        assert all(taken.by_bdat for taken in peer.taken)
