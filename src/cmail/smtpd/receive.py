"""Receives the content of one message: in memory while it is small, else to a file; then makes it durable.

Receiver gathers; new_message() puts trace and submission's fields on top and builds what the spool takes. The
header is looked at once, as octets; nothing below what we add is changed (rule 14), but Bcc of submission and
MT-Priority (RFC 6758) are taken out.
Return-Path fields stay: the last delivery replaces them (RFC 5321 §4.4)."""

from collections.abc import Callable
from typing import Final

from cmail.mail import headers, limits
from cmail.mail.content import Content
from cmail.mail.envelope import Envelope
from cmail.mail.priority import header_priority, names_priority
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.mail.trace import is_looping, received
from cmail.policy.validation.examine import Examination
from cmail.policy.validation.rules import FINE, HEADER_TOO_LARGE, Defect, Verdict
from cmail.protocol.smtp.content import EIGHT_BIT
from cmail.protocol.smtp.extensions import SUBMISSION_KINDS
from cmail.smtpd.content_file import ContentFile, Writers
from cmail.smtpd.facts import Session, Transaction
from cmail.smtpd.judge import judge_now
from cmail.smtpd.submission import added_fields, as_passed_on
from cmail.smtpd.wishes import NO_WISHES, OK, said_priority, wishes_of
from cmail.storage.spool import NewMessage, Spool

LOOP: Final = b"554 5.4.6 Too many Received fields: the message goes round in circles\r\n"
PIECES_MAX: Final = 256  # then they are joined: pieces of two octets take thirty times their size
HEADER_TOO_LONG: Final = Defect(HEADER_TOO_LARGE).reply


class Budget:
    """Octets of content in the memory of a worker, all sessions together."""

    __slots__ = ("left",)

    def __init__(self, octets: int = limits.CONTENT_MEMORY_BUDGET) -> None:
        self.left = octets


class Receiver:
    """Content of one message that did not come in one piece."""

    __slots__ = (
        "_budget",
        "_held",
        "_hides_bcc",
        "_on_room",
        "_pieces",
        "_spool",
        "_writers",
        "examination",
        "file",
        "head",
        "hidden_bytes",
        "priority",
        "queue_id",
        "refusal",
    )

    def __init__(
        self,
        spool: Spool,
        budget: Budget,
        writers: Writers,
        on_room: Callable[[], None],
        *,
        hides_bcc: bool = False,
        examination: Examination | None = None,
    ) -> None:
        self._spool = spool
        self.examination = examination  # of content in a file; None: nobody looks
        self._hides_bcc = hides_bcc
        self._budget = budget
        self._writers = writers
        self._on_room = on_room
        self._pieces: list[bytes] = []
        self._held = 0  # octets that the budget was charged with
        self.head = b""  # header section of content in a file, as it stands there
        self.hidden_bytes = 0  # of the header that came and is not in the file: Bcc, MT-Priority
        self.priority = 0  # what the header of content in a file asked for
        self.file: ContentFile | None = None
        self.queue_id = QueueId(0)
        self.refusal = b""  # when it cannot be taken, whatever still comes

    def take(self, piece: bytes) -> None:
        """Some more content."""
        if self.refusal:
            return
        if self.file is not None:
            self.file.write(piece)
            return
        self._pieces.append(piece)
        if len(self._pieces) > PIECES_MAX:
            self._pieces = [self.whole()]
        self._held += len(piece)
        self._budget.left -= len(piece)
        if self._held > limits.CONTENT_IN_MEMORY_MAX or self._budget.left < 0:
            self._spill()

    def whole(self) -> bytes:
        """All of it, when there is no file."""
        return b"".join(self._pieces)

    def release(self) -> None:
        """Nothing of it is in memory any more."""
        self._budget.left += self._held
        self._held = 0
        self._pieces = []

    def abort(self) -> None:
        """It is not wanted."""
        self.release()
        if self.file is not None:
            self.file.abort()

    def _spill(self) -> None:
        """From memory to a file. The header is needed whole, to look at it."""
        so_far = self.whole()
        has_header = so_far.startswith(b"\r\n") or headers.END in so_far
        if not has_header and self._held <= limits.HEADER_OCTETS_MAX:
            self._pieces = [so_far]
            return
        self.head = headers.header_of(so_far)
        if len(self.head) > limits.HEADER_OCTETS_MAX:
            self.refusal = HEADER_TOO_LONG
            self.release()
            return
        self.priority = header_priority(self.head)
        so_far = self._passed_on(so_far)
        self.queue_id = self._spool.new_queue_id()
        path, watch = self._spool.content_path(self.queue_id), None
        if self.examination is not None:
            watch = Watch(self.examination, self.head).feed
        self.file = ContentFile(path, self._writers, self._on_room, watch)
        self.file.write(so_far)
        self.release()

    def _passed_on(self, so_far: bytes) -> bytes:
        came = len(self.head)
        self.head = as_passed_on(self.head, hides_bcc=self._hides_bcc)
        self.hidden_bytes = came - len(self.head)
        return self.head + so_far[came:] if self.hidden_bytes else so_far


