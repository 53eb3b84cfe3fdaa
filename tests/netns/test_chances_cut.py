"""What the policy of a link has kept for longer than its lifetime has had no chance yet, whoever was restarted meanwhile."""

import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    ANNA,
    FarSink,
    attempts,
    give,
    serve,
    status,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import RunningCmail, wait_for
from tests.support.netns import Net, There

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

LEAST_S: Final = 20  # of a lifetime
RESTARTS: Final = 12  # as long as so many starts take here, in which one restart is
MORE: Final = (
    '[queue]\nlifetime = "{lifetime_s}s"\nretry = ["1s"]\n[link]\nprobe = "off"\nsmall = "10KiB"\n'
    '[[link.via]]\nname = "fibre"\ndevice = ["fibre"]\n'
    '[[link.via]]\nname = "satellite"\ndevice = ["sat0"]\nuse = "small"\n'
)


def link(cmail: RunningCmail) -> str:
    """By which mail goes."""
    return str(status(cmail)["link"])


def test_a_restart_makes_no_chances_of_the_time_in_which_it_was_kept(two: Net, tmp_path: Path) -> None:
    """On line for longer than its lifetime, by a link that is not for it. The fibre is back, the host says `not yet`,
    and the server is restarted: it is tried again and arrives, and nobody is told anything."""
    peer = FarSink({"MAIL": b"451 4.3.0 not yet\r\n"})
    began = time.monotonic()
    with serve(two, tmp_path, MORE.format(lifetime_s=LEAST_S)) as cmail:
        lifetime_s = max(LEAST_S, round(RESTARTS * (time.monotonic() - began)))
    with There(two, peer) as there, serve(two, tmp_path, MORE.format(lifetime_s=lifetime_s)) as cmail:
        print(f"a lifetime of {lifetime_s} s")
        wait_for(lambda: link(cmail) == "fibre", "the fibre to be seen")
        two.cut("fibre")
        wait_for(lambda: link(cmail) == "satellite", "the satellite to carry")
        give(two, cmail, "kept", size=50_000)
        time.sleep(lifetime_s + 1)
        assert attempts(cmail) == {"bob@example.net": 0} and not peer.heard
        two.join("fibre")
        wait_for(lambda: peer.lines("MAIL"), "the first answer")
        cmail.stop()
        before = len(peer.lines("MAIL"))
        cmail.start()
        wait_for(lambda: len(peer.lines("MAIL")) > before, "another answer")
        there.call(peer.script.clear)  # type: ignore[attr-defined]
        wait_until_taken(peer, 1, "it to arrive")
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)
