"""A sender says when, by when and how urgently, and the link is cut meanwhile: FUTURERELEASE (RFC 4865), DELIVERBY
(RFC 2852) and MT-PRIORITY (RFC 6710), to a peer that has them and to one that has not."""

import re
import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.cut_house import (
    ANNA,
    SOON_S,
    FarSink,
    attempts,
    give,
    serve,
    status,
    wait_until_down,
    wait_until_empty,
    wait_until_taken,
)
from tests.support.house import wait_for
from tests.support.netns import Net, There

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

MORE: Final = '[limits]\ndeliver_by = "1s"\n[queue]\nretry = ["1s"]\n'


def mail_lines(peer: FarSink) -> dict[str, str]:
    """What MAIL said of each message, by its subject."""
    return {subject: taken.mail for subject, taken in zip(peer.subjects(), peer.taken, strict=True)}


def test_a_peer_that_knows_deadlines_and_priorities(net: Net, tmp_path: Path) -> None:
    """An outage longer than each deadline: no time of it is lost, all go at link-up with what is left of
    their time and with their priority, the urgent first."""
    peer = FarSink(extensions=("DELIVERBY", "MT-PRIORITY", "FUTURERELEASE 86400 2030-01-01T00:00:00Z"))
    with There(net, peer), serve(net, tmp_path, MORE) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        give(net, cmail, "return", "BY=12;R", to="return@example.net")
        give(net, cmail, "notify", "BY=12;N", "MT-PRIORITY=-2", to="notify@example.net")
        give(net, cmail, "urgent", "MT-PRIORITY=6", to="urgent@example.net")
        time.sleep(13)
        assert set(attempts(cmail).values()) == {0} and len(cmail.queue()) == 3
        assert not cmail.mailbox(ANNA)
        back = time.monotonic()
        net.join("wire")
        wait_until_taken(peer, 3, "all to arrive")
        assert max(peer.came) - back < SOON_S
        wait_until_empty(cmail)
        said = mail_lines(peer)
        assert re.search(r" BY=(1[012]|[3-9]);R", said["return"]), said
        assert re.search(r" BY=(1[012]|[3-9]);N", said["notify"]) and "MT-PRIORITY=-2" in said["notify"], said
        assert "MT-PRIORITY=6" in said["urgent"], said
        assert not any(b"MT-Priority" in taken.content for taken in peer.taken)
        assert not cmail.mailbox(ANNA)


def test_a_peer_that_knows_none_of_them(net: Net, tmp_path: Path) -> None:
    """Over the same outage: who wants late mail back gets it back with its reason, because nobody there
    would return it; who wants a notice is told where the trace ends; the priority goes in a field."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path, MORE) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        give(net, cmail, "return", "BY=12;R", to="return@example.net")
        give(net, cmail, "traced", "BY=12;NT", to="traced@example.net")
        give(net, cmail, "urgent", "MT-PRIORITY=6", to="urgent@example.net")
        time.sleep(13)
        assert set(attempts(cmail).values()) == {0} and not cmail.mailbox(ANNA)
        net.join("wire")
        wait_until_taken(peer, 2, "those that may go to arrive")
        wait_until_empty(cmail)
        reports = cmail.wait_for_mail(ANNA, 2)
        (returned,) = [each for each in reports if b"return@example.net" in each]
        assert b"Action: failed" in returned and b"Status: 5." in returned
        (traced,) = [each for each in reports if b"traced@example.net" in each]
        assert b"Action: relayed" in traced
        assert sorted(peer.subjects()) == ["traced", "urgent"]
        assert not re.search(r"BY=|MT-PRIORITY", " ".join(mail_lines(peer).values()))
        (urgent,) = [taken for taken in peer.taken if b"Subject: urgent" in taken.content]
        assert re.search(rb"(?m)^MT-Priority: 6\r$", urgent.content)


def test_mail_for_later_and_a_cable_that_is_out(net: Net, tmp_path: Path) -> None:
    """Two messages for a time to come: one whose time comes while the cable is out goes at link-up, one whose
    time is later still waits for it; neither is tried before, nor told of."""
    peer = FarSink(extensions=("DELIVERBY",))
    with There(net, peer), serve(net, tmp_path, MORE) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        net.cut("wire")
        wait_until_down(cmail)
        given = time.monotonic()
        give(net, cmail, "soon", "HOLDFOR=2", to="soon@example.net")
        give(net, cmail, "late", "HOLDFOR=20", "BY=5;N", to="late@example.net")
        time.sleep(6)
        assert set(attempts(cmail).values()) == {0} and not peer.taken
        back = time.monotonic()
        net.join("wire")
        wait_until_taken(peer, 1, "the one whose time has come")
        assert peer.came[0] - back < SOON_S
        time.sleep(1)
        assert peer.subjects() == ["soon"] and attempts(cmail) == {"late@example.net": 0}
        wait_until_taken(peer, 2, "the other one")
        late = peer.came[1] - given - 20
        print(f"{late:.1f} s after its time")
        assert -0.5 <= late < back - given, "its time is that of the wall: the outage is not added to it"
        wait_until_empty(cmail)
        assert not cmail.mailbox(ANNA)
