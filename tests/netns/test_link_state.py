"""The link in real network namespaces: a cable that is pulled, a line that falls silent, an address and a
route that go, a log-in page in between, two links of which one takes small mail alone."""

import time
from pathlib import Path

import pytest

from tests.support.cut_house import (
    SOON_S,
    FarSink,
    connections,
    give,
    serve,
    status,
    tries,
    wait_until_down,
    wait_until_empty,
    wait_until_up,
)
from tests.support.house import RunningCmail, wait_for
from tests.support.lying_dns import LyingDns
from tests.support.netns import FAR, Net, There
from tests.support.sink_mx import HANG, SinkMx

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]


def test_a_cable_that_is_pulled_and_put_back(net: Net, tmp_path: Path) -> None:
    """Carrier gone: the connection on which a message is being sent ends, nothing is counted, mail that
    comes waits. Carrier back: all of it moves at once."""
    peer = FarSink({"DATA": HANG})
    with There(net, peer) as there, serve(net, tmp_path) as cmail:
        give(net, cmail)
        wait_for(lambda: peer.lines("DATA"), "the message to be on its way")
        assert connections(cmail) == 1
        net.cut("wire")
        assert wait_until_down(cmail) == "wire has no carrier"
        wait_for(lambda: connections(cmail) == 0, "the connection to be ended")
        give(net, cmail, "second")
        time.sleep(1)
        assert tries(cmail) == [0, 0]
        there.call(lambda: peer.script.clear())  # type: ignore[attr-defined]
        net.join("wire")
        wait_for(lambda: len(peer.taken) == 2, "both messages to arrive")
        late_ms = time.time() * 1000 - status(cmail)["links"][0]["since_ms"]
        assert late_ms < 1000 * SOON_S, "it is 20 ms on a machine that has nothing else to do"
        wait_for(lambda: not cmail.queue(), "the queue to be empty")
        log = cmail.log()
        assert "the link is down: wire has no carrier" in log and "the link is up" in log


def test_a_line_that_falls_silent(net: Net, tmp_path: Path) -> None:
    """Nothing shows it but that nothing answers: deliveries time out, the probe says down, no attempt is
    counted from then on; when it answers again, mail moves."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, '[link]\nprobe_every = "5s"\n') as cmail:
        give(net, cmail)
        wait_for(lambda: len(peer.taken) == 1, "the first message to arrive")
        wait_for(lambda: connections(cmail) == 0, "its connection to be over")
        net.silence("wire")
        give(net, cmail, "lost")
        give(net, cmail, "lost too")
        words = wait_until_down(cmail)
        assert words.startswith("nothing answers: 10.77.0.1:2525: ")
        before = tries(cmail)
        give(net, cmail, "waits")
        time.sleep(2)
        assert sorted(tries(cmail)) == sorted([*before, 0])
        net.speak("wire")
        wait_until_up(cmail)
        wait_for(lambda: len(peer.taken) == 4, "what waited to arrive")


def test_an_address_that_goes(net: Net, tmp_path: Path) -> None:
    """As a lease that is over: down, and up again with the next one."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path) as cmail:
        net.here("addr", "del", "10.1.0.1/24", "dev", "wire")
        assert wait_until_down(cmail) == "there is no route to the Internet"
        give(net, cmail)
        time.sleep(1)
        assert tries(cmail) == [0]
        net.here("addr", "add", "10.1.0.1/24", "dev", "wire")
        net.route("wire")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def test_a_default_route_that_goes(net: Net, tmp_path: Path) -> None:
    """Carrier and address alone lead nowhere."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path) as cmail:
        net.here("route", "del", "default")
        assert wait_until_down(cmail) == "there is no route to the Internet"
        give(net, cmail)
        time.sleep(1)
        assert tries(cmail) == [0]
        net.route("wire")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def test_a_restart_while_the_cable_is_out(net: Net, tmp_path: Path) -> None:
    """Down before, down after, up when the cable is back: without a device on the way out the file says
    that there was one."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        cmail.stop()
        cmail.start()
        assert wait_until_down(cmail) == "wire has no carrier"
        give(net, cmail)
        net.join("wire")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")


def test_a_log_in_page_in_between(net: Net, tmp_path: Path) -> None:
    """After the cable was out every name has the address of a portal: down, until names are right again."""
    records = {("smtp.isp.example", "A"): [FAR]}
    names, portal = LyingDns(records), SinkMx(host="10.1.0.2", port=2525)
    peer = FarSink()
    more = f'\n[smtp]\nhost = "smtp.isp.example"\nport = 2525\n[dns]\nservers = ["{FAR}:53"]\n'
    more += '[link]\nprobe_every = "5s"\n'
    with There(net, peer, portal, names), RunningCmail(tmp_path, more=more, prefix=net.prefix) as cmail:
        give(net, cmail)
        wait_for(lambda: len(peer.taken) == 1, "the first message to arrive")
        wait_until_empty(cmail)
        net.cut("wire")
        wait_until_down(cmail)
        names.lie = "10.1.0.2"
        net.join("wire")
        wait_for(lambda: "log-in page" in status(cmail)["words"], "the portal to be seen")
        assert (
            status(cmail)["words"]
            == "a log-in page stands in between: every name has the same address (10.1.0.2)"
        )
        give(net, cmail)
        time.sleep(1)
        assert tries(cmail) == [0] and not portal.taken
        names.lie = ""
        wait_until_up(cmail)
        wait_for(lambda: len(peer.taken) == 2, "the message to arrive")


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


def test_two_links_of_which_one_takes_small_mail_alone(two: Net, tmp_path: Path) -> None:
    """Fibre carries all. When it is cut the connection that went by it ends, small mail goes by satellite
    at once, large mail waits with words and uncounted, and goes when the fibre is back."""
    peer = FarSink({"DATA": HANG})
    with There(two, peer) as there, serve(two, tmp_path, VIAS) as cmail:
        wait_for(lambda: status(cmail)["link"] == "fibre", "the fibre to be seen")
        give(two, cmail, "on its way")
        wait_for(lambda: peer.lines("DATA"), "the message to be on its way")
        there.call(lambda: peer.script.clear())  # type: ignore[attr-defined]
        two.cut("fibre")
        wait_for(lambda: status(cmail)["link"] == "satellite", "the satellite to take over")
        assert not status(cmail)["is_down"]
        wait_for(lambda: len(peer.taken) == 1, "what was on its way to go by satellite")
        give(two, cmail, "small")
        wait_for(lambda: len(peer.taken) == 2, "small mail to go by satellite")
        wait_until_empty(cmail)
        give(two, cmail, "large", size=300_000)
        time.sleep(2)
        assert tries(cmail) == [0] and len(peer.taken) == 2
        rows = {row["name"]: row for row in status(cmail)["links"]}
        assert rows["fibre"]["why"] == "fibre has no carrier" and rows["satellite"]["is_used"]
        two.join("fibre")
        wait_for(lambda: len(peer.taken) == 3, "large mail to go by fibre")
