"""SpoolWriter: the one thread of a shard that writes; group commit without a timer.

It takes all that waits, commits it as one transaction and answers all of it; while it syncs, the
next batch gathers. A lone message pays one sync and no wait."""

import contextlib
import threading
from asyncio import Future
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from queue import Empty, SimpleQueue
from time import monotonic_ns
from typing import Any, Final

import apsw

from cmail.observe.metrics import (
    SPOOL_CHANGES,
    SPOOL_COMMITS,
    SPOOL_FAILURES,
    SPOOL_SYNC_MICROSECONDS,
)
from cmail.storage.anchor import Where
from cmail.storage.spool import NewMessage, SpoolError
from cmail.storage.spool_files import ContentFiles
from cmail.storage.spool_generations import Generations
from cmail.storage.spool_rows import Row, unlinked_row, whole_row
from cmail.storage.spool_schema import insert_work
from cmail.storage.spool_tidying import LOG_OCTETS_MAX, PAGE_OCTETS, Tidying
from cmail.storage.spool_trouble import (
    FILE_ERRORS,
    PASSING_ERRORS,
    disk_words,
    file_error,
    is_full,
    spool_error,
)

_BATCH_OCTETS_MAX: Final = 8 * 2**20  # so that the first of a batch does not wait for too many
_BATCH_JOBS_MAX: Final = 1000
_STATEMENT_ROWS_MAX: Final = 64  # 6 KiB of SQL; SQLite's compiled form of each length is kept
_COMPANY_S: Final = 0.004  # how long the record that a message is gone may wait for company
_IDLE_S: Final = 1.0  # nothing to write so long: tidy up
_RETRY_S: Final = 0.5  # between tries to record an outcome that the disk did not take
_RECOVER_S: Final = 1.0  # between tries to make a successor of a broken database
_LOOK_S: Final = 1.0  # between looks whether the database still stands where it was opened
_PAUSE_S: Final = 0.02  # between two pieces of tidying up


@dataclass(slots=True, eq=False)
class Job:
    """Something to be written: rows of `work`, or a task that writes by itself."""

    future: "Future[Any]"
    rows: list[Row]
    octets: int = 0
    whole_id: int = 0  # a message to be removed; those of a batch go together
    announce: tuple[NewMessage, ...] = ()  # become durable with it
    path: str = ""  # content file to be synced before
    task: Callable[[apsw.Connection], Any] | None = None
    is_settlement: bool = False  # an outcome: kept until it is recorded
    answer: Any = None


Answer = Callable[[list[Job], SpoolError | None], None]  # called in the writer's thread


