"""SqliteSpool when the disk is full, fails, or was left in the middle of something."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from cmail.storage import durable, spool_generations
from cmail.storage.migrations import SchemaTooNewError
from cmail.storage.spool import (
    Change,
    Final,
    QueueFilter,
    RecipientState,
    Settlement,
    SpoolError,
    SpoolFullError,
)
from cmail.storage.spool_schema import open_for_writing
from cmail.storage.spool_shards import ShardTakenError, shards
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import SpoolPlace
from tests.support.until import until

DONE = (Final(0, RecipientState.DELIVERED),)
LOG = "-wal"


class TroubledPlace(SpoolPlace):
    """A SqliteSpool on a disk that fails when told to; what it reported."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sqlite", folder)
        self.disk = FaultyDisk()
        self.reports: list[str] = []
        self.folder = folder / "0"

    def _opened(self) -> SqliteSpool:
        return SqliteSpool.open(
            str(self._folder), 0, self.clock, report=self.reports.append, vfs=self.disk.name
        )

    async def subjects(self) -> list[int]:
        """The queue ids of all that is queued."""
        return [m.queue_id for m in await self.all_due()]

    def files(self, folder: str = "") -> set[str]:
        """Names in the shard's folder, or in one below it."""
        return {p.name for p in (self.folder / folder).iterdir() if p.is_file()}


