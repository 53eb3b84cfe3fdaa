"""Two cables: a fibre that carries all, a satellite that carries little; what waits for which, in words; by hand;
a window; what was paid stands in the history."""

import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    FarSink,
    attempts,
    command,
    give,
    history,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
    wait_until_up,
)
from tests.support.house import reachable, wait_for
from tests.support.netns import Net, There
from tests.support.wrong_clock import WrongClock, offset_to

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

VIAS: Final = """
[[link.via]]
name = "fibre"
device = ["fibre"]

[[link.via]]
name = "satellite"
device = ["sat*"]
use = "small"
largest = "200KiB"
cost = 3.0
budget = "1MiB"
"""


@pytest.fixture
def net(two: Net) -> Net:
    """Both of them."""
    return two


def test_what_waits_for_the_fibre_while_the_satellite_carries(net: Net, tmp_path: Path) -> None:
    """Small and urgent mail goes by satellite, of the urgent what is not too large; all else waits untried
    and says for what; taken down by hand the satellite carries nothing; with the fibre all goes at once."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, VIAS) as cmail:
        wait_for(lambda: status(cmail)["link"] == "fibre", "the fibre to be seen")
        net.cut("fibre")
        wait_for(lambda: status(cmail)["link"] == "satellite", "the satellite to take over")
        give(net, cmail, "large", size=150_000, to="large@example.net")
        give(net, cmail, "huge and urgent", "MT-PRIORITY=4", size=300_000, to="huge@example.net")
        give(net, cmail, "small")
        give(net, cmail, "large and urgent", size=150_000, fields="Priority: urgent\r\n")
        wait_until_taken(peer, 2, "what the satellite takes to arrive")
        assert set(peer.addresses) == {"10.2.0.1"}
        assert sorted(peer.subjects()) == ["large and urgent", "small"]
        wait_for(lambda: len(cmail.queue()) == 2, "those to be recorded")
        assert attempts(cmail) == {"large@example.net": 0, "huge@example.net": 0}
        words = command(cmail, "queue", "why")
        assert "satellite: mail up to 100 KiB and urgent up to 200 KiB" in words, words

        command(cmail, "link", "down", "satellite")
        assert "satellite is down: it was taken down by hand" in wait_until_down(cmail)
        give(net, cmail, "small too", to="small@example.net")
        time.sleep(1)
        assert attempts(cmail)["small@example.net"] == 0 and len(peer.taken) == 2
        command(cmail, "link", "up", "satellite")
        wait_until_taken(peer, 3, "the small one to go by satellite")

        back = time.monotonic()
        net.join("fibre")
        wait_until_taken(peer, 5, "all to go by fibre")
        print(f"by fibre {(peer.came[-1] - back) * 1000:.0f} ms after it was back")
        assert peer.came[-1] - back < 5 and peer.addresses[-1] == "10.1.0.1"
        wait_until_empty(cmail)
        net.cut("fibre")
        wait_for(lambda: status(cmail)["link"] == "satellite", "the satellite once more")
        rows = {row["name"]: row for row in status(cmail)["links"]}
        assert 150_000 < rows["satellite"]["used_today"] < 250_000
        told = [entry for entry in history(cmail) if entry["octets_out"]]
        assert sum(entry["messages_out"] for entry in told) == 5
        assert sum(entry["cost"] for entry in told) == pytest.approx(3.0 * 160 / 1024, rel=0.25)


def test_the_window_of_a_link(net: Net, tmp_path: Path) -> None:
    """The satellite may be used from 22:00: before, mail waits and says so; then it goes by itself."""
    clock = WrongClock(reachable(tmp_path), offset_to("21:30:00"))
    vias = VIAS.replace('largest = "200KiB"', 'window = ["22:00-06:00"]')
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, vias, environ=clock.environ) as cmail:
        net.cut("fibre")
        words = wait_until_down(cmail)
        assert "satellite: its window begins at 22:00" in words, words
        give(net, cmail, "small")
        time.sleep(1)
        assert set(attempts(cmail).values()) == {0} and not peer.taken
        assert "off line" in command(cmail, "queue", "why")
        clock.set(offset_to("21:59:57"))
        wait_until_taken(peer, 1, "it to go at ten")
        assert peer.addresses == ["10.2.0.1"]
        wait_until_up(cmail)
