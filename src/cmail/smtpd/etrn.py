"""ETRN: a site asks for its mail; who may, and what it is answered (RFC 1985)."""

from typing import Final

from cmail.mail.queue_id import parse_queue_id
from cmail.protocol.smtp.extensions import SUBMISSION_KINDS
from cmail.protocol.smtp.site_commands import NO_ETRN, QUEUE, Etrn
from cmail.smtpd.checks import LOGIN_FIRST
from cmail.smtpd.facts import Session
from cmail.smtpd.roles import SiteDesk
from cmail.storage.spool import SpoolError

ETRN_KINDS: Final = SUBMISSION_KINDS | {"smtp", "odmr"}


def offer(reply: bytes, keyword: bytes) -> bytes:
    """An EHLO reply with one keyword more."""
    head, last = reply[: reply.rindex(b"\r\n", 0, -2) + 2], reply[reply.rindex(b"\r\n", 0, -2) + 2 :]
    return head + b"250-" + keyword + b"\r\n" + last


def offered(desk: SiteDesk, session: Session) -> bytes:
    """The keyword for a session: ETRN or ATRN for who may say it, perhaps after a log-in; b"": none. Real
    programs look for it once, before they log in (RFC 2645 §6)."""
    kind, username = session.facts.kind, session.username
    if kind == "odmr":
        return b"ATRN" if not username or desk.book.of_user(username) else b""
    if kind in SUBMISSION_KINDS and not username:
        return b"ETRN" if any(site.user for site in desk.book.sites) else b""
    if kind not in ETRN_KINDS:
        return b""
    return b"ETRN" if desk.book.of_client(session.client.address, username) else b""


async def answer_etrn(desk: SiteDesk | None, session: Session, etrn: Etrn) -> bytes:
    """The reply to ETRN; what waits is on its way when it is said."""
    kind, username, address = session.facts.kind, session.username, session.client.address
    if desk is None or kind not in ETRN_KINDS:
        return NO_ETRN
    if kind != "smtp" and not username:
        return LOGIN_FIRST
    mine = desk.book.of_client(address, username)
    if not mine:
        return _reply(b"459 4.7.1", f"Node {etrn} not allowed: log in as its site, or come from its network")
    found = desk.book.meant(etrn, mine)
    try:
        if not found and etrn.option == QUEUE and _is_queue_id(etrn.node):
            return await _release(desk, session, etrn)
        if not found:
            return _reply(b"459 4.7.1", f"Node {etrn} not allowed: it is none of yours")
        waiting = await desk.waiting(found)
        for site in found:
            await desk.came(site, address, f"ETRN {etrn}")
    except SpoolError:
        return _reply(b"458 4.3.0", f"Unable to queue messages for node {etrn}")
    if not waiting.is_complete:
        return _reply(b"252 2.0.0", f"OK, pending messages for node {etrn} started")
    if not waiting.messages_count:
        return _reply(b"251 2.0.0", f"OK, no messages waiting for node {etrn}")
    return _reply(b"253 2.0.0", f"OK, {waiting.messages_count} pending messages for node {etrn} started")


async def _release(desk: SiteDesk, session: Session, etrn: Etrn) -> bytes:
    """A message that is held for its size, by its queue id: for who has logged in alone."""
    mine = desk.book.of_user(session.username) if session.username else []
    if not mine:
        return _reply(b"459 4.7.1", f"Node {etrn} not allowed: log in as its site")
    if not await desk.release(etrn.node.upper(), mine):
        return _reply(b"550 5.1.1", f"No message {etrn} is held for you")
    for site in mine:
        await desk.came(site, session.client.address, f"ETRN {etrn}")
    return _reply(b"250 2.0.0", f"OK, queuing for node {etrn} started")


def _is_queue_id(text: str) -> bool:
    try:
        parse_queue_id(text.upper())
    except ValueError:
        return False
    return True


def _reply(code: bytes, text: str) -> bytes:
    return code + b" " + text.encode("ascii", "replace") + b"\r\n"
