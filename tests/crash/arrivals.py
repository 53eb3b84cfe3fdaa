"""Arrivals of the storm: copies that a SinkMx took, and those that come into mailboxes, with the time of each.

A reader moves what is new to cur, as an IMAP server does: so a message that is put there again is seen."""

import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from tests.crash.judge import Copy
from tests.support.ledger import message
from tests.support.sink_mx import SinkMx, Taken

_TAG: Final = re.compile(rb"^Subject: (\S+)", re.MULTILINE)
_ID: Final = re.compile(rb"^\tby \S+ with \S+ id ([0-9A-Z]{13})\b", re.MULTILINE)
_DELIVERED_TO: Final = re.compile(rb"^Delivered-To: (\S+)", re.MULTILINE)
_ADDRESS: Final = re.compile(r"<(.*?)>")
_HEAD: Final = 4096  # ours and the message's own fields
LOOK_S: Final = 0.05


class TakenList(list[Taken]):
    """What a SinkMx took: each as copies, its content not kept."""

    def __init__(self, copies: list[Copy], sent: Mapping[str, tuple[str, int]]) -> None:
        super().__init__()
        self._copies, self._sent = copies, sent
        self.connected: list[float] = []

    def append(self, taken: Taken) -> None:
        """From the sink: it has just said 250."""
        now = time.time()
        recipients = [address for text in taken.recipients for address in _ADDRESS.findall(text)[:1]]
        connected = self.connected[taken.connection]
        self._copies += copies_of(taken.content, recipients, now, self._sent, connected)


def taking_sink(copies: list[Copy], sent: Mapping[str, tuple[str, int]], *, is_lmtp: bool = False) -> SinkMx:
    """A SinkMx whose arrivals go to `copies`."""
    taken = TakenList(copies, sent)

    def on_stage(stage: str) -> None:
        if stage == "connect":  # said in the same turn in which the connection got its number
            taken.connected.append(time.time())

    extensions = ("PIPELINING", "8BITMIME", "SIZE 0", *(() if is_lmtp else ("CHUNKING",)))
    return SinkMx(is_lmtp=is_lmtp, on_stage=on_stage, taken=taken, extensions=extensions)


class MailboxReader:
    """`with MailboxReader(DATA/mail, copies, sent):` reads all mailboxes until the end, and once more then."""

    def __init__(self, root: Path, copies: list[Copy], sent: Mapping[str, tuple[str, int]]) -> None:
        self._root, self._copies, self._sent = root, copies, sent
        self._is_over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mailbox reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)
        if self._error is not None:
            raise self._error
        self.look()

    def _run(self) -> None:
        try:
            while not self._is_over.wait(LOOK_S):
                self.look()
        except BaseException as error:
            self._error = error

    def look(self) -> None:
        """Take all that is new."""
        for folder in self._root.glob("*/*/new"):
            for entry in os.scandir(folder):
                self._take(folder, entry.name)

    def _take(self, folder: Path, name: str) -> None:
        path = folder / name
        wall = path.stat().st_ctime  # the rename into the mailbox
        content = path.read_bytes()
        found = _DELIVERED_TO.search(content[:_HEAD])
        recipients = [found[1].decode()] if found else ["?"]
        self._copies += copies_of(content, recipients, wall, self._sent, None)
        seen = folder.parent / "cur" / f"{name}:2,S"
        path.rename(seen)
        os.truncate(seen, 0)  # only its name matters from now on


def copies_of(
    content: bytes,
    recipients: list[str],
    wall: float,
    sent: Mapping[str, tuple[str, int]],
    connected: float | None,
) -> list[Copy]:
    """What one content is: which message, whole or not."""
    tag_found, id_found = _TAG.search(content[:_HEAD]), _ID.search(content[:_HEAD])
    tag = tag_found[1].decode() if tag_found else "without a tag"
    queue_id = id_found[1].decode() if id_found else "0" * 13
    is_whole = False
    if tag in sent:
        expected = message(tag, sent[tag][1])
        is_whole = content.endswith(expected if connected is not None else expected.replace(b"\r\n", b"\n"))
    return [Copy(tag, queue_id, recipient, wall, is_whole, connected) for recipient in recipients]
