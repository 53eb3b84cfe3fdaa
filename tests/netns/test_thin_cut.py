"""What a thin link need not carry twice: names, certificates, greetings are remembered over an outage. What can
never fit is held, in words."""

import asyncio
import datetime
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from cmail.net.dns_cache import TTL_MIN_S
from cmail.net.dns_client import LIFETIME_S
from tests.support.cut_house import (
    FarSink,
    attempts,
    command,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.fake_dns import HANG, FakeDnsServer
from tests.support.house import SETTINGS, reachable, wait_for
from tests.support.netns import FAR, There
from tests.support.thin_net import ThinNet

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

HOST = "smtp.isp.example"
ROUND_TRIP_S = 0.7


class LateGreeter(FarSink):
    """From its second connection on it says its greeting when it has heard EHLO and STARTTLS."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See SinkMx."""
        if self.connections:
            reader.feed_data(await reader.readuntil(b"STARTTLS\r\n"))  # what follows needs the reply to it
        await super().serve(reader, writer)


@pytest.fixture
def net() -> Iterator[ThinNet]:
    """A line of 256 kbit/s and some delay."""
    with ThinNet() as made:
        yield made


def test_names_certificates_and_greetings_are_remembered(net: ThinNet, tmp_path: Path) -> None:
    """The first message by a line pays for the DNS, the certificates and each greeting. After an outage
    longer than the answers of the DNS hold, and with a DNS that is silent, the next is there in half of the
    round trips and octets: the TLS session is taken up again, EHLO does not wait for the greeting."""
    wire = net.thin("sat0", kbit=256, round_trip_ms=1000 * ROUND_TRIP_S)
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    ca_file = reachable(tmp_path) / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    peer = LateGreeter(extensions=("PIPECONNECT",), tls=context)
    names = FakeDnsServer({(HOST, "A"): [FAR]}, ttl=1, host=FAR, port=53)
    upstream = f'[smtp]\nhost = "{HOST}"\nport = 2525\ntls = "required"\n[dns]\nservers = ["{FAR}:53"]\n'
    more = f'[tls]\nca_file = "{ca_file}"\n[link]\nprobe = "off"\n'
    more += '[[link.via]]\nname = "satellite"\ndevice = ["sat0"]\nrate = 256\n'
    one = SETTINGS.replace("workers = 2", "workers = 1")
    with There(net, peer, names), serve(net, tmp_path, more, upstream, settings=one) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        before, began = wire.counts(), time.monotonic()
        give(net, cmail, "first")
        wait_until_taken(peer, 1, "the first message")
        wait_until_empty(cmail)
        took = [peer.came[0] - began]
        paid = [wire.counts().since(before)]

        wire.down()
        wait_until_down(cmail)
        give(net, cmail, "second")
        time.sleep(TTL_MIN_S + 0.5)  # the answers of the DNS have had their time
        assert attempts(cmail) == {"bob@example.net": 0}
        names.records = {(HOST, "A"): HANG, (HOST, "AAAA"): HANG}
        before, began = wire.counts(), time.monotonic()
        wire.up()
        wait_until_taken(peer, 2, "the second message")
        took.append(peer.came[1] - began)
        paid.append(wire.counts().since(before))

    print(
        f"{took[0]:.1f} s and {took[1]:.1f} s; octets {[each.octets_in + each.octets_out for each in paid]}"
    )
    assert peer.resumed == [False, True]
    greeted = [at for stage, at in peer.stages if stage == "connect"]
    assert greeted[-1] - began < LIFETIME_S, "nobody waited for the DNS"
    hailed = next(at for stage, at in peer.stages if stage == "EHLO")
    assert hailed - greeted[0] >= ROUND_TRIP_S, "the first time nobody knew what it can"
    assert paid[1].octets_in < paid[0].octets_in - 1000, "no certificate came again"


def test_what_fits_no_window_is_held_and_not_tried(net: ThinNet, tmp_path: Path) -> None:
    """The only window is open, lasts ten minutes, and carries 600,000 octets: what is larger is held with
    words that say why, whatever fits goes; let go by hand it is tried all the same."""
    net.thin("sat0", kbit=2000, round_trip_ms=50)
    now = datetime.datetime.now()
    window = [f"{now + datetime.timedelta(minutes=m):%H:%M}" for m in (-4, 6)]
    more = f'[[link.via]]\nname = "satellite"\ndevice = ["sat0"]\nrate = 8\nwindow = ["{window[0]}-{window[1]}"]\n'
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, more) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        give(net, cmail, "too large", size=700_000, to="never@example.net")
        rows = wait_for(lambda: [row for row in cmail.queue() if row["state"] == "held"], "it to be held")
        assert "cannot fit" in rows[0]["reason"]
        give(net, cmail, "small")
        wait_until_taken(peer, 1, "the small one")
        wait_for(lambda: len(cmail.queue()) == 1, "that to be recorded")
        assert peer.subjects() == ["small"] and attempts(cmail) == {"never@example.net": 0}
        words = command(cmail, "queue", "why")
        print(words)
        assert "cannot fit" in words and "at 8 kbit/s takes 12 minutes" in words
        begun = len(peer.lines("MAIL"))
        command(cmail, "queue", "release", "--to", "never@example.net")
        wait_for(lambda: len(peer.lines("MAIL")) > begun, "it to be tried")
