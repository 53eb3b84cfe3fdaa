"""SpoolReader: what is asked of the spool, each on a connection that cannot write."""

import json
import threading
from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

import apsw

from cmail.mail.queue_id import QueueId
from cmail.policy.order import sizes_of
from cmail.storage.spool import (
    ALL,
    NextDue,
    Place,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    RecipientState,
    RouteSummary,
    RouteWaits,
    SpoolFigures,
    Wanted,
)
from cmail.storage.spool_due import bands, due_rows, next_due
from cmail.storage.spool_files import ContentFiles
from cmail.storage.spool_filter import FROM_FILTER, filter_terms
from cmail.storage.spool_generations import Generations
from cmail.storage.spool_rows import (
    ENTRY_COLUMNS,
    MESSAGE_COLUMNS,
    RECIPIENT_COLUMNS,
    Flag,
    Row,
    queue_entry,
    queued_message,
)
from cmail.storage.spool_schema import open_for_reading

_HEADER_OCTETS: Final = 64 * 1024  # of content that old() loads
_EVERYTHING: Final = 1 << 62
_WAITS: Final = """
SELECT route, count(*), sum(size), min(since), sum(is_urgent), sum(is_wanted), sum(is_wanted * size) FROM (
    SELECT r.route, m.size_bytes AS size, max(m.arrived_wall_ms, m.hold_until_ms) AS since,
        m.priority > 0 AS is_urgent,
        CASE WHEN m.priority > 0 THEN ?2 >= 0 AND (r.was_too_large OR m.size_bytes <= ?2)
            ELSE ?1 >= 0 AND (r.was_too_large OR m.size_bytes <= ?1) END AS is_wanted
    FROM (SELECT DISTINCT route, message_id, was_too_large FROM recipient WHERE state = 0) r
    JOIN message m ON m.id = r.message_id
    WHERE m.hold_until_ms <= ?3
) GROUP BY route
"""
# No index has those that are held: only where somebody needs it.
_STANDS: Final = _WAITS.replace("WHERE state = 0", "WHERE state IN (0, 1)")


