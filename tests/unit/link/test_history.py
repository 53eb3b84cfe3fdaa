"""The history of exchanges, and the figures of all workers as one."""

import json
from pathlib import Path

import pytest

from cmail.link.history import Entry, History
from cmail.link.waiting import Gone, Tally, Waiting, add_waiting, read_gone
from tests.unit.link.test_state import Log


def opened(path: Path) -> tuple[History, Log]:
    log = Log()
    made = History(str(path / "link-history.json"), log)
    made.open()
    return made, log


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    """The last fifty, each with all that is known of it."""
    made, _ = opened(tmp_path)
    for n in range(53):
        made.add(Entry(n, "its time has come", "fibre", n + 1, "all has gone", 1, 2, 3, 4, 0.5))
    made.entries[-1].tell("kick", "kick: answered")
    made.entries[-1].tell("collect", "2 fetched")
    made.save(made.octets())
    again, log = opened(tmp_path)
    assert again.entries == made.entries and len(again.entries) == 50
    assert again.entries[-1].kicks == ["kick: answered"] and not log.lines


def test_one_that_was_cut_off_is_over(tmp_path: Path) -> None:
    """The power went: nobody knows when it ended, and that is said. It lasted until it was written down last, if the
    clock was not set back since it began."""
    for now_ms, end_ms in ((0, 1000), (5000, 5000), (900, 1000)):
        made, _ = opened(tmp_path)
        made.add(Entry(1000, "its time has come"))
        made.save(made.octets(now_ms))
        assert made.entries[-1].end_ms == 0, "it goes on"
        again, _ = opened(tmp_path)
        assert (again.entries[-1].end_ms, again.entries[-1].ended) == (end_ms, "the server was cut off")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b'{"exchanges": 3}',
        b'{"exchanges": [{}]}',
        b'{"exchanges": [{"begin_ms": "1", "why": ""}]}',
        b'{"exchanges": [{"begin_ms": 1, "why": 2}]}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_makes_no_sense_is_said(tmp_path: Path, octets: bytes) -> None:
    """It begins anew; nothing ends by it."""
    (tmp_path / "link-history.json").write_bytes(octets)
    made, log = opened(tmp_path)
    assert made.entries == [] and "link-history.json" in log.lines[0]


def test_what_a_later_version_writes_is_read(tmp_path: Path) -> None:
    """Fields that we don't know are left out."""
    row = {"begin_ms": 1, "why": "x", "end_ms": 2, "ended": "y", "weather": "fine"}
    (tmp_path / "link-history.json").write_text(json.dumps({"exchanges": [row]}))
    assert opened(tmp_path)[0].entries == [Entry(1, "x", "", 2, "y")]


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    """The exchange goes on."""
    made, log = opened(tmp_path / "gone")
    made.save(made.octets())
    assert "cannot be written" in log.lines[0]


def test_what_waits_at_all_workers() -> None:
    """Sums, and the oldest of them; what is no number counts nothing."""
    one = {
        "messages": 2,
        "octets": 10,
        "urgent": 1,
        "admitted_messages": 1,
        "admitted_octets": 4,
        "oldest_ms": 50,
    }
    assert add_waiting([one, {**one, "oldest_ms": 40}, {"messages": "x", "oldest_ms": None}, {}]) == Waiting(
        4, 20, 2, 2, 8, 40
    )
    assert add_waiting([]).oldest_ms == 0


def test_counters_of_a_worker_that_is_started_anew_begin_at_nothing() -> None:
    """What went is neither lost nor counted twice."""
    tally = Tally()
    assert tally.take("worker-0", Gone(2, 100, 1, 50)) == Gone(2, 100, 1, 50)
    assert tally.take("worker-0", Gone(3, 150, 1, 50)) == Gone(1, 50, 0, 0)
    assert tally.take("worker-0", Gone(1, 30, 0, 0)) == Gone(1, 30, 0, 0)
    tally.take("worker-1", read_gone({"octets_in": 7, "octets_out": -3}))
    assert tally.total == Gone(4, 180, 1, 57) and tally.total.octets == 237
