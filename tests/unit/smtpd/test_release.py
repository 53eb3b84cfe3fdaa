"""From the drop folder into quarantine, and from there into the spool: nothing is lost, nothing goes by itself."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cmail.cli.leave import leave
from cmail.mail.address import parse_address
from cmail.mail.content import unstuff
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.policy.routing import RoutingTable
from cmail.policy.validation.rules import FINE
from cmail.smtpd.drop import DropWatch
from cmail.smtpd.release import Release
from cmail.storage.quarantine import NotThereError, Quarantine, QuarantineError
from cmail.storage.spool import SpoolFullError
from tests.support.clock import FakeClock
from tests.support.memory_spool import MemorySpool

ENVELOPE = Envelope(
    parse_address(b"anna@example.org"),
    (
        Recipient(parse_address(b"bert@example.net"), notify=Notify.SUCCESS),
        Recipient(parse_address(b"c@example.org")),
    ),
    ret="HDRS",
)
TABLE = RoutingTable("mail.example.org", frozenset({"example.org"}), "maildir", "smarthost")
BROKEN = b"From: a@example.org\nSubject: x\nSubject: y\n\n.dot\nhello\n"
GOOD = b"From: a@example.org\nSubject: x\n\n.dot\nhello\n"
PAD = b"y" * 70 + b"\n"


@dataclass
class House:
    """A data folder with a drop folder, a quarantine and a spool."""

    data: Path

    def __post_init__(self) -> None:
        (self.data / "drop").mkdir()
        (self.data / "content").mkdir()
        self.clock = FakeClock()
        self.spool = MemorySpool(0, self.clock, str(self.data / "content"))
        self.quarantine = Quarantine(str(self.data))
        self.watch = DropWatch(
            str(self.data / "drop"), str(self.data / "aside"), self.spool, lambda: TABLE, self.clock, self.clock,
            "mail.example.org", 2**22, self.quarantine,
        )  # fmt: skip
        self.release = Release(
            self.quarantine, self.spool, lambda: TABLE, self.clock, self.clock, "mail.example.org"
        )

    async def leave(self, content: bytes) -> None:
        leave(str(self.data), ENVELOPE, [content], 2**22)
        await self.watch.look()

    def spooled(self) -> list[Any]:
        return [each.new for each in self.spool._messages.values()]


def run(folder: Path, test: Callable[[House], Awaitable[None]]) -> None:
    """The test in a loop of its own."""

    async def whole() -> None:
        await test(House(folder))

    asyncio.run(whole())


def crlf(octets: bytes) -> bytes:
    return octets.replace(b"\n", b"\r\n")


def wire(new: Any) -> bytes:
    """Content as it stands in the spool, unstuffed."""
    if not new.content.path:
        return unstuff(new.content.octets)
    return unstuff(Path(new.content.path).read_bytes())


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_what_validation_would_refuse_waits_for_a_person(tmp_path: Path, is_large: bool) -> None:
    """It leaves the drop folder for the quarantine, not for the spool; released, it goes as it is to all of its
    recipients, with a Received field, and is gone from the quarantine."""
    more = PAD * (CONTENT_IN_MEMORY_MAX // len(PAD) + 100) * is_large

    async def test(house: House) -> None:
        await house.leave(BROKEN + more)
        assert os.listdir(house.data / "drop") == [] and house.spooled() == []
        assert not any(files for _, _, files in os.walk(house.data / "content"))
        [kept] = house.quarantine.all_kept()
        assert kept.envelope.recipients == ENVELOPE.recipients and kept.origin.endswith("by sendmail")
        assert await house.release.let_go(kept.id) == 2
        assert house.quarantine.all_kept() == []
        [new] = house.spooled()
        assert new.queue_id == kept.queue_id and wire(new) == crlf(BROKEN + more)
        assert new.envelope.recipients == ENVELOPE.recipients and new.envelope.ret == "HDRS"
        assert new.routes == ("relay", "local") and new.content.prefix.startswith(
            b"Received: by mail.example.org"
        )
        assert bool(new.content.path) == is_large

    run(tmp_path, test)


def test_what_passes_goes_on(tmp_path: Path) -> None:
    """Good mail, and all mail with Validation off, goes into the spool at once."""

    async def test(house: House) -> None:
        await house.leave(GOOD)
        house.watch.quarantine = None
        await house.leave(BROKEN)
        assert [wire(new) for new in house.spooled()] == [crlf(GOOD), crlf(BROKEN)]
        assert house.quarantine.all_kept() == []

    run(tmp_path, test)


def test_a_spool_that_is_full_loses_nothing(tmp_path: Path) -> None:
    """It stays in quarantine, and can be released later."""

    async def test(house: House) -> None:
        await house.leave(BROKEN)
        [kept] = house.quarantine.all_kept()
        accept = house.spool.accept

        def full(message: Any) -> Any:
            raise SpoolFullError("full")

        house.spool.accept = full  # type: ignore[method-assign]
        with pytest.raises(SpoolFullError):
            await house.release.let_go(kept.id)
        assert house.quarantine.all_kept() == [kept]
        house.spool.accept = accept  # type: ignore[method-assign]
        assert await house.release.let_go(kept.id) == 2

    run(tmp_path, test)


def test_two_clicks_are_one(tmp_path: Path) -> None:
    """Of two at the same time one does it; after a crash between spool and quarantine it is not sent again as
    long as the spool has it."""

    async def test(house: House) -> None:
        await house.leave(BROKEN)
        [kept] = house.quarantine.all_kept()
        accepted: list[Any] = []
        accept = house.spool.accept

        def note(message: Any) -> Any:
            accepted.append(message)
            return accept(message)

        house.spool.accept = note  # type: ignore[method-assign]
        clicks = (house.release.let_go(kept.id) for _ in range(3))
        results = await asyncio.gather(*clicks, return_exceptions=True)
        assert [type(each) for each in results].count(int) == 1
        assert all(isinstance(each, int | QuarantineError) for each in results)
        assert len(accepted) == len(house.spooled()) == 1
        house.quarantine.keep(kept.queue_id, kept.envelope, house.spooled()[0].content, FINE, "again", 1)
        assert await house.release.let_go(kept.id) == 2 and len(house.spooled()) == 1
        with pytest.raises(NotThereError):
            await house.release.let_go(kept.id)

    run(tmp_path, test)
