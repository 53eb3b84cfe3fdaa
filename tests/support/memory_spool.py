"""MemorySpool: a Spool that forgets; passes the same contract suite as the real one."""

import asyncio
import atexit
import os
import shutil
import tempfile
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId, QueueIds, print_queue_id
from cmail.policy.routing import is_internet
from cmail.storage.spool import (
    ALL,
    CANNOT_FIT,
    Change,
    Changed,
    Deferral,
    Final,
    NewMessage,
    NextDue,
    Place,
    QueuedMessage,
    QueuedRecipient,
    QueueEntry,
    QueueFilter,
    RecipientState,
    RouteSummary,
    RouteWaits,
    Settlement,
    SpoolError,
    SpoolFigures,
    Wanted,
    first_due_ms,
    hold_reason,
    new_way_due_ms,
)
from cmail.world import Clock
from tests.support.clock import FakeClock

WAITING = (RecipientState.QUEUED, RecipientState.HELD)


@dataclass(slots=True)
class _Row:
    """One recipient, as a row of the real spool has it."""

    queued: QueuedRecipient
    state: RecipientState
    kind: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Message:
    new: NewMessage
    rows: dict[int, _Row]

    @property
    def waiting(self) -> list[_Row]:
        return [r for r in self.rows.values() if r.state in WAITING]


