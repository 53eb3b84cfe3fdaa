"""What is changed for many recipients at once; tasks that the writer runs inside its commit."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import apsw

from cmail.mail.queue_id import QueueId
from cmail.policy.order import CLASSES, WITH_DEADLINE
from cmail.storage.spool import CANNOT_FIT, Change, Changed, QueueFilter
from cmail.storage.spool_due import bands
from cmail.storage.spool_filter import FROM_FILTER, filter_terms

NAMED_MAX: Final = 10_000  # messages that an answer names

_STATES: Final = {  # which recipients a change means, at a wall time
    Change.FLUSH: "r.state = 0 AND m.hold_until_ms <= {wall_ms}",
    Change.HOLD: "r.state = 0",
    Change.RELEASE: "(r.state = 1 OR (r.state = 0 AND m.hold_until_ms > {wall_ms}))",
    Change.DELETE: "r.state <= 1",
}
_CANNOT_FIT: Final = f"was_too_large = 1 AND reason LIKE '{CANNOT_FIT}%'"  # and nobody has said more of it
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
        f"SELECT r.message_id, r.position {FROM_FILTER} "
        f"WHERE {_STATES[kind].format(wall_ms=int(wall_ms))} AND {where}",
        values,
    )
    if kind is Change.RELEASE:  # a message has one time for all of its recipients (RFC 4865)
        connection.execute(
            "INSERT OR IGNORE INTO meant SELECT o.message_id, o.position FROM recipient o "
            "JOIN message m ON m.id = o.message_id WHERE o.state = 0 AND m.hold_until_ms > ? AND m.id IN "
            f"(SELECT message_id FROM recipient WHERE {_MEANT} AND state = 0)",
            (wall_ms,),
        )
    named = "SELECT DISTINCT message_id FROM meant ORDER BY message_id LIMIT ?"
    ids = [QueueId(row[0]) for row in connection.execute(named, (NAMED_MAX,))]
    count = connection.execute("SELECT count(*) FROM meant").get
    _CHANGES[kind](connection, json.dumps(dict(now_ms)), wall_ms)
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
    return _make_due(connection, route, now_ms, "r.due_ms > ? AND r.kind = ?", (now_ms, kind), limit)


def keep_time(connection: apsw.Connection, route: str, wall_ms: int, link_ms: int) -> int:
    """Untried recipients of a route whose time (RFC 4865) was reckoned when less of the link-up time had
    been lost are due at that time; how many."""
    behind_ms = wall_ms - link_ms
    connection.execute(
        "UPDATE recipient SET due_ms = (SELECT hold_until_ms FROM message WHERE id = message_id) - ?1 "
        "WHERE (message_id, position) IN (SELECT r.message_id, r.position "
        "FROM recipient r JOIN message m ON m.id = r.message_id "
        "WHERE r.state = 0 AND r.route = ?2 AND r.due_ms > ?3 AND r.attempts = 0 "
        "AND m.hold_until_ms > 0 AND r.due_ms > m.hold_until_ms - ?1)",
        (behind_ms, route, link_ms),
    )
    return connection.changes()


def let_go(connection: apsw.Connection, route: str, now_ms: int, limit: int) -> int:
    """At most `limit` recipients of a route that were never released become due; how many."""
    return _make_due(connection, route, now_ms, "r.due_ms = ?", (0,), limit)


def _make_due(
    connection: apsw.Connection, route: str, now_ms: int, terms: str, values: tuple[int, ...], limit: int
) -> int:
    left = limit
    for band in list(bands(connection, route)):
        order = "r.rank, r.due_ms" if band.number % CLASSES == WITH_DEADLINE else "r.due_ms"
        connection.execute(
            "UPDATE recipient SET due_ms = ? WHERE (message_id, position) IN "
            f"(SELECT r.message_id, r.position FROM recipient r WHERE {band.terms} AND {terms} "
            f"ORDER BY {order} LIMIT ?)",
            (now_ms, *band.values(route), *values, left),
        )
        left -= connection.changes()
        if left <= 0:
            break
    return limit - left


def hold_too_large(connection: apsw.Connection, queue_id: int, positions: Sequence[int], reason: str) -> int:
    """Keep recipients from their deliveries because of their size; it is not asked again."""
    connection.execute(
        "UPDATE recipient SET state = 1, was_too_large = 1, reason = ? WHERE message_id = ? "
        "AND position IN (SELECT value FROM json_each(?)) AND state = 0 AND was_too_large = 0",
        (reason, queue_id, json.dumps(list(positions))),
    )
    return connection.changes()


def ask_anew(connection: apsw.Connection, queue_id: int, positions: Sequence[int]) -> int:
    """What was held because of its size is queued, as if nobody had looked yet; nobody else's hold ends."""
    connection.execute(
        "UPDATE recipient SET state = 0, was_too_large = 0, reason = '' WHERE message_id = ? "
        f"AND position IN (SELECT value FROM json_each(?)) AND state = 1 AND {_CANNOT_FIT}",
        (queue_id, json.dumps(list(positions))),
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


def _flush(connection: apsw.Connection, now_ms: str, wall_ms: int) -> None:
    connection.execute(f"UPDATE recipient SET {_NOW} WHERE {_MEANT}", (now_ms,))


def _hold(connection: apsw.Connection, now_ms: str, wall_ms: int) -> None:
    connection.execute(f"UPDATE recipient SET state = 1 WHERE {_MEANT}")


def _release(connection: apsw.Connection, now_ms: str, wall_ms: int) -> None:
    """What only its sender holds goes now. What an operator held too waits for its time again, which its
    due time still says. A deadline (RFC 2852) runs from the release. Whoever holds again what was too large
    means it: its size is no reason any more."""
    connection.execute(f"UPDATE recipient SET reason = '' WHERE {_MEANT} AND state = 1 AND {_CANNOT_FIT}")
    connection.execute(
        "UPDATE message SET deliver_by_ms = CASE WHEN deliver_by_ms > 0 "
        "THEN max(1, deliver_by_ms - (hold_until_ms - ?1)) ELSE 0 END, hold_until_ms = ?1 "
        "WHERE hold_until_ms > ?1 AND id IN "
        f"(SELECT message_id FROM recipient WHERE {_MEANT} AND state = 0)",
        (wall_ms,),
    )
    is_early = "EXISTS (SELECT 1 FROM message m WHERE m.id = message_id AND m.hold_until_ms > ?2)"
    connection.execute(
        f"UPDATE recipient SET state = 0, {_NOW} WHERE {_MEANT} AND NOT {is_early}", (now_ms, wall_ms)
    )
    connection.execute(f"UPDATE recipient SET state = 0 WHERE {_MEANT}")


def _delete(connection: apsw.Connection, now_ms: str, wall_ms: int) -> None:
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
