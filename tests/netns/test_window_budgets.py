"""Budgets of windows and of exchanges over a real wire: used, it rests until the next, also over a restart."""

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
    is_open,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.netns import Net, There
from tests.support.wrong_clock import WrongClock, offset_to

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

VIA: Final = '\n[[link.via]]\nname = "sat"\ndevice = ["wire"]\nrate = 256\nwindow_budget = "25KiB"\n'
HELD: Final = "and sat may carry 25 KiB in one {}"
FIT: Final = 3  # messages of 30 KB in 100 KiB
UNDER_WAY: Final = 5  # more, on the connections of two workers, before all of them hear of it


def used(cmail: RunningCmail) -> int:
    [row] = status(cmail)["links"]
    return int(row["used_in_window"])


def spend(net: Net, cmail: RunningCmail, peer: FarSink) -> None:
    """Two messages go, which use it."""
    before = len(peer.taken)
    for n in (1, 2):
        give(net, cmail, f"goes {n}", size=12_500)
        wait_until_taken(peer, before + n, "a message to arrive")
    wait_for(lambda: used(cmail) > 25_000, "both to be counted")


def test_the_budget_of_a_window(net: Net, tmp_path: Path) -> None:
    """It is used: the link rests until the next window begins, and says when; nothing is tried; a restart gives
    nothing back; the next window has its own."""
    clock = WrongClock(reachable(tmp_path), offset_to("22:30:00"))
    peer, vias = FarSink(), VIA + 'window = ["22:00-06:00"]\n'
    with There(net, peer), serve(net, tmp_path, vias, environ=clock.environ) as cmail:
        wait_for(lambda: status(cmail)["link"] == "sat", "the link to be seen")
        spend(net, cmail, peer)
        spent = "the 25 KiB of this window are used"
        assert wait_until_down(cmail) == f"sat: {spent}; it rests until the next begins tomorrow at 22:00"
        wait_for(lambda: history(cmail)[0]["ended"] == spent, "the history to say so")
        give(net, cmail, "waits")
        give(net, cmail, "too large", size=30_000, to="large@example.net")
        cmail.stop()
        cmail.start()
        assert spent in wait_until_down(cmail) and used(cmail) > 25_000
        assert f"used in this window: {used(cmail) / 1024:.1f} KiB of 25 KiB" in command(
            cmail, "link", "status"
        )
        wait_for(lambda: HELD.format("window") in command(cmail, "queue", "list"), "the large one to be held")
        assert len(peer.taken) == 2 and set(attempts(cmail).values()) == {0}
        clock.set(offset_to("22:30:00", days=1))
        wait_until_taken(peer, 3, "the one that waits to go in the next window")
        assert used(cmail) < 2_000 and peer.subjects()[-1] == "waits"


def test_the_budget_of_an_exchange(net: Net, tmp_path: Path) -> None:
    """It is used: the exchange is over, in words, and what is left waits for the next, which has its own. The link
    is up all the time."""
    peer, via = FarSink(), VIA.replace("25KiB", "100KiB")
    with There(net, peer), serve(net, tmp_path, via + '\n[exchange]\nevery = "1d"\n') as cmail:
        wait_for(lambda: history(cmail) and not is_open(cmail), "the first exchange to be over")
        for n in range(2 * FIT + UNDER_WAY):
            give(net, cmail, f"{n}", size=30_000)
        give(net, cmail, "too large", size=150_000, to="large@example.net")
        plan = command(cmail, "link", "plan")
        assert "No more than 100 KiB of it may go before the link rests:" in plan
        command(cmail, "link", "exchange")
        spent = "the 100 KiB of this exchange are used"
        wait_for(lambda: history(cmail)[0]["ended"] == spent, "the exchange to be over")
        assert not status(cmail)["is_down"]
        held = HELD.format("exchange").replace("25", "100")
        wait_for(lambda: held in command(cmail, "queue", "list"), "the large one to be held")
        cmail.stop()
        gone = len(peer.taken)
        assert FIT <= gone <= FIT + UNDER_WAY
        cmail.start()
        time.sleep(2)
        assert len(peer.taken) == gone and set(attempts(cmail).values()) == {0}
        command(cmail, "link", "exchange")
        wait_until_taken(peer, gone + FIT, "more to go in the next exchange")
        assert not status(cmail)["is_down"]


def test_the_budget_of_batched_mail(net: Net, tmp_path: Path) -> None:
    """With queue.batch alone what an exchange has let go does not go on when its budget is used, over a restart
    neither: the next one is begun by hand."""
    peer, via = FarSink(), VIA.replace("25KiB", "100KiB")
    with There(net, peer), serve(net, tmp_path, via + "\n[queue]\nbatch = true\n") as cmail:
        wait_for(lambda: status(cmail)["link"] == "sat", "the link to be seen")
        for n in range(9):
            give(net, cmail, f"{n}", size=30_000)
        command(cmail, "link", "exchange")
        spent = "the 100 KiB of this exchange are used"
        wait_for(lambda: spent in status(cmail)["words"], "it to be used")
        wait_for(lambda: history(cmail)[0]["ended"] == spent, "the exchange to be over")
        assert not status(cmail)["is_down"]
        cmail.stop()
        gone = len(peer.taken)
        assert FIT <= gone <= FIT + UNDER_WAY
        cmail.start()
        wait_for(lambda: spent in status(cmail)["words"], "it to be used still")
        time.sleep(1)
        assert len(peer.taken) == gone and set(attempts(cmail).values()) == {0}
        assert f"may carry no mail now; sat: {spent}" in command(cmail, "queue", "why")
        command(cmail, "link", "exchange")
        wait_until_taken(peer, gone + 1, "the next exchange")
        command(cmail, "link", "exchange")
        wait_until_empty(cmail)
