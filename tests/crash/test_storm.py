"""The storm of kills, a short one on each path; and its judge, so that a green storm says something."""

from dataclasses import replace
from pathlib import Path

import pytest

from cmail.mail.queue_id import print_queue_id
from tests.crash.judge import TWICE_MAX, WINDOW_S, Copy, Kill, Verdict, verdict
from tests.crash.storm import PATHS, Path_, Storm
from tests.support.ledger import Acknowledged

# What is killed on each path; each ends with a kill of all, and one worker that adopts what the others had.
PLANS = {
    "smarthost": ("worker", "supervisor", "worker"),
    "Maildir": ("worker", "stop", "all"),
    "LMTP": ("link", "worker", "starting"),
}
SEED = 20_260  # other moments by chance all the same; the same order of things


@pytest.mark.limit(400)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path, path: Path_) -> None:
    """Workers, link, supervisor, all: killed under load. What was acknowledged arrives, whole; twice only
    what a kill excuses."""
    with Storm(path, tmp_path, SEED) as storm:
        for what in PLANS[path.name]:
            storm.do(what)
        found = storm.finish()
    assert found.lost == []
    assert found.broken == []
    assert found.delivered == found.accepted > 100
    assert found.in_queue == 0


ID = print_queue_id(1_700_000_000_000 << 21 | 1 << 13)  # of shard 1
KILL = Kill("worker-1", frozenset([1]), 100.0, 100.1)
FIRST = Copy("m", ID, "b@example.net", 99.9, True, 50.0)
SECOND = replace(FIRST, wall=101.0, connected=100.5)
LATE = replace(SECOND, wall=SECOND.wall + 10)


def judged(*copies: Copy, kills: tuple[Kill, ...] = (KILL,), to: str = "b@example.net") -> Verdict:
    """The verdict about one message that was acknowledged."""
    return verdict({"m": Acknowledged(to, ID, 0.0)}, ["m"], copies, kills)


def test_judge_counts_and_finds_what_is_lost() -> None:
    """Delivered is what every recipient has; the rest is in the queue, under its id, or lost."""
    assert judged(FIRST) == Verdict(accepted=1, delivered=1)
    assert judged().lost == [f"m {ID} to b@example.net"]
    assert judged(FIRST, to="b@example.net,c@example.net").lost == [f"m {ID} to c@example.net"]
    queued = [(ID, "b@example.net")]
    found = verdict({"m": Acknowledged("b@example.net", ID, 0.0)}, ["m"], [], [], queued)
    assert found == Verdict(accepted=1, in_queue=1)
    assert verdict({}, ["m"], [FIRST], []) == Verdict(unanswered=1)


def test_judge_excuses_what_a_kill_excuses() -> None:
    """A copy just before its worker was killed may come again, once."""
    found = judged(FIRST, SECOND)
    assert (found.broken, found.duplicated, found.twice_max) == ([], 1, 1)
    assert found.late_s == pytest.approx(0.1)
    slow_taker = replace(FIRST, wall=100.8)  # it found the content in its socket when all was over
    assert judged(slow_taker, SECOND).broken == []


@pytest.mark.parametrize(
    "copies, kills",
    [
        pytest.param((FIRST, SECOND), (), id="nobody was killed"),
        pytest.param(
            (FIRST, SECOND), (replace(KILL, shards=frozenset([0])),), id="another worker was killed"
        ),
        pytest.param((replace(FIRST, wall=100 - WINDOW_S - 0.5), SECOND), (KILL,), id="long before the kill"),
        pytest.param(
            (FIRST, replace(SECOND, connected=60.0)), (KILL,), id="by a connection of the same worker"
        ),
        pytest.param(
            (replace(FIRST, connected=100.5), LATE), (KILL,), id="by two connections after the kill"
        ),
        pytest.param((FIRST, replace(SECOND, wall=99.95)), (KILL,), id="twice before the kill"),
        pytest.param((FIRST, SECOND, LATE), (KILL,), id="three times for one kill"),
        pytest.param((replace(FIRST, is_whole=False),), (KILL,), id="not whole"),
        pytest.param((replace(FIRST, queue_id=ID[:-1] + "1"),), (KILL,), id="under another id"),
        pytest.param((FIRST, replace(FIRST, tag="x")), (KILL,), id="sent by nobody"),
    ],
)
def test_judge_finds_what_no_kill_excuses(copies: tuple[Copy, ...], kills: tuple[Kill, ...]) -> None:
    """Each of these is a fault of the server."""
    assert judged(*copies, kills=kills).broken != []


def test_judge_limits_what_one_kill_excuses() -> None:
    """More than can have been under way to a next hop is a fault, however near the kill was."""
    copies = []
    for number in range(TWICE_MAX + 1):
        its = print_queue_id((1_700_000_000_000 + number) << 21 | 1 << 13)
        copies += [replace(each, tag=f"m{number}", queue_id=its) for each in (FIRST, SECOND)]
    sent = {copy.tag for copy in copies}
    assert verdict({}, sent, copies[:-2], [KILL]).broken == []
    assert len(verdict({}, sent, copies, [KILL]).broken) == 1
