"""The steps of the spool's schema: those that stand never change, and what is queued comes along."""

import asyncio
import hashlib
from pathlib import Path
from typing import Final

import apsw

from cmail.policy.order import rank_of
from cmail.storage.migrations import migrate
from cmail.storage.spool import FIRST, QueueFilter, RecipientState
from cmail.storage.spool_schema import STEPS
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.clock import FakeClock

_STANDING: Final = (
    "65591d021a3552749fdcda16fed8a8a820da7a5fd757976af3570623367c1985",
    "afa6a45cac2fb7d12b36fd86798663eead9f46761ef868789b8e96bc70c94a44",
    "6f548009c2dd5883df6428de8545a9b88d1d572f0df422c6137e30e8fa8e92c5",
)
_MESSAGES: Final = (  # id, priority, deliver_by_ms, size
    (10, 0, 0, 700),
    (11, 3, 0, 2 << 20),
    (12, 0, 1_800_000_000_000, 700),
    (13, -2, 0, 100_000),
)


def _made_by_the_first_step(path: str) -> None:
    """A spool as the first release left it: a message queued, one held, one delivered to one of two."""
    db = apsw.Connection(path)
    db.pragma("auto_vacuum", 2)
    db.pragma("journal_mode", "wal")
    migrate(db, STEPS[:1])
    for queue_id, priority, deliver_by_ms, size in _MESSAGES:
        db.execute(
            "INSERT INTO message VALUES (?, 'anna@example.org', '', '', 0, ?, ?, 0, 5, 5, 'test', ?, 6, 0)",
            (queue_id, priority, deliver_by_ms, size),
        )
        db.execute("INSERT INTO content VALUES (?, x'58', x'59')", (queue_id,))
        for position, state in enumerate((0, 1 if queue_id == 11 else 2)):
            db.execute(
                "INSERT INTO recipient VALUES (?, ?, 'bob@example.net', '', 0, 'relay', ?, 7, 1, 1, 1, 2, "
                "'450 later', 0, 0)",
                (queue_id, position, state),
            )
    db.execute("UPDATE shard SET is_complete = 1")
    db.close(True)


def test_steps_that_stand_are_what_they_were() -> None:
    """A spool out there was made by exactly these."""
    assert tuple(hashlib.sha256(step.encode()).hexdigest() for step in STEPS) == _STANDING


def _opened(tmp_path: Path) -> SqliteSpool:
    return SqliteSpool.open(str(tmp_path), 0, FakeClock())


def test_what_is_queued_gets_its_rank(tmp_path: Path) -> None:
    """A spool of before is brought up to date whole: order by rank, states and due times as they were."""
    folder = tmp_path / "0"
    folder.mkdir()
    _made_by_the_first_step(str(folder / "spool.sqlite3"))

    async def check() -> None:
        spool = _opened(tmp_path)
        found = await spool.due("relay", 7, FIRST, 10, 1 << 20)
        assert [m.queue_id for m in found] == [11, 12, 10, 13]
        ranks = {queue_id: rank_of(p, by, size) for queue_id, p, by, size in _MESSAGES}
        entries = await spool.select(QueueFilter(), 10)
        assert all(entry.rank == ranks[entry.queue_id] and not entry.was_too_large for entry in entries)
        held = [e.queue_id for e in entries if e.state is RecipientState.HELD]
        assert held == [11] and {e.due_ms for e in entries} == {7} and len(entries) == 8
        await spool.close()

    asyncio.run(check())


def test_a_broken_spool_of_before_is_copied_into_one_of_now(tmp_path: Path) -> None:
    """The disk failed, then came the new version: the successor has columns that the old file lacks."""
    folder = tmp_path / "0"
    folder.mkdir()
    _made_by_the_first_step(str(folder / "spool.sqlite3"))
    (folder / "spool.sqlite3.broken").write_text("the disk failed\n")

    async def check() -> None:
        spool = _opened(tmp_path)
        assert len(await spool.due("relay", 7, FIRST, 10, 1 << 20)) == 4
        await spool.close()

    asyncio.run(check())
    assert (folder / "spool.1.sqlite3").exists()
