"""SqliteSpool: the spool of one shard on one machine, as the event loop sees it.

Writes go to the writer's thread, questions to a few readers' threads; nothing here blocks."""

import asyncio
import contextlib
import threading
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import apsw

from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId, QueueIds, print_queue_id
from cmail.policy.routing import is_internet
from cmail.storage import spool_changes
from cmail.storage.spool import (
    ALL,
    Change,
    Changed,
    NewMessage,
    NextDue,
    Place,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    RouteSummary,
    RouteWaits,
    Settlement,
    SpoolClosedError,
    SpoolError,
    SpoolFigures,
    Wanted,
)
from cmail.storage.spool_files import ContentFiles
from cmail.storage.spool_generations import Generations
from cmail.storage.spool_reader import SpoolReader
from cmail.storage.spool_rows import accept_rows, settle_rows
from cmail.storage.spool_shards import ShardLock, ShardTakenError
from cmail.storage.spool_space import FreeSpace
from cmail.storage.spool_writer import Job, SpoolWriter
from cmail.world import Clock

_READERS: Final = 2  # threads that read: one long question must not keep the scheduler waiting
_PIECE: Final = 2000  # recipients changed in one commit where all need not be one
_ROW_OCTETS: Final = 512  # what a row of work weighs, about, beside the content
FREE_SPACE_MIN: Final = 64 * 2**20
_HAND_OVER_AFTER_S: Final = 0.001  # a batch takes less, when the writer gets to run
_HAND_OVER_S: Final = 0.0001  # a thread has waked up by then


