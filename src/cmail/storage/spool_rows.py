"""What stands in the rows of the spool: messages and recipients to values, and back."""

import json
from collections.abc import Callable, Iterable
from enum import IntFlag
from functools import lru_cache
from typing import Any, Final

from cmail.mail.address import Address
from cmail.mail.content import Content
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.queue_id import QueueId
from cmail.storage.spool import (
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    QueueEntry,
    RecipientState,
    Settlement,
    first_due_ms,
    hold_reason,
)
from cmail.storage.spool_schema import WORK_COLUMNS, Op

Row = tuple[Any, ...]  # one row of `work`


class Flag(IntFlag):
    """message.flags"""

    SMTPUTF8 = 1
    BODY_8BIT = 2  # BODY=8BITMIME was said
    HAS_8BIT = 4  # an octet over 127 is in it
    BY_NOTIFY = 8  # the deadline: what its sender wants then, and whether he wants a trace
    BY_RETURN = 16
    BY_TRACE = 32
    PRIORITY_FIXED = 64  # 0, whatever the header asks for


_BY_FLAGS: Final = {
    "": 0,
    "N": int(Flag.BY_NOTIFY),
    "R": int(Flag.BY_RETURN),
    "NT": Flag.BY_NOTIFY | Flag.BY_TRACE,
    "RT": Flag.BY_RETURN | Flag.BY_TRACE,
}
_BY_MODES: Final = {int(flags): mode for mode, flags in _BY_FLAGS.items()}
_BY_MASK: Final = int(Flag.BY_NOTIFY | Flag.BY_RETURN | Flag.BY_TRACE)


_NO_MESSAGE: Final = (None,) * 15  # reverse_path to octets
_NO_RECIPIENT: Final = (None,) * 15
_PLACE: Final = {name: number for number, name in enumerate(WORK_COLUMNS.split(", "))}
_POSITION: Final = _PLACE["position"]


def accept_rows(message: NewMessage, needs_link: Callable[[str], bool]) -> list[Row]:
    """The rows that make a message durable."""
    envelope, content = message.envelope, message.content
    state, rank = 1 if message.is_held else 0, message.rank
    reason = hold_reason(envelope.hold_until_ms) if envelope.hold_until_ms > message.arrived_wall_ms else ""
    head: Row = (
        Op.ACCEPT,
        message.queue_id,
        envelope.reverse_path_text,
        envelope.ret,
        envelope.envid,
        envelope.is_smtputf8
        | envelope.is_8bit << 1
        | content.has_8bit << 2
        | _BY_FLAGS[envelope.by_mode]
        | envelope.is_priority_fixed << 6,
        envelope.priority,
        envelope.deliver_by_ms,
        envelope.hold_until_ms,
        message.arrived_wall_ms,
        message.arrived_link_ms,
        message.origin,
        content.size_bytes,
        content.wire_bytes,
        1 if content.path else 0,
        content.prefix,
        content.octets,
    )
    rows = []
    for position, route in enumerate(message.routes):
        recipient = envelope.recipients[position]
        due_ms = first_due_ms(message, route, needs_link)
        rows.append(
            (
                *head,
                position,
                recipient.forward_path.text,
                recipient.orcpt,
                int(recipient.notify),
                route,
                state,
                due_ms,
                0,
                0,
                -1,
                0,
                reason,
                0,
                0,
                rank,
                None,
            )
        )
        if position == 0:
            head = (Op.RECIPIENT, message.queue_id, *_NO_MESSAGE)
    return rows


def whole_row(queue_ids: list[int]) -> Row:
    """The row that ends messages of which nobody is left."""
    return (Op.WHOLE, None, *_NO_MESSAGE, *_NO_RECIPIENT, json.dumps(queue_ids))


def unlinked_row(queue_ids: list[int]) -> Row:
    """The row that says that the files of these messages are unlinked."""
    return (Op.UNLINKED, None, *_NO_MESSAGE, *_NO_RECIPIENT, json.dumps(queue_ids))


def settle_rows(settlement: Settlement) -> list[Row]:
    """The rows that record what happened to some recipients of a message that may stay."""
    queue_id = settlement.queue_id
    rows = [
        _row(Op.FINAL, queue_id, position=f.position, state=int(f.state), reason=f.reason)
        for f in settlement.finals
    ]
    for d in settlement.deferrals:
        rows.append(
            _row(
                Op.DEFER,
                queue_id,
                position=d.position,
                due_ms=d.due_ms,
                attempts=d.attempts,
                periods=d.periods,
                last_period=d.last_period,
                kind=int(d.kind),
                reason=d.reason,
                is_delay_told=int(d.is_delay_told),
            )
        )
    rows += [_add_row(queue_id, recipient) for recipient in settlement.added]
    if settlement.finals:
        rows.append(_row(Op.SWEEP, queue_id))
    return rows


