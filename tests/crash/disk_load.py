"""The load of a recording: messages of all sizes to all kinds of recipients, and what was promised of each."""

import asyncio
import re
import smtplib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.house import SETTINGS
from tests.support.ledger import message
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx, Taken

USERS: Final = (("anna@example.org", "secret"), ("ben@example.org", "secret"))
TEAM: Final = ("anna@example.org", "ben@example.org", "far@example.net")
ALIASES: Final = (("team@example.org", TEAM),)
LATER: Final = "later@example.net"  # whose server says 450: the message stays in the queue
REFUSED: Final = "refused@example.net"  # whose server says 550: a bounce is owed
SENDER: Final = "anna@example.org"
_RECIPIENTS: Final = (
    ("anna@example.org",),
    ("b@example.net",),
    ("anna@example.org", "ben@example.org"),
    ("ben@example.org", "c@example.net"),
    ("team@example.org",),
    ("anna@example.org", "b@example.net", "c@example.net"),
    (REFUSED,),
    ("ben@example.org",),
)
SIZES: Final = (700, 4000, 1500, 90_000, 30_000, 2500, 150_000)  # above 64 KiB: a file beside the database
_SUBJECT: Final = re.compile(rb"^Subject: (\w+x)\r?$", re.MULTILINE)
_LATER_EVERY: Final = 11
_TRIES_MAX: Final = 200
_SCRIPT: Final = {
    f"RCPT:{LATER}": b"450 4.2.0 not now\r\n",
    f"RCPT:{REFUSED}": b"550 5.1.1 nobody here\r\n",
}


@dataclass(frozen=True)
class Promised:
    """A message that got its 250."""

    tag: str
    recipients: tuple[str, ...]
    octets: bytes  # as sent


@dataclass
class Promises:
    """By queue id, and what other servers have taken: (tag, recipient) -> when, just before they said so."""

    messages: dict[str, Promised] = field(default_factory=dict)
    taken: dict[tuple[str, str], float] = field(default_factory=dict)


class _TakenWhen(list[Taken]):
    """SinkMx.taken that notes for each message when its 250 was about to be said."""

    def __init__(self, promises: Promises) -> None:
        super().__init__()
        self._promises = promises
        self._said: dict[Any, float] = {}

    def heard(self, stage: str) -> None:
        """SinkMx.on_stage."""
        if stage == "content":
            self._said.setdefault(asyncio.current_task(), time.time())

    def append(self, taken: Taken) -> None:
        """A transaction is over."""
        when = self._said.pop(asyncio.current_task())
        tag = tag_of(taken.content)
        for recipient in taken.recipients:
            address = recipient.partition("<")[2].partition(">")[0]
            self._promises.taken.setdefault((tag, address), when)
        super().append(taken)


def tag_of(octets: bytes) -> str:
    """Of a message of ours, or "bounce of" it; "" for any other."""
    found = _SUBJECT.search(octets)
    bounce = "bounce of " if b"multipart/report" in octets[:4000] else ""
    return bounce + found[1].decode() if found else ""


@contextmanager
def neighbours(promises: Promises, *, has_lmtp: bool = False) -> Iterator[str]:
    """A smarthost, and a server for local delivery if asked for; the settings that name them."""
    with Peers() as peers:
        notes = _TakenWhen(promises)
        sink = peers.start(SinkMx(script=_SCRIPT, on_stage=notes.heard, taken=notes))
        more = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n'
        if has_lmtp:
            inside = _TakenWhen(promises)
            lmtp = peers.start(SinkMx(is_lmtp=True, on_stage=inside.heard, taken=inside))
            more += f'[local]\ndelivery = "lmtp"\nlmtp = "127.0.0.1:{lmtp.port}"\n'
        yield more


def settings(more: str) -> str:
    """Two workers, no room kept free: it must run wherever the tests do."""
    return f'{SETTINGS}{more}[limits]\nfree_space = "0"\n'


def send_all(
    port: int,
    promises: Promises,
    count: int,
    *,
    clients: int = 4,
    name: str = "m",
    sizes: Sequence[int] = SIZES,
    may_break: bool = False,
) -> None:
    """So many messages, from some clients at the same time; returns when each has its 250. With `may_break`
    a client whose connection is lost ends."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            _send(port, promises, range(number, count, clients), name, sizes)
        except (OSError, smtplib.SMTPException) as error:
            if not may_break:
                failed.append(error)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def _send(port: int, promises: Promises, numbers: Sequence[int], name: str, sizes: Sequence[int]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        for number in numbers:
            recipients = _RECIPIENTS[number % len(_RECIPIENTS)]
            if number % _LATER_EVERY == 0:
                recipients = (*recipients, LATER)
            _send_until_taken(client, promises, recipients, f"{name}{number}", sizes[number % len(sizes)])


def _send_until_taken(
    client: smtplib.SMTP, promises: Promises, recipients: tuple[str, ...], name: str, size: int
) -> None:
    """What got another answer than 250 is sent again, as another message."""
    for again in range(_TRIES_MAX):
        tag = f"{name}t{again}x"
        octets = message(tag, size)
        queue_id = _submit(client, recipients, octets)
        if queue_id:
            promises.messages[queue_id] = Promised(tag, recipients, octets)
            return
        client.rset()
        time.sleep(0.05)
    raise AssertionError(f"{name} was never taken")


def _submit(client: smtplib.SMTP, recipients: Sequence[str], octets: bytes) -> str:
    if any(code != 250 for code, _ in [client.mail(SENDER), *map(client.rcpt, recipients)]):
        return ""
    code, text = client.data(octets)
    return text.decode().rpartition("queued as ")[2].split()[0] if code == 250 else ""
