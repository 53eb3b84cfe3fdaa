"""What an operator may ask of the queue of one worker; it answers the commands, the page and the API.

A change acts on the whole filter in every shard of the worker, in one commit a shard, never on a page
of a listing. Bounces are written shard by shard, message by message, each in one commit."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from cmail.admin.entries import filter_of, number_of, row_of
from cmail.admin.rows import Row
from cmail.mail.content import Unstuffer
from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId, parse_queue_id, print_queue_id
from cmail.net.control import AnswerFunction, ControlError
from cmail.observe import maillog
from cmail.observe.sink import printing
from cmail.policy.orders import FREE, Orders
from cmail.queue.admission import kept_words
from cmail.queue.alone import MESSAGES_MAX as ALONE_MAX
from cmail.storage.spool import (
    HOLD_WORDS,
    Change,
    Changed,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    RecipientState,
    Spool,
)
from cmail.world import Clock, LinkClock

Fields = dict[str, Any]
QUEUE_IDS_NAMED_MAX: Final = 10_000  # of a change; beyond it take it for everything
PAGE_MAX: Final = 1000  # rows of one answer; who wants more asks on with `after`
REASON_MAX: Final = 1000  # letters of what an operator has to say to a sender
_EVERYTHING: Final = 1 << 62
_PIECE: Final = 128 * 1024  # of content in one line of an answer
_WAITING: Final = (RecipientState.QUEUED, RecipientState.HELD)
_CHANGES: Final = {
    "flush": Change.FLUSH,
    "hold": Change.HOLD,
    "release": Change.RELEASE,
    "delete": Change.DELETE,
}
_OF_STATE: Final = {
    Change.FLUSH: (RecipientState.QUEUED,),
    Change.HOLD: (RecipientState.QUEUED,),
    Change.RELEASE: (RecipientState.HELD,),
    Change.DELETE: _WAITING,
}


@dataclass(frozen=True, slots=True)
class RouteTrouble:
    """A next hop that is left alone for a while, and with it all that waits for it."""

    reason: str
    kind: NotNow
    rest_ms: int


class Desk(Protocol):
    """One shard, as its worker has it: the spool, and who schedules it."""

    @property
    def spool(self) -> Spool:
        """The durable queue."""
        ...

    def change_times(self) -> Mapping[str, int]:
        """What `now` is on each route's clock; "" for all others."""
        ...

    def changed(self, change: Change, changed: Changed) -> None:
        """An operator has changed these in the spool: what is held in memory must follow."""
        ...

    def trouble(self, route: str) -> RouteTrouble | None:
        """Why a next hop rests now; None when it does not."""
        ...

    def under_way(self) -> Mapping[tuple[int, int], float]:
        """Recipients (queue id, position) that are being sent, and for how many seconds."""
        ...

    async def bounce(self, message: QueuedMessage, positions: Sequence[int], reason: str) -> int:
        """Fail these recipients with a report to the sender, in one commit; how many."""
        ...

    async def let_go(self, queue_ids: Sequence[int] | None) -> tuple[int, int]:
        """These are to go now, or (None) all that waits for the Internet, in an exchange. How many messages
        can, and how many the policy of the links keeps; of those for the Internet."""
        ...


