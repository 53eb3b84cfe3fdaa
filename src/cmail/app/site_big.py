"""Large messages for a site: held; its postmaster is told of each, once, and how to have it sent."""

import asyncio
from typing import Final

from cmail.delivery.site_settings import SiteSettings
from cmail.mail.address import Address
from cmail.mail.composed import compose
from cmail.mail.content import from_plain, unstuff
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.headers import find_field, header_of
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.mail.trace import date_text
from cmail.observe import maillog
from cmail.queue.report import needs_head, read_head
from cmail.queue.route_queue import KEY_BITS
from cmail.queue.scheduler import Scheduler
from cmail.queue.words import size_words
from cmail.storage.spool import Change, NewMessage, QueuedMessage
from cmail.world import Clock, LinkClock

AT_ONCE: Final = 100  # recipients; the next look takes the next ones
SUBJECT_MAX: Final = 200
RECIPIENTS_SHOWN_MAX: Final = 20


async def hold_big(
    site: SiteSettings, scheduler: Scheduler, hostname: str, clock: Clock, link_clock: LinkClock
) -> None:
    """Hold what is larger than the site wants and was not held for it before. The notice is durable before
    the message is held: a crash in between tells twice, and never not at all."""
    entries = await scheduler.spool.too_large(site.route, site.largest, AT_ONCE)
    positions: dict[QueueId, list[int]] = {}
    for entry in entries:
        if (entry.queue_id << KEY_BITS | entry.position) in scheduler.active:
            continue  # it is being sent: it was asked for, or the limit is new
        positions.setdefault(entry.queue_id, []).append(entry.position)
    for queue_id, some in positions.items():
        message = await scheduler.spool.message(queue_id)
        if message is None:
            continue
        head = await asyncio.to_thread(read_head, message.content.path) if needs_head(message) else None
        await scheduler.spool.accept(
            _notice(site, scheduler, message, some, head, hostname, clock, link_clock)
        )
        words = f"is larger than what site {site.name} takes unasked ({size_words(site.largest)})"
        if await scheduler.spool.hold_too_large(queue_id, some, words):
            scheduler.changed(Change.HOLD, [queue_id])
            maillog.held(queue_id, by=f"the size that site {site.name} takes")


def _notice(
    site: SiteSettings,
    scheduler: Scheduler,
    message: QueuedMessage,
    positions: list[int],
    head: bytes | None,
    hostname: str,
    clock: Clock,
    link_clock: LinkClock,
) -> NewMessage:
    """The short message about one that is held. It has the null reverse-path: nobody is told of its fate."""
    to = Address("postmaster", site.domains[0])
    queue_id, now_ms = scheduler.spool.new_queue_id(), clock.wall_ms()
    meant = [q.recipient.forward_path.text for q in message.recipients if q.position in positions]
    subject = _subject(message, head)
    held = print_queue_id(message.queue_id)
    shown = ", ".join(meant[:RECIPIENTS_SHOWN_MAX])
    if len(meant) > RECIPIENTS_SHOWN_MAX:
        shown += f" and {len(meant) - RECIPIENTS_SHOWN_MAX} more"
    text = (
        f"A message for you is larger than {size_words(site.largest)}, and waits at {hostname} until you"
        " want it.\n\n"
        f"From:    <{message.envelope.reverse_path_text}>\n"
        f"To:      {shown}\n"
        f"Subject: {subject}\n"
        f"Size:    {size_words(message.content.size_bytes)}\n"
        f"Came:    {date_text(message.arrived_wall_ms // 1000)}\n\n"
        f"To have it sent, log in at {hostname} and say: ETRN #{held}\n"
        f"Or ask its administrator, who says: cmail queue release {held}\n"
    )
    top = (
        f"Message-ID: <{print_queue_id(queue_id)}@{hostname}>\r\n"
        f"Date: {date_text(now_ms // 1000)}\r\n"
        "Auto-Submitted: auto-generated\r\n"  # RFC 3834 §5
    )
    author = Address("postmaster", hostname)
    content = from_plain(top.encode() + compose(author, [to], f"A large message waits: {subject}", text))
    return NewMessage(
        queue_id,
        Envelope(None, (Recipient(to),), is_8bit=content.has_8bit),
        content,
        (site.route,),
        now_ms,
        link_clock.link_ms(),
        origin=f"notice of {held}",
    )


def _subject(message: QueuedMessage, head: bytes | None) -> str:
    """As it stands there, printing letters alone (rule 17)."""
    plain = message.content.prefix + unstuff(message.content.octets or head or b"")
    found = find_field(header_of(plain), b"subject") or b"(none)"
    text = found.decode("ascii", "replace").replace("\ufffd", "?")
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:SUBJECT_MAX]
