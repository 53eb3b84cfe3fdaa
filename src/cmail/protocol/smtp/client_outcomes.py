"""What a server's reply means for a recipient; and what is known before anything is sent."""

from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.reply import Reply
from cmail.mail.status import (
    BAD_CONNECTION,
    EXPIRED,
    FEATURE_MISSING,
    MESSAGE_TOO_LARGE,
    SMTPUTF8_NEEDED,
    TOO_MANY_RECIPIENTS,
    UNDEFINED,
    Detail,
)
from cmail.protocol.smtp.client_delivery import Delivery
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.client_replies import read_reply


def delivered(raw: bytes, relay: str, has_dsn: bool) -> Delivered:
    """After a 2yz to the content."""
    detail = UNDEFINED
    if raw[4:9] != b"2.0.0" and (b"\n" in raw or raw[4:6] == b"2."):
        reply = read_reply(raw)
        text = str(reply)
        if reply.status is not None:
            detail = reply.status.what
    else:
        text = raw.decode("utf-8", "replace")
        if not text.isprintable():
            text = str(read_reply(raw))
    return Delivered(relay, text, detail, False, has_dsn)


def refused(stage: str, raw: bytes, relay: str) -> TemporaryFailure | PermanentFailure | None:
    """What a 4yz or 5yz means; None: it is neither."""
    reply = read_reply(raw)
    if reply.is_success:
        return None
    detail = reply.status.what if reply.status is not None else _undetailed(stage, reply.code)
    reason = f"{stage}: {reply}"
    if reply.is_permanent:
        return PermanentFailure(reason, detail, relay, reply)
    return TemporaryFailure(reason, NotNow.MESSAGE, detail, relay, reply)


def unsent(d: Delivery, offers: Offers, relay: str, is_lmtp: bool = False) -> PermanentFailure | None:
    """What the peer has said of itself may be enough to know the end; else d.is_utf8 is set."""
    if d.by_s is not None and not is_lmtp and (failure := _too_late(d, d.by_s, offers, relay)) is not None:
        return failure
    size_bytes = d.content.size_bytes
    if offers.size_max and size_bytes > offers.size_max:  # RFC 1870 §6.1
        reason = f"the message has {size_bytes} octets and {relay} takes {offers.size_max}"
        return PermanentFailure(reason, MESSAGE_TOO_LARGE, relay)
    if d.envelope.is_smtputf8 or _has_utf8_path(d):
        d.is_utf8 = _needs_utf8(d)
        if d.is_utf8 and not offers.has_smtputf8:  # RFC 6531 §3.2
            reason = f"the message needs SMTPUTF8 and {relay} does not offer it"
            return PermanentFailure(reason, SMTPUTF8_NEEDED, relay)
    return None


def _too_late(d: Delivery, by_s: int, offers: Offers, relay: str) -> PermanentFailure | None:
    """BY with R (RFC 2852): who relays to a host that does not know of deadlines, or takes none so
    short, can promise nothing, and the sender wants it back then. LMTP is no relaying: it is the end."""
    if not d.envelope.is_returned_late:
        return None
    if not offers.has_deliverby:
        reason = f"its sender wants it back when it is late, and {relay} does not offer DELIVERBY"
        return PermanentFailure(reason, FEATURE_MISSING, relay)
    if by_s < max(1, offers.by_min_s):
        reason = f"{by_s} s are left of its time, and {relay} takes no deadline below {offers.by_min_s} s"
        return PermanentFailure(reason, EXPIRED, relay)
    return None


def detail_of(reply: Reply) -> Detail:
    return reply.status.what if reply.status is not None else BAD_CONNECTION


def _undetailed(stage: str, code: int) -> Detail:
    """Where the reply has no enhanced status: what the code alone says for sure."""
    return MESSAGE_TOO_LARGE if code == 552 and stage == "content" else UNDEFINED


def is_too_many(code: bytes, raw: bytes) -> bool:
    """452, or 552 which means the same (RFC 5321 §4.5.3.1.10), unless it speaks of the mailbox."""
    if code not in (b"452", b"552"):
        return False
    status = read_reply(raw).status
    return status is None or status.what in (TOO_MANY_RECIPIENTS, UNDEFINED)


def _has_utf8_path(d: Delivery) -> bool:
    reverse_path = d.envelope.reverse_path
    if reverse_path is not None and not reverse_path.text.isascii():
        return True
    for recipient in d.recipients:
        if not recipient.forward_path.text.isascii():  # a loop: any() costs a generator a message
            return True
    return False


def _needs_utf8(d: Delivery) -> bool:
    """Whether an address or the header needs SMTPUTF8; the body never does (RFC 6531 §3.6)."""
    if _has_utf8_path(d):
        return True
    if not d.envelope.is_smtputf8 or not d.content.has_8bit:
        return False
    if d.content.path:
        return True  # not worth a look into the file: who asked for SMTPUTF8 gets it
    header, _, _ = d.content.wire().partition(b"\r\n\r\n")
    return not header.isascii()
