"""Decides on bounces, delay warnings and success reports, and makes them messages for the spool."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cmail.mail import dsn
from cmail.mail.address import Address
from cmail.mail.content import from_plain, unstuff
from cmail.mail.dsn import Action, RecipientReport, Report
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import Delivered, Expanded, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.mail.status import EXPIRED, StatusClass
from cmail.queue.attempt import MailLog, Tell
from cmail.queue.router import Router
from cmail.storage.spool import NewMessage, QueuedMessage
from cmail.world import Clock, LinkClock

HEAD_OCTETS_MAX: Final = 64 * 1024  # what is read of content in a file: its header section
RETURNED_OCTETS_MAX: Final = 64 * 1024  # RET=FULL returns no more than that; else the header alone

# What goes into one report together: each group is one message to the sender.
_GROUPS: Final = (
    ("failed", (Action.FAILED,)),
    ("delayed", (Action.DELAYED,)),
    ("delivered", (Action.DELIVERED,)),
    ("delivered", (Action.RELAYED,)),
    ("delivered", (Action.EXPANDED,)),
)


class Reports:
    """Makes what a conclusion owes. A report about a report is never made (RFC 5321 §6.1)."""

    def __init__(
        self,
        hostname: str,
        new_queue_id: Callable[[], QueueId],
        clock: Clock,
        link_clock: LinkClock,
        log: MailLog,
    ) -> None:
        self._hostname = hostname
        self._new_queue_id = new_queue_id
        self._clock = clock
        self._link_clock = link_clock
        self._log = log

    def owed(
        self, message: QueuedMessage, tells: Sequence[Tell], router: Router, head: bytes | None = None
    ) -> tuple[NewMessage, ...]:
        """The reports for what is to be told of one message. `head`: the first octets of content
        that is in a file."""
        to = message.envelope.reverse_path
        if to is None:
            self._say_lost(message, tells)
            return ()
        original, is_whole = _original(message, head)
        is_whole = is_whole and message.envelope.ret == "FULL"
        groups = [(kind, [t for t in tells if t.action in actions]) for kind, actions in _GROUPS]
        return tuple(
            self._report(message, kind, told, to, router, original, is_whole) for kind, told in groups if told
        )

    def _report(
        self,
        message: QueuedMessage,
        kind: str,
        tells: Iterable[Tell],
        to: Address,
        router: Router,
        original: bytes,
        is_whole: bool,
    ) -> NewMessage:
        queue_id, now_ms = self._new_queue_id(), self._clock.wall_ms()
        report = Report(
            name=print_queue_id(queue_id),
            hostname=self._hostname,
            to=to,
            now_ms=now_ms,
            arrived_ms=message.arrived_wall_ms,
            recipients=tuple(_line(tell, now_ms) for tell in tells),
            original_id=print_queue_id(message.queue_id),
            original=original,
            is_whole=is_whole,
            envid=message.envelope.envid,
            deliver_by_ms=_deliver_by_wall_ms(message),
            hold_until_ms=message.envelope.hold_until_ms,
        )
        content = from_plain(dsn.compose(report))
        envelope = Envelope(
            None,
            (Recipient(to),),
            is_smtputf8=not to.is_ascii,
            is_8bit=content.has_8bit,
            priority=message.envelope.priority,  # RFC 6710: as urgent as what it is about
        )
        self._log.reported(message.queue_id, kind, queue_id)
        return NewMessage(
            queue_id,
            envelope,
            content,
            (router.route(to),),
            now_ms,
            self._link_clock.link_ms(),
            origin=f"report on {report.original_id}",
        )

    def _say_lost(self, message: QueuedMessage, tells: Sequence[Tell]) -> None:
        failed = [t.queued.recipient.forward_path.text for t in tells if t.action is Action.FAILED]
        if failed:
            name = print_queue_id(message.queue_id)
            self._log.noted(f"{name}: null reverse-path, nobody is told that it failed for {failed[0]}")


def needs_head(message: QueuedMessage) -> bool:
    """Whether the header of its content has to be read from a file first (never in the event loop)."""
    return bool(message.content.path) and not message.content.octets


def read_head(path: str) -> bytes:
    """The first octets of content in a file; blocks. What cannot be read is empty: a report without
    the header is better than none."""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_OCTETS_MAX)
    except OSError:
        return b""


def _original(message: QueuedMessage, head: bytes | None) -> tuple[bytes, bool]:
    """The message as far as it is returned, plain; whether it is all of it."""
    content = message.content
    plain = content.prefix + unstuff(content.octets or head or b"")
    is_whole = len(plain) == content.size_bytes and len(plain) <= RETURNED_OCTETS_MAX
    if is_whole:
        return plain, True
    return plain.partition(b"\r\n\r\n")[0] + b"\r\n", False


def _deliver_by_wall_ms(message: QueuedMessage) -> int:
    """Its deadline as it looked when it came, for people; 0: it has none."""
    deadline_ms = message.envelope.deliver_by_ms
    return message.arrived_wall_ms + deadline_ms - message.arrived_link_ms if deadline_ms else 0


def _line(tell: Tell, now_ms: int) -> RecipientReport:
    outcome, recipient = tell.outcome, tell.queued.recipient
    reply = outcome.reply if isinstance(outcome, PermanentFailure | TemporaryFailure) else None
    status = outcome.status
    if tell.action is Action.FAILED and isinstance(outcome, TemporaryFailure):
        status = EXPIRED.with_class(StatusClass.PERMANENT)
    return RecipientReport(
        final_recipient=recipient.forward_path,
        action=tell.action,
        status=status,
        reason=_words(tell),
        orcpt=recipient.orcpt,
        remote_mta=_host(outcome.relay) if reply else "",
        diagnostic=str(reply) if reply else "",
        last_attempt_ms=now_ms,
        will_retry_until_ms=tell.will_retry_until_ms,
    )


def _words(tell: Tell) -> str:
    match tell.outcome:
        case Delivered(reply=reply):
            return f"The answer: {reply}" if reply else "Delivered."
        case Expanded(targets=targets):
            return f"Passed on to {len(targets)} recipients."
        case TemporaryFailure(reason=reason) if tell.action is Action.FAILED and not tell.queued.attempts:
            return f"It could not be delivered in time. {reason[:1].upper()}{reason[1:]}"
        case TemporaryFailure(reason=reason) if tell.action is Action.FAILED:
            return f"It could not be delivered in time. The last attempt: {reason}"
        case TemporaryFailure(reason=reason) | PermanentFailure(reason=reason):
            return reason
    return ""


def _host(relay: str) -> str:
    """The host of host[address]:port."""
    return relay.partition("[")[0] or relay
