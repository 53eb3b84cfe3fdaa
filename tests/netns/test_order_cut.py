"""What goes first when the link is back: seen at the far end of a slow line."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    FarSink,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import SETTINGS, wait_for
from tests.support.netns import There
from tests.support.thin_net import ThinNet

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

KBIT: Final = 1500
VIA: Final = f'[[link.via]]\nname = "satellite"\ndevice = ["sat0"]\nrate = {KBIT}\n'
LARGE: Final = 1_200_000  # of the class that stands aside; seven seconds of the line


@pytest.fixture
def net() -> Iterator[ThinNet]:
    """A slow line with half the delay of a satellite, when a test makes it."""
    with ThinNet() as made:
        yield made


def test_urgent_then_deadline_then_small_before_large(net: ThinNet, tmp_path: Path) -> None:
    """Handed in the other way round while the cable was out. Two connections stream, so neighbours may
    overtake each other, and no more."""
    wire = net.thin("sat0", kbit=KBIT, round_trip_ms=200)
    peer = FarSink()
    one = SETTINGS.replace("workers = 2", "workers = 1")
    with There(net, peer), serve(net, tmp_path, VIA, settings=one) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        wire.down()
        wait_until_down(cmail)
        give(net, cmail, "large", size=LARGE)
        give(net, cmail, "middling", size=200_000)
        for _ in range(8):
            give(net, cmail, "small", size=20_000)
        for _ in range(2):
            give(net, cmail, "deadline", "BY=3600;N", size=20_000)
        for _ in range(2):
            give(net, cmail, "urgent", "MT-PRIORITY=4", size=20_000)
        wire.up()
        wait_until_taken(peer, 14, "all of it to arrive", 120)
        order = peer.subjects()
        print(order)
        assert sorted(order[:3]).count("urgent") == 2, "one neighbour may be faster"
        assert order[:6].count("deadline") == 2
        assert order[:13].count("small") == 8 and order[-1] == "large"
        assert order.index("middling") >= 11


def test_a_large_message_under_way_holds_up_nobody(net: ThinNet, tmp_path: Path) -> None:
    """While it is sent small mail comes, to both workers: all of it arrives before the large one, which is
    whole."""
    net.thin("sat0", kbit=KBIT, round_trip_ms=200)
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, VIA) as cmail:
        give(net, cmail, "large", size=2 * LARGE)
        wait_for(lambda: peer.lines("DATA"), "it to be on its way")
        given: list[float] = []
        for n in range(6):
            given.append(time.monotonic())
            give(net, cmail, f"small {n}", size=2_000)
        wait_until_taken(peer, 6, "the small ones to arrive")
        first = peer.subjects()[:6]
        print("after some", [f"{came - at:.1f} s" for came, at in zip(peer.came, given, strict=False)])
        assert sorted(first) == [f"small {n}" for n in range(6)], "the large one is still on its way"
        wait_until_taken(peer, 7, "the large one", 120)
        assert len(peer.taken[-1].content) > 2 * LARGE
        wait_until_empty(cmail)


def test_large_messages_of_both_workers_go_one_at_a_time(net: ThinNet, tmp_path: Path) -> None:
    """Each worker has some when the line comes back. Side by side all would come at its end; one after the
    other each takes its part of the time. Small mail of either worker is there before the second."""
    wire = net.thin("sat0", kbit=KBIT, round_trip_ms=200)
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, VIA) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        wire.down()
        wait_until_down(cmail)
        given = 0
        while not all(cmail.rows(f"worker-{n}", "queue.list", filter={}, limit=20) for n in (0, 1)):
            give(net, cmail, "large", size=LARGE)
            given += 1
            assert given < 20, "both workers take connections"
        wire.up()
        wait_for(lambda: peer.lines("DATA"), "one to be on its way")
        for _ in range(6):
            give(net, cmail, "small", size=2_000)
        wait_until_taken(peer, given + 6, "all of it", 240)
        order, came = (
            peer.subjects(),
            [at for what, at in zip(peer.subjects(), peer.came, strict=True) if what == "large"],
        )
        gaps = [later - at for at, later in pairwise(came)]
        print(order, [f"{gap:.1f} s" for gap in gaps])
        assert order[:7].count("small") == 6
        assert min(gaps) > 0.4 * sum(gaps) / len(gaps) and min(gaps) > LARGE / (KBIT * 125) / 3
        wait_until_empty(cmail)
