"""Ordered checks per stage: may it come in? Each answers with a refusal, or b"" for yes.

Who may send what, in one place:
- submission and submissions take nothing before a log-in, whatever relay.networks says;
- a recipient that is not ours is taken from relay.networks and from who has logged in, from nobody else;
- an unknown user of ours is refused at RCPT (rule 13); an alias to outside is ours;
- a domain that [[forward]] sends to a host is taken from everybody; its users are known there; so is one of
  a [[site]], as long as there is room for what waits for it; on an odmr listener nothing is taken;
- who has logged in or is of relay.networks may say when a message goes, by when and how urgent (wishes.py);
- who has logged in may give as reverse-path any address here that leads to the own mailbox (the address
  itself, an alias, a plus address, a catch-all), the null one, and any address of a domain that is not ours
  (people have other addresses, and their upstream server judges those); not somebody else's address here.
"""

from typing import Final

from cmail.mail.address import Address
from cmail.mail.envelope import Recipient
from cmail.policy.rewriting import Directory, ToAddresses, ToMailbox, Unknown
from cmail.protocol.smtp.commands import Mail
from cmail.protocol.smtp.extensions import SUBMISSION_KINDS
from cmail.smtpd.facts import Session
from cmail.smtpd.wishes import check_schedule
from cmail.storage.spool import SpoolFullError

LOGIN_FIRST: Final = b"530 5.7.0 Log in first\r\n"  # RFC 4954 §6
NOT_HERE: Final = b"502 5.5.1 Mail is not taken on this port, only given (ATRN)\r\n"  # RFC 2645 §4
NOT_YOUR_ADDRESS: Final = b"553 5.7.1 That sender address belongs to somebody else here\r\n"
NO_RELAYING: Final = b"550 5.7.1 We don't relay for you: log in, or send to people here\r\n"
UNKNOWN_USER: Final = b"550 5.1.1 Nobody here has that address\r\n"
FULL: Final = b"452 4.3.1 No room for the message just now\r\n"
BROKEN: Final = b"451 4.3.0 The message cannot be kept just now\r\n"


def check_mail(session: Session, mail: Mail) -> bytes:
    """At MAIL: log-in, sender, and room for a message (rule 9)."""
    facts = session.facts
    if facts.kind == "odmr":
        return NOT_HERE
    if facts.kind in SUBMISSION_KINDS and not session.username:
        return LOGIN_FIRST
    if session.username and not may_send_as(session, mail.reverse_path):
        return NOT_YOUR_ADDRESS
    if mail.schedule is not None and (refusal := check_schedule(session, mail.schedule)):
        return refusal
    trouble = facts.context.spool.refusal()
    return spool_reply(trouble) if trouble is not None else b""


def check_rcpt(session: Session, recipient: Recipient, size_bytes: int = 0) -> bytes:
    """At RCPT: relaying, and whether the user exists (RFC 5321 §3.6.2, §3.3)."""
    context = session.facts.context
    address = recipient.forward_path
    routing = context.routing
    if not routing.is_local(address.domain):
        is_welcome = session.username or session.client.may_relay or routing.is_taken(address.domain)
        if not is_welcome:
            return NO_RELAYING
        return context.sites.refusal(address.domain, size_bytes) if context.sites is not None else b""
    if type(context.directory.resolve(address)) is Unknown and context.refuse_unknown_users:
        return UNKNOWN_USER
    return b""


def may_send_as(session: Session, reverse_path: Address | None) -> bool:
    """Whether who has logged in may use that reverse-path."""
    context = session.facts.context
    if reverse_path is None or not context.routing.is_local(reverse_path.domain):
        return True
    return is_address_of(context.directory, reverse_path, session.username)


def is_address_of(directory: Directory, address: Address, username: str) -> bool:
    """Whether mail to the address comes to this user."""
    found = directory.resolve(address)
    if isinstance(found, ToMailbox):
        return found.address.text.lower() == username.lower()
    if isinstance(found, ToAddresses):
        return any(a.text.lower() == username.lower() for a in found.addresses)
    return False


def spool_reply(error: BaseException) -> bytes:
    """What a peer hears of trouble with the disk: it tries again."""
    return FULL if isinstance(error, SpoolFullError) else BROKEN
