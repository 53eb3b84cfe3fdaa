"""A line that has IPv6 alone: it is there when mail can come back by it, and not as long as the kernel has a route."""

from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    UPSTREAM,
    FarSink,
    attempts,
    give,
    serve,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.netns import FAR, Net, There

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(120)]

FAR_SIX: Final = "fd00:77::1"
HERE, THERE = "fd00:1::1/64", "fd00:1::2"
VIA: Final = '[[link.via]]\nname = "fibre"\ndevice = ["wire"]\n'


@pytest.fixture
def six(net: Net) -> Net:
    """A wire without IPv4."""
    net.here("-4", "addr", "flush", "dev", "wire")
    net.there("addr", "add", f"{FAR_SIX}/128", "dev", "lo")
    net.there("addr", "add", f"{THERE}/64", "dev", "wire", "nodad")
    net.here("addr", "add", HERE, "dev", "wire", "nodad")
    net.here("-6", "route", "add", "default", "via", THERE)
    return net


@pytest.mark.parametrize("via", ["", VIA], ids=["line", "via"])
def test_an_address_that_runs_out(six: Net, tmp_path: Path, via: str) -> None:
    """Its router is silent, and what it gave out is no longer good; the route stays. We are off line at once, before
    any mail is tried; with an address all goes, and with the cable out we are off line as ever."""
    peer = FarSink(host=FAR_SIX)
    with There(six, peer), serve(six, tmp_path, via, UPSTREAM.replace(FAR, FAR_SIX)) as cmail:
        give(six, cmail)
        wait_until_taken(peer, 1, "the first")
        wait_until_empty(cmail)
        six.here("addr", "del", HERE, "dev", "wire")
        words = wait_until_down(cmail)
        assert "no address" in words or "no route" in words, words
        give(six, cmail, "waits")
        assert attempts(cmail) == {"bob@example.net": 0} and len(peer.taken) == 1
        six.here("addr", "add", HERE, "dev", "wire", "nodad")
        wait_until_taken(peer, 2, "what waited")
        six.cut("wire")
        assert "no carrier" in wait_until_down(cmail)
