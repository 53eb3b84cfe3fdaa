"""A message on its way from the drop folder to its mailbox, and a backup that is made meanwhile: whichever step of
the one falls between which steps of the other, the message is in the backup."""

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from cmail.mail.content import Content, from_plain
from cmail.mail.envelope import Envelope
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.policy.validation.rules import FINE
from cmail.storage import backup, durable
from cmail.storage.backup_copy import Copier
from cmail.storage.backup_list import parse_entry
from cmail.storage.backup_mail import MailCopy
from cmail.storage.backup_quarantine import QuarantineCopy
from cmail.storage.backup_spool import _ShardCopy
from cmail.storage.quarantine import Quarantine
from cmail.storage.spool import Final as Ended
from cmail.storage.spool import NewMessage, RecipientState, Settlement
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.spools import SpoolPlace

# Just before and just after each of these something else may happen.
MOMENTS: Final[Sequence[tuple[Any, str]]] = (
    (backup._DropCopy, "look"),
    (backup._DropCopy, "_pass"),
    (backup._DropCopy, "_look_at"),
    (QuarantineCopy, "look"),
    (QuarantineCopy, "_copy"),
    (Copier, "copy"),
    (_ShardCopy, "_copy_ahead"),
    (_ShardCopy, "_copy_rest"),
    (_ShardCopy, "_copy_rows"),
    (MailCopy, "copy"),
)
TRIES: Final = 20
LARGE: Final = 100_000
MOMENTS_ABOUT: Final = 45  # of one backup; who comes later has taken no step in it


class House:
    """A data folder with two shards, as a server has them open, and the one message that is under way in it."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.folder, self.data, self._loop = folder, folder / "data", loop
        for name in ("spool", "drop", "mail/example.org/anna/new"):
            (self.data / name).mkdir(parents=True)
        (folder / "cmail.toml").write_text("[host]\n")
        self.place = SpoolPlace("sqlite", self.data / "spool")
        self.spools: list[SqliteSpool] = [
            self.place.spool,
            SqliteSpool.open(str(self.data / "spool"), 1, self.place.clock),
        ]
        self.quarantine = Quarantine(str(self.data))
        self.count = 0

    async def close(self) -> None:
        await self.place.close()
        await self.spools[1].close()

    def journey(self, way: str) -> Iterator[None]:
        """A step a turn, as smtpd.drop, smtpd.release and the deliveries take them."""
        is_large, shard = "large" in way, int("shard 1" in way)
        message, octets = self._message(shard if "quarantine" in way else 0, is_large)
        name = print_queue_id(message.queue_id)
        drop = self.data / "drop"
        left, taken = drop / f"msg-{self.count}", drop / f"taken-{name}"
        left.write_bytes(octets)
        yield
        left.rename(taken)
        yield
        if "quarantine" in way:
            content = from_plain(octets)
            self.quarantine.keep(message.queue_id, message.envelope, content, FINE, "sendmail", 1)
            yield
            taken.unlink()
            yield
        spool = self.spools[shard]
        if is_large:
            Path(message.content.path).write_bytes(octets)
        self._wait(lambda: spool.accept(message))
        yield
        if "quarantine" in way:
            self.quarantine.remove(name)
        else:
            taken.unlink()
        yield
        (self.data / f"mail/example.org/anna/new/1.Q{name}P0.m").write_bytes(octets)
        yield
        ended = (Ended(0, RecipientState.DELIVERED),)
        self._wait(lambda: spool.settle(Settlement(message.queue_id, ended, is_whole=True)))

    def _message(self, shard: int, is_large: bool) -> tuple[NewMessage, bytes]:
        self.count += 1
        spool = self.spools[shard]
        queue_id = spool.new_queue_id()
        octets = f"Subject: m{self.count}\r\n\r\n".encode() + b"x" * (LARGE * is_large) + b"\r\n"
        content = from_plain(octets)
        if is_large:
            content = Content(b"", b"", len(octets), spool.content_path(queue_id), len(octets))
        envelope: Envelope = self.place.message("anna@example.org").envelope
        return NewMessage(queue_id, envelope, content, ("local",), 1, 1), octets

    def _wait(self, ask: Callable[[], Any]) -> None:
        async def done() -> None:
            await ask()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(10)

    def backup_holds(self) -> list[str]:
        """Make one; where in it the message is."""
        target = self.folder / "backup"
        target.mkdir()
        backup.make_backup(str(target), str(self.data), str(self.folder / "cmail.toml"), "new-", lambda: 1)
        found = self._in_files(target) + self._in_queue(target)
        shutil.rmtree(target)
        return found

    def _in_files(self, target: Path) -> list[str]:
        lines = (target / "files").read_bytes().splitlines(keepends=True)
        names = [entry.path for entry in map(parse_entry, lines) if entry.digest]
        subject = f"Subject: m{self.count}\r\n".encode()
        holding = [n for n in names if "spool" not in n and subject in (target / n).read_bytes()]
        kept = [name for name in names if "quarantine" in name]  # whole, or not at all
        assert len({os.path.dirname(name) for name in kept}) * 2 == len(kept), kept
        return [name.removeprefix("data/") for name in holding]

    def _in_queue(self, target: Path) -> list[str]:
        found = []
        for shard in (0, 1):
            db = apsw.Connection(str(target / f"data/spool/{shard}/spool.sqlite3"))
            for queue_id, is_file in db.execute("SELECT id, is_file FROM message"):
                name = print_queue_id(QueueId(queue_id))
                if is_file:
                    [content] = (target / f"data/spool/{shard}/content").rglob(name)
                    assert content.stat().st_size > LARGE
                found.append(f"spool/{shard} {name}")
            db.close()
        return found

    def clear(self) -> None:
        """What the message has left."""
        shutil.rmtree(self.data / "mail/example.org/anna/new")
        (self.data / "mail/example.org/anna/new").mkdir()


class Moments:
    """Counts the moments of a backup, and says when one is there: "before look 2" of a class that is named."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.names = 0, Counter[str]()
        self.then: Callable[[str], None] = lambda name: None
        for owner, name in MOMENTS:
            patch.setattr(owner, name, self._around(f"{owner.__name__}.{name}", getattr(owner, name)))

    def _around(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any) -> Any:
            self._tick(f"before {name}")
            found = original(*words)
            self._tick(f"after {name}")
            return found

        return run

    def _tick(self, name: str) -> None:
        self.now += 1
        self.names[name] += 1
        self.then(f"{name} {self.names[name]}")