class Watch:
    """Validation of content in a file, piece by piece in the thread that writes it."""

    __slots__ = ("_examination", "_head")

    def __init__(self, examination: Examination, head: bytes) -> None:
        self._examination = examination
        self._head: bytes | None = head

    def feed(self, piece: bytes) -> None:
        """Some content; the header section is known before the first of it comes."""
        head, self._head = self._head, None
        if head is not None:
            self._examination.begin(head)
        self._examination.feed(piece)


class Arrival:
    """A message whose content is complete: what new_message() made of it, for spool and log."""

    __slots__ = ("message", "message_id", "name", "protocol", "refusal", "said", "verdict")

    def __init__(
        self,
        message: NewMessage | None,
        name: str,
        message_id: str,
        protocol: str,
        refusal: bytes = b"",
        verdict: Verdict | None = FINE,
        said: bytes = OK,
    ) -> None:
        self.message = message
        self.name = name.encode()  # the printed queue id
        self.message_id = message_id
        self.protocol = protocol
        self.refusal = refusal
        self.verdict = verdict  # None: not known yet
        self.said = said  # to the client, once it is durable


def new_message(
    session: Session,
    transaction: Transaction,
    octets: bytes,
    size_bytes: int,
    seen: int,
    receiver: Receiver | None,
) -> Arrival:
    """What the spool is to keep; `octets` is all of it, or b"" when the receiver has it in a file."""
    context = session.facts.context
    spool, mail = context.spool, transaction.mail
    in_file = receiver.file if receiver is not None else None
    header = receiver.head if in_file is not None and receiver is not None else headers.header_of(octets)
    head, protocol = session.trace(mail.is_smtputf8)
    if is_looping(header):
        return Arrival(None, "", "", protocol, LOOP)
    verdict: Verdict | None = FINE
    if context.validation:
        verdict = judge_now(mail, octets, header) if in_file is None else None
        if verdict is not None and verdict.refusal is not None:
            return Arrival(None, "", "", protocol, verdict.refusal.reply, verdict)
    queue_id = receiver.queue_id if in_file is not None and receiver is not None else spool.new_queue_id()
    arrived_ms = context.clock.wall_ms()
    recipients = transaction.recipients
    only = recipients[0].forward_path.text if len(recipients) == 1 else ""
    name = print_queue_id(queue_id)
    said = said_priority(session, mail.schedule) if mail.schedule is not None else None
    prefix = received(head, name, only, arrived_ms, said)
    is_submission = session.facts.kind in SUBMISSION_KINDS
    if is_submission:
        prefix += added_fields(header, name, context.hostname, arrived_ms)
    if receiver is not None and in_file is not None:
        priority = receiver.priority
        size_bytes -= receiver.hidden_bytes
    else:
        is_named = names_priority(header)
        priority = header_priority(header) if is_named else 0
        shown = as_passed_on(header, hides_bcc=is_submission) if is_named or is_submission else header
        if shown is not header:
            octets = shown + octets[len(header) :]
            size_bytes -= len(header) - len(shown)
    link_ms, wishes = context.link_clock.link_ms(), NO_WISHES
    if priority or mail.schedule is not None:
        wishes = wishes_of(session, mail.schedule, priority, arrived_ms, link_ms)
    content = Content(
        prefix,
        octets,
        len(prefix) + size_bytes,
        in_file.path if in_file is not None else "",
        in_file.octets if in_file is not None else 0,
        bool(seen & EIGHT_BIT),
    )
    envelope = Envelope(
        mail.reverse_path,
        tuple(recipients),
        mail.ret,
        mail.envid,
        mail.is_smtputf8,
        mail.is_8bit,
        wishes.priority,
        wishes.deliver_by_ms,
        wishes.hold_until_ms,
        wishes.by_mode,
        wishes.is_priority_fixed,
    )
    message = NewMessage(
        queue_id,
        envelope,
        content,
        tuple(transaction.routes),
        arrived_ms,
        link_ms,
        0,
        _origin(session, protocol),
    )
    return Arrival(message, name, _message_id(header, prefix), protocol, b"", verdict, wishes.said)


def _origin(session: Session, protocol: str) -> str:
    who = f"{session.username} from " if session.username else ""
    return f"{who}{session.client.log_text} by {protocol}"


def _message_id(header: bytes, prefix: bytes) -> str:
    """For the log. The usual spellings are found fast."""
    for name in (b"\r\nMessage-ID: ", b"\r\nMessage-Id: "):
        at = header.find(name)
        if at >= 0:
            at += len(name)
            return header[at : header.find(b"\r\n", at)].decode("ascii", "replace").strip()
    found = headers.find_field(header, b"message-id")
    if found is None:
        found = headers.find_field(prefix, b"message-id") or b""
    return found.decode("ascii", "replace")