@dataclass(frozen=True, slots=True)
class QueueAnswers:
    """Answers questions about the shards of one worker."""

    desks: Callable[[], Sequence[Desk]]
    clock: Clock
    link_clock: LinkClock
    needs_link: Callable[[str], bool]  # whether a route's due times are on the link clock
    is_batch: Callable[[], bool] = lambda: False
    orders: Callable[[], Orders] = lambda: FREE  # that hold for routes that need the link
    begin_exchange: Callable[[], Awaitable[str]] | None = None  # "", or why none can begin
    is_logged: bool = True  # a command that works without a server has no log to write to

    def functions(self) -> dict[str, AnswerFunction]:
        """Question -> its function, for the control server."""
        return {
            "queue.list": self.list,
            "queue.count": self.count,
            "queue.show": self.show,
            "queue.change": self.change,
            "queue.flush": self.flush,
            "queue.bounce": self.bounce,
            "queue.figures": self.figures,
        }

    async def list(self, request: Fields) -> AsyncIterator[Row]:
        """{filter, limit, after: [queue id, position]}: rows, oldest first, and what is known of the
        link, because `why` needs it."""
        what = _meant(request, _WAITING)
        limit, after = _page(request)
        desks = self.desks()
        found = await asyncio.gather(*(d.spool.select(what, limit, after) for d in desks))
        placed = [(entry, desk) for desk, some in zip(desks, found, strict=True) for entry in some]
        placed.sort(key=lambda pair: _place(pair[0]))
        under_way = {place: sent_s for desk in desks for place, sent_s in desk.under_way().items()}
        return self._rows(placed[:limit], under_way)

    async def count(self, request: Fields) -> Fields:
        """{filter}: how many recipients wait that it means."""
        what = _meant(request, _WAITING)
        return {"recipients": sum(await asyncio.gather(*(d.spool.count(what) for d in self.desks())))}

    async def _rows(
        self, placed: Sequence[tuple[QueueEntry, Desk]], under_way: Mapping[tuple[int, int], float]
    ) -> AsyncIterator[Row]:
        for entry, desk in placed:
            yield self._row(entry, desk, under_way)

    def _row(self, entry: QueueEntry, desk: Desk, under_way: Mapping[tuple[int, int], float]) -> Row:
        """What was not tried because its next hop rests waits for the same reason as what was."""
        row = row_of(entry, self._wall_due)
        if (sent_s := under_way.get(_place(entry))) is not None:
            row["sent_for_ms"] = max(0, round(sent_s * 1000))
            return row
        if row["state"] == "queued" and entry.hold_until_ms > self.clock.wall_ms():  # RFC 4865
            row["next_ms"] = entry.hold_until_ms
            return row
        if row["state"] == "queued" and entry.reason.startswith(HOLD_WORDS):
            row["reason"] = ""  # that time has come, or an operator has released it
        if row["state"] == "queued" and self.needs_link(entry.route):
            row["kept"] = kept_words(self.orders(), entry.size_bytes, entry.rank, entry.was_too_large)
            if row["kept"]:
                row["next_ms"] = 0
        trouble = desk.trouble(entry.route) if row["state"] == "queued" else None
        if trouble is not None and not row["reason"]:
            row["reason"], row["kind"] = trouble.reason, int(trouble.kind)
            if row["next_ms"]:
                row["next_ms"] = max(row["next_ms"], self.clock.wall_ms() + trouble.rest_ms)
        return row

    def _wall_due(self, route: str, due_ms: int) -> int:
        """When a route's due time is by the wall clock; 0 while its clock stands still."""
        now = self.clock.wall_ms()
        if not self.needs_link(route):
            return due_ms or now
        if self.link_clock.is_down or (self.is_batch() and not due_ms):
            return 0  # waits for the link, or for a flush
        return due_ms + now - self.link_clock.link_ms() if due_ms else now

    async def show(self, request: Fields) -> AsyncIterator[Fields]:
        """{id, content: bool, octets: of it at most, 0: all}: the envelope, a row a recipient, then the
        header section (or the content) in pieces."""
        queue_id, octets_max = _queue_id(request), _octets(request)
        for desk in self.desks():
            message = await desk.spool.message(queue_id)
            if message is not None:
                entries = await desk.spool.select(QueueFilter(ids=(queue_id,)), PAGE_MAX)
                is_header_only = not request.get("content")
                pieces = _pieces(message, is_header_only=is_header_only, octets_max=octets_max)
                return self._shown(desk, message, entries, pieces)
        raise ControlError(f"{print_queue_id(queue_id)} is not in the queue", 67)

    async def _shown(
        self,
        desk: Desk,
        message: QueuedMessage,
        entries: Sequence[QueueEntry],
        pieces: AsyncIterator[bytes],
    ) -> AsyncIterator[Fields]:
        yield {"envelope": _envelope(message)}
        under_way = desk.under_way()
        for entry in entries:
            yield {"recipient": self._row(entry, desk, under_way)}
        async for piece in pieces:
            yield {"content": base64.b64encode(piece).decode()}

    async def change(self, request: Fields) -> Fields:
        """{change: flush|hold|release|delete, filter}: how many recipients."""
        change = _CHANGES.get(str(request.get("change", "")))
        if change is None:
            raise ControlError(f"no such change: {request.get('change')!r}", 64)
        what = _meant(request, _states_of(change, request))
        recipients, let_go = 0, []
        for desk in self.desks():
            changed = await desk.spool.change(what, change, desk.change_times())
            desk.changed(change, changed)
            recipients += changed.recipients_count
            let_go.append((desk, changed))
            if self.is_logged:
                _log(change, changed)
        if change not in (Change.FLUSH, Change.RELEASE) or not recipients or self.begin_exchange is None:
            return {"recipients": recipients}
        is_all = change is Change.FLUSH and not request["filter"]
        return {"recipients": recipients, **await self._send_now(let_go, is_all, self.begin_exchange)}

    async def _send_now(
        self,
        changes: Sequence[tuple[Desk, Changed]],
        is_all: bool,
        begin_exchange: Callable[[], Awaitable[str]],
    ) -> Fields:
        """What is meant by name goes by itself, though no exchange is open; for all that waits (or so much of
        it that nobody names it) an exchange begins. What came of it, for admin/going.py."""
        is_all = is_all or any(len(changed.queue_ids) > ALONE_MAX for _, changed in changes)
        found = [await desk.let_go(None if is_all else changed.queue_ids) for desk, changed in changes]
        messages, kept = (sum(counts) for counts in zip(*found, strict=True))
        answer: Fields = {"messages": messages, "kept": kept, "is_link_down": self.link_clock.is_down}
        if not messages or self.orders().is_exchange_open:
            return answer
        if not is_all:
            return {**answer, "is_alone": True}
        no_exchange = await begin_exchange()
        return {**answer, "exchange": not no_exchange, "no_exchange": no_exchange}

    async def flush(self, request: Fields) -> Fields:
        """{filter}: change flush, by its own name."""
        return await self.change({**request, "change": "flush"})

    async def bounce(self, request: Fields) -> Fields:
        """{filter, reason_given}: back to the sender, with a report."""
        what = _meant(request, _WAITING)
        reason = (
            printing(str(request.get("reason_given", ""))[:REASON_MAX]) or "returned by the administrator"
        )
        recipients = 0
        for desk in self.desks():
            async for queue_id, positions in _by_message(desk.spool, what):
                message = await desk.spool.message(queue_id)
                if message is not None:
                    recipients += await desk.bounce(message, positions, reason)
        return {"recipients": recipients}

    async def figures(self, request: Fields) -> Fields:
        """{}: counts of all shards together."""
        recipients: dict[str, int] = {}
        messages = oldest = 0
        for figures in await asyncio.gather(*(d.spool.figures() for d in self.desks())):
            messages += figures.messages_count
            for state, count in figures.recipients.items():
                recipients[state.lower()] = recipients.get(state.lower(), 0) + count
            arrived = figures.oldest_arrived_ms
            oldest = min(oldest or arrived, arrived or oldest)
        return {
            "messages": messages,
            "recipients": recipients,
            "oldest_ms": oldest,
            "is_link_down": self.link_clock.is_down,
            "is_batch": self.is_batch(),
        }


