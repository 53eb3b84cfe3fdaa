"""A journal as the server writes it, for tests of who reads it: events through observe/maillog, in either format."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import QueueId
from cmail.mail.reply import Reply
from cmail.mail.status import BAD_MAILBOX, Detail, EnhancedStatus, StatusClass
from cmail.observe import log_file, maillog
from cmail.observe.settings import LogSettings

FORMS: Final = ("postfix", "json")
CLIENT: Final = "mail.example.net[192.0.2.9]"
RELAY: Final = "smtp.isp.example[192.0.2.25]:587"
SENT: Final = Delivered(RELAY, "250 2.0.0 queued as 4711", Detail(1, 5))
LOCAL: Final = Delivered("local", "delivered to mailbox", Detail(1, 5), is_local=True)
LATER: Final = TemporaryFailure(
    f"{RELAY}: RCPT: 451 4.7.1 Greylisted, come back later", NotNow.MESSAGE, Detail(7, 1), RELAY
)
NEVER: Final = PermanentFailure(f"{RELAY}: RCPT: 550 5.1.1 no such user", BAD_MAILBOX, RELAY)
UNKNOWN_USER: Final = Reply(550, EnhancedStatus(StatusClass.PERMANENT, BAD_MAILBOX), "no such user here")


@contextmanager
def writing(folder: Path, form: str = "postfix", process: str = "worker-0") -> Iterator[None]:
    """As long as the block lasts the log goes into a journal in this folder (and nowhere else)."""
    log_file.open(LogSettings(form, "/dev/null"), "mx", process)  # type: ignore[arg-type]
    log_file.keep_journal(str(folder), 1 << 40)
    try:
        yield
    finally:
        log_file.flush()
        log_file.keep_journal("", 0)
        log_file.open(LogSettings())


def new_id(number: int = 0) -> QueueId:
    """An id of now."""
    return QueueId((time.time_ns() // 1_000_000 << 21) + number)


def accept(queue_id: QueueId, reverse_path: str = "bob@example.net", **changes: Any) -> None:
    """A message that came in."""
    told: dict[str, Any] = {
        "client": CLIENT,
        "helo": "mail.example.net",
        "protocol": "ESMTP",
        "message_id": f"<{queue_id}@example.net>",
        "reverse_path": reverse_path,
        "size_bytes": 4711,
        "recipients_count": 1,
        **changes,
    }
    maillog.accepted(queue_id, **told)


def message(queue_id: QueueId, to: str = "anna@example.org", reverse_path: str = "bob@example.net") -> None:
    """The whole life of a message: in, put off, out, done with; and the session around it."""
    maillog.connected("smtpd", CLIENT)
    accept(queue_id, reverse_path)
    maillog.attempted(queue_id, to, outcome=LATER, delay_s=0.1)
    maillog.attempted(queue_id, to, outcome=SENT, delay_s=301)
    maillog.removed(queue_id)
    maillog.disconnected("smtpd", CLIENT, {"ehlo": 1, "mail": 1, "rcpt": 1, "data": 1, "quit": 1})