def tried(house: House, moments: Moments, way: str, at: Callable[[str], int]) -> None:
    """One backup; `at` says how many steps the message takes at a moment of it."""
    steps = house.journey(way)
    next(steps)
    taken: dict[str, int] = {}
    moments.now = 0
    moments.names.clear()

    def then(name: str) -> None:
        if count := at(name):
            taken[name] = count
        for _ in range(count):
            next(steps, None)

    moments.then = then
    found = house.backup_holds()
    moments.then = lambda name: None
    for _ in steps:
        pass
    house.clear()
    assert found, f"in none of the copies; so many steps were taken {taken}"


def by_chance(moments: Moments, seed: int) -> Callable[[str], int]:
    """Each step at a moment that chance has chosen, often two at once."""
    chance = random.Random(seed)
    at = Counter(chance.randrange(1, MOMENTS_ABOUT) for _ in range(7))
    return lambda name: at[moments.now]


WAYS: Final = (
    "to the queue",
    "to the queue, large",
    "by the quarantine to shard 0",
    "by the quarantine to shard 1, large",
)


@pytest.mark.parametrize("way", WAYS)
def test_a_message_is_in_one_of_the_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """It was in the drop folder when the backup began; then it is in at least one copy, whole, whenever it is
    renamed, accepted, taken away, quarantined, released, delivered and done with."""
    moments = Moments(monkeypatch)
    walk(tmp_path, monkeypatch, moments, way, [by_chance(moments, seed) for seed in range(TRIES)])


def walk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moments: Moments,
    way: str,
    tries: Sequence[Callable[[str], int]],
) -> None:
    """Each try in the same house."""
    monkeypatch.setattr(durable, "sync_file_system", lambda path: None)  # time only

    async def whole() -> None:
        house = House(tmp_path, asyncio.get_running_loop())
        try:
            for at in tries:
                await asyncio.to_thread(tried, house, moments, way, at)
        finally:
            await house.close()

    asyncio.run(whole())


# Moments that matter, and how many steps are taken there: by the quarantine the third ends in the drop folder,
# the fifth in quarantine.
NARROW: Final[Mapping[str, tuple[str, dict[str, int]]]] = {
    "quarantined before the last look, released when the queue is copied": (
        "by the quarantine to shard 0",
        {"before _DropCopy.look 2": 3, "after MailCopy.copy 1": 4},
    ),
    "released into a shard that is copied": (
        "by the quarantine to shard 1",
        {"before _DropCopy.look 1": 3, "after _ShardCopy._copy_rest 2": 2},
    ),
    "released between the last look and the copy": (
        "by the quarantine to shard 1",
        {"before _DropCopy.look 1": 3, "before _ShardCopy._copy_rows 2": 4},
    ),
    "released while it is copied": (
        "by the quarantine to shard 0",
        {"before _DropCopy.look 1": 3, "after Copier.copy 1": 4},
    ),
    "accepted and taken away just before the queue is copied": (
        "to the queue, large",
        {"before _DropCopy.look 2": 3, "after MailCopy.copy 1": 2},
    ),
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Just where one copy ends and the next has not begun, the message is in one of them all the same."""
    way, steps = NARROW[name]
    moments = Moments(monkeypatch)
    walk(tmp_path, monkeypatch, moments, way, [lambda moment: steps.get(moment, 0)])
    assert all(moments.names[m.rpartition(" ")[0]] >= int(m[-1]) for m in steps), "a moment that never came"
