"""The tables of the spool, and `work`: the view that a whole batch is written through.

The writer thread shares Python's interpreter lock with a busy event loop, and SQLite's every step
gives the lock away and must win it back. So one INSERT of many rows INTO work does a whole batch in
one step (and as a statement of its own it is its transaction too); what a row means, its triggers
say, here, in one place."""

from enum import IntEnum
from functools import cache
from typing import Final

import apsw

from cmail.policy.order import BAND_SHIFT, MIDDLING_MAX, ORDINARY, SMALL_MAX
from cmail.storage.migrations import migrate
from cmail.storage.spool import SpoolError
from cmail.storage.spool_filter import add_functions


class Op(IntEnum):
    """What a row of `work` does."""

    ACCEPT = 0  # a message with its content and its recipient at position 0
    RECIPIENT = 1  # a further recipient of an accepted message
    WHOLE = 2  # the messages `ids` (a JSON array) are done with
    FINAL = 3  # a recipient's end
    DEFER = 4  # a recipient's next try
    ADD = 5  # a further recipient of a message that waits already; its position is given here
    SWEEP = 6  # the message goes when nobody waits in it
    UNLINKED = 7  # the files of the messages `ids` are gone: nothing is left over of them


_MESSAGE: Final = (
    "id, reverse_path, ret, envid, flags, priority, deliver_by_ms, hold_until_ms, "
    "arrived_wall_ms, arrived_link_ms, origin, size_bytes, wire_bytes, is_file"
)
_CONTENT: Final = "id, prefix, octets"
_RECIPIENT_1: Final = (  # as the first step has it
    "position, forward_path, orcpt, notify, route, state, due_ms, attempts, periods, "
    "last_period, kind, reason, is_delay_told, alias_depth"
)
_RECIPIENT: Final = f"{_RECIPIENT_1}, rank"


def _columns(recipient: str) -> str:
    return f"op, {_MESSAGE}, prefix, octets, {recipient}, ids"


WORK_COLUMNS: Final = _columns(_RECIPIENT)
WORK_WIDTH: Final = WORK_COLUMNS.count(",") + 1


def _new(columns: str) -> str:
    return ", ".join(f"new.{name}" for name in columns.split(", "))


_TABLES: Final = """
CREATE TABLE message (
    id INTEGER PRIMARY KEY,        -- mail.queue_id
    reverse_path TEXT NOT NULL,    -- '' is the null reverse-path
    ret TEXT NOT NULL,
    envid TEXT NOT NULL,
    flags INTEGER NOT NULL,        -- spool_rows.Flag
    priority INTEGER NOT NULL,
    deliver_by_ms INTEGER NOT NULL,
    hold_until_ms INTEGER NOT NULL,
    arrived_wall_ms INTEGER NOT NULL,
    arrived_link_ms INTEGER NOT NULL,
    origin TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    wire_bytes INTEGER NOT NULL,
    is_file INTEGER NOT NULL       -- content below the prefix is in content/<2 hex>/<queue id>
);

CREATE INDEX message_in_file ON message (id, wire_bytes) WHERE is_file;

-- Apart, so that a change of state writes a page and not the message.
CREATE TABLE content (id INTEGER PRIMARY KEY, prefix BLOB NOT NULL, octets BLOB NOT NULL);

CREATE TABLE recipient (
    message_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    forward_path TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    notify INTEGER NOT NULL,
    route TEXT NOT NULL,
    state INTEGER NOT NULL,        -- RecipientState: 0 queued, 1 held, beyond: final
    due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    periods INTEGER NOT NULL,
    last_period INTEGER NOT NULL,
    kind INTEGER NOT NULL,         -- NotNow, 0 before the first attempt
    reason TEXT NOT NULL,
    is_delay_told INTEGER NOT NULL,
    alias_depth INTEGER NOT NULL,
    PRIMARY KEY (message_id, position)
) WITHOUT ROWID;
CREATE INDEX recipient_due ON recipient (route, due_ms, message_id, position) WHERE state = 0;

-- Messages that are gone and whose file is to be unlinked: after the commit, or after a crash.
CREATE TABLE leftover (id INTEGER PRIMARY KEY);

-- One row: what must outlive the messages.
CREATE TABLE shard (last_id INTEGER NOT NULL, is_complete INTEGER NOT NULL);
INSERT INTO shard VALUES (0, 0);

CREATE TRIGGER message_gone AFTER DELETE ON message BEGIN
    DELETE FROM recipient WHERE message_id = old.id;
    DELETE FROM content WHERE id = old.id;
    INSERT INTO leftover SELECT old.id WHERE old.is_file;
END;
"""


