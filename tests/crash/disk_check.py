"""The check of one state: the spool opens, and each message that was acknowledged is there, whole."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cmail.mail.content import Unstuffer
from cmail.mail.queue_id import print_queue_id
from cmail.net.clock import RealClock
from cmail.storage.spool import FIRST, QueuedMessage
from cmail.storage.spool_shards import shards
from cmail.storage.spool_sqlite import SqliteSpool
from tests.crash.disk_load import ALIASES, REFUSED, SENDER, USERS, Promised, Promises, tag_of
from tests.crash.disk_model import Tree

_TARGETS: Final = dict(ALIASES)
_MAILBOXES: Final = tuple(name for name, _ in USERS)
_ANY_TIME: Final = 1 << 62
_IN_MAILBOX: Final = re.compile(r"mail/([^/]+)/([^/]+)/(?:new|cur)/([^/]+)")


@dataclass
class Found:
    """What one state has of the mail."""

    queued: dict[str, set[str]] = field(default_factory=dict)  # queue id -> recipients, content whole
    mailboxes: dict[str, set[str]] = field(default_factory=dict)  # address -> tags, whole
    bounced: set[str] = field(default_factory=set)  # tags that a bounce speaks of
    faults: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # by the spool, while it was opened


class Checker:
    """Checks states in a folder of its own, in memory where there is such a file system."""

    def __init__(self, promises: Promises, whole: Tree, has_lmtp: bool = False) -> None:
        self._promises = promises
        self._whole = {path.rpartition("/")[2]: octets for path, octets in whole.items()}
        self._has_lmtp = has_lmtp
        self._by_tag = {promised.tag: promised for promised in promises.messages.values()}
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="cmail-disk-", dir=memory))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def faults_of(
        self, tree: Tree, acknowledged: Iterable[str], sent: Iterable[tuple[str, str]], now: float
    ) -> list[str]:
        """What is wrong with a state of a moment, in words. `acknowledged` are the queue ids whose 250 was
        said before it, `sent` what was logged as delivered, (queue id, recipient)."""
        found = self.look(tree)
        for queue_id in acknowledged:
            promised = self._promises.messages.get(queue_id)
            if promised is None:
                continue  # not one of ours: the client never learned of it
            for recipient in promised.recipients:
                if not self._is_there(found, queue_id, promised, recipient, now):
                    found.faults.append(f"{queue_id} ({promised.tag}) for {recipient} is lost")
        for queue_id, recipient in sent:
            promised = self._promises.messages.get(queue_id)
            if promised is not None and recipient in _MAILBOXES and not self._has_lmtp:
                if promised.tag not in found.mailboxes.get(recipient, ()):
                    found.faults.append(
                        f"{queue_id} ({promised.tag}) was called sent, {recipient} has it not"
                    )
        return found.faults

    def look(self, tree: Tree) -> Found:
        """Open the spool of a state as a worker does, look through it and through the mailboxes."""
        found = Found()
        self._look_into_mailboxes(tree, found)
        spool = self.folder / "spool"
        shutil.rmtree(spool, ignore_errors=True)
        write_tree(self.folder, {p: o for p, o in tree.items() if p == "spool" or p.startswith("spool/")})
        for shard in shards(str(spool)):
            try:
                self._runner.run(self._look_into_shard(str(spool), shard, found))
            except Exception as error:
                found.faults.append(f"shard {shard} does not open: {type(error).__name__}: {error}")
        return found

    def _look_into_mailboxes(self, tree: Tree, found: Found) -> None:
        for path, octets in tree.items():
            place = _IN_MAILBOX.fullmatch(path)
            if place is None or octets is None:
                continue
            if octets != self._whole.get(place[3]):
                found.faults.append(f"{path} is torn: {len(octets)} octets")
                continue
            self._note(octets, found, found.mailboxes.setdefault(f"{place[2]}@{place[1]}", set()))

    async def _look_into_shard(self, folder: str, shard: int, found: Found) -> None:
        spool = SqliteSpool.open(folder, shard, RealClock(), free_space_min=0, report=found.said.append)
        try:
            for summary in await spool.routes():
                for message in await spool.due(summary.route, _ANY_TIME, FIRST, 100_000, 1 << 40):
                    self._note_queued(message, found)
        finally:
            await spool.close()

    def _note_queued(self, message: QueuedMessage, found: Found) -> None:
        """Its recipients, when its content is whole."""
        content, name = message.content, print_queue_id(message.queue_id)
        plain = content.plain() if content.is_in_memory else content.prefix + _read(content.path)
        promised = self._promises.messages.get(name)
        self._note(plain, found, set())
        if len(plain) == content.size_bytes and (promised is None or plain.endswith(promised.octets)):
            recipients = {queued.recipient.forward_path.text for queued in message.recipients}
            found.queued.setdefault(name, set()).update(recipients)

    def _note(self, octets: bytes, found: Found, tags: set[str]) -> None:
        """Whose message, or bounce, this is."""
        tag = tag_of(octets)
        if tag.startswith("bounce of "):
            found.bounced.add(tag)
            return
        promised = self._by_tag.get(tag)
        if promised is not None and octets.endswith(
            (promised.octets, promised.octets.replace(b"\r\n", b"\n"))
        ):
            tags.add(promised.tag)

    def _is_there(self, found: Found, queue_id: str, promised: Promised, recipient: str, now: float) -> bool:
        if recipient in found.queued.get(queue_id, ()):
            return True
        if recipient in _TARGETS:
            return all(self._is_there(found, queue_id, promised, each, now) for each in _TARGETS[recipient])
        if recipient in _MAILBOXES and not self._has_lmtp:
            return promised.tag in found.mailboxes.get(recipient, ())
        if recipient == REFUSED:
            bounce = f"bounce of {promised.tag}"
            return bounce in found.bounced or self._is_taken(bounce, SENDER, now)
        return self._is_taken(promised.tag, recipient, now)

    def _is_taken(self, tag: str, recipient: str, now: float) -> bool:
        when = self._promises.taken.get((tag, recipient))
        return when is not None and when < now


def write_tree(folder: Path, tree: Tree) -> None:
    """Make a state real."""
    for path, octets in tree.items():
        place = folder / path
        if octets is None:
            place.mkdir(mode=0o700)
        else:
            place.write_bytes(octets)


def _read(path: str) -> bytes:
    """Content of a file, as it was before it was made ready for the wire; b"" when it is not there."""
    try:
        with open(path, "rb") as file:
            stuffed = file.read()
    except FileNotFoundError:
        return b""
    unstuffer = Unstuffer()
    return unstuffer.feed(stuffed) + unstuffer.finish()