def on_a_bad_disk(test: Callable[[TroubledPlace], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def whole() -> None:
            place = TroubledPlace(tmp_path)
            try:
                await asyncio.wait_for(test(place), 60)
            finally:
                place.disk.heal()
                place.disk.gate.set()
                await place.close()

        asyncio.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__  # type: ignore[attr-defined]
    return run


@on_a_bad_disk
async def test_the_answer_comes_after_the_sync(place: TroubledPlace) -> None:
    """Rule 1: when accept() resolves, the last thing done to the log was a sync that succeeded."""
    for message in [place.message() for _ in range(3)]:
        place.disk.done.clear()
        await place.spool.accept(message)
        assert ("write", "spool.sqlite3-wal") in place.disk.done
        assert place.disk.done[-1] == ("sync", "spool.sqlite3-wal")


@on_a_bad_disk
async def test_a_large_file_is_synced_before_its_row(place: TroubledPlace) -> None:
    """Content file, then its folder, then the row that names it."""
    order: list[str] = []
    message = place.message_in_file()
    syncs = {"sync_file": durable.sync_file, "sync_folder": durable.sync_folder}

    def noted(name: str) -> Callable[[str], None]:
        def sync(path: str) -> None:
            syncs[name](path)
            order.append(os.path.basename(path))

        return sync

    with pytest.MonkeyPatch.context() as patch:
        for name in syncs:
            patch.setattr(durable, name, noted(name))
        place.disk.fails = lambda what, name: order.append(what) if name.endswith(LOG) else None
        await place.spool.accept(message)
    file, folder = os.path.basename(message.content.path), message.content.path.split("/")[-2]
    first_write = order.index("write")
    assert order.index(file) < order.index(folder) < first_write


@on_a_bad_disk
async def test_while_one_batch_syncs_the_next_gathers(place: TroubledPlace) -> None:
    """Group commit: what comes during a sync is written together, with one more sync."""
    await place.spool.accept(place.message())
    place.disk.gate.clear()
    first = place.spool.accept(place.message())
    await asyncio.to_thread(place.disk.at_gate.wait, 10)
    others = [place.spool.accept(place.message()) for _ in range(50)]
    place.disk.done.clear()
    place.disk.gate.set()
    await asyncio.gather(first, *others)
    assert [what for what, _ in place.disk.done].count("sync") <= 3


@on_a_bad_disk
async def test_a_failed_sync_ends_the_file(place: TroubledPlace) -> None:
    """Rule 2: the batch fails, the file is marked and not touched again, what was good lives on."""
    before = place.message()
    await place.spool.accept(before)
    place.disk.fail(apsw.IOError, "sync", LOG, times=1)
    failed = await asyncio.gather(
        *(place.spool.accept(place.message()) for _ in range(3)), return_exceptions=True
    )
    assert [type(error) for error in failed] == [SpoolError] * 3
    after = place.message()
    await place.spool.accept(after)
    assert await place.subjects() == [before.queue_id, after.queue_id]
    assert [m.queue_id for m in place.heard] == [before.queue_id, after.queue_id]
    failure = place.disk.done.index(("sync failed", "spool.sqlite3-wal"))
    assert {name[:8] for _, name in place.disk.done[failure + 1 :]} == {"spool.1."}
    assert "spool.sqlite3" not in place.files()
    assert {"spool.sqlite3", "spool.sqlite3.broken", "spool.sqlite3-wal"} <= place.files("aside")
    assert any("given up" in words for words in place.reports)
    await place.restart()
    assert await place.subjects() == [before.queue_id, after.queue_id]


@on_a_bad_disk
async def test_an_outcome_outlives_a_failed_sync(place: TroubledPlace) -> None:
    """Who was delivered is not delivered again: the outcome is recorded in the next generation."""
    message = place.message()
    await place.spool.accept(message)
    place.disk.fail(apsw.IOError, "sync", LOG, times=1)
    await place.spool.settle(Settlement(message.queue_id, DONE, is_whole=True))
    assert not place.spool.is_blocked
    assert await place.subjects() == []


@on_a_bad_disk
async def test_a_disk_that_fails_for_good(place: TroubledPlace) -> None:
    """No successor can be made: 451 for each, outcomes wait; when the disk is back all goes on."""
    message = place.message()
    await place.spool.accept(message)
    place.disk.fail(apsw.IOError, "sync")
    with pytest.raises(SpoolError):
        await place.spool.accept(place.message())
    settled = place.spool.settle(Settlement(message.queue_id, DONE, is_whole=True))
    with pytest.raises(SpoolError):
        await place.spool.accept(place.message())
    assert isinstance(place.spool.refusal(), SpoolError) and place.spool.is_blocked
    assert await place.subjects() == [message.queue_id]  # it can still be read
    place.disk.heal()
    place.clock.advance(2)
    after = place.message()
    await place.spool.accept(after)
    await settled
    assert await place.subjects() == [after.queue_id]
    assert place.spool.refusal() is None and not place.spool.is_blocked


@on_a_bad_disk
async def test_a_disk_that_comes_back_is_noticed_without_mail(place: TroubledPlace) -> None:
    """MAIL is refused while there is no database to write to, so no message comes that would make the
    writer try again: it tries by itself, and says once that it could not."""
    await place.spool.accept(place.message())
    place.disk.fail(apsw.IOError, "sync")
    with pytest.raises(SpoolError):
        await place.spool.accept(place.message())
    for _ in range(3):
        await asyncio.sleep(0.6)  # longer than the writer's patience
        place.clock.advance(2)
    assert place.spool.refusal() is not None
    assert sum("no successor" in report for report in place.reports) == 1, place.reports
    place.disk.heal()
    await until(lambda: place.spool.refusal() is None)
    await place.spool.accept(place.message())


@on_a_bad_disk
async def test_a_failed_checkpoint_ends_the_file_too(place: TroubledPlace) -> None:
    """The database itself cannot be synced: what the log has is copied, nothing is lost."""
    messages = [place.message() for _ in range(5)]
    place.disk.fail(apsw.IOError, "sync", ".sqlite3", times=1)
    for message in messages:
        await place.spool.accept(message)
    await place.spool.change(QueueFilter(), Change.FLUSH, {})  # a checkpoint comes after a change
    await place.spool.accept(place.message())
    assert (await place.subjects())[:5] == [m.queue_id for m in messages]
    assert "spool.sqlite3.broken" in place.files("aside")


@on_a_bad_disk
async def test_a_full_disk_is_different(place: TroubledPlace) -> None:
    """Rolled back, 452, and on with the same file when there is room; outcomes wait meanwhile."""
    message = place.message()
    await place.spool.accept(message)
    place.disk.fail(apsw.FullError, "write", LOG)
    with pytest.raises(SpoolFullError):
        await place.spool.accept(place.message())
    settled = place.spool.settle(Settlement(message.queue_id, DONE, is_whole=True))
    with pytest.raises(SpoolFullError):
        await place.spool.accept(place.message())
    assert place.spool.is_blocked and not settled.done()
    place.disk.heal()
    after = place.message()
    await place.spool.accept(after)
    await settled
    assert not place.spool.is_blocked
    assert await place.subjects() == [after.queue_id]
    assert place.files() >= {"spool.sqlite3"}
    full, again = place.reports
    assert full.startswith("no space is left for ") and again.startswith("the disk took something again")


@on_a_bad_disk
async def test_a_refused_large_message_leaves_no_file(place: TroubledPlace) -> None:
    """When accept() fails nothing of it is there."""
    message = place.message_in_file()
    place.disk.fail(apsw.FullError, "write", LOG)
    with pytest.raises(SpoolFullError):
        await place.spool.accept(message)
    assert not place.has_file(message)


@on_a_bad_disk
async def test_one_bad_message_does_not_harm_the_others(place: TroubledPlace) -> None:
    """A message that cannot be written fails alone."""
    twice = place.message()
    await place.spool.accept(twice)
    good = [place.message() for _ in range(3)]
    ends = await asyncio.gather(
        *(place.spool.accept(m) for m in (good[0], twice, good[1], good[2])), return_exceptions=True
    )
    assert [isinstance(end, SpoolError) for end in ends] == [False, True, False, False]
    assert await place.subjects() == [m.queue_id for m in (twice, *good)]


@on_a_bad_disk
async def test_a_crash_while_the_copy_was_made(place: TroubledPlace) -> None:
    """A successor that does not say it is complete is made again from the file before it."""
    message = place.message()
    await place.spool.accept(message)
    await place.close()
    (place.folder / "spool.sqlite3.broken").write_text("sync failed")
    open_for_writing(str(place.folder / "spool.1.sqlite3")).close()  # and nothing in it yet
    place._spool = None
    assert await place.subjects() == [message.queue_id]
    assert place.files() >= {"spool.1.sqlite3"}


@on_a_bad_disk
async def test_a_broken_file_at_start_is_never_fatal(place: TroubledPlace) -> None:
    """Rule 3: a database that is none is given up and kept aside, the server starts."""
    await place.spool.accept(place.message())
    await place.close()
    for name in place.files():
        if name.startswith("spool."):
            (place.folder / name).write_bytes(b"this is no database at all" * 1000)
    place._spool = None
    message = place.message()
    await place.spool.accept(message)
    assert await place.subjects() == [message.queue_id]
    assert any("nothing in it could be read" in words for words in place.reports)
    assert "spool.sqlite3" in place.files("aside")


@on_a_bad_disk
async def test_a_disk_that_fails_at_start(place: TroubledPlace) -> None:
    """No spool can be made: that is said in one kind of error, and the shard is free again."""
    place.disk.fail(apsw.IOError, "sync")
    with pytest.raises(SpoolError, match=r"0/spool\.sqlite3"):
        _ = place.spool
    place.disk.heal()
    await place.spool.accept(place.message())


@on_a_bad_disk
async def test_files_of_nobody_are_set_aside(place: TroubledPlace) -> None:
    """What came in and was never accepted is kept aside and told, not delivered, not fatal."""
    lost, kept = place.message_in_file(), place.message_in_file()
    await place.spool.accept(kept)
    (place.folder / "content" / "00").mkdir(exist_ok=True)
    (place.folder / "content" / "00" / "strange name").write_text("?")
    await place.restart()
    assert await place.subjects() == [kept.queue_id]
    assert place.files("aside") == {"strange name", os.path.basename(lost.content.path)}
    assert len(place.spool.set_aside) == len(place.reports) == 2


@on_a_bad_disk
async def test_a_message_without_its_content_is_held(place: TroubledPlace) -> None:
    """Rule 3: what lost its file, or the end of it, is not delivered, and an operator sees why."""
    gone, cut, whole = (place.message_in_file() for _ in range(3))
    for message in (gone, cut, whole):
        await place.spool.accept(message)
    await place.close()
    os.unlink(gone.content.path)
    os.truncate(cut.content.path, 10)
    place._spool = None
    assert await place.subjects() == [whole.queue_id]
    held = await place.spool.select(QueueFilter(states=(RecipientState.HELD,)), 10)
    assert [e.queue_id for e in held] == [gone.queue_id, cut.queue_id]
    assert all("content" in e.reason for e in held)


@on_a_bad_disk
async def test_a_shard_has_one_owner(place: TroubledPlace) -> None:
    """A second process is told; when the first is gone it can adopt the shard."""
    message = place.message()
    await place.spool.accept(message)
    with pytest.raises(ShardTakenError):
        place._opened()
    assert shards(str(place._folder)) == [0]
    assert shards(str(place._folder / "nowhere")) == []
    await place.close()
    place._spool = None
    assert await place.subjects() == [message.queue_id]


@on_a_bad_disk
async def test_a_newer_schema_is_not_touched(place: TroubledPlace) -> None:
    """A database of a newer CMail stops this one with words; nothing is changed in it."""
    await place.spool.accept(place.message())
    await place.close()
    newer = apsw.Connection(str(place.folder / "spool.sqlite3"))
    newer.pragma("user_version", 1000)
    newer.close()
    place._spool = None
    with pytest.raises(SchemaTooNewError, match="newer CMail"):
        _ = place.spool
    newer = apsw.Connection(str(place.folder / "spool.sqlite3"))
    assert newer.pragma("user_version") == 1000
    newer.close()


@on_a_bad_disk
async def test_low_space_is_said_before_it_hurts(place: TroubledPlace) -> None:
    """Rule 9: refusal() names the space that is missing; it asks the disk once a second, elsewhere."""
    spool: Any = SqliteSpool.open(str(place._folder), 1, place.clock, free_space_min=1 << 60)
    try:
        assert isinstance(spool.refusal(), SpoolFullError)
        assert "MiB are free" in str(spool.refusal())
    finally:
        await spool.close()
    assert place.spool.refusal() is None


@on_a_bad_disk
async def test_close_writes_what_waits(place: TroubledPlace) -> None:
    """Stopping the server loses nothing that was handed over, and leaves no log behind."""
    messages = [place.message() for _ in range(20)]
    futures = [place.spool.accept(m) for m in messages]
    await place.restart()
    assert all(f.done() and f.exception() is None for f in futures)
    assert await place.subjects() == [m.queue_id for m in messages]


@on_a_bad_disk
async def test_readers_see_what_is_committed(place: TroubledPlace) -> None:
    """While a batch waits for its sync nobody sees it."""
    await place.spool.accept(place.message())
    place.disk.gate.clear()
    waiting = place.spool.accept(place.message())
    await asyncio.to_thread(place.disk.at_gate.wait, 10)
    assert (await place.spool.figures()).messages_count == 1
    place.disk.gate.set()
    await waiting
    assert (await place.spool.figures()).messages_count == 2


@on_a_bad_disk
async def test_what_cannot_be_read_now_is_not_left_behind(place: TroubledPlace) -> None:
    """The database is given up while the disk cannot even be read: no successor without its messages begins,
    mail is refused in plain words, and when the disk can be read all of them are there."""
    messages = [place.message() for _ in range(3)]
    for message in messages:
        await place.spool.accept(message)
    with pytest.MonkeyPatch.context() as patch:

        def unreadable(path: str) -> apsw.Connection:
            raise apsw.IOError("disk I/O error")

        patch.setattr(spool_generations, "open_for_reading", unreadable)
        place.disk.fail(apsw.IOError, "sync", LOG, times=1)
        with pytest.raises(SpoolError, match="the disk failed at "):
            await place.spool.accept(place.message())
        with pytest.raises(SpoolError):
            await place.spool.accept(place.message())
        [words] = await place.spool.troubles()
        assert words.startswith("nothing can be accepted: the disk failed at ")
        assert isinstance(place.spool.refusal(), SpoolError)
    place.clock.advance(2)
    await until(lambda: place.spool.refusal() is None)
    assert await place.subjects() == [m.queue_id for m in messages]
    assert await place.spool.troubles() == []


@on_a_bad_disk
async def test_a_folder_that_was_moved_away_and_back(place: TroubledPlace) -> None:
    """What is written where no start would find it is not acknowledged: refused in plain words until the
    folder is back; outcomes wait, and nothing is lost."""
    first, second = place.message(), place.message()
    await place.spool.accept(first)
    await place.spool.accept(second)
    moved = place.folder.with_name("elsewhere")
    place.folder.rename(moved)
    place.clock.advance(2)
    with pytest.raises(SpoolError, match="is not there any more"):
        await place.spool.accept(place.message())
    settled = place.spool.settle(Settlement(first.queue_id, DONE, is_whole=True))
    await until(lambda: place.spool.is_blocked)
    troubles = await place.spool.troubles()
    assert "is not there any more" in troubles[0] and "1 deliveries ended" in troubles[1]
    moved.rename(place.folder)
    place.clock.advance(2)
    await settled
    assert await place.spool.troubles() == []
    assert await place.subjects() == [second.queue_id]
    assert any("is there again" in words for words in place.reports)


@on_a_bad_disk
async def test_a_folder_that_was_removed(place: TroubledPlace) -> None:
    """The shard is deleted while it is in use: what the open file still has is made durable in a new one,
    locked as the one before, and a start after that finds it."""
    messages = [place.message() for _ in range(3)]
    for message in messages:
        await place.spool.accept(message)
    shutil.rmtree(place.folder)
    place.clock.advance(2)
    await place.spool.accept(place.message())
    await place.spool.accept(place.message_in_file())
    with pytest.raises(ShardTakenError):
        place._opened()
    await place.restart()
    assert len(await place.subjects()) == 5
    assert any("3 messages were copied" in words for words in place.reports)


@on_a_bad_disk
async def test_another_database_in_its_place(place: TroubledPlace) -> None:
    """Somebody puts another file there while ours is open: it is not written, and the words say what to do."""
    await place.spool.accept(place.message())
    database = place.folder / "spool.sqlite3"
    database.rename(place.folder / "old")
    database.write_bytes(b"")
    place.clock.advance(2)
    with pytest.raises(SpoolError, match="start the server again"):
        await place.spool.accept(place.message())
    assert database.read_bytes() == b""
    (place.folder / "old").rename(database)
    place.clock.advance(2)
    await place.spool.accept(place.message())


@on_a_bad_disk
async def test_a_message_that_cannot_be_read_now_is_not_left_behind(place: TroubledPlace) -> None:
    """While the successor is made the disk does not give us one of the messages: it is tried again, not made
    without it; and that the database is given up stands in the log once."""
    messages = [place.message() for _ in range(3)]
    for message in messages:
        await place.spool.accept(message)
    copy = spool_generations._Reading.copy_message

    def unreadable(reading: spool_generations._Reading, target: apsw.Connection, queue_id: int) -> bool:
        if queue_id == messages[1].queue_id:
            reading._failed(apsw.IOError("disk I/O error"))
            return False
        return copy(reading, target, queue_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_generations._Reading, "copy_message", unreadable)
        place.disk.fail(apsw.IOError, "sync", LOG, times=1)
        for _ in range(3):
            with pytest.raises(SpoolError):
                await place.spool.accept(place.message())
            place.clock.advance(2)
    await until(lambda: place.spool.refusal() is None)
    assert await place.subjects() == [m.queue_id for m in messages]
    assert sum("is given up" in words for words in place.reports) == 1