def _work(recipient: str) -> str:
    """The view and its triggers, with these columns of a recipient."""
    columns = _columns(recipient)
    nulls = ", ".join(["NULL"] * (columns.count(",") + 1))
    return f"""
CREATE VIEW work ({columns}) AS SELECT {nulls};

CREATE TRIGGER work_accept INSTEAD OF INSERT ON work WHEN new.op = {Op.ACCEPT} BEGIN
    INSERT INTO message ({_MESSAGE}) VALUES ({_new(_MESSAGE)});
    INSERT INTO content ({_CONTENT}) VALUES ({_new(_CONTENT)});
END;
CREATE TRIGGER work_recipient INSTEAD OF INSERT ON work
WHEN new.op IN ({Op.ACCEPT}, {Op.RECIPIENT}) BEGIN
    INSERT INTO recipient (message_id, {recipient}) VALUES (new.id, {_new(recipient)});
END;
CREATE TRIGGER work_whole INSTEAD OF INSERT ON work WHEN new.op = {Op.WHOLE} BEGIN
    DELETE FROM message WHERE id IN (SELECT value FROM json_each(new.ids));
END;
CREATE TRIGGER work_final INSTEAD OF INSERT ON work WHEN new.op = {Op.FINAL} BEGIN
    UPDATE recipient SET state = new.state, reason = new.reason
    WHERE message_id = new.id AND position = new.position AND state <= 1;
END;
CREATE TRIGGER work_defer INSTEAD OF INSERT ON work WHEN new.op = {Op.DEFER} BEGIN
    UPDATE recipient SET due_ms = new.due_ms, attempts = new.attempts, periods = new.periods,
        last_period = new.last_period, kind = new.kind, reason = new.reason,
        is_delay_told = new.is_delay_told
    WHERE message_id = new.id AND position = new.position AND state <= 1;
END;
CREATE TRIGGER work_add INSTEAD OF INSERT ON work WHEN new.op = {Op.ADD} BEGIN
    INSERT INTO recipient (message_id, {recipient})
    SELECT new.id, (SELECT max(position) + 1 FROM recipient WHERE message_id = new.id),
        {_new(recipient.removeprefix("position, "))}
    WHERE EXISTS (SELECT 1 FROM message WHERE id = new.id);
END;
CREATE TRIGGER work_sweep INSTEAD OF INSERT ON work WHEN new.op = {Op.SWEEP} BEGIN
    DELETE FROM message WHERE id = new.id
        AND NOT EXISTS (SELECT 1 FROM recipient WHERE message_id = new.id AND state <= 1);
END;
CREATE TRIGGER work_unlinked INSTEAD OF INSERT ON work WHEN new.op = {Op.UNLINKED} BEGIN
    DELETE FROM leftover WHERE id IN (SELECT value FROM json_each(new.ids));
END;
"""


_RANKED: Final = f"""
ALTER TABLE recipient ADD COLUMN rank INTEGER NOT NULL DEFAULT {ORDINARY};  -- policy.order
ALTER TABLE recipient ADD COLUMN was_too_large INTEGER NOT NULL DEFAULT 0;  -- it was held for its size
UPDATE recipient SET rank = (
    SELECT CASE WHEN m.deliver_by_ms
        THEN (9 - m.priority) * 4 << {BAND_SHIFT} | max(0, min(m.deliver_by_ms, {(1 << BAND_SHIFT) - 1}))
        ELSE (9 - m.priority) * 4 + 1 + (m.size_bytes > {SMALL_MAX}) + (m.size_bytes > {MIDDLING_MAX})
            << {BAND_SHIFT} END
    FROM message m WHERE m.id = recipient.message_id
) WHERE message_id IN (SELECT id FROM message);
DROP INDEX recipient_due;
CREATE INDEX recipient_due ON recipient (route, rank, due_ms, message_id, position) WHERE state = 0;
CREATE INDEX recipient_let_go ON recipient (route, rank, due_ms, message_id, position)
    WHERE state = 0 AND was_too_large = 1;
DROP VIEW work;
"""

_DEADLINES: Final = "CREATE INDEX message_deadline ON message (deliver_by_ms) WHERE deliver_by_ms > 0;"

# A step that stands is never edited: another is added.
STEPS: Final = (
    _TABLES + _work(_RECIPIENT_1),
    _RANKED + _work(_RECIPIENT),
    _DEADLINES,
)


@cache
def insert_work(rows_count: int) -> str:
    """The statement that does so many rows of work in one step."""
    row = f"({','.join('?' * WORK_WIDTH)})"
    return f"INSERT INTO work VALUES {','.join([row] * rows_count)}"


def open_for_writing(path: str, vfs: str | None = None) -> apsw.Connection:
    """The one connection of a shard that writes, with its schema brought up to date. `vfs` names
    another way to the disk than SQLite's own (tests have one that fails)."""
    connection = apsw.Connection(path, vfs=vfs, statementcachesize=256)
    try:
        _configure(connection)
        migrate(connection, STEPS)
    except BaseException:
        connection.close(True)
        raise
    return connection


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(5000)  # only a stray tool can be in the way
    connection.pragma("auto_vacuum", 2)  # INCREMENTAL; must stand before the first table
    if connection.pragma("journal_mode", "wal") != "wal":
        raise SpoolError(f"{connection.filename}: no write-ahead log on this file system")
    connection.pragma("journal_size_limit", 64 * 2**20)  # a large change must not keep its log
    connection.pragma("synchronous", "full")  # rule 1
    connection.pragma("wal_autocheckpoint", 0)  # the writer thread does it between batches
    connection.pragma("temp_store", "memory")
    connection.pragma("cache_size", -8192)  # KiB
    add_functions(connection)


def open_for_reading(path: str) -> apsw.Connection:
    """A connection that cannot write; it sees what is committed."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    connection.pragma("query_only", 1)
    add_functions(connection)
    connection.pragma("temp_store", "memory")
    connection.pragma("cache_size", -2048)
    return connection
