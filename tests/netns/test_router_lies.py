"""A router that has lost the Internet and leads every name to itself, where nobody takes mail or a page refuses it; and
a server that is on line though there is no default route, or its fallback is away."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dns.message
import pytest

from tests.support.cut_house import (
    ANNA,
    PORT,
    FarSink,
    attempts,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.fake_dns import FakeDnsServer
from tests.support.house import wait_for
from tests.support.netns import FAR, Net, There

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

ROUTER: Final = "10.1.0.2"
HOST: Final = "smtp.isp.example"
MORE: Final = '[queue]\nretry = ["5m"]\n'
BY_MX: Final = f'delivery = "mx"\n[smtp.advanced]\ntimeout = "2s"\nidle = "1s"\noutbound_port = {PORT}\n'
BY_HOST: Final = f'host = "{HOST}"\nport = {PORT}\n[smtp.advanced]\ntimeout = "2s"\nidle = "1s"\n'
DNS: Final = f'[dns]\nservers = ["{ROUTER}:53"]\n'


@pytest.fixture
def net() -> Iterator[Net]:
    """One wire, as most have."""
    with Net() as made:
        made.wire("wire")
        yield made


class Liar(FakeDnsServer):
    """While it lies every name has its address."""

    is_lying = False

    def answer(self, octets: bytes, *, is_udp: bool) -> bytes | None:
        """See FakeDnsServer."""
        name = dns.message.from_wire(octets).question[0].name.to_text(omit_final_dot=True).lower()
        truth = self.records
        self.records = {(name, "A"): [ROUTER]} if self.is_lying else truth
        try:
            return super().answer(octets, is_udp=is_udp)
        finally:
            self.records = truth


def names() -> Liar:
    """A DNS that knows all that is asked for here, but for a second at a time."""
    records: dict[Any, Any] = {("mx.example.net", "A"): [FAR], (HOST, "A"): [FAR]}
    for domain in ("example.net", "one.example", "two.example"):
        records[domain, "MX"] = ["10 mx.example.net."]
    return Liar(records, ttl=1, host=ROUTER, port=53)


@pytest.mark.parametrize("way", ["by host", "by MX"])
@pytest.mark.parametrize("page", ["", "550 5.7.1 log in first", "451 4.7.1 log in first"])
def test_a_router_that_leads_every_name_to_itself(net: Net, tmp_path: Path, way: str, page: str) -> None:
    """Nothing is counted, nobody is told, and when it has the Internet again all goes within a probe."""
    peer, router = FarSink(), names()
    pages = [FarSink({"RCPT": page.encode() + b"\r\n"}, host=ROUTER)] if page else []
    upstream = f"\n[smtp]\n{BY_MX if way == 'by MX' else BY_HOST}{DNS}"
    with There(net, peer, router, *pages), serve(net, tmp_path, MORE, upstream) as cmail:
        give(net, cmail, "before")
        wait_until_taken(peer, 1, "the first")
        wait_for(lambda: FAR in (cmail.data / "link.json").read_text(), "where it went to be kept")
        router.is_lying = True
        net.lose_uplink()
        for domain in ("one.example", "two.example"):
            give(net, cmail, domain, to=f"bob@{domain}")
        wait_for(lambda: "every name has the same address" in status(cmail)["words"], "the lie to be seen")
        assert status(cmail)["is_down"]
        assert attempts(cmail) == {"bob@one.example": 0, "bob@two.example": 0}
        assert not cmail.mailbox(ANNA)
        router.is_lying = False
        net.find_uplink()
        wait_until_taken(peer, 3, "all to arrive")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA) and not any(each.taken for each in pages)


def test_by_mx_at_link_up_no_mail_goes_to_a_page_that_takes_all(net: Net, tmp_path: Path) -> None:
    """The cable was out, and where it is back each name leads to a page, which would take mail and keep it."""
    peer, page, router = FarSink(), FarSink(host=ROUTER), names()
    with There(net, peer, page, router), serve(net, tmp_path, MORE, f"\n[smtp]\n{BY_MX}{DNS}") as cmail:
        give(net, cmail, "before")
        wait_until_taken(peer, 1, "the first")
        wait_until_empty(cmail)
        net.cut("wire")
        wait_until_down(cmail)
        give(net, cmail, "waits", to="bob@one.example")
        router.is_lying = True
        net.join("wire")
        wait_for(lambda: "log-in page" in status(cmail)["words"], "the page to be seen")
        router.is_lying = False
        wait_until_taken(peer, 2, "it to arrive")
        assert not page.taken


def test_a_network_of_its_own(net: Net, tmp_path: Path) -> None:
    """There was a default route once, and is none any more: by MX, where mail went there is still a way."""
    peer, router = FarSink(), names()
    with There(net, peer, router), serve(net, tmp_path, MORE, f"\n[smtp]\n{BY_MX}{DNS}") as cmail:
        give(net, cmail, "before")
        wait_until_taken(peer, 1, "the first")
        wait_for(lambda: FAR in (cmail.data / "link.json").read_text(), "where it went to be kept")
        net.here("route", "add", "10.0.0.0/8", "via", ROUTER)
        net.here("route", "del", "default")
        time.sleep(0.5)
        assert not status(cmail)["is_down"]
        give(net, cmail, "after")
        wait_until_taken(peer, 2, "the second")


def test_a_way_that_is_another_one_is_tried_at_once(net: Net, tmp_path: Path) -> None:
    """The first is silent, and a second comes: no probe waits for an answer, or its time, by the one before."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, MORE + '[link]\nprobe_every = "30s"\n') as cmail:
        net.silence("wire")
        give(net, cmail, "waits")
        assert wait_until_down(cmail).startswith("nothing answers: ")
        net.wire("wwan0", metric=50)
        net.here("route", "del", "default", "dev", "wire")
        back = time.monotonic()
        wait_until_taken(peer, 1, "it to arrive")
        assert peer.came[0] - back < 20, "thirty seconds are between two probes"
