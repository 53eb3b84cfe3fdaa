"""Ledger: DATA/collect.sqlite3: what was fetched from which mailbox elsewhere. It blocks: in one thread.

A message has a row from before it is handed over: with its digest, with the name of the file that it is in,
and with all that is needed to hand it over again after a crash. So nothing is fetched twice, or lost."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import apsw

from cmail.storage.migrations import SchemaTooNewError, migrate

FILE_NAME: Final = "collect.sqlite3"  # in the data folder
BUSY_MS: Final = 10_000
FORGOTTEN_AFTER_MS: Final = 180 * 86_400_000  # what has not been in the box for so long
ROWS_MAX: Final = 1000  # of an answer
AT_THE_SAME_TIME_MS: Final = 600_000  # what was under way when the settings changed has ended by then

STEPS: Final = (
    """
    CREATE TABLE box (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT, box INTEGER NOT NULL REFERENCES box (id), uid TEXT NOT NULL,
        state INTEGER NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL, at_ms INTEGER NOT NULL,
        gone_ms INTEGER NOT NULL DEFAULT 0, is_wanted INTEGER NOT NULL DEFAULT 0,
        token TEXT NOT NULL DEFAULT '', handover TEXT NOT NULL DEFAULT '',
        queue_id TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '',
        UNIQUE (box, uid)
    ) STRICT;
    CREATE INDEX message_digest ON message (box, digest);
    CREATE INDEX message_open ON message (state) WHERE state IN (1, 2);
    CREATE TABLE copy (
        box INTEGER NOT NULL, copy TEXT NOT NULL, recipient TEXT NOT NULL, at_ms INTEGER NOT NULL,
        PRIMARY KEY (box, copy, recipient)
    ) STRICT, WITHOUT ROWID;
    """,
    # When it was named first; of those that were there before nobody knows: long ago.
    "ALTER TABLE box ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;",
)


class State(IntEnum):
    """Where a message stands."""

    NUMBERED = 0  # it has a number, and nothing else yet
    HANDING = 1  # it is in a file here, and the worker is being given it
    PREVIEWING = 2  # the same, of a preview
    DONE = 3  # the worker has it; at the server it is still, or nobody knows
    DELETED = 4  # and the server has said that it is gone there
    PREVIEWED = 5  # its beginning was delivered; the whole is at the server
    LEFT = 6  # it cannot be taken; `words` say why; it stays at the server


@dataclass(frozen=True, slots=True)
class Entry:
    """A message."""

    id: int
    uid: str
    state: State
    size: int
    digest: str
    at_ms: int
    is_wanted: bool
    token: str
    handover: dict[str, Any]
    words: str


class LedgerError(Exception):
    """It cannot be read or written now; in words."""


_COLUMNS: Final = "id, uid, state, size, digest, at_ms, is_wanted, token, handover, words"


class Ledger:
    """Open from its one thread, and close there."""

    def __init__(self, path: str, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._wall_ms = wall_ms
        self._db = _open(path)

    def close(self) -> None:
        """Nothing is left open."""
        self._db.close()

    def box(self, name: str) -> int:
        """The number of a box; it gets one when it has none."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO box (name, since_ms) VALUES (?, ?)", (name, self._wall_ms())
            )
        return int(self._db.execute("SELECT id FROM box WHERE name = ?", (name,)).get)

    def boxes(self) -> list[tuple[int, str]]:
        """All that there ever were: number and name, the latest first."""
        rows = self._db.execute("SELECT id, name FROM box ORDER BY id DESC")
        return [(int(row[0]), str(row[1])) for row in rows]

    def was_before(self, box: int, later: int) -> bool:
        """Whether nothing has happened in a box since a later one has been there."""
        last_ms = self._db.execute("SELECT max(at_ms) FROM message WHERE box = ?", (box,)).get
        since_ms = self._db.execute("SELECT since_ms FROM box WHERE id = ?", (later,)).get
        return bool(last_ms) and int(last_ms) <= int(since_ms) + AT_THE_SAME_TIME_MS

    def is_new(self, box: int) -> bool:
        """Whether nothing was ever seen in it."""
        return self._db.execute("SELECT 1 FROM message WHERE box = ? LIMIT 1", (box,)).fetchone() is None

    def rename_box(self, box: int, name: str) -> None:
        """It is known by another name from now on, in the place of one that is new and empty."""
        with self._db:
            since = self._db.execute("SELECT since_ms FROM box WHERE name = ?", (name,)).get
            self._db.execute("DELETE FROM box WHERE name = ? AND id != ?", (name, box))
            self._db.execute("UPDATE box SET name = ?, since_ms = ? WHERE id = ?", (name, since or 0, box))

    # What is known.

    def known(self, box: int) -> dict[str, Entry]:
        """All of a box by uid, but for what is gone there for good."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ? AND state NOT IN (?, ?)",
            (box, State.NUMBERED, State.DELETED),
        )
        return {row[1]: _entry(row) for row in rows}

    def entry(self, box: int, uid: str) -> Entry | None:
        """One of them, also what is gone."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ? AND uid = ?", (box, uid)
        ).fetchone()
        return _entry(row) if row else None

    def numbered(self, box: int, number: int) -> Entry | None:
        """The one that people know by this number."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ? AND id = ?", (box, number)
        ).fetchone()
        return _entry(row) if row else None

    def same(self, box: int, digest: str) -> list[Entry]:
        """Those with the same content that the worker has or had."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ? AND digest = ? AND state IN (?, ?, ?)",
            (box, digest, State.HANDING, State.DONE, State.DELETED),
        )
        return [_entry(row) for row in rows]

    def previewed(self, box: int, size: int, digest: str) -> list[Entry]:
        """Those of which a preview was delivered, with this size and header; "": it is not known."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ?1 AND state = ?2 AND size = ?3"
            " AND (digest = ?4 OR digest = '' OR ?4 = '')",
            (box, State.PREVIEWED, size, digest),
        )
        return [_entry(row) for row in rows]

    def handing(self) -> list[tuple[int, Entry]]:
        """Of all boxes, what may not have reached the worker: number of the box, entry."""
        rows = self._db.execute(
            f"SELECT box, {_COLUMNS} FROM message WHERE state IN (1, 2) ORDER BY id LIMIT ?", (ROWS_MAX,)
        )
        return [(row[0], _entry(row[1:])) for row in rows]

    def rows(self, box: int, states: Sequence[State]) -> list[Entry]:
        """For people: the newest first."""
        marks = ", ".join(str(int(state)) for state in states)
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ? AND state IN ({marks}) AND gone_ms = 0"
            " ORDER BY id DESC LIMIT ?",
            (box, ROWS_MAX),
        )
        return [_entry(row) for row in rows]

    def counts(self, box: int) -> dict[State, int]:
        """How many there are in each state, as far as they are still at the server."""
        rows = self._db.execute(
            "SELECT state, count(*) FROM message WHERE box = ? AND gone_ms = 0 GROUP BY state", (box,)
        )
        return {State(state): count for state, count in rows}

    def has_had(self, box: int, copy: str, recipients: Iterable[str]) -> set[str]:
        """Which of them had a copy of it already."""
        found = self._db.execute("SELECT recipient FROM copy WHERE box = ? AND copy = ?", (box, copy))
        had = {row[0] for row in found}
        return {recipient for recipient in recipients if recipient in had}

    # What changes.

    def number(self, box: int, uid: str, size: int) -> int:
        """The number of a message, which its preview is to name."""
        entry = self.entry(box, uid)
        if entry is None or entry.state is State.DELETED:
            with self._db:
                self._put(box, uid, State.NUMBERED, size, "", "", "", "")
            entry = self.entry(box, uid)
        assert entry is not None
        return entry.id

    def hand(
        self,
        box: int,
        uid: str,
        *,
        state: State,
        size: int,
        digest: str,
        token: str,
        handover: dict[str, Any],
        copy: str = "",
    ) -> Entry:
        """It is in the file `token`, whole, and the worker is about to get it. Durable when this returns."""
        now_ms = self._wall_ms()
        with self._db:
            self._put(box, uid, state, size, digest, token, json.dumps(handover), "")
            for recipient in handover.get("recipients", ()) if copy else ():
                self._db.execute(
                    "INSERT OR IGNORE INTO copy VALUES (?, ?, ?, ?)", (box, copy, recipient, now_ms)
                )
        entry = self.entry(box, uid)
        assert entry is not None
        return entry

    def handed(self, entry: Entry, queue_id: str, words: str = "") -> None:
        """The worker has it for good."""
        state = State.PREVIEWED if entry.state is State.PREVIEWING else State.DONE
        self._run(
            "UPDATE message SET state = ?, queue_id = ?, words = ?, token = '', handover = '', at_ms = ?,"
            " is_wanted = 0 WHERE id = ?",
            (state, queue_id, words, self._wall_ms(), entry.id),
        )

    def leave(self, box: int, uid: str, size: int, words: str, digest: str = "") -> None:
        """It cannot be taken, and stays where it is."""
        with self._db:
            self._put(box, uid, State.LEFT, size, digest, "", "", words)

    def refused(self, box: int, entry: Entry, words: str) -> None:
        """The worker does not take it: it stays where it is, and nobody has had a copy of it."""
        copy, recipients = str(entry.handover.get("copy", "")), entry.handover.get("recipients", ())
        with self._db:
            self._put(box, entry.uid, State.LEFT, entry.size, entry.digest, "", "", words)
            self._db.executemany(
                "DELETE FROM copy WHERE box = ? AND copy = ? AND recipient = ?",
                [(box, copy, str(each)) for each in recipients],
            )

    def skip(self, box: int, uid: str, size: int, digest: str, words: str) -> None:
        """The worker has had it, under another name."""
        with self._db:
            self._put(box, uid, State.DONE, size, digest, "", "", words)

    def rename(self, box: int, entry: Entry, uid: str) -> None:
        """Its server has another name for it now; the number that people know it by stays."""
        with self._db:
            self._db.execute(
                "DELETE FROM message WHERE box = ? AND uid = ? AND id != ?", (box, uid, entry.id)
            )
            self._db.execute(
                "UPDATE message SET box = ?, uid = ?, gone_ms = 0 WHERE id = ?", (box, uid, entry.id)
            )

    def drop(self, entry: Entry) -> None:
        """As if it had never been seen: its file is gone, and the worker never had it."""
        self._run("DELETE FROM message WHERE id = ?", (entry.id,))

    def deleted(self, box: int, uids: Sequence[str]) -> None:
        """The server has said that they are gone."""
        now_ms = self._wall_ms()
        with self._db:
            self._db.executemany(
                "UPDATE message SET state = ?, at_ms = ?, gone_ms = ?"
                " WHERE box = ? AND uid = ? AND state = ?",
                [(State.DELETED, now_ms, now_ms, box, uid, State.DONE) for uid in uids],
            )

    def seen(self, box: int, uids: Iterable[str]) -> None:
        """What the box has now; what it has not had for half a year is forgotten."""
        now_ms, there = self._wall_ms(), set(uids)
        rows = self._db.execute("SELECT uid, gone_ms FROM message WHERE box = ? AND state != 4", (box,))
        changes = [
            (0 if uid in there else now_ms, box, uid)
            for uid, gone_ms in rows
            if (uid in there) == bool(gone_ms)
        ]
        old_ms = now_ms - FORGOTTEN_AFTER_MS
        with self._db:
            self._db.executemany("UPDATE message SET gone_ms = ? WHERE box = ? AND uid = ?", changes)
            self._db.execute(
                "DELETE FROM message WHERE box = ? AND gone_ms > 0 AND gone_ms < ? AND state NOT IN (1, 2)",
                (box, old_ms),
            )
            self._db.execute("DELETE FROM copy WHERE box = ? AND at_ms < ?", (box, old_ms))

    def want(self, box: int, number: int) -> Entry | None:
        """Fetch the whole of what was previewed or left; None: there is no such message."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM message WHERE box = ? AND id = ? AND state IN (5, 6)", (box, number)
        ).fetchone()
        if row is None:
            return None
        self._run("UPDATE message SET is_wanted = 1 WHERE id = ?", (number,))
        return _entry(row)

    def _put(self, box: int, uid: str, *values: object) -> None:
        """A row anew; one that is there keeps its id."""
        state, size, digest, token, handover, words = values
        self._db.execute(
            "INSERT INTO message (box, uid, state, size, digest, at_ms, token, handover, words)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (box, uid) DO UPDATE SET state = ?3,"
            " size = ?4, digest = ?5, at_ms = ?6, token = ?7, handover = ?8, words = ?9, gone_ms = 0,"
            " is_wanted = 0",
            (box, uid, state, size, digest, self._wall_ms(), token, handover, words),
        )

    def _run(self, statement: str, values: tuple[object, ...]) -> None:
        with self._db:
            self._db.execute(statement, values)


def _entry(row: Sequence[Any]) -> Entry:
    number, uid, state, size, digest, at_ms, is_wanted, token, handover, words = row
    try:
        fields = json.loads(handover) if handover else {}
    except (ValueError, RecursionError):
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    return Entry(number, uid, State(state), size, digest, at_ms, bool(is_wanted), token, fields, words)


def _open(path: str) -> apsw.Connection:
    try:
        connection = apsw.Connection(path)
    except apsw.Error as error:
        raise LedgerError(f"{path} cannot be opened: {error}") from None
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")  # rule 1
        migrate(connection, STEPS)
    except (apsw.Error, SchemaTooNewError) as error:
        connection.close()
        raise LedgerError(f"{path} cannot be used: {error}") from None
    return connection
