"""Every attack at once for a few seconds, while good clients are served (the long run: make torture)."""

from pathlib import Path

import pytest

from tests.fault.attackers import ATTACKS
from tests.fault.hostile import RELAY, Siege
from tests.support.house import RunningCmail
from tests.support.torture import Summary

SECONDS = 10.0
LENIENT_S = 10.0  # on a machine that attacks itself; a second is for the long run
IDLE = 300
NICENESS = 2  # or on a busy machine they would not get to attack in these few seconds
PEOPLE = ("own", "server", "mail program", "office")


@pytest.mark.limit(300)
def test_good_clients_are_served_whatever_others_do(tmp_path: Path) -> None:
    """With the settings as they come and all attacks at once: each message of an honest server, of a mail
    program and of an office of 60 behind one address is taken and arrives; each attack meets its refusal; no
    process dies, memory and log stay small; when the attackers go, no session of theirs is left."""
    with RunningCmail(tmp_path, more=RELAY) as cmail:
        siege = Siege(cmail)
        siege.hold(SECONDS, tuple(ATTACKS), PEOPLE, IDLE, NICENESS)
        summary = Summary()
        siege.judge(summary, LENIENT_S)
        assert summary.broken == [], "\n".join([*summary.broken, *summary.notes])
        siege.calms()
