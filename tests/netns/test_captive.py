"""A log-in page on the way: every name has its address, every TLS port shows its certificate, and it takes whatever
it is told. It is never told a password; nothing counts, and when it is gone everything moves."""

import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.cut_house import give, status, tries, wait_until_down, wait_until_empty, wait_until_up
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.lying_dns import LyingDns
from tests.support.netns import FAR, Net, There
from tests.support.sink_mx import SinkMx

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

PORTAL = "10.1.0.2"  # the router of the hotel
HOST = "smtp.isp.example"
USERS = {"anna4711": "s3cret"}
PORTS = {"implicit": 465, "required": 587}


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's side, with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@dataclass
class Hotel:
    """The upstream server, a portal that is like it in all but its certificate, and the names that it makes."""

    tls: str

    def __post_init__(self) -> None:
        self.authority = trustme.CA()
        self.upstream = self._server(FAR, certified(self.authority, HOST))
        self.portal = self._server(PORTAL, certified(trustme.CA(), "login.hotel.example"))
        self.names: Any = LyingDns({(HOST, "A"): [FAR]})
        self.names.host = PORTAL

    def _server(self, address: str, context: ssl.SSLContext) -> SinkMx:
        is_implicit = self.tls == "implicit"
        return SinkMx(
            host=address,
            port=PORTS[self.tls],
            tls=context,
            is_implicit_tls=is_implicit,
            users=USERS,
            extensions=("PIPELINING", "8BITMIME", "SIZE 0", "AUTH PLAIN LOGIN"),
        )

    def settings(self, place: Path) -> str:
        """Of a server that sends by the upstream server, with a log-in."""
        trusted, password = reachable(place) / "ca.pem", reachable(place) / "smtp-password"
        trusted.write_bytes(self.authority.cert_pem.bytes())
        trusted.chmod(0o644)
        password.write_text(USERS["anna4711"] + "\n")
        password.chmod(0o600)
        return (
            f'\n[smtp]\nhost = "{HOST}"\nport = {PORTS[self.tls]}\ntls = "{self.tls}"\nusername = "anna4711"\n'
            f'password_file = "{password}"\n[smtp.advanced]\ntimeout = "2s"\n[tls]\nca_file = "{trusted}"\n'
            f'[dns]\nservers = ["{PORTAL}:53"]\n[link]\nprobe_every = "5s"\n'
        )


def has_heard_a_password(portal: SinkMx) -> bool:
    """Or a word of what we send."""
    return bool(portal.lines("AUTH") or portal.lines("MAIL") or portal.taken)


@pytest.mark.parametrize("tls", ["implicit", "required"])
def test_a_portal_behind_all_names(net: Net, tmp_path: Path, tls: str) -> None:
    """The cable was out, mail waits, and where it is back there is the portal: down, in words; what waits has no
    attempt, what comes waits, the portal hears neither log-in nor mail. When it is gone all of it moves."""
    hotel = Hotel(tls)
    with There(net, hotel.upstream, hotel.portal, hotel.names):
        with RunningCmail(tmp_path, more=hotel.settings(tmp_path), prefix=net.prefix) as cmail:
            give(net, cmail, "before")
            wait_for(lambda: len(hotel.upstream.taken) == 1, "the first message to arrive")
            wait_until_empty(cmail)
            net.cut("wire")
            wait_until_down(cmail)
            give(net, cmail, "waits")
            hotel.names.lie = PORTAL
            net.there("addr", "del", f"{FAR}/32", "dev", "lo")  # it lets nobody through
            net.join("wire")
            wait_for(lambda: "log-in page" in status(cmail)["words"], "the portal to be seen")
            every_name = f"a log-in page stands in between: every name has the same address ({PORTAL})"
            assert status(cmail)["words"] == every_name and status(cmail)["is_down"]
            give(net, cmail, "comes")
            probed = len(hotel.names.asked)
            wait_for(lambda: len(hotel.names.asked) >= probed + 6, "two probes more")
            assert status(cmail)["words"] == every_name
            assert tries(cmail) == [0, 0], cmail.queue()
            kept = json.loads((cmail.data / "link.json").read_text())
            assert PORTAL not in kept["upstream"], "workers would be told of it"
            assert not has_heard_a_password(hotel.portal)
            hotel.names.lie = ""
            net.there("addr", "add", f"{FAR}/32", "dev", "lo")
            wait_until_up(cmail)
            wait_for(lambda: len(hotel.upstream.taken) == 3, "all of it to arrive")
            assert {each.user for each in hotel.upstream.taken} == {"anna4711"}
            assert not has_heard_a_password(hotel.portal)
            wait_until_empty(cmail)


@pytest.mark.parametrize("tls", ["implicit", "required"])
def test_a_portal_that_takes_the_address_itself(net: Net, tmp_path: Path, tls: str) -> None:
    """Names are right, no cable was out, and what answers at the address of the upstream server shows somebody else's
    certificate. The message that met it has no attempt, and it is said whose it is. Then the right one answers there,
    and all moves."""
    hotel = Hotel(tls)
    hotel.portal.host = FAR
    with There(net, hotel.portal, hotel.names):
        with RunningCmail(tmp_path, more=hotel.settings(tmp_path), prefix=net.prefix) as cmail:
            wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
            give(net, cmail, "meets it")
            wait_for(lambda: "log-in page" in status(cmail)["words"], "the portal to be seen")
            assert status(cmail)["words"] == (
                f"a log-in page stands in between: {HOST} shows a certificate for login.hotel.example"
            )
            give(net, cmail, "comes")
            probed = len(hotel.names.asked)
            wait_for(lambda: len(hotel.names.asked) >= probed + 2, "a probe more")
            assert status(cmail)["is_down"] and tries(cmail) == [0, 0], cmail.queue()
            assert not has_heard_a_password(hotel.portal)
            assert hotel.portal.tls is not None
            hotel.authority.issue_cert(HOST).configure_cert(hotel.portal.tls)
            wait_until_up(cmail)
            wait_for(lambda: len(hotel.portal.taken) == 2, "both messages to arrive")
            wait_until_empty(cmail)
