"""Trial: a test message that goes through our own server like any other, and where it went. It blocks."""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from cmail.admin.asking import Server
from cmail.admin.rows import Row
from cmail.admin.smtp_dialogue import Said, submit
from cmail.admin.why import explain
from cmail.mail.address import Address, parse_address
from cmail.mail.date import print_date
from cmail.net.control import ControlError
from cmail.settings import parse_endpoint
from cmail.storage.mailbox_names import mailbox_path

_QUEUED_AS: Final = re.compile(r"queued as ([0-9A-Za-z]{13})")
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_GRACE_S: Final = 0.5  # for a worker to record what it has said
Told = dict[str, Any]


class Ending(Enum):
    """How far it came."""

    DELIVERED = "delivered"  # or relayed: somebody else has it now
    FAILED = "failed"
    WAITS = "waits"
    GONE = "gone"  # it has left, and nobody remembers where to
    UNSEEN = "unseen"  # it is safe, and where it went cannot be seen from here


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known now; `ending` is None while it moves."""

    lines: Sequence[str]
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What has to be known of the server."""

    data_dir: str
    domain: str  # of bare names
    separator: str = "+"


class Trial:
    """One message that our server has taken."""

    def __init__(self, place: Place, recipient: Address, reply: str, queue_id: str) -> None:
        self.recipient, self.reply, self.queue_id = recipient, reply, queue_id
        self._place = place
        self._server = Server(place.data_dir)
        self._gone_at = 0.0

    def look(self, *, is_late: bool = False) -> Progress:
        """Where it is. `is_late`: a wait that has lasted so long is an ending."""
        try:
            ended = self._ended()
            waiting = list(self._server.rows({"ids": [self.queue_id]}, 10))
        except ControlError as error:
            words = f"It is accepted; where it went cannot be seen from here: {error.words}"
            return Progress([words], Ending.UNSEEN)
        if ended is not None and not waiting:
            return ended
        if waiting and (any(map(_is_put_off, waiting)) or is_late):
            return self._waits(waiting[0])
        if not waiting:
            self._gone_at = self._gone_at or time.monotonic()
            if time.monotonic() - self._gone_at > _GRACE_S:
                return Progress(["It has left the queue; the log says where to."], Ending.GONE)
        return Progress([])

    def _ended(self) -> Progress | None:
        """How it ended for each recipient that it came to; None while nothing is known."""
        answers = self._server.ask_workers("queue.recent", 10.0, id=self.queue_id)
        attempts = [row for answer in answers for row in answer.rows]
        ends = [row for row in attempts if row["state"] in ("delivered", "relayed", "failed")]
        if not ends:
            return None
        expanded = [row for row in attempts if row["state"] == "expanded"]
        lines = [f"{row['to']} is an alias for {', '.join(row['targets'])}" for row in expanded]
        has_failed = any(row["state"] == "failed" for row in ends)
        return Progress([*lines, *map(self._words, ends)], Ending.FAILED if has_failed else Ending.DELIVERED)

    def _words(self, row: Told) -> str:
        if row["state"] == "delivered":
            return f"Delivered into the mailbox of {row['to']} here: {self._mailbox(row['to'])}"
        if row["state"] == "relayed":
            return f"Relayed: {row['relay']} has taken it for {row['to']} and said: {row['reply']}"
        return f"Failed for {row['to']}: {row['reply']} (its sender gets a report)"

    def _mailbox(self, text: str) -> str:
        """The folder; anna+lists is anna's, so the first that is there."""
        root, address = os.path.join(self._place.data_dir, "mail"), parse_address(text.encode())
        separator = self._place.separator
        local_parts = [address.local_part]
        if separator and separator in address.local_part:
            local_parts.append(address.local_part.partition(separator)[0])
        paths = [
            mailbox_path(root, Address(local_part, domain))
            for local_part in local_parts
            for domain in dict.fromkeys((address.domain, self._place.domain))
        ]
        return next((path for path in paths if os.path.isdir(path)), root)

    def _waits(self, row: Row) -> Progress:
        """It is safe in the queue; why it does not go on."""
        figures = [answer.ok for answer in self._server.ask_workers("queue.figures", 10.0)]
        told = explain(
            row,
            time.time_ns() // 1_000_000,
            is_link_down=any(f.get("is_link_down") for f in figures),
            is_batch=any(f.get("is_batch") for f in figures),
        )
        return Progress([f"It waits in the queue as {row['id']}. {told.why}", told.advice], Ending.WAITS)


def hand_in(place: Place, listener: tuple[str, int], sender: Address, recipient: Address) -> Trial | Said:
    """Hand a test message to our own listener: a Trial, or what it was refused with. DialogueError."""
    message_id = f"<test.{time.time_ns():x}.{os.urandom(6).hex()}@{place.domain}>"
    said = submit(*listener, str(sender), str(recipient), _message(sender, recipient, message_id))
    if not said.reply.is_success:
        return said
    match = _QUEUED_AS.search(said.reply.text)
    return Trial(place, recipient, str(said.reply), match[1].upper() if match else "")


def open_listener(data_dir: str, listeners: Iterable[Mapping[str, Any]]) -> tuple[str, int] | None:
    """Where our own server takes mail without a log-in: as it says, or as the file does (`listeners`)."""
    try:
        listeners = Server(data_dir).ask("supervisor", "status")["listeners"]
    except ControlError:
        pass
    for listener in listeners:
        if listener.get("kind") == "smtp":
            endpoint = parse_endpoint(str(listener.get("address", "")))
            return _ANY.get(endpoint.host, endpoint.host), endpoint.port
    return None


def _message(sender: Address, recipient: Address, message_id: str) -> bytes:
    lines = (
        f"From: CMail test <{sender}>",
        f"To: <{recipient}>",
        "Subject: A test message from CMail",
        f"Date: {print_date(time.time_ns() // 1_000_000)}",
        f"Message-ID: {message_id}",
        "Auto-Submitted: auto-generated",  # RFC 3834: no vacation answers to it
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "This is a test message. If you can read it, mail gets here.",
        "",
    )
    return "\r\n".join(lines).encode()


def _is_put_off(row: Row) -> bool:
    """Whether it will not go on at once: it was tried, or nobody knows when it is its turn (no link)."""
    return bool(row["reason"] or not row["next_ms"])