class MemorySpool:
    """What the contract says, in a dict. Answers come in the next turn of the loop.

    For tests of those who use it: `fail_with(error)` fails each accept and blocks each settlement
    until fail_with(None); `refuse_with(error)` is what refusal() says; `settlements` has all that
    was recorded, in order."""

    def __init__(self, shard: int = 0, clock: Clock | None = None, folder: str = "") -> None:
        self.shard = shard
        self.settlements: list[Settlement] = []
        self._clock = clock or FakeClock()
        self._folder = folder
        self._ids = QueueIds(shard, self._clock.wall_ms)
        self._messages: dict[int, _Message] = {}
        self._listener: Callable[[NewMessage], None] = lambda message: None
        self._failure: SpoolError | None = None
        self._refusal: SpoolError | None = None
        self._unrecorded: list[tuple[Settlement, Future[None]]] = []
        self._is_closed = False

    # What only tests call.

    def fail_with(self, error: SpoolError | None) -> None:
        """From now on the disk answers with this; None: it is well again."""
        self._failure = error
        if error is None:
            blocked, self._unrecorded = self._unrecorded, []
            for settlement, future in blocked:
                self._later(future, self._settle, settlement)

    def refuse_with(self, error: SpoolError | None) -> None:
        """What refusal() says from now on."""
        self._refusal = error

    def reopened(self) -> "MemorySpool":
        """The spool after a restart: what was durable is there, the listener is not."""
        again = MemorySpool(self.shard, self._clock, self._folder)
        again._messages = self._messages
        again._ids = self._ids
        return again

    # The contract.

    def new_queue_id(self) -> QueueId:
        """The id for a message that is about to come."""
        return self._ids.new()

    def content_path(self, queue_id: QueueId) -> str:
        """A path in a folder for this test."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="cmail-spool-")
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        return os.path.join(self._folder, print_queue_id(queue_id))

    def accept(self, message: NewMessage) -> "Future[None]":
        """Make a message durable."""
        return self._soon(self._accept, message)

    def settle(self, settlement: Settlement) -> "Future[None]":
        """Record what an attempt did."""
        future = self._future()
        if self._failure is not None:
            self._unrecorded.append((settlement, future))
        else:
            self._later(future, self._settle, settlement)
        return future

    def listen(self, listener: Callable[[NewMessage], None]) -> None:
        """Call it with each message that became durable."""
        self._listener = listener

    @property
    def is_blocked(self) -> bool:
        """An outcome could not be recorded yet."""
        return bool(self._unrecorded)

    def refusal(self) -> SpoolError | None:
        """Why a new message could not be taken now."""
        return self._refusal

    def due(
        self, route: str, now_ms: int, after: Place, limit: int, octets_max: int, wanted: Wanted = ALL
    ) -> "Future[list[QueuedMessage]]":
        """Queued recipients of a route that are due, in order."""
        return self._soon(self._due, route, now_ms, after, limit, octets_max, wanted)

    def next_due(self, route: str, after_ms: int, wanted: Wanted = ALL) -> "Future[NextDue | None]":
        """The first due time of a route beyond after_ms."""
        return self._soon(self._next_due, route, after_ms, wanted)

    def routes(self) -> "Future[list[RouteSummary]]":
        """Routes that have queued recipients."""
        return self._soon(self._routes)

    def old(self, arrived_before_wall_ms: int, limit: int, after: QueueId) -> "Future[list[QueuedMessage]]":
        """Messages with queued recipients that arrived before a time."""
        return self._soon(self._old, arrived_before_wall_ms, limit, after)

    def late(self, link_ms: int, limit: int, after: QueueId) -> "Future[list[QueuedMessage]]":
        """Messages whose deadline is over."""
        return self._soon(self._late, link_ms, limit, after)

    def next_deadline(self, link_ms: int) -> "Future[int]":
        """The first deadline later than this."""
        return self._soon(self._next_deadline, link_ms)

    def _next_deadline(self, link_ms: int) -> int:
        times = [m.new.envelope.deliver_by_ms for m in self._messages.values()]
        return min((time for time in times if time > link_ms), default=0)

    def reroute(self, choose: Callable[[str], str]) -> "Future[int]":
        """Give each queued or held recipient the route choose(forward_path)."""
        return self._soon(self._reroute, choose)

    def wake(self, route: str, kind: NotNow, now_ms: int) -> "Future[int]":
        """Recipients that wait because of `kind` become due."""
        return self._soon(self._wake, route, kind, now_ms)

    def keep_time(self, route: str, wall_ms: int, link_ms: int) -> "Future[int]":
        """What waits for a time of the wall is due then."""
        return self._soon(self._keep_time, route, wall_ms, link_ms)

    def let_go(self, route: str, now_ms: int) -> "Future[int]":
        """Recipients that were never released become due."""
        return self._soon(self._let_go, route, now_ms)

    def too_large(self, route: str, size_max: int, limit: int) -> "Future[list[QueueEntry]]":
        """Queued recipients whose message is larger."""
        return self._soon(self._too_large, route, size_max, limit)

    def hold_too_large(self, queue_id: QueueId, positions: Sequence[int], reason: str) -> "Future[int]":
        """Hold recipients because of their size."""
        return self._soon(self._hold_too_large, queue_id, positions, reason)

    def ask_anew(self, queue_id: QueueId, positions: Sequence[int]) -> "Future[int]":
        """Recipients that were held because of their size are queued."""
        return self._soon(self._ask_anew, queue_id, positions)

    def waits(self, wanted: Wanted = ALL, *, is_held_too: bool = False) -> "Future[list[RouteWaits]]":
        """How much is queued on each route."""
        return self._soon(self._waits, wanted, is_held_too)

    def select(
        self, what: QueueFilter, limit: int, after: tuple[int, int] = (0, -1)
    ) -> "Future[list[QueueEntry]]":
        """The first recipients of a filter."""
        return self._soon(self._select, what, limit, after)

    def count(self, what: QueueFilter) -> "Future[int]":
        """How many recipients a filter means."""
        return self._soon(lambda: len(self._select(what, 1 << 62, (0, -1))))

    def change(self, what: QueueFilter, change: Change, now_ms: Mapping[str, int]) -> "Future[Changed]":
        """Do it to every recipient of the filter."""
        return self._soon(self._change, what, change, now_ms)

    def message(self, queue_id: QueueId) -> "Future[QueuedMessage | None]":
        """One message with all recipients that are not final."""
        return self._soon(self._message, queue_id)

    def figures(self) -> "Future[SpoolFigures]":
        """Counts."""
        return self._soon(self._figures)

    async def close(self) -> None:
        """Nothing can be called any more."""
        self._is_closed = True

    # How.

    def _future(self) -> "Future[Any]":
        assert not self._is_closed, "the spool is closed"
        return asyncio.get_running_loop().create_future()

    def _soon(self, work: Callable[..., Any], *args: Any) -> "Future[Any]":
        future = self._future()
        self._later(future, work, *args)
        return future

    def _later(self, future: "Future[Any]", work: Callable[..., Any], *args: Any) -> None:
        def do() -> None:
            try:
                answer = work(*args)
            except SpoolError as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(answer)

        asyncio.get_running_loop().call_soon(do)

    def _accept(self, new: NewMessage) -> None:
        if self._failure is not None:
            if new.content.path:
                os.unlink(new.content.path)
            raise self._failure
        self._add(new)

    def _add(self, new: NewMessage) -> None:
        assert len(new.routes) == len(new.envelope.recipients)
        state = RecipientState.HELD if new.is_held else RecipientState.QUEUED
        hold_ms = new.envelope.hold_until_ms
        reason = hold_reason(hold_ms) if hold_ms > new.arrived_wall_ms else ""
        rows = {
            position: _Row(
                QueuedRecipient(position, recipient, route, first_due_ms(new, route), rank=new.rank),
                state,
                0,
                reason,
            )
            for position, (recipient, route) in enumerate(
                zip(new.envelope.recipients, new.routes, strict=True)
            )
        }
        self._messages[new.queue_id] = _Message(new, rows)
        try:
            self._listener(new)
        except Exception as error:  # its fault must not keep the others from their answers
            context = {"message": "spool listener", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _settle(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)
        message = self._messages.get(settlement.queue_id)
        if message is not None:
            if settlement.is_whole and not settlement.added:
                self._remove(settlement.queue_id)
            else:
                self._record(message, settlement)
                if not message.waiting:
                    self._remove(settlement.queue_id)
        for owed in settlement.owed:
            self._add(owed)

    def _record(self, message: _Message, settlement: Settlement) -> None:
        for final in settlement.finals:
            self._end(message.rows.get(final.position), final)
        for deferral in settlement.deferrals:
            self._defer(message.rows.get(deferral.position), deferral)
        for recipient in settlement.added:
            position = max(message.rows) + 1
            queued = replace(recipient, position=position)
            message.rows[position] = _Row(queued, RecipientState.QUEUED)

    def _end(self, row: _Row | None, final: Final) -> None:
        if row is not None and row.state in WAITING:
            row.state, row.reason = final.state, final.reason

    def _defer(self, row: _Row | None, deferral: Deferral) -> None:
        if row is None or row.state not in WAITING:
            return
        queued = row.queued
        queued.due_ms, queued.attempts = deferral.due_ms, deferral.attempts
        queued.periods, queued.last_period = deferral.periods, deferral.last_period
        queued.is_delay_told = deferral.is_delay_told
        row.kind, row.reason = int(deferral.kind), deferral.reason

    def _remove(self, queue_id: int) -> None:
        message = self._messages.pop(queue_id)
        if message.new.content.path and os.path.exists(message.new.content.path):
            os.unlink(message.new.content.path)

    def _queued(self, message: _Message, rows: list[_Row]) -> QueuedMessage:
        new = message.new
        return QueuedMessage(
            new.queue_id,
            replace(new.envelope, recipients=tuple(r.queued.recipient for r in rows)),
            new.content,
            [replace(r.queued) for r in rows],
            len(message.waiting),
            new.arrived_wall_ms,
            new.arrived_link_ms,
            new.origin,
        )

    def _on_route(self, route: str) -> list[tuple[_Message, _Row]]:
        """Who is queued there."""
        return [
            (message, row)
            for message in self._messages.values()
            for row in message.rows.values()
            if row.state is RecipientState.QUEUED and row.queued.route == route
        ]

    def _due(
        self, route: str, now_ms: int, after: Place, limit: int, octets_max: int, wanted: Wanted
    ) -> list[QueuedMessage]:
        groups: dict[Place, list[_Row]] = {}
        for message, row in self._on_route(route):
            queued = row.queued
            key: Place = (queued.rank, queued.due_ms, message.new.queue_id)
            is_due = wanted.from_ms <= queued.due_ms <= now_ms
            if is_due and key > after and _is_wanted(wanted, message, queued):
                groups.setdefault(key, []).append(row)
        found: list[QueuedMessage] = []
        for key in sorted(groups)[:limit]:
            message = self._messages[key[2]]
            octets_max -= len(message.new.content.octets)
            if found and octets_max < 0:
                break
            found.append(self._queued(message, groups[key]))
        return found

    def _next_due(self, route: str, after_ms: int, wanted: Wanted) -> NextDue | None:
        found = [
            (row.queued.due_ms, message.new.queue_id, message.new.envelope.hold_until_ms)
            for message, row in self._on_route(route)
            if row.queued.due_ms > after_ms and _is_wanted(wanted, message, row.queued)
        ]
        return NextDue(min(found)[0], min(found)[2]) if found else None

    def _keep_time(self, route: str, wall_ms: int, link_ms: int) -> int:
        count = 0
        for message, row in self._on_route(route):
            until_ms = message.new.envelope.hold_until_ms
            due_ms = until_ms - (wall_ms - link_ms)
            if until_ms and not row.queued.attempts and row.queued.due_ms > max(link_ms, due_ms):
                row.queued.due_ms = due_ms
                count += 1
        return count

    def _let_go(self, route: str, now_ms: int) -> int:
        rows = [row for _, row in self._on_route(route) if not row.queued.due_ms]
        for row in rows:
            row.queued.due_ms = now_ms
        return len(rows)

    def _too_large(self, route: str, size_max: int, limit: int) -> list[QueueEntry]:
        return [
            _entry(message.new, row)
            for message, row in self._on_route(route)
            if message.new.content.size_bytes > size_max and not row.queued.was_too_large
        ][:limit]

    def _hold_too_large(self, queue_id: QueueId, positions: Sequence[int], reason: str) -> int:
        count = 0
        for row in self._messages[queue_id].rows.values() if queue_id in self._messages else ():
            is_queued = row.state is RecipientState.QUEUED and not row.queued.was_too_large
            if is_queued and row.queued.position in positions:
                row.state, row.reason, row.queued.was_too_large = RecipientState.HELD, reason, True
                count += 1
        return count

    def _ask_anew(self, queue_id: QueueId, positions: Sequence[int]) -> int:
        count = 0
        for row in self._messages[queue_id].rows.values() if queue_id in self._messages else ():
            if _cannot_fit(row) and row.queued.position in positions:
                row.state, row.reason, row.queued.was_too_large = RecipientState.QUEUED, "", False
                count += 1
        return count

    def _waits(self, wanted: Wanted, is_held_too: bool) -> list[RouteWaits]:
        states = (RecipientState.QUEUED, RecipientState.HELD)[: 1 + is_held_too]
        routes: dict[str, dict[QueueId, tuple[_Message, _Row]]] = {}
        for message in self._messages.values():
            is_early = message.new.envelope.hold_until_ms > self._clock.wall_ms() and not is_held_too
            for row in message.rows.values():
                if row.state in states and not is_early:
                    routes.setdefault(row.queued.route, {})[message.new.queue_id] = message, row
        found = []
        for route, there in sorted(routes.items()):
            some = [(m, _is_wanted(wanted, m, row.queued)) for m, row in there.values()]
            found.append(
                RouteWaits(
                    route,
                    len(some),
                    sum(m.new.content.size_bytes for m, _ in some),
                    min(max(m.new.arrived_wall_ms, m.new.envelope.hold_until_ms) for m, _ in some),
                    sum(m.new.envelope.priority > 0 for m, _ in some),
                    sum(is_wanted for _, is_wanted in some),
                    sum(m.new.content.size_bytes for m, is_wanted in some if is_wanted),
                )
            )
        return found

    def _routes(self) -> list[RouteSummary]:
        dues: dict[str, list[int]] = {}
        for message in self._messages.values():
            for row in message.rows.values():
                if row.state is RecipientState.QUEUED:
                    dues.setdefault(row.queued.route, []).append(row.queued.due_ms)
        return [RouteSummary(route, len(all_), min(all_)) for route, all_ in sorted(dues.items())]

    def _old(self, before_ms: int, limit: int, after: QueueId) -> list[QueuedMessage]:
        found = []
        for queue_id, message in sorted(self._messages.items()):
            rows = [r for r in message.rows.values() if r.state is RecipientState.QUEUED]
            if rows and queue_id > after and message.new.arrived_wall_ms < before_ms:
                found.append(self._queued(message, rows))
        return found[:limit]

    def _late(self, link_ms: int, limit: int, after: QueueId) -> list[QueuedMessage]:
        found = []
        for queue_id, message in sorted(self._messages.items()):
            envelope, rows = message.new.envelope, message.rows.values()
            queued = [row for row in rows if row.state is RecipientState.QUEUED]
            is_returned = envelope.is_returned_late
            is_ours = is_returned or envelope.deliver_by_ms > message.new.arrived_link_ms
            is_owed = is_ours and any(is_returned or not row.queued.is_delay_told for row in queued)
            if queue_id > after and 0 < envelope.deliver_by_ms <= link_ms and is_owed:
                found.append(self._queued(message, queued))
        return found[:limit]

    def _reroute(self, choose: Callable[[str], str]) -> int:
        count = 0
        for message in self._messages.values():
            for row in message.waiting:
                queued, route = row.queued, choose(row.queued.recipient.forward_path.text)
                if route != queued.route:
                    queued.route = route
                    queued.due_ms = new_way_due_ms(
                        message.new.envelope.hold_until_ms,
                        message.new.arrived_wall_ms,
                        message.new.arrived_link_ms,
                        is_internet(route),
                    )
                    count += 1
        return count

    def _wake(self, route: str, kind: NotNow, now_ms: int) -> int:
        count = 0
        for message in self._messages.values():
            for row in message.rows.values():
                is_meant = row.queued.route == route and row.kind == kind
                is_waiting = row.state is RecipientState.QUEUED and row.queued.due_ms > now_ms
                if is_meant and is_waiting:
                    row.queued.due_ms = now_ms
                    count += 1
        return count

    def _matches(self, what: QueueFilter, message: _Message, row: _Row) -> bool:
        new, address = message.new, row.queued.recipient.forward_path
        reverse_path = new.envelope.reverse_path_text
        is_from = not reverse_path if what.from_ == "<>" else _has(reverse_path, what.from_)
        return (
            (not what.ids or new.queue_id in what.ids)
            and (not what.recipients or (new.queue_id, row.queued.position) in what.recipients)
            and _has(address.text, what.to)
            and is_from
            and (not what.domain or address.domain == what.domain.lower())
            and new.arrived_wall_ms <= self._clock.wall_ms() - what.older_than_ms
            and _has(row.reason, what.reason)
            and (not what.states or row.state in what.states)
        )

    def _found(self, what: QueueFilter) -> list[tuple[_Message, _Row]]:
        return [
            (message, message.rows[position])
            for _, message in sorted(self._messages.items())
            for position in sorted(message.rows)
            if self._matches(what, message, message.rows[position])
        ]

    def _select(self, what: QueueFilter, limit: int, after: tuple[int, int]) -> list[QueueEntry]:
        entries = [_entry(message.new, row) for message, row in self._found(what)]
        return [e for e in entries if (e.queue_id, e.position) > after][:limit]

    def _change(self, what: QueueFilter, change: Change, now_ms: Mapping[str, int]) -> Changed:
        wall_ms, queued_state, held_state = self._clock.wall_ms(), RecipientState.QUEUED, RecipientState.HELD

        def is_early(message: _Message) -> bool:
            return message.new.envelope.hold_until_ms > wall_ms

        def is_meant(message: _Message, row: _Row) -> bool:
            if change is Change.FLUSH:
                return row.state is queued_state and not is_early(message)
            if change is Change.RELEASE:
                return row.state is held_state or (row.state is queued_state and is_early(message))
            return row.state is queued_state or (change is Change.DELETE and row.state is held_state)

        meant = [(m, row) for m, row in self._found(what) if is_meant(m, row)]
        early = {
            m.new.queue_id: m for m, row in meant if change is Change.RELEASE and row.state is queued_state
        }
        for message in early.values():
            others = [row for row in message.rows.values() if row.state is queued_state]
            meant += [(message, row) for row in others if not any(row is each for _, each in meant)]
            envelope = message.new.envelope
            shift_ms, by_ms = envelope.hold_until_ms - wall_ms, envelope.deliver_by_ms
            by_ms = max(1, by_ms - shift_ms) if by_ms else 0
            message.new = replace(
                message.new, envelope=replace(envelope, hold_until_ms=wall_ms, deliver_by_ms=by_ms)
            )
        for message, row in meant:
            if change is Change.RELEASE and _cannot_fit(row):
                row.reason = ""
            if change is Change.DELETE:
                del message.rows[row.queued.position]
            elif change is Change.HOLD:
                row.state = RecipientState.HELD
            elif is_early(message):
                row.state = RecipientState.QUEUED
            else:
                queued = row.queued
                row.state, queued.attempts = RecipientState.QUEUED, 0
                queued.due_ms = now_ms.get(queued.route, now_ms.get("", 0))
        ids = list(dict.fromkeys(m.new.queue_id for m, _ in meant))
        for queue_id in ids:
            if not self._messages[queue_id].waiting:
                self._remove(queue_id)
        return Changed(len(meant), ids[:10_000])

    def _message(self, queue_id: QueueId) -> QueuedMessage | None:
        message = self._messages.get(queue_id)
        return self._queued(message, message.waiting) if message is not None else None

    def _figures(self) -> SpoolFigures:
        counts: dict[str, int] = {}
        for message in self._messages.values():
            for row in message.rows.values():
                name = row.state.name.lower()
                counts[name] = counts.get(name, 0) + 1
        now_ms = self._clock.wall_ms()
        there = [each.new for _, each in sorted(self._messages.items())]
        came = [max(new.arrived_wall_ms, new.envelope.hold_until_ms) for new in there]
        oldest = next(
            (ms for ms, new in zip(came, there, strict=True) if new.envelope.hold_until_ms <= now_ms), 0
        )
        return SpoolFigures(len(self._messages), counts, oldest)


def _is_wanted(wanted: Wanted, message: _Message, queued: QueuedRecipient) -> bool:
    return wanted.admits(message.new.content.size_bytes, queued.rank, queued.was_too_large)


def _has(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


def _entry(new: NewMessage, row: _Row) -> QueueEntry:
    queued = row.queued
    return QueueEntry(
        new.queue_id,
        queued.position,
        new.envelope.reverse_path_text,
        queued.recipient.forward_path.text,
        new.content.size_bytes,
        row.state,
        queued.attempts,
        queued.due_ms,
        row.reason,
        row.kind,
        queued.route,
        new.arrived_wall_ms,
        new.origin,
        queued.periods,
        queued.rank,
        queued.was_too_large,
        new.envelope.hold_until_ms,
    )


def _cannot_fit(row: _Row) -> bool:
    is_held = row.state is RecipientState.HELD and row.queued.was_too_large
    return is_held and row.reason.startswith(CANNOT_FIT)