def _add_row(queue_id: int, q: QueuedRecipient) -> Row:
    return _row(
        Op.ADD,
        queue_id,
        forward_path=q.recipient.forward_path.text,
        orcpt=q.recipient.orcpt,
        notify=int(q.recipient.notify),
        route=q.route,
        state=0,
        due_ms=q.due_ms,
        attempts=q.attempts,
        periods=q.periods,
        last_period=q.last_period,
        kind=0,
        reason="",
        is_delay_told=int(q.is_delay_told),
        alias_depth=q.alias_depth,
        rank=q.rank,
    )


def _row(op: Op, queue_id: int, **values: Any) -> Row:
    row: list[Any] = [None] * len(_PLACE)
    row[0], row[1] = op, queue_id
    for name, value in values.items():
        row[_PLACE[name]] = value
    return tuple(row)


@lru_cache(maxsize=4096)
def stored_address(text: str) -> Address:
    """An Address from its own text: it was parsed before it was stored, no doubt is left."""
    local_part, _, domain = text.rpartition("@")
    return Address(local_part, domain)


# What is read of a recipient and of its message, in the order that the functions below take.
RECIPIENT_COLUMNS: Final = (
    "r.position, r.forward_path, r.orcpt, r.notify, r.route, r.due_ms, r.attempts, r.periods, "
    "r.last_period, r.is_delay_told, r.alias_depth, r.rank, r.was_too_large"
)
MESSAGE_COLUMNS: Final = (
    "m.id, m.reverse_path, m.ret, m.envid, m.flags, m.priority, m.deliver_by_ms, "
    "m.hold_until_ms, m.arrived_wall_ms, m.arrived_link_ms, m.origin, m.size_bytes, "
    "m.wire_bytes, m.is_file"
)
ENTRY_COLUMNS: Final = (
    "r.message_id, r.position, m.reverse_path, r.forward_path, m.size_bytes, r.state, r.attempts, "
    "r.due_ms, r.reason, r.kind, r.route, m.arrived_wall_ms, m.origin, r.periods, "
    "r.rank, r.was_too_large, m.hold_until_ms"
)


def queued_recipient(row: Row) -> QueuedRecipient:
    """A row of RECIPIENT_COLUMNS as a value."""
    (
        position,
        forward_path,
        orcpt,
        notify,
        route,
        due_ms,
        attempts,
        periods,
        last_period,
        is_delay_told,
        alias_depth,
        rank,
        was_too_large,
    ) = row
    return QueuedRecipient(
        position,
        Recipient(stored_address(forward_path), orcpt, Notify(notify)),
        route,
        due_ms,
        attempts,
        periods,
        last_period,
        bool(is_delay_told),
        alias_depth,
        rank,
        bool(was_too_large),
    )


def queued_message(
    row: Row, prefix: bytes, octets: bytes, path: str, recipients: Iterable[Row], waiting: int
) -> QueuedMessage:
    """A row of MESSAGE_COLUMNS, its content and rows of RECIPIENT_COLUMNS as a value."""
    (
        queue_id,
        reverse_path,
        ret,
        envid,
        flags,
        priority,
        deliver_by_ms,
        hold_until_ms,
        arrived_wall_ms,
        arrived_link_ms,
        origin,
        size_bytes,
        wire_bytes,
        is_file,
    ) = row
    queued = [queued_recipient(r) for r in recipients]
    envelope = Envelope(
        stored_address(reverse_path) if reverse_path else None,
        tuple(q.recipient for q in queued),
        ret,
        envid,
        bool(flags & Flag.SMTPUTF8),
        bool(flags & Flag.BODY_8BIT),
        priority,
        deliver_by_ms,
        hold_until_ms,
        _BY_MODES.get(flags & _BY_MASK, "N") if deliver_by_ms else "",
        bool(flags & Flag.PRIORITY_FIXED),
    )
    content = Content(
        prefix, octets, size_bytes, path if is_file else "", wire_bytes, bool(flags & Flag.HAS_8BIT)
    )
    return QueuedMessage(
        QueueId(queue_id),
        envelope,
        content,
        queued,
        waiting,
        arrived_wall_ms,
        arrived_link_ms,
        origin,
    )


def queue_entry(row: Row) -> QueueEntry:
    """A row of ENTRY_COLUMNS as a value."""
    values = list(row)
    values[5], values[-2] = RecipientState(values[5]), bool(values[-2])
    return QueueEntry(*values)
