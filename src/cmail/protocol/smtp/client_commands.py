"""MAIL and RCPT as a client writes them: parameters only for what the peer has offered."""

from dataclasses import replace
from functools import lru_cache

from cmail.mail.content import Content
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.scheduling import by_value


def mail_command(
    envelope: Envelope, content: Content, offers: Offers, is_utf8: bool, by_s: int | None = None
) -> bytes:
    """MAIL FROM with SIZE, BODY, SMTPUTF8, RET, ENVID, MT-PRIORITY and BY. `by_s`: what is left of its
    time, when it has a deadline."""
    reverse_path = envelope.reverse_path
    line = "MAIL FROM:<" + (reverse_path.text if reverse_path is not None else "") + ">"
    if offers.has_size:
        line += f" SIZE={content.size_bytes}"
    if content.has_8bit and offers.has_8bitmime:
        # RFC 6152 §3 asks to convert or to bounce where it is not offered. We send the octets as they
        # are, without BODY: no server in use is known to damage them, and a bounce helps nobody.
        line += " BODY=8BITMIME"
    if is_utf8:
        line += " SMTPUTF8"
    if offers.has_dsn:
        if envelope.ret:
            line += " RET=" + envelope.ret
        if envelope.envid:
            line += " ENVID=" + xtext(envelope.envid)
    if (envelope.priority or envelope.is_priority_fixed) and offers.has_mt_priority:
        line += f" MT-PRIORITY={envelope.priority}"
    if by_s is not None and offers.has_deliverby:
        line += " BY=" + by_value(by_s, envelope.by_mode)
    return line.encode() + b"\r\n"


def rcpt_command(recipient: Recipient, offers: Offers, is_utf8: bool) -> bytes:
    """RCPT TO with NOTIFY and ORCPT."""
    if not offers.has_dsn or not (recipient.notify or recipient.orcpt):
        return b"RCPT TO:<%b>\r\n" % recipient.forward_path.text.encode()
    line = f"RCPT TO:<{recipient.forward_path.text}>"
    if recipient.notify:
        line += " NOTIFY=" + _notify_words(recipient.notify)
    if recipient.orcpt and (is_utf8 or recipient.orcpt.isascii()):
        kind, _, address = recipient.orcpt.partition(";")
        line += f" ORCPT={kind};{xtext(address)}"
    return line.encode() + b"\r\n"


def wanting_delay(recipient: Recipient) -> Recipient:
    """RFC 2852 §4.1.4.2: what has a deadline and goes to a host that knows of none is to be reported there
    when it is late; who wants no reports gets none."""
    notify = recipient.notify or Notify.FAILURE
    return recipient if notify & Notify.NEVER else replace(recipient, notify=notify | Notify.DELAY)


@lru_cache(maxsize=16)
def _notify_words(notify: Notify) -> str:
    if notify & Notify.NEVER:
        return "NEVER"  # RFC 3461 §4.1: NEVER stands alone
    return ",".join(
        word
        for flag, word in ((Notify.SUCCESS, "SUCCESS"), (Notify.FAILURE, "FAILURE"), (Notify.DELAY, "DELAY"))
        if notify & flag
    )


def xtext(text: str) -> str:
    """RFC 3461 §4: printable ASCII but + and = as it is, the rest as +HH; what is not ASCII stays as
    UTF-8 (RFC 6533 §3, utf-8-addr-unitext) and is sent only under SMTPUTF8."""
    return "".join(
        c if "!" <= c <= "~" and c not in "+=" else c if c > "\x7f" else f"+{ord(c):02X}" for c in text
    )