class SpoolReader:
    """Blocking questions for a small pool of threads; each thread has its own connection."""

    def __init__(self, generations: Generations, files: ContentFiles, wall_ms: Callable[[], int]) -> None:
        self._generations = generations
        self._files = files
        self._wall_ms = wall_ms
        self._mine = threading.local()
        self._all: list[apsw.Connection] = []

    def due(
        self, route: str, now_ms: int, after: Place, limit: int, octets_max: int, wanted: Wanted = ALL
    ) -> list[QueuedMessage]:
        """Spool.due()."""
        connection = self._connection()
        found: list[QueuedMessage] = []
        with connection:  # one view of the database for all that is read
            rows = due_rows(connection, route, now_ms, after, wanted)
            for (_, _, queue_id), group in groupby(rows, key=lambda row: row[:3]):
                recipients = [row[3:] for row in group]
                if len(found) >= limit or (found and octets_max <= 0):
                    break
                message = self._load(connection, queue_id, recipients)
                if message is not None:
                    octets_max -= len(message.content.octets)
                    found.append(message)
            rows.close()
        return found

    def next_due(self, route: str, after_ms: int, wanted: Wanted = ALL) -> NextDue | None:
        """Spool.next_due()."""
        connection = self._connection()
        with connection:
            found = next_due(connection, route, after_ms, wanted)
        return found

    def too_large(self, route: str, size_max: int, limit: int) -> list[QueueEntry]:
        """Spool.too_large()."""
        connection = self._connection()
        found: list[QueueEntry] = []
        with connection:
            for band in bands(connection, route):
                most = sizes_of(band.number)[1]
                if most is not None and most <= size_max:
                    continue
                rows = connection.execute(
                    f"SELECT {ENTRY_COLUMNS} {FROM_FILTER} WHERE {band.terms} "
                    "AND m.size_bytes > ? AND r.was_too_large = 0 LIMIT ?",
                    (*band.values(route), size_max, limit - len(found)),
                )
                found += [queue_entry(row) for row in rows]
        return found

    def waits(self, wanted: Wanted = ALL, is_held_too: bool = False) -> list[RouteWaits]:
        """Spool.waits()."""
        question, latest_ms = (_STANDS, _EVERYTHING) if is_held_too else (_WAITS, self._wall_ms())
        rows = self._connection().execute(question, (wanted.size_max, wanted.urgent_size_max, latest_ms))
        return [RouteWaits(*row) for row in rows]

    def old(self, before_ms: int, limit: int, after: int) -> list[QueuedMessage]:
        """Spool.old()."""
        connection = self._connection()
        with connection:
            ids: list[Any] = connection.execute(
                "SELECT m.id FROM message m WHERE m.id > ? AND m.arrived_wall_ms < ? AND EXISTS "
                "(SELECT 1 FROM recipient r WHERE r.message_id = m.id AND r.state = 0) "
                "ORDER BY m.id LIMIT ?",
                (after, before_ms, limit),
            ).fetchall()
            found = self._load_heads(connection, ids)
        return found

    def late(self, link_ms: int, limit: int, after: int) -> list[QueuedMessage]:
        """Spool.late()."""
        connection = self._connection()
        with connection:
            ids: list[Any] = connection.execute(
                "SELECT m.id FROM message m INDEXED BY message_deadline "
                "WHERE m.deliver_by_ms > 0 AND m.deliver_by_ms <= ? AND m.id > ? "
                "AND (m.flags & ? OR m.deliver_by_ms > m.arrived_link_ms) AND EXISTS "
                "(SELECT 1 FROM recipient r WHERE r.message_id = m.id AND r.state = 0 "
                "AND (m.flags & ? OR NOT r.is_delay_told)) "
                "ORDER BY m.id LIMIT ?",
                (link_ms, after, int(Flag.BY_RETURN), int(Flag.BY_RETURN), limit),
            ).fetchall()
            found = self._load_heads(connection, ids)
        return found

    def next_deadline(self, link_ms: int) -> int:
        """Spool.next_deadline()."""
        found: Any = (
            self._connection()
            .execute(
                "SELECT min(deliver_by_ms) FROM message INDEXED BY message_deadline "
                "WHERE deliver_by_ms > 0 AND deliver_by_ms > ?",
                (link_ms,),
            )
            .get
        )
        return int(found or 0)

    def _load_heads(self, connection: apsw.Connection, ids: list[Any]) -> list[QueuedMessage]:
        """Messages with their queued recipients, and as much of the content as holds a header section."""
        found = [
            self._load(connection, i, self._recipients(connection, i, "= 0"), _HEADER_OCTETS) for (i,) in ids
        ]
        return [message for message in found if message is not None]

    def message(self, queue_id: int) -> QueuedMessage | None:
        """Spool.message()."""
        connection = self._connection()
        with connection:
            recipients = self._recipients(connection, queue_id, "<= 1")
            found = self._load(connection, queue_id, recipients)
        return found

    def routes(self) -> list[RouteSummary]:
        """Spool.routes()."""
        rows = self._connection().execute(
            "SELECT route, count(*), min(due_ms) FROM recipient WHERE state = 0 GROUP BY route"
        )
        return [RouteSummary(*row) for row in rows]

    def select(self, what: QueueFilter, limit: int, after: tuple[int, int]) -> list[QueueEntry]:
        """Spool.select()."""
        where, values = filter_terms(what, self._wall_ms())
        rows = self._connection().execute(
            f"SELECT {ENTRY_COLUMNS} {FROM_FILTER} "
            f"WHERE (r.message_id, r.position) > (?, ?) AND {where} "
            "ORDER BY r.message_id, r.position LIMIT ?",
            (*after, *values, limit),
        )
        return [queue_entry(row) for row in rows]

    def count(self, what: QueueFilter) -> int:
        """Spool.count()."""
        where, values = filter_terms(what, self._wall_ms())
        found: Any = self._connection().execute(f"SELECT count(*) {FROM_FILTER} WHERE {where}", values).get
        return int(found)

    def figures(self) -> SpoolFigures:
        """Spool.figures(). A page asks every second, with 100,000 queued: each of these only counts the
        entries of a tree, which is 15 times quicker than to group the rows by their state."""
        ask = self._connection().execute
        with self._connection():
            count: Any = ask("SELECT count(*) FROM message").get
            every: Any = ask("SELECT count(*) FROM recipient").get
            queued: Any = ask("SELECT count(*) FROM recipient WHERE state = 0").get  # recipient_due
            recipients = {RecipientState.QUEUED.name.lower(): queued} if queued else {}
            if every > queued:
                others = ask("SELECT state, count(*) FROM recipient WHERE state <> 0 GROUP BY state")
                recipients |= {RecipientState(state).name.lower(): n for state, n in others}
            arrived: Any = ask(
                "SELECT max(arrived_wall_ms, hold_until_ms) FROM message WHERE hold_until_ms <= ? "
                "ORDER BY id LIMIT 1",
                (self._wall_ms(),),
            ).get
        return SpoolFigures(count, recipients, arrived or 0)

    def waiting_page(self, after: tuple[int, int], limit: int) -> list[Row]:
        """(id, position, forward_path, route) of recipients that are not final, in order."""
        return (
            self._connection()
            .execute(
                "SELECT message_id, position, forward_path, route FROM recipient "
                "WHERE (message_id, position) > (?, ?) AND state <= 1 "
                "ORDER BY message_id, position LIMIT ?",
                (*after, limit),
            )
            .fetchall()
        )

    def known_files(self, queue_ids: list[QueueId]) -> set[int]:
        """Which of these are messages whose content is in a file, or are about to be unlinked."""
        rows = self._connection().execute(
            "SELECT id FROM message WHERE is_file AND id IN (SELECT value FROM json_each(?1)) "
            "UNION SELECT id FROM leftover WHERE id IN (SELECT value FROM json_each(?1))",
            (json.dumps(queue_ids),),
        )
        return {row[0] for row in rows}

    def file_sizes(self) -> list[tuple[int, int]]:
        """(id, octets in the file) of all messages whose content is in one."""
        query = "SELECT id, wire_bytes FROM message INDEXED BY message_in_file WHERE is_file"
        rows: list[Any] = self._connection().execute(query).fetchall()
        return rows

    def release(self) -> None:
        """Close this thread's connection."""
        mine = getattr(self._mine, "at", None)
        if mine is not None:
            self._all.remove(mine[1])
            mine[1].close(True)
            self._mine.at = None

    def close(self) -> None:
        """Close all connections; nobody may be asking."""
        for connection in self._all:
            connection.close(True)

    def _connection(self) -> apsw.Connection:
        """This thread's connection to the database that is the spool now."""
        mine = getattr(self._mine, "at", None)
        number = self._generations.number
        if mine is None or mine[0] != number:
            self.release()
            mine = (number, open_for_reading(self._generations.path))
            self._mine.at = mine
            self._all.append(mine[1])
        connection: apsw.Connection = mine[1]
        return connection

    def _recipients(self, connection: apsw.Connection, queue_id: int, states: str) -> list[Row]:
        return connection.execute(
            f"SELECT {RECIPIENT_COLUMNS} FROM recipient r WHERE r.message_id = ? "
            f"AND r.state {states} ORDER BY r.position",
            (queue_id,),
        ).fetchall()

    def _load(
        self,
        connection: apsw.Connection,
        queue_id: int,
        recipients: list[Row],
        octets_max: int = _EVERYTHING,
    ) -> QueuedMessage | None:
        row: Any = connection.execute(
            f"SELECT {MESSAGE_COLUMNS}, c.prefix, substr(c.octets, 1, ?2), "
            "(SELECT count(*) FROM recipient r WHERE r.message_id = ?1 AND r.state <= 1) "
            "FROM message m JOIN content c ON c.id = m.id WHERE m.id = ?1",
            (queue_id, octets_max),
        ).fetchone()
        if row is None:
            return None
        *head, prefix, octets, waiting = row
        path = self._files.path(queue_id)
        empty = octets or b""  # substr() of nothing is NULL
        return queued_message(tuple(head), prefix, empty, path, recipients, waiting)
