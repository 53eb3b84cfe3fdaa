"""A line that is there and carries nothing, or whose other end answers pings alone: no ping proves anything, and
an exchange that begins into it is over and costs nothing."""

import socket
import struct
import threading
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    PORT,
    FarSink,
    attempts,
    give,
    history,
    is_open,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import wait_for
from tests.support.netns import FAR, Net, There

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

PROBES: Final = '[link]\nprobe_every = "5s"\n'
_ALL_PROTOCOLS: Final = 3
_ECHO: Final = 8


class Ear:
    """Hears what comes by the wire there: how many connections are asked for, how many pings."""

    def __init__(self, net: Net) -> None:
        self._socket = net.outside(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
        )
        self._socket.settimeout(0.2)
        self.connections = self.pings = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Ear":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._is_over:
            try:
                packet = self._socket.recv(100)
            except TimeoutError:
                continue
            if packet[0] >> 4 != 4 or socket.inet_ntoa(packet[16:20]) != FAR:
                continue
            behind = packet[(packet[0] & 15) * 4 :]
            self.pings += packet[9] == socket.IPPROTO_ICMP and behind[0] == _ECHO
            self.connections += packet[9] == socket.IPPROTO_TCP and behind[13] & 0x12 == 0x02


def is_pinged() -> bool:
    """Whether the far host answers an echo request."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(20)
        raw.sendto(struct.pack("!BBHHH", _ECHO, 0, 0xFFFF - 0x0800, 0, 0), (FAR, 0))
        while True:
            packet, (host, _) = raw.recvfrom(100)
            if host == FAR and packet[20] == 0:
                return True


def deaf(net: Net) -> AbstractContextManager[list[socket.socket]]:
    """Port 2525 of the far host takes no connection and refuses none."""

    def make() -> list[socket.socket]:
        full = socket.socket()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((FAR, PORT))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((FAR, PORT))
        return [full, *fillers]

    return _Sockets(net.outside(make))


class _Sockets(list[socket.socket]):
    def __enter__(self) -> list[socket.socket]:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self:
            with closing(each):
                pass


def test_pings_prove_nothing(net: Net, tmp_path: Path) -> None:
    """The host answers them and takes no connection: that is down, found by connections alone, and no attempt is
    counted. When it takes one mail goes."""
    with serve(net, tmp_path, PROBES) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        with deaf(net):
            assert net.inside(is_pinged)
            with Ear(net) as ear:
                give(net, cmail, "waits")
                assert wait_until_down(cmail).startswith("nothing answers: ")
                before = ear.connections
                wait_for(lambda: ear.connections > before, "a further probe")
                assert ear.pings == 0
            assert attempts(cmail) == {"bob@example.net": 0}
        peer = FarSink()
        with There(net, peer):
            wait_until_taken(peer, 1, "it to arrive")
            wait_until_empty(cmail)


def test_an_exchange_that_begins_into_silence(net: Net, tmp_path: Path) -> None:
    """It is over as soon as that is known, nothing is counted; when the line speaks again another brings all of it,
    each message once."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, PROBES + "[exchange]\nmessages = 3\n") as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.silence("wire")
        for n in range(3):
            give(net, cmail, f"message {n}")
        assert wait_until_down(cmail).startswith("nothing answers: ")
        wait_for(lambda: history(cmail)[0]["ended"] == "the link went down", "the exchange to be over")
        assert not is_open(cmail) and set(attempts(cmail).values()) == {0} and len(cmail.queue()) == 3
        net.speak("wire")
        wait_until_taken(peer, 3, "all of it")
        wait_until_empty(cmail)
        assert sorted(peer.subjects()) == [f"message {n}" for n in range(3)]
        wait_for(lambda: history(cmail)[0]["messages_out"] == 3, "the history to know")
        assert history(cmail)[1]["messages_out"] == 0