class SpoolWriter:
    """Owns the writing connection. Only put() and close() may be called from other threads."""

    def __init__(
        self,
        generations: Generations,
        files: ContentFiles,
        answer: Answer,
        last_id: Callable[[], int],
        monotonic: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self._generations = generations
        self._files = files
        self._answer = answer
        self._monotonic = monotonic
        self._report = report
        self._tidying = Tidying(files, last_id, report)
        self._connection = generations.open()
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._unrecorded: list[Job] = []
        self._is_closing = False
        self._idle_s: float | None = _IDLE_S  # how long to wait before tidying up; None: it is tidy
        self._broken = ""  # why there is no database to write to
        self._try_again_at = 0.0  # to make a successor
        self._why_stuck = ""  # why the last try came to nothing
        self._away = ""  # why the database that is open is not the one that a start would find
        self._looked_at = monotonic()
        self.full = ""  # why the disk took nothing the last time; "" when it did
        self.unrecorded_count = 0  # outcomes that are not on the disk though they should be
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    @property
    def broken(self) -> str:
        """Why nothing can be written now; "" when it can."""
        if self._broken and self._why_stuck:
            return f"{self._broken}; no successor could be made yet: {self._why_stuck}"
        return self._broken or self._away

    @property
    def connection(self) -> apsw.Connection:
        """The writing connection, for what is to be done before start()."""
        return self._connection

    @property
    def is_blocked(self) -> bool:
        """Whether there is an outcome that could not be recorded."""
        return self.unrecorded_count > 0

    def start(self) -> None:
        """From now on the connection belongs to the thread."""
        self._thread.start()

    def put(self, jobs: list[Job]) -> None:
        """Write these, soon."""
        self._queue.put(jobs)

    def close(self) -> None:
        """Write what waits and end; blocks until then."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not (self._is_closing and not self._waiting):
            self._take()
            try:
                self._turn()
            except Exception as error:  # between batches; whoever waited has been answered
                self._trouble(error)
        self._finish()

    def _turn(self) -> None:
        """One batch; or, when there is nothing to write, a piece of tidying up."""
        late, self._unrecorded = self._unrecorded, []
        if late:  # alone: what is too much for a full disk must not keep them from being recorded
            self._write(late)
            self._after(late)
        if jobs := self._batch():
            self._write(jobs)
            self._after(jobs)
        elif not late:
            self._tidy_up()

    def _take(self) -> None:
        """Wait for something to do, take all there is."""
        try:
            if not self._waiting and not self._is_closing:
                self._taken(self._queue.get(timeout=self._patience()))
            self._take_rest()
        except Empty:
            pass
        if self._waiting and not self._is_closing and all(job.whole_id for job in self._waiting):
            self._wait_for_company()

    def _take_rest(self) -> None:
        """All there is, until Empty is raised."""
        while True:
            self._taken(self._queue.get_nowait())

    def _wait_for_company(self) -> None:
        """Nobody waits for the end of a message to be recorded: it rides with the next that somebody
        does wait for, if one comes soon. Saves every second sync of a relay under load."""
        with contextlib.suppress(Empty):
            self._taken(self._queue.get(timeout=_COMPANY_S))
            self._take_rest()

    def _patience(self) -> float | None:
        if self._unrecorded or self.broken or self.full:
            return _RETRY_S
        return self._idle_s

    def _taken(self, jobs: list[Job] | None) -> None:
        if jobs is None:
            self._is_closing = True
        else:
            self._waiting.extend(jobs)

    def _batch(self) -> list[Job]:
        jobs: list[Job] = []
        octets = 0
        while self._waiting and len(jobs) < _BATCH_JOBS_MAX:
            job = self._waiting.popleft()
            jobs.append(job)
            octets += job.octets
            if octets > _BATCH_OCTETS_MAX:
                break
        return jobs

    def _write(self, jobs: list[Job]) -> None:
        """Commit and answer, or say why not. Outcomes that could not be recorded are kept."""
        if not self._is_in_place():
            self._refuse(jobs, SpoolError(self._away))
            return
        if self._broken and not self._recovered():
            self._refuse(jobs, SpoolError(self._broken))
            return
        jobs = self._synced(jobs)
        if not jobs:
            return
        began = monotonic_ns()
        try:
            self._commit(jobs)
        except Exception as error:  # anything: a bug of ours must delay mail, never lose it
            SPOOL_FAILURES.value += 1
            self._failed(jobs, error)
        else:
            SPOOL_COMMITS.value += 1
            SPOOL_CHANGES.value += len(jobs)
            SPOOL_SYNC_MICROSECONDS.value += (monotonic_ns() - began) // 1000
            self._tidying.unlinked.clear()
            if self.full:
                self._took_again()
            self.unrecorded_count = len(self._unrecorded)  # before anybody hears of it
            self._answer(jobs, None)

    def _is_in_place(self) -> bool:
        """Whether what we write is what the next start would find. Looked at once a second: what was
        acknowledged in the second before is still in the file that we have open."""
        now = self._monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._look()
        return not self._away

    def _look(self) -> None:
        where, words = self._generations.where()
        if where in (Where.REMOVED, Where.RETURNED):
            self._away = ""
            self._broken = self._broken or words
        elif words != self._away:
            self._report(words or f"{self._generations.path} is there again")
            self._away = words

    def _took_again(self) -> None:
        self.full = ""
        self._report(f"the disk took something again: {self._generations.path}")

    def _synced(self, jobs: list[Job]) -> list[Job]:
        """Content files first, then the rows that name them. Those that could not be synced are
        answered and taken out."""
        paths = [job.path for job in jobs if job.path]
        if not paths:
            return jobs
        failed = self._files.sync(paths)
        for job in jobs:
            if job.path in failed:
                self._refuse([job], file_error(failed[job.path]))
        return [job for job in jobs if job.path not in failed]

    def _commit(self, jobs: list[Job]) -> None:
        """All of it, or an exception and nothing of it."""
        rows = list(chain.from_iterable([job.rows for job in jobs]))
        whole = [job.whole_id for job in jobs if job.whole_id]
        if whole:
            rows.append(whole_row(whole))
        if self._tidying.unlinked:
            rows.append(unlinked_row(list(self._tidying.unlinked)))
        tasks = [job for job in jobs if job.task is not None]
        if not tasks and len(rows) <= _STATEMENT_ROWS_MAX:
            self._insert(rows)  # one statement is its own transaction
        else:
            self._commit_pieces(rows, tasks)

    def _commit_pieces(self, rows: list[Row], tasks: list[Job]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for start in range(0, len(rows), _STATEMENT_ROWS_MAX):
                self._insert(rows[start : start + _STATEMENT_ROWS_MAX])
            for job in tasks:
                assert job.task is not None
                job.answer = job.task(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _insert(self, rows: list[Row]) -> None:
        if rows:
            self._connection.execute(insert_work(len(rows)), list(chain.from_iterable(rows)))

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        if is_full(error, self._connection):
            self._is_full(jobs, error)
        elif isinstance(error, FILE_ERRORS):
            self._broken = self._disk_words(error)
            self._refuse(jobs, SpoolError(self._broken))
            self._recovered()
        elif isinstance(error, PASSING_ERRORS):
            self._refuse(jobs, spool_error(error))
        elif len(jobs) > 1:
            for job in jobs:  # one of them is not as it should be: the others must not suffer
                self._write([job])
        else:
            self._answer(jobs, spool_error(error))

    def _is_full(self, jobs: list[Job], error: Exception) -> None:
        words = f"no space is left for {self._generations.path}: the message has to wait outside (452)"
        if not self.full:
            self._report(words)
        self.full = words
        self._tidying.log_octets = LOG_OCTETS_MAX + 1  # the log starts over when emptied: there may be room
        self._refuse(jobs, spool_error(error, is_full=True))

    def _disk_words(self, error: Exception) -> str:
        return disk_words(self._generations.path, error, self._connection)

    def _refuse(self, jobs: list[Job], error: SpoolError) -> None:
        """Tell all of them, but for the outcomes: those are kept until they are recorded."""
        refused = [job for job in jobs if not job.is_settlement]
        self._unrecorded += [job for job in jobs if job.is_settlement]
        self.unrecorded_count = len(self._unrecorded)  # before anybody hears of it
        for job in refused:
            if job.path:
                self._files.remove_path(job.path)
        self._answer(refused, error)

    def _recovered(self) -> bool:
        """Go on with the next generation; False when not even that can be. Not tried all the time."""
        now = self._monotonic()
        if now < self._try_again_at:
            return False
        try:
            self._connection = self._generations.roll_over(self._connection, self._broken)
        except (apsw.Error, OSError) as error:
            if str(error) != self._why_stuck:  # once, not every second
                self._report(f"no successor could be made: {error}")
            self._why_stuck = str(error)
            self._try_again_at = now + _RECOVER_S
            return False
        self._broken = self._why_stuck = ""
        return True

    def _trouble(self, error: Exception) -> None:
        """Something failed that nobody waits for."""
        if isinstance(error, FILE_ERRORS):
            self._broken = self._disk_words(error)
            self._recovered()
        elif not isinstance(error, apsw.FullError):  # full: said to who wants to write
            self._report(f"spool: {type(error).__name__}: {error}")

    def _after(self, jobs: list[Job]) -> None:
        """What a batch leaves to be done before the next."""
        self._idle_s = _IDLE_S
        if self.broken:
            return
        tidying = self._tidying
        for job in jobs:
            tidying.log_octets += job.octets + PAGE_OCTETS
            if job.task is not None:
                tidying.log_octets += LOG_OCTETS_MAX  # who knows how much it wrote
        tidying.look(self._connection)

    def _tidy_up(self) -> None:
        """Nothing to write for a while: empty the log, give pages back, a bounded piece each time."""
        is_first, self._idle_s = self._idle_s == _IDLE_S, None
        if not self._is_in_place():
            return
        if self._broken:
            self._recovered()  # MAIL is refused meanwhile: no message would come and make us try
            return
        if self.full:
            self._try_whether_full()
            return
        if is_first:
            self._tidying.unlink_leftovers(self._connection)
            self._tidying.note_last_id(self._connection)
        if self._tidying.give_back(self._connection):
            self._idle_s = _PAUSE_S
        self._tidying.checkpoint(self._connection)

    def _try_whether_full(self) -> None:
        """Perhaps nobody sends for hours: that there is room again shall be seen all the same."""
        try:
            self._tidying.note_last_id(self._connection)
            self._tidying.checkpoint(self._connection)
        except apsw.FullError:
            return
        self._idle_s = _IDLE_S
        self._took_again()

    def _finish(self) -> None:
        self._answer(self._unrecorded, SpoolError("the spool was closed before it was recorded"))
        try:
            self._idle_s = _IDLE_S
            self._tidy_up()
            if not self.broken:
                self._tidying.checkpoint(self._connection, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except Exception as error:
            self._trouble(error)
        if self.broken:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._connection.close(True)
        self._generations.close()
