"""The drop folder: what was left is taken once, what is wrong is set aside, and nothing stops the rest."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cmail.cli.leave import leave
from cmail.mail.address import parse_address
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.queue_id import parse_queue_id, print_queue_id
from cmail.policy.routing import RoutingTable
from cmail.smtpd.drop import DropWatch
from cmail.smtpd.drop_file import DropFileError, parse_envelope, print_envelope
from cmail.storage.spool import QueuedMessage, QueueEntry, QueueFilter, SpoolFullError
from tests.support.clock import FakeClock
from tests.support.memory_spool import MemorySpool

ENVELOPE = Envelope(
    parse_address(b"anna@example.org"),
    (
        Recipient(parse_address(b"bob@example.net"), notify=Notify.SUCCESS),
        Recipient(parse_address(b"carl@example.org"), orcpt="rfc822;c@example.org"),
    ),
    ret="HDRS",
    envid="e 1",
)
MESSAGE = b"Subject: x\n\n.hello\n"
TABLE = RoutingTable("mail.example.org", frozenset({"example.org"}), "maildir", "smarthost")


class House:
    """A data folder, a spool and a watch over them."""

    def __init__(self, folder: Path) -> None:
        self.data = folder
        self.drop = folder / "drop"
        self.drop.mkdir(exist_ok=True)
        (folder / "content").mkdir(exist_ok=True)
        self.clock = FakeClock()
        self.spool = MemorySpool(0, self.clock, str(folder / "content"))
        self.watch = self.new_watch()

    def new_watch(self) -> DropWatch:
        aside = str(self.data / "aside")
        return DropWatch(
            str(self.drop),
            aside,
            self.spool,
            lambda: TABLE,
            self.clock,
            self.clock,
            "mail.example.org",
            2**20,
        )

    def leave(self, content: bytes = MESSAGE) -> Path:
        return Path(leave(str(self.data), ENVELOPE, [content], 2**20))

    def left(self) -> list[str]:
        return sorted(os.listdir(self.drop))

    def aside(self) -> list[str]:
        return sorted(os.listdir(self.data / "aside")) if (self.data / "aside").exists() else []

    async def queue(self) -> list[QueueEntry]:
        return await self.spool.select(QueueFilter(), 100)

    async def message(self) -> QueuedMessage:
        found = await self.spool.message((await self.queue())[0].queue_id)
        assert found is not None
        return found


def run(folder: Path, test: Callable[[House], Awaitable[None]]) -> None:
    """The test in a loop of its own."""

    async def whole() -> None:
        await test(House(folder))

    asyncio.run(whole())


def test_taken(tmp_path: Path) -> None:
    """Envelope and content are in the spool as they were left, our Received on top, the file is gone."""

    async def test(house: House) -> None:
        house.leave()
        assert await house.watch.look() == 1
        message = await house.message()
        assert message.envelope == ENVELOPE
        assert [r.route for r in message.recipients] == ["relay", "local"]
        field, _, rest = message.content.plain().partition(b"Subject:")
        assert rest == b" x\r\n\r\n.hello\r\n"
        assert field.startswith(b"Received: by mail.example.org (CMail, from uid ")
        assert message.content.size_bytes == len(message.content.plain())
        assert house.left() == []
        assert await house.watch.look() == 0

    run(tmp_path, test)


def test_large_content_goes_to_a_file(tmp_path: Path) -> None:
    """Content beyond the memory limit is in wire form in the spool's file, lines cut anywhere."""
    lines = b"".join(b".%d\n" % number for number in range(60_000)) + b"\xe4 last"

    async def test(house: House) -> None:
        house.leave(b"Subject: x\r\n\r\n" + lines)
        assert await house.watch.look() == 1
        content = (await house.message()).content
        expected = b"Subject: x\r\n\r\n" + lines.replace(b"\n", b"\r\n") + b"\r\n"
        wire = await asyncio.to_thread(Path(content.path).read_bytes)
        assert wire == expected.replace(b"\r\n.", b"\r\n..")
        assert content.wire_bytes == len(wire)
        assert content.size_bytes == len(content.prefix) + len(expected)
        assert content.has_8bit

    run(tmp_path, test)


