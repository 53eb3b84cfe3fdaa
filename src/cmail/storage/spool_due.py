"""What of a route is due, in order of rank: one question a band, so that what is not wanted costs nothing.

A route has few bands (policy.order). Each but those with deadlines is one rank, in which the index leads
straight to what is due; a band whose sizes are all too large is passed over as a whole."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apsw

from cmail.policy.order import BAND_SHIFT, CLASS_SHIFT, PRIORITY_MAX, WITH_DEADLINE, sizes_of
from cmail.policy.order import CLASSES as _CLASSES
from cmail.policy.orders import NO_LIMIT
from cmail.storage.spool import FIRST, NextDue, Place, Wanted
from cmail.storage.spool_rows import RECIPIENT_COLUMNS, Row

_NEXT_RANK: Final = (
    "SELECT rank FROM recipient WHERE route = ? AND state = 0 AND rank >= ? ORDER BY rank LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Band:
    """The part of a route's queue in which all have one priority and one class of size."""

    number: int  # policy.order.band_of

    @property
    def terms(self) -> str:
        """Which rows are in it."""
        if self.number % _CLASSES == WITH_DEADLINE:
            return "r.state = 0 AND r.route = ? AND r.rank BETWEEN ? AND ?"
        return "r.state = 0 AND r.route = ? AND r.rank = ?"

    def values(self, route: str) -> tuple[Any, ...]:
        """For `terms`."""
        first = self.number << BAND_SHIFT
        if self.number % _CLASSES == WITH_DEADLINE:
            return route, first, first + (1 << BAND_SHIFT) - 1
        return route, first

    @property
    def _is_urgent(self) -> bool:
        return PRIORITY_MAX - (self.number >> (CLASS_SHIFT - BAND_SHIFT)) > 0

    def size_terms(self, wanted: Wanted) -> tuple[str, tuple[int, ...]] | None:
        """What is to hold besides, so that only what is wanted is found; None: nothing of it is."""
        size_max = wanted.urgent_size_max if self._is_urgent else wanted.size_max
        least, most = sizes_of(self.number)
        if size_max < 0:
            return None
        if size_max >= (NO_LIMIT if most is None else most):
            return "", ()
        if size_max < least:
            return " AND r.was_too_large = 1", ()
        return (
            " AND (r.was_too_large = 1 OR (SELECT size_bytes FROM message WHERE id = r.message_id) <= ?)",
            (size_max,),
        )


def bands(connection: apsw.Connection, route: str, first: int = 0) -> Iterator[Band]:
    """The bands of a route in which somebody is queued, from one on."""
    while True:
        rank: Any = connection.execute(_NEXT_RANK, (route, first << BAND_SHIFT)).get
        if rank is None:
            return
        yield Band(rank >> BAND_SHIFT)
        first = (rank >> BAND_SHIFT) + 1


def due_rows(
    connection: apsw.Connection, route: str, until_ms: int, after: Place, wanted: Wanted
) -> Generator[Row, None, None]:
    """rank, due_ms and message_id, then RECIPIENT_COLUMNS, in the order of the queue."""
    for band in bands(connection, route, max(0, after[0]) >> BAND_SHIFT):
        sizes = band.size_terms(wanted)
        if sizes is None:
            continue
        first = band.number << BAND_SHIFT
        begin: tuple[int, ...] = after
        least: tuple[str, tuple[int, ...]] = "", ()
        if band.number % _CLASSES == WITH_DEADLINE:
            place = "r.rank, r.due_ms, r.message_id"
            least = " AND r.due_ms >= ?", (wanted.from_ms,)
        else:
            place = "r.due_ms, r.message_id"
            begin = max(after[1:] if after[0] == first else FIRST[1:], (wanted.from_ms, -1))  # an index seek
        rows = connection.execute(
            f"SELECT r.rank, r.due_ms, r.message_id, {RECIPIENT_COLUMNS} FROM recipient r "
            f"WHERE {band.terms} AND r.due_ms <= ?{least[0]} "
            f"AND ({place}) > ({', '.join('?' * len(begin))}){sizes[0]} ORDER BY {place}, r.position",
            (*band.values(route), until_ms, *least[1], *begin, *sizes[1]),
        )
        try:
            yield from iter(rows.fetchone, None)  # the cursor itself would be closed in its own way
        finally:
            rows.close(True)


def next_due(connection: apsw.Connection, route: str, after_ms: int, wanted: Wanted) -> NextDue | None:
    """Spool.next_due()."""
    found: list[tuple[int, int]] = []
    for band in bands(connection, route):
        sizes = band.size_terms(wanted)
        if sizes is None:
            continue
        rows = connection.execute(
            f"SELECT r.due_ms, r.message_id FROM recipient r WHERE {band.terms} AND r.due_ms > ?"
            f"{sizes[0]} ORDER BY r.due_ms, r.message_id LIMIT 1",
            (*band.values(route), after_ms, *sizes[1]),
        )
        found += [(int(due_ms), int(queue_id)) for due_ms, queue_id in rows]
    if not found:
        return None
    due_ms, queue_id = min(found)
    hold: Any = connection.execute("SELECT hold_until_ms FROM message WHERE id = ?", (queue_id,)).get
    return NextDue(due_ms, hold or 0)
