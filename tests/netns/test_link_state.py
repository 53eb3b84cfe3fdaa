"""The link in real network namespaces: a cable that is pulled, a line that falls silent, an address and a
route that go, a log-in page in between, two links of which one takes small mail alone."""

import smtplib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import pytest

from tests.support.fake_dns import FakeDnsServer
from tests.support.house import RunningCmail, wait_for
from tests.support.netns import FAR, Net, There
from tests.support.sink_mx import HANG, SinkMx

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(240)]

UPSTREAM = f'\n[smtp]\nhost = "{FAR}"\nport = 2525\n[smtp.advanced]\ntimeout = "2s"\n'


@pytest.fixture
def net() -> Iterator[Net]:
    """One wire, as most have."""
    with Net() as made:
        made.wire("wire")
        yield made


def sink(**script: str) -> SinkMx:
    return SinkMx(host=FAR, port=2525, script=script)


def serve(net: Net, folder: Path, more: str = "") -> RunningCmail:
    return RunningCmail(folder, more=UPSTREAM + more, prefix=net.prefix)


def submit(net: Net, cmail: RunningCmail, size: int = 500, subject: str = "hello") -> None:
    """One message for the Internet."""
    port = cmail.port("smtp")
    body = f"From: anna@example.org\r\nSubject: {subject}\r\n\r\n" + ("x" * 70 + "\r\n") * (size // 72)

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.sendmail("anna@example.org", ["bob@example.net"], body)

    net.inside(send)


def status(cmail: RunningCmail) -> dict[str, Any]:
    return cmail.ask("link", "link.status", is_heard=True)


def wait_until_down(cmail: RunningCmail, timeout_s: float = 20.0) -> str:
    """Until all workers have been told; why, in words."""
    wait_for(lambda: status(cmail)["is_down"], "the link to be down", timeout_s)
    return str(status(cmail)["words"])


def wait_until_up(cmail: RunningCmail, timeout_s: float = 20.0) -> None:
    wait_for(lambda: not status(cmail)["is_down"], "the link to be up", timeout_s)


def connections(cmail: RunningCmail) -> int:
    """To the upstream server, of all workers."""
    routes = [r for n in (0, 1) for r in cmail.ask(f"worker-{n}", "status")["routes"]]
    return sum(route["connections"] for route in routes if route["route"] == "relay")


def attempts(cmail: RunningCmail) -> list[int]:
    """How often each recipient in the queue was tried."""
    return [row["attempts"] for row in cmail.queue()]


def test_a_cable_that_is_pulled_and_put_back(net: Net, tmp_path: Path) -> None:
    """Carrier gone: the connection on which a message is being sent ends, nothing is counted, mail that
    comes waits. Carrier back: all of it moves at once."""
    peer = sink(DATA=HANG)
    with There(net, peer) as there, serve(net, tmp_path) as cmail:
        submit(net, cmail)
        wait_for(lambda: peer.lines("DATA"), "the message to be on its way")
        assert connections(cmail) == 1
        net.cut("wire")
        assert wait_until_down(cmail) == "wire has no carrier"
        wait_for(lambda: connections(cmail) == 0, "the connection to be ended", 5)
        submit(net, cmail, subject="second")
        time.sleep(1)
        assert attempts(cmail) == [0, 0]
        there.call(lambda: peer.script.clear())  # type: ignore[attr-defined]
        net.join("wire")
        wait_for(lambda: len(peer.taken) == 2, "both messages to arrive")
        late_ms = time.time() * 1000 - status(cmail)["links"][0]["since_ms"]
        assert late_ms < 5000, "it is 20 ms on a machine that has nothing else to do"
        wait_for(lambda: not cmail.queue(), "the queue to be empty")
        log = cmail.log()
        assert "the link is down: wire has no carrier" in log and "the link is up" in log


def test_a_line_that_falls_silent(net: Net, tmp_path: Path) -> None:
    """Nothing shows it but that nothing answers: deliveries time out, the probe says down, no attempt is
    counted from then on; when it answers again, mail moves."""
    peer = sink()
    with There(net, peer), serve(net, tmp_path, '[link]\nprobe_every = "5s"\n') as cmail:
        submit(net, cmail)
        wait_for(lambda: len(peer.taken) == 1, "the first message to arrive")
        wait_for(lambda: connections(cmail) == 0, "its connection to be over")
        net.silence("wire")
        submit(net, cmail, subject="lost")
        submit(net, cmail, subject="lost too")
        words = wait_until_down(cmail, 60)
        assert words.startswith("nothing answers: 10.77.0.1:2525: ")
        before = attempts(cmail)
        submit(net, cmail, subject="waits")
        time.sleep(2)
        assert sorted(attempts(cmail)) == sorted([*before, 0])
        net.speak("wire")
        wait_until_up(cmail)
        wait_for(lambda: len(peer.taken) == 4, "what waited to arrive")


def test_an_address_that_goes(net: Net, tmp_path: Path) -> None:
    """As a lease that is over: down, and up again with the next one."""
    peer = sink()
    with There(net, peer), serve(net, tmp_path) as cmail:
        net.here("addr", "del", "10.1.0.1/24", "dev", "wire")
        assert wait_until_down(cmail) == "there is no route to the Internet"
        submit(net, cmail)
        time.sleep(1)
        assert attempts(cmail) == [0]
        net.here("addr", "add", "10.1.0.1/24", "dev", "wire")
        net.route("wire")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def test_a_default_route_that_goes(net: Net, tmp_path: Path) -> None:
    """Carrier and address alone lead nowhere."""
    peer = sink()
    with There(net, peer), serve(net, tmp_path) as cmail:
        net.here("route", "del", "default")
        assert wait_until_down(cmail) == "there is no route to the Internet"
        submit(net, cmail)
        time.sleep(1)
        assert attempts(cmail) == [0]
        net.route("wire")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def test_a_restart_while_the_cable_is_out(net: Net, tmp_path: Path) -> None:
    """Down before, down after, up when the cable is back: without a device on the way out the file says
    that there was one."""
    peer = sink()
    with There(net, peer), serve(net, tmp_path) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        cmail.stop()
        cmail.start()
        assert wait_until_down(cmail) == "wire has no carrier"
        submit(net, cmail)
        net.join("wire")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def test_a_log_in_page_in_between(net: Net, tmp_path: Path) -> None:
    """After the cable was out every name has the address of a portal: down, until names are right again."""
    records = {("smtp.isp.example", "A"): [FAR]}
    names, portal = _Dns(records), SinkMx(host="10.1.0.2", port=2525)
    peer = sink()
    more = f'\n[smtp]\nhost = "smtp.isp.example"\nport = 2525\n[dns]\nservers = ["{FAR}:53"]\n'
    more += '[link]\nprobe_every = "5s"\n'
    with There(net, peer, portal, names), RunningCmail(tmp_path, more=more, prefix=net.prefix) as cmail:
        submit(net, cmail)
        wait_for(lambda: len(peer.taken) == 1, "the first message to arrive")
        net.cut("wire")
        wait_until_down(cmail)
        names.lie = "10.1.0.2"
        net.join("wire")
        wait_for(lambda: "log-in page" in status(cmail)["words"], "the portal to be seen", 30)
        assert (
            status(cmail)["words"]
            == "a log-in page stands in between: every name has the same address (10.1.0.2)"
        )
        submit(net, cmail)
        time.sleep(1)
        assert attempts(cmail) == [0] and not portal.taken
        names.lie = ""
        wait_until_up(cmail, 30)
        wait_for(lambda: len(peer.taken) == 2, "the message to arrive")


class _Dns(FakeDnsServer):
    """On the far host; while it lies, every name has one address."""

    lie = ""

    def __init__(self, records: dict[Any, Any]) -> None:
        super().__init__(records, host=FAR, port=53)

    def answer(self, octets: bytes, *, is_udp: bool) -> bytes | None:
        if not self.lie:
            return super().answer(octets, is_udp=is_udp)
        question = dns.message.from_wire(octets).question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        truth, self.records = self.records, {(name, "A"): [self.lie]}
        try:
            return super().answer(octets, is_udp=is_udp)
        finally:
            self.records = truth


VIAS = """
[[link.via]]
name = "fibre"
device = ["fibre"]

[[link.via]]
name = "satellite"
device = ["sat*"]
use = "small"
rate = 512
"""


@pytest.fixture
def two(net: Net) -> Iterator[Net]:
    """A fibre, and a satellite that the kernel goes by when the fibre has no carrier."""
    with Net() as made:
        made.set_here("net.ipv4.conf.all.ignore_routes_with_linkdown", "1")
        made.wire("fibre", metric=100)
        made.wire("sat0", metric=200)
        yield made


def test_two_links_of_which_one_takes_small_mail_alone(two: Net, tmp_path: Path) -> None:
    """Fibre carries all. When it is cut the connection that went by it ends, small mail goes by satellite
    at once, large mail waits with words and uncounted, and goes when the fibre is back."""
    peer = sink(DATA=HANG)
    with There(two, peer) as there, serve(two, tmp_path, VIAS) as cmail:
        wait_for(lambda: status(cmail)["link"] == "fibre", "the fibre to be seen")
        submit(two, cmail, subject="on its way")
        wait_for(lambda: peer.lines("DATA"), "the message to be on its way")
        there.call(lambda: peer.script.clear())  # type: ignore[attr-defined]
        two.cut("fibre")
        wait_for(lambda: status(cmail)["link"] == "satellite", "the satellite to take over")
        assert not status(cmail)["is_down"]
        wait_for(lambda: len(peer.taken) == 1, "what was on its way to go by satellite")
        submit(two, cmail, subject="small")
        wait_for(lambda: len(peer.taken) == 2, "small mail to go by satellite")
        submit(two, cmail, 300_000, subject="large")
        time.sleep(2)
        assert attempts(cmail) == [0] and len(peer.taken) == 2
        rows = {row["name"]: row for row in status(cmail)["links"]}
        assert rows["fibre"]["why"] == "fibre has no carrier" and rows["satellite"]["is_used"]
        two.join("fibre")
        wait_for(lambda: len(peer.taken) == 3, "large mail to go by fibre")
