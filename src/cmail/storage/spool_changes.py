"""What is changed for many recipients at once; tasks that the writer runs inside its commit."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import apsw

from cmail.mail.queue_id import QueueId
from cmail.storage.spool import Change, Changed, QueueFilter
from cmail.storage.spool_filter import FROM_FILTER, filter_terms

NAMED_MAX: Final = 10_000  # messages that an answer names

_STATES: Final = {  # which recipients a change means
    Change.FLUSH: "r.state = 0",
    Change.HOLD: "r.state = 0",
    Change.RELEASE: "r.state = 1",
    Change.DELETE: "r.state <= 1",
}
_MEANT: Final = "(message_id, position) IN (SELECT message_id, position FROM meant)"
_NOW: Final = (
    "due_ms = coalesce((SELECT value FROM json_each(?1) WHERE key = recipient.route), "
    "(SELECT value FROM json_each(?1) WHERE key = ''), 0), attempts = 0"
)


def change(
    connection: apsw.Connection,
    what: QueueFilter,
    kind: Change,
    now_ms: Mapping[str, int],
    wall_ms: int,
) -> Changed:
    """Do it to every recipient that the filter means."""
    where, values = filter_terms(what, wall_ms)
    _mean(
        connection,
        f"SELECT r.message_id, r.position {FROM_FILTER} WHERE {_STATES[kind]} AND {where}",
        values,
    )
    named = "SELECT DISTINCT message_id FROM meant ORDER BY message_id LIMIT ?"
    ids = [QueueId(row[0]) for row in connection.execute(named, (NAMED_MAX,))]
    count = connection.execute("SELECT count(*) FROM meant").get
    _CHANGES[kind](connection, json.dumps(dict(now_ms)))
    connection.execute("DELETE FROM meant")
    return Changed(count, ids)


def hold(connection: apsw.Connection, queue_id: int, reason: str) -> None:
    """Keep a message from its deliveries, and say why."""
    connection.execute(
        "UPDATE recipient SET state = 1, reason = ? WHERE message_id = ? AND state <= 1",
        (reason, queue_id),
    )


def wake(connection: apsw.Connection, route: str, kind: int, now_ms: int, limit: int) -> int:
    """At most `limit` recipients of a route that wait because of `kind` become due; how many."""
    connection.execute(
        "UPDATE recipient SET due_ms = ?1 WHERE (message_id, position) IN "
        "(SELECT message_id, position FROM recipient WHERE route = ?2 AND state = 0 "
        "AND due_ms > ?1 AND kind = ?3 LIMIT ?4)",
        (now_ms, route, kind, limit),
    )
    return connection.changes()


def reroute(connection: apsw.Connection, moved: Sequence[tuple[int, int, str, bool]]) -> int:
    """Give recipients (id, position) a route, that needs the link or not; they are due at once, or
    when their sender asked for it (spool.new_way_due_ms)."""
    connection.execute(
        "UPDATE recipient SET route = new.value ->> 2, due_ms = CASE "
        "WHEN m.hold_until_ms <= m.arrived_wall_ms THEN 0 "
        "WHEN new.value ->> 3 THEN m.hold_until_ms - (m.arrived_wall_ms - m.arrived_link_ms) "
        "ELSE m.hold_until_ms END "
        "FROM json_each(?) new JOIN message m ON m.id = new.value ->> 0 "
        "WHERE recipient.message_id = m.id AND recipient.position = new.value ->> 1 "
        "AND recipient.state <= 1",
        (json.dumps(moved),),
    )
    return connection.changes()


def _mean(connection: apsw.Connection, query: str, values: list[object]) -> None:
    """Write down who is meant, before any of it changes."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS meant "
        "(message_id INTEGER, position INTEGER, PRIMARY KEY (message_id, position)) WITHOUT ROWID"
    )
    connection.execute("DELETE FROM meant")
    connection.execute(f"INSERT INTO meant {query}", values)


def _flush(connection: apsw.Connection, now_ms: str) -> None:
    connection.execute(f"UPDATE recipient SET {_NOW} WHERE {_MEANT}", (now_ms,))


def _hold(connection: apsw.Connection, now_ms: str) -> None:
    connection.execute(f"UPDATE recipient SET state = 1 WHERE {_MEANT}")


def _release(connection: apsw.Connection, now_ms: str) -> None:
    connection.execute(f"UPDATE recipient SET state = 0, {_NOW} WHERE {_MEANT}", (now_ms,))


def _delete(connection: apsw.Connection, now_ms: str) -> None:
    connection.execute(f"DELETE FROM recipient WHERE {_MEANT}")
    connection.execute(
        "DELETE FROM message WHERE id IN (SELECT message_id FROM meant) AND NOT EXISTS "
        "(SELECT 1 FROM recipient r WHERE r.message_id = message.id AND r.state <= 1)"
    )


_CHANGES: Final = {
    Change.FLUSH: _flush,
    Change.HOLD: _hold,
    Change.RELEASE: _release,
    Change.DELETE: _delete,
}