def test_crash_before_the_file_was_removed(tmp_path: Path) -> None:
    """What the spool has already is not sent twice; what it has not, is taken."""

    async def test(house: House) -> None:
        path = house.leave()
        octets = path.read_bytes()
        await house.watch.look()
        there = (await house.queue())[0].queue_id
        (house.drop / f"taken-{print_queue_id(there)}").write_bytes(octets)
        assert await house.new_watch().look() == 0
        assert house.left() == [] and len(await house.queue()) == 2
        (house.drop / "taken-38G6TPN5J0000").write_bytes(octets)
        assert await house.new_watch().look() == 1
        assert parse_queue_id("38G6TPN5J0000") in {row.queue_id for row in await house.queue()}

    run(tmp_path, test)


def test_no_room_means_later(tmp_path: Path) -> None:
    """When the spool cannot take it, it stays where it is and goes later, once."""

    async def test(house: House) -> None:
        house.leave()
        house.spool.fail_with(SpoolFullError("full"))
        assert await house.watch.look() == 0
        assert len(house.left()) == 1 and house.aside() == []
        house.spool.fail_with(None)
        assert await house.watch.look() == 1
        assert house.left() == []

    run(tmp_path, test)


def _link(house: House, path: Path) -> None:
    target = house.data / "secret"
    target.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(target)


def _pipe(house: House, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(house: House, path: Path) -> None:
    path.unlink()
    path.mkdir()


# name: what is done to a file that was left
WRONG: dict[str, Callable[[House, Path], object]] = {
    "a symbolic link": _link,
    "a pipe": _pipe,
    "a second name": lambda house, path: os.link(path, house.data / "other"),
    "a folder": _folder,
    "no envelope": lambda house, path: path.write_bytes(b"hello\n"),
    "half an envelope": lambda house, path: path.write_bytes(path.read_bytes()[:40]),
    "no content": lambda house, path: path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n"),
    "another version": lambda house, path: path.write_bytes(path.read_bytes().replace(b":1,", b":9,", 1)),
    "a loop": lambda house, path: path.write_bytes(
        path.read_bytes().partition(b"\n")[0] + b"\n" + b"Received: x\n" * 101 + b"\nx\n"
    ),
    "deep nesting": lambda house, path: path.write_bytes(b"[" * 100_000 + b"\n\nx\n"),
    "a queue id that is none": lambda house, path: path.rename(house.drop / "taken-x"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_set_aside(tmp_path: Path, name: str) -> None:
    """Never followed, never fatal, never lost; and the next file is taken."""

    async def test(house: House) -> None:
        WRONG[name](house, house.leave())
        house.leave(b"Subject: good\n\nx\n")
        assert await house.watch.look() == 1
        assert house.left() == []
        assert len(house.aside()) == 1

    run(tmp_path, test)


def test_unfinished_files(tmp_path: Path) -> None:
    """A file that is being written is left alone for a day; a stranger's for a moment."""

    async def test(house: House) -> None:
        (house.drop / "new-1").write_bytes(b"half")
        (house.drop / "stranger").write_bytes(b"x")
        changed_ms = (house.drop / "stranger").stat().st_ctime_ns // 1_000_000
        house.clock.set_wall_ms(changed_ms + 500)
        await house.watch.look()
        assert house.left() == ["new-1", "stranger"]
        house.clock.set_wall_ms(changed_ms + 10_000)
        await house.watch.look()
        assert house.left() == ["new-1"]
        house.clock.set_wall_ms(changed_ms + 2 * 86_400_000)
        await house.watch.look()
        assert house.left() == []
        assert house.aside() == ["drop-new-1", "drop-stranger"]

    run(tmp_path, test)


def test_envelope_comes_back() -> None:
    """What is printed is parsed to the same; anything else is refused."""
    line = print_envelope(ENVELOPE)
    assert parse_envelope(line) == ENVELOPE
    null = Envelope(None, ENVELOPE.recipients[:1], is_smtputf8=True)
    assert parse_envelope(print_envelope(null)) == null
    for wrong in (
        b"",
        b"{}",
        b"[]",
        b'"x"',
        line.replace(b"bob@", b"bob\\n@"),
        line.replace(b"e 1", b"e\\r1"),
    ):
        with pytest.raises(DropFileError):
            parse_envelope(wrong)
