"""Ledger: what was sent, what was acknowledged with 250, what arrived how often: nothing may be lost.

with Senders(lambda: cmail.port("smtp"), ["anna@example.org", "b@example.net"], count=100) as senders:
    ...                                   # kill, cut, fill
counts = tags_of(cmail.mailbox("anna@example.org")) + tags_of(taken.content for taken in sink.taken)
balance = balance_of(senders.acknowledged, counts, queued=queue_ids(cmail.queue()))
assert balance.lost == []
"""

import re
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cmail.net.control import ControlError

_TAG: Final = re.compile(rb"^Subject: (\S+)", re.MULTILINE)
_QUEUED_AS: Final = re.compile(rb"queued as ([0-9A-Z]+)")
_LINE: Final = ".%s: a line of the body, of this message alone, with a dot that has to be stuffed.\r\n"
TRIES_MAX: Final = 5000  # of one message, each a moment after the one before it
AGAIN_S: Final = 0.02


@dataclass(frozen=True)
class Acknowledged:
    """A message that got its 250."""

    recipient: str  # or several, with commas
    queue_id: str  # as the reply says it
    monotonic: float  # when


@dataclass
class Balance:
    """What became of what was acknowledged; all of it tags of messages."""

    accepted: int = 0
    delivered: int = 0
    in_queue: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: dict[str, int] = field(default_factory=dict)  # how often it arrived; also of what got no 250
    strange: list[str] = field(default_factory=list)  # arrived, and nobody sent it


class Senders:
    """Clients in threads. Each message is tried until it is acknowledged, each try under a tag of its own
    (a try without an answer may arrive too, and is another message); recipients take turns ("a@x,b@x" are
    two of one message), and so do sizes."""

    def __init__(
        self,
        port: Callable[[], int],
        recipients: Sequence[str],
        *,
        count: int = 1 << 30,  # messages of each sender; stop() ends it sooner
        senders: int = 4,
        rate: float = 0.0,  # messages a second, of all together; 0: as fast as it goes
        size: int = 1500,
        sizes: Sequence[int] = (),  # in turns, instead of one size
        host: str = "127.0.0.1",
        name: str = "m",
    ) -> None:
        self._port, self._recipients, self._host, self._name = port, recipients, host, name
        self._count, self._sizes = count, sizes or (size,)
        self._pause_s = senders / rate if rate else 0.0
        self.acknowledged: dict[str, Acknowledged] = {}
        self.tried: set[str] = set()
        self.sent: dict[str, tuple[str, int]] = {}  # recipients and size of each that was tried
        self.heard = threading.Event()  # set with each 250
        self._is_stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send_all, args=(n,)) for n in range(senders)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None or self._count == 1 << 30:
            self.stop()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "a sender hangs"

    def stop(self) -> None:
        """No further messages; the one in hand comes to its end, or is given up."""
        self._is_stopping.set()

    def wait_for(self, count: int, timeout_s: float = 60) -> None:
        """Until so many are acknowledged."""
        until = time.monotonic() + timeout_s
        while len(self.acknowledged) < count:
            assert time.monotonic() < until, f"{len(self.acknowledged)} of {count} acknowledged"
            time.sleep(0.005)

    def _send_all(self, number: int) -> None:
        client: smtplib.SMTP | None = None
        due = time.monotonic()
        for count in range(self._count):
            due = max(due + self._pause_s, time.monotonic() - 1)
            if self._is_stopping.wait(max(0.0, due - time.monotonic())):
                break
            client = self._send(client, number, count)
        if client is not None:
            client.close()

    def _send(self, client: smtplib.SMTP | None, number: int, count: int) -> smtplib.SMTP | None:
        to = self._recipients[(number + count) % len(self._recipients)]
        size = self._sizes[(number * 7 + count) % len(self._sizes)]
        for attempt in range(TRIES_MAX):
            if self._is_stopping.is_set():
                return client
            tag = f"{self._name}{number}x{count}t{attempt}"
            self.tried.add(tag)
            self.sent[tag] = (to, size)
            try:
                client = client or smtplib.SMTP(self._host, self._port(), timeout=10)
                self.acknowledged[tag] = _submit(client, tag, to, size)
                self.heard.set()
                return client
            except (OSError, smtplib.SMTPException, AssertionError, ControlError):
                if client is not None:
                    client.close()
                client = None
                self._is_stopping.wait(AGAIN_S)
        raise AssertionError(f"{tag} was never acknowledged")


def message(tag: str, size: int = 1500) -> bytes:
    """A message that is known again by its Subject."""
    head = f"From: a@example.com\r\nSubject: {tag}\r\n\r\n"
    line = _LINE % tag
    return (head + line * max(1, (size - len(head)) // len(line))).encode()


def _submit(client: smtplib.SMTP, tag: str, to: str, size: int) -> Acknowledged:
    client.ehlo_or_helo_if_needed()
    for step, argument in ((client.mail, "a@example.com"), *((client.rcpt, each) for each in to.split(","))):
        code, text = step(argument)
        if code != 250:
            client.rset()
            raise smtplib.SMTPResponseException(code, text)
    code, text = client.data(message(tag, size))
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    found = _QUEUED_AS.search(text)
    assert found, text
    return Acknowledged(to, found[1].decode(), time.monotonic())


def tags_of(contents: Iterable[bytes]) -> Counter[str]:
    """How often each message is there."""
    return Counter(found[1].decode() for content in contents if (found := _TAG.search(content)))


def queue_ids(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Of the rows of RunningCmail.queue()."""
    return {str(row["id"]) for row in rows}


def balance_of(
    acknowledged: Mapping[str, Acknowledged],
    arrived: Mapping[str, int],
    queued: Iterable[str] = (),
    tried: Iterable[str] | None = None,
) -> Balance:
    """What became of it: delivered, else in the queue, else lost."""
    waiting = set(queued)
    missing = [tag for tag in acknowledged if not arrived.get(tag)]
    lost = sorted(tag for tag in missing if acknowledged[tag].queue_id not in waiting)
    return Balance(
        accepted=len(acknowledged),
        delivered=len(acknowledged) - len(missing),
        in_queue=len(missing) - len(lost),
        lost=lost,
        duplicated={tag: count for tag, count in arrived.items() if count > 1},
        strange=sorted(set(arrived) - set(tried)) if tried is not None else [],
    )