class SqliteSpool:
    """The Spool of one shard: DATA/spool/<shard>/. Owns it (flock) from open() to close()."""

    def __init__(
        self,
        lock: ShardLock,
        shard: int,
        clock: Clock,
        needs_link: Callable[[str], bool],
        free_space_min: int,
        report: Callable[[str], None],
        vfs: str | None,
    ) -> None:
        self.shard = shard
        self._lock = lock
        self._clock = clock
        self._needs_link = needs_link
        self._report = report
        self._loop: AbstractEventLoop | None = None
        self._listener: Callable[[NewMessage], None] | None = None
        self._gathering: list[Job] = []
        self._outstanding = 0
        self._hand_over = threading.Lock()
        self._hand_over.acquire()
        self._hand_over_timer: TimerHandle | None = None
        self._is_closed = False
        self._space = FreeSpace(lock.folder, free_space_min, clock.monotonic, self._said)
        self._files = ContentFiles(lock.folder)
        self._generations = generations = Generations(lock.folder, self._said, vfs, self._remade)
        self._writer = SpoolWriter(
            generations, self._files, self._answer, self._last_id, clock.monotonic, self._said
        )
        self._reader = SpoolReader(generations, self._files, clock.wall_ms)
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="spool-read")
        self._last_queue_id = _last_queue_id(self._writer.connection)
        self._ids = QueueIds(shard, clock.wall_ms, self._last_queue_id)
        self.set_aside = self._look_over_files()

    def _look_over_files(self) -> list[str]:
        """Files without a message are set aside, messages without their file are held (rule 3)."""
        moved = self._files.set_aside(self._reader.known_files)
        for path in moved:
            self._report(f"{path} belongs to no message; it was set aside, it is not delivered")
        for queue_id in self._files.incomplete(self._reader.file_sizes()):
            spool_changes.hold(self._writer.connection, queue_id, "its content is not there whole")
            path = self._files.path(queue_id)
            self._report(f"{print_queue_id(queue_id)} is held: {path} is not there, or not whole")
        self._reader.release()  # this thread will not ask again
        return moved

    @classmethod
    def open(
        cls,
        folder: str,
        shard: int,
        clock: Clock,
        *,
        needs_link: Callable[[str], bool] = is_internet,
        free_space_min: int = FREE_SPACE_MIN,
        report: Callable[[str], None] = lambda words: None,
        vfs: str | None = None,
    ) -> "SqliteSpool":
        """Take a shard of DATA/spool; makes it when it is new. Blocks: call it before the loop runs,
        or in a thread. ShardTakenError: another process has it; SchemaTooNewError: exit 78;
        SpoolError: the disk does not let us."""
        lock = ShardLock(folder, shard)
        try:
            spool = cls(lock, shard, clock, needs_link, free_space_min, report, vfs)
        except apsw.Error as error:
            lock.release()
            raise SpoolError(f"{lock.folder}/spool.sqlite3: {type(error).__name__}: {error}") from error
        except BaseException:
            lock.release()
            raise
        spool._writer.start()
        return spool

    def new_queue_id(self) -> QueueId:
        """The id for a message that is about to come."""
        queue_id = self._ids.new()
        self._last_queue_id = queue_id
        return queue_id

    def content_path(self, queue_id: QueueId) -> str:
        """Where large content of this message is to be written."""
        return self._files.make_room(queue_id)

    def accept(self, message: NewMessage) -> "Future[None]":
        """Make a message durable."""
        assert len(message.routes) == len(message.envelope.recipients) > 0
        content = message.content
        assert not content.path or content.path == self._files.path(message.queue_id)
        rows = accept_rows(message, self._needs_link)
        octets = len(content.octets) + len(content.prefix) + len(rows) * _ROW_OCTETS
        return self._put(Job(self._future(), rows, octets, announce=(message,), path=content.path))

    def settle(self, settlement: Settlement) -> "Future[None]":
        """Record what an attempt did."""
        job = Job(self._future(), [], is_settlement=True, announce=settlement.owed)
        for owed in settlement.owed:
            assert owed.content.is_in_memory
            job.rows += accept_rows(owed, self._needs_link)
            job.octets += len(owed.content.octets)
        if settlement.is_whole and not settlement.added:
            job.whole_id = settlement.queue_id
        else:
            job.rows += settle_rows(settlement)
        job.octets += (len(job.rows) + 1) * _ROW_OCTETS
        return self._put(job)

    def listen(self, listener: Callable[[NewMessage], None]) -> None:
        """Call it in the loop with each message that became durable."""
        self._listener = listener

    @property
    def is_blocked(self) -> bool:
        """An outcome could not be recorded yet."""
        return self._writer.is_blocked

    def refusal(self) -> SpoolError | None:
        """Why a new message could not be taken now."""
        if self._space.is_due():
            self._pool.submit(self._look)
        if self._writer.broken:
            return SpoolError(self._writer.broken)
        return self._space.refusal

    def troubles(self) -> "Future[list[str]]":
        """What is wrong with the spool now, in plain words; empty when nothing is."""
        return self._ask(self._troubles)

    def _look(self) -> str:
        """In a thread: is there room, and does the database stand where it was opened? When it does not
        the writer is woken, which else sleeps while there is nothing to write."""
        self._space.look()
        words = self._generations.where()[1]
        if words:
            self._writer.put([])
        return words

    def _troubles(self) -> list[str]:
        words = self._writer.broken or self._look()
        found = [f"nothing can be accepted: {words}"] if words else []
        if (low := self._space.refusal) is not None and not words:
            found.append(f"new mail has to wait outside (452): {low}")
        elif self._writer.full and not words:
            found.append(self._writer.full)
        if count := self._writer.unrecorded_count:
            found.append(
                f"how {count} deliveries ended cannot be recorded yet: nothing more is sent from"
                f" {self._lock.folder} until it is"
            )
        return found

    def _remade(self) -> None:
        """In the writer's thread: the shard's folder was removed and made again."""
        try:
            self._lock.take_again()
        except ShardTakenError as error:
            raise OSError(str(error)) from None
        self._files.forget()

    def due(
        self, route: str, now_ms: int, after: Place, limit: int, octets_max: int, wanted: Wanted = ALL
    ) -> "Future[list[QueuedMessage]]":
        """Queued recipients of a route that are due, in order."""
        return self._ask(self._reader.due, route, now_ms, after, limit, octets_max, wanted)

    def next_due(self, route: str, after_ms: int, wanted: Wanted = ALL) -> "Future[NextDue | None]":
        """The first due time of a route beyond after_ms."""
        return self._ask(self._reader.next_due, route, after_ms, wanted)

    def routes(self) -> "Future[list[RouteSummary]]":
        """Routes that have queued recipients."""
        return self._ask(self._reader.routes)

    def old(self, arrived_before_wall_ms: int, limit: int, after: QueueId) -> "Future[list[QueuedMessage]]":
        """Messages with queued recipients that arrived before a time."""
        return self._ask(self._reader.old, arrived_before_wall_ms, limit, after)

    def late(self, link_ms: int, limit: int, after: QueueId) -> "Future[list[QueuedMessage]]":
        """Messages whose deadline is over."""
        return self._ask(self._reader.late, link_ms, limit, after)

    def next_deadline(self, link_ms: int) -> "Future[int]":
        """The first deadline later than this."""
        return self._ask(self._reader.next_deadline, link_ms)

    def reroute(self, choose: Callable[[str], str]) -> "Future[int]":
        """Give each queued or held recipient the route choose(forward_path)."""
        return asyncio.ensure_future(self._reroute(choose))

    def wake(self, route: str, kind: NotNow, now_ms: int) -> "Future[int]":
        """Recipients that wait because of `kind` become due."""
        return self._in_pieces(lambda c: spool_changes.wake(c, route, kind, now_ms, _PIECE))

    def keep_time(self, route: str, wall_ms: int, link_ms: int) -> "Future[int]":
        """What waits for a time of the wall is due then, though the link was down meanwhile."""
        return self._task(lambda c: spool_changes.keep_time(c, route, wall_ms, link_ms))

    def let_go(self, route: str, now_ms: int) -> "Future[int]":
        """Recipients that were never released become due."""
        return self._in_pieces(lambda c: spool_changes.let_go(c, route, now_ms, _PIECE))

    def too_large(self, route: str, size_max: int, limit: int) -> "Future[list[QueueEntry]]":
        """Queued recipients whose message is larger."""
        return self._ask(self._reader.too_large, route, size_max, limit)

    def hold_too_large(self, queue_id: QueueId, positions: Sequence[int], reason: str) -> "Future[int]":
        """Hold recipients because of their size."""
        return self._task(lambda c: spool_changes.hold_too_large(c, queue_id, positions, reason))

    def ask_anew(self, queue_id: QueueId, positions: Sequence[int]) -> "Future[int]":
        """Recipients that were held because of their size are queued."""
        return self._task(lambda c: spool_changes.ask_anew(c, queue_id, positions))

    def waits(self, wanted: Wanted = ALL, *, is_held_too: bool = False) -> "Future[list[RouteWaits]]":
        """How much is queued on each route."""
        return self._ask(self._reader.waits, wanted, is_held_too)

    def select(
        self, what: QueueFilter, limit: int, after: tuple[int, int] = (0, -1)
    ) -> "Future[list[QueueEntry]]":
        """The first recipients of a filter."""
        return self._ask(self._reader.select, what, limit, after)

    def count(self, what: QueueFilter) -> "Future[int]":
        """How many recipients a filter means."""
        return self._ask(self._reader.count, what)

    def change(self, what: QueueFilter, change: Change, now_ms: Mapping[str, int]) -> "Future[Changed]":
        """Do it to every recipient of the filter."""
        wall_ms = self._clock.wall_ms()
        return self._task(lambda c: spool_changes.change(c, what, change, now_ms, wall_ms))

    def message(self, queue_id: QueueId) -> "Future[QueuedMessage | None]":
        """One message with all recipients that are not final."""
        return self._ask(self._reader.message, queue_id)

    def figures(self) -> "Future[SpoolFigures]":
        """Counts, for status and metrics."""
        return self._ask(self._reader.figures)

    async def close(self) -> None:
        """Commit what waits, checkpoint, close."""
        if self._is_closed:
            return
        self._is_closed = True
        self._flush()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        self._pool.shutdown()
        self._reader.close()  # before the writer, whose close empties the log
        self._writer.close()
        self._files.close()
        self._lock.release()

    def _future(self) -> "Future[Any]":
        if self._is_closed:
            raise SpoolClosedError("the spool is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.create_future()

    def _put(self, job: Job) -> "Future[Any]":
        """Gather what one turn of the loop has to write: the writer is woken once for all of it."""
        assert self._loop is not None
        if not self._gathering:
            self._loop.call_soon(self._flush)
        self._gathering.append(job)
        return job.future

    def _flush(self) -> None:
        if self._gathering:
            self._outstanding += len(self._gathering)
            self._writer.put(self._gathering)
            self._gathering = []
            if self._hand_over_timer is None and self._loop is not None:
                self._wait_to_hand_over()

    def _answer(self, jobs: list[Job], error: SpoolError | None) -> None:
        """In the writer's thread: tell the loop, with one call for all of them."""
        if jobs and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._resolve, jobs, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for an answer any more
            with contextlib.suppress(RuntimeError):  # nobody stands aside
                self._hand_over.release()

    def _resolve(self, jobs: list[Job], error: SpoolError | None) -> None:
        self._outstanding -= len(jobs)
        if not self._outstanding and self._hand_over_timer is not None:
            self._hand_over_timer.cancel()
            self._hand_over_timer = None
        for job in jobs:
            if error is None and self._listener is not None:
                for message in job.announce:
                    self._tell(message)
            if job.future.done():
                continue  # whoever asked has gone
            if error is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(job.answer)

    def _tell(self, message: NewMessage) -> None:
        assert self._listener is not None and self._loop is not None
        try:
            self._listener(message)
        except Exception as error:  # its fault must not keep the others from their answers
            self._loop.call_exception_handler({"message": "spool listener", "exception": error})

    # The interpreter lock: a loop that is never idle takes it back faster than a waiting thread
    # wakes up, again and again: bench/spool.py --never-idle shows 200 messages/s and waits of half
    # a second. While the writer has work for longer than usual, the loop stands aside for an
    # instant now and then (7,000/s, 5 ms).

    def _wait_to_hand_over(self) -> None:
        assert self._loop is not None
        self._hand_over_timer = self._loop.call_later(_HAND_OVER_AFTER_S, self._stand_aside)

    def _stand_aside(self) -> None:
        self._hand_over_timer = None
        if self._outstanding:
            self._hand_over.acquire(timeout=_HAND_OVER_S)
            self._wait_to_hand_over()

    def _task(self, task: Callable[[apsw.Connection], Any]) -> "Future[Any]":
        return self._put(Job(self._future(), [], task=task))

    def _ask(self, question: Callable[..., Any], *args: Any) -> "Future[Any]":
        return asyncio.ensure_future(self._asked(question, *args))

    async def _asked(self, question: Callable[..., Any], *args: Any) -> Any:
        if self._is_closed:
            raise SpoolClosedError("the spool is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, question, *args)
        except apsw.Error as error:
            raise SpoolError(f"spool: {type(error).__name__}: {error}") from error

    def _in_pieces(self, change: Callable[[apsw.Connection], int]) -> "Future[int]":
        return asyncio.ensure_future(self._changed_in_pieces(change))

    async def _changed_in_pieces(self, change: Callable[[apsw.Connection], int]) -> int:
        """So that mail that comes in meanwhile is not kept waiting."""
        changed = 0
        while True:
            piece: int = await self._task(change)
            changed += piece
            if piece < _PIECE:
                return changed

    async def _reroute(self, choose: Callable[[str], str]) -> int:
        changed, after = 0, (0, -1)
        while page := await self._ask(self._reader.waiting_page, after, _PIECE):
            after = page[-1][:2]
            chosen = ((row[0], row[1], choose(row[2]), row[3]) for row in page)
            moved = [(i, n, to, self._needs_link(to)) for i, n, to, before in chosen if to != before]
            if moved:
                changed += await self._task(_rerouting(moved))
        return changed

    def _last_id(self) -> int:
        return self._last_queue_id

    def _said(self, words: str) -> None:
        """Report from any thread: in the loop once there is one."""
        if self._loop is None:
            self._report(words)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._report, words)


def _rerouting(moved: list[tuple[int, int, str, bool]]) -> Callable[[apsw.Connection], int]:
    return lambda connection: spool_changes.reroute(connection, moved)


def _last_queue_id(connection: apsw.Connection) -> int:
    last: int = connection.execute(
        "SELECT max(last_id, coalesce((SELECT max(id) FROM message), 0)) FROM shard"
    ).get
    return last