def _states_of(change: Change, request: Fields) -> Sequence[RecipientState]:
    """What a change can be about. What its sender holds (RFC 4865) is released by name alone: "all" would
    send what nobody thought of."""
    fields = request.get("filter")
    is_named = isinstance(fields, dict) and bool(fields.get("ids") or fields.get("recipients"))
    return _WAITING if change is Change.RELEASE and is_named else _OF_STATE[change]


def _meant(request: Fields, states: Sequence[RecipientState]) -> QueueFilter:
    """The filter of a question, with the states that it can be about. A question without a filter is
    refused: everything must be asked for as an empty one."""
    fields = request.get("filter")
    if not isinstance(fields, dict):
        raise ControlError("no filter given", 64)
    try:
        what = filter_of(fields)
    except (ValueError, KeyError) as error:
        raise ControlError(f"a filter that is not understood: {error}", 64) from None
    meant = tuple(s for s in states if not what.states or s in what.states)
    if not meant:
        raise ControlError("there are no such recipients in that state", 64)
    return replace(what, states=meant)


def _page(request: Fields) -> tuple[int, tuple[int, int]]:
    """How many rows, and behind which place."""
    try:
        limit = number_of(request.get("limit", PAGE_MAX))
        after_id, after_position = request.get("after", (0, -1))
        after = (number_of(after_id), number_of(after_position, -1))
    except (ValueError, TypeError) as error:
        raise ControlError(f"a page that is not understood: {error}", 64) from None
    return max(1, min(PAGE_MAX, limit)), after


def _queue_id(request: Fields) -> QueueId:
    try:
        return parse_queue_id(str(request.get("id", "")))
    except ValueError as error:
        raise ControlError(str(error), 64) from None


def _octets(request: Fields) -> int:
    """How much of the content is asked for."""
    try:
        return number_of(request.get("octets", 0)) or _EVERYTHING
    except ValueError as error:
        raise ControlError(str(error), 64) from None


def _place(entry: QueueEntry) -> tuple[int, int]:
    return entry.queue_id, entry.position


async def _by_message(spool: Spool, what: QueueFilter) -> AsyncIterator[tuple[QueueId, tuple[int, ...]]]:
    """The messages of a filter with the positions that it means; a page at a time."""
    after = (0, -1)
    while page := await spool.select(what, PAGE_MAX, after):
        after = _place(page[-1])
        positions: dict[QueueId, list[int]] = {}
        for entry in page:
            positions.setdefault(entry.queue_id, []).append(entry.position)
        for queue_id, some in positions.items():
            yield queue_id, tuple(some)


def _envelope(message: QueuedMessage) -> Fields:
    envelope = message.envelope
    return {
        "id": print_queue_id(message.queue_id),
        "from": envelope.reverse_path_text,
        "size": message.content.size_bytes,
        "arrived_ms": message.arrived_wall_ms,
        "origin": message.origin,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "smtputf8": envelope.is_smtputf8,
        "body8bit": envelope.is_8bit,
        "priority": envelope.priority,
    }


async def _pieces(
    message: QueuedMessage, *, is_header_only: bool, octets_max: int = _EVERYTHING
) -> AsyncIterator[bytes]:
    """The content unstuffed; the header section ends with the empty line."""
    seen, left = b"", octets_max
    async for octets in _plain(message):
        if left <= 0:
            return
        piece = octets[:left]
        left -= len(piece)
        if not is_header_only:
            yield piece
            continue
        joined = seen + piece
        end = joined.find(b"\r\n\r\n")
        yield piece if end < 0 else piece[: max(0, end + 2 - len(seen))]
        if end >= 0:
            return
        seen = joined[-3:]


async def _plain(message: QueuedMessage) -> AsyncIterator[bytes]:
    content, unstuffer = message.content, Unstuffer()
    yield unstuffer.feed(content.prefix + content.octets)
    if content.path:
        file = await asyncio.to_thread(open, content.path, "rb")
        with file:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield unstuffer.feed(piece)
    yield unstuffer.finish()


def _log(change: Change, changed: Changed) -> None:
    """One line a message: who reads the log later must see why its life went on or ended so."""
    say = {Change.HOLD: maillog.held, Change.RELEASE: maillog.released, Change.DELETE: maillog.deleted}
    if change in say:
        for queue_id in changed.queue_ids:
            say[change](queue_id)
