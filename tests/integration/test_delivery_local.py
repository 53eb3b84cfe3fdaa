"""LocalAgent: from the queue into Maildirs on a disk, and what becomes of mail that cannot go there."""

import asyncio
import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from cmail.delivery.agent import Finished
from cmail.delivery.local import LocalAgent
from cmail.mail.address import Address, parse_address
from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.net.clock import RealClock
from cmail.storage.mailboxes import Append, MaildirStore
from tests.support.memory_work import MemoryWork, transaction

KNOWN = {"anna@example.org": "anna@example.org", "anna+list@example.org": "anna@example.org"}


def mailbox_of(address: Address) -> Address | None:
    known = KNOWN.get(address.text)
    return parse_address(known.encode()) if known is not None else None


def agent(root: Path, store: MaildirStore | None = None, log: list[str] | None = None) -> LocalAgent:
    return LocalAgent(
        store or MaildirStore(str(root)),
        mailbox_of,
        "mail.example.org",
        RealClock(),
        log=log.append if log is not None else None,
    )


async def deliver(local: LocalAgent, work: MemoryWork) -> None:
    """Until all is settled; then the lane is ended, so that no test waits for its idle time."""
    running = asyncio.create_task(local.run("local", work))
    while work.ready or work.open:
        await asyncio.wait({running}, timeout=0.002)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    work.check()
    local.close()


def files(root: Path, name: str = "anna") -> list[Path]:
    return sorted((root / "example.org" / name / "new").iterdir())


def test_mail_arrives_with_its_trace_on_top(tmp_path: Path) -> None:
    """Return-Path and Delivered-To, LF line ends, single dots; the null reverse-path as <>."""
    work = MemoryWork(
        [
            transaction(1, ("anna@example.org", "anna+list@example.org"), route="local"),
            transaction(2, ("anna@example.org",), sender="", route="local"),
        ]
    )
    asyncio.run(deliver(agent(tmp_path), work))
    text = b"From: <ann@example.org>\nSubject: hello\n\nA line.\n.a dot\n..two dots\n"
    assert sorted(file.read_bytes() for file in files(tmp_path)) == sorted(
        b"Return-Path: <%b>\nDelivered-To: %b\n" % (reverse_path, to) + text
        for reverse_path, to in (
            (b"ann@example.org", b"anna@example.org"),
            (b"ann@example.org", b"anna+list@example.org"),
            (b"", b"anna@example.org"),
        )
    )
    outcome = work.settled[1][0]
    assert isinstance(outcome, Delivered) and outcome.is_local and outcome.relay == "local"


def test_unknown_mailbox_fails_and_the_others_arrive(tmp_path: Path) -> None:
    """5.1.1 for who is nobody's; the same message reaches the rest."""
    work = MemoryWork([transaction(1, ("anna@example.org", "nobody@example.org"), route="local")])
    asyncio.run(deliver(agent(tmp_path), work))
    assert isinstance(work.settled[1][0], Delivered)
    failure = work.settled[1][1]
    assert isinstance(failure, PermanentFailure) and str(failure.status) == "5.1.1"
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("number", "status"),
    [(errno.ENOSPC, "4.3.1"), (errno.EDQUOT, "4.2.2"), (errno.EIO, "4.3.0"), (errno.EACCES, "4.3.0")],
)
def test_trouble_of_our_disk_is_never_a_bounce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: str
) -> None:
    """Every error is temporary, said in words, and logged."""
    log: list[str] = []

    def fail(self: MaildirStore, appends: Sequence[Append], now: int) -> list[OSError | None]:
        return [OSError(number, os.strerror(number))] * len(appends)

    monkeypatch.setattr(MaildirStore, "append_all", fail)
    work = MemoryWork([transaction(1, ("anna@example.org",), route="local")])
    asyncio.run(deliver(agent(tmp_path, log=log), work))
    failure = work.settled[1][0]
    assert isinstance(failure, TemporaryFailure) and failure.kind is NotNow.MESSAGE
    assert str(failure.status) == status and log


def test_mistake_of_ours_defers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the store leaves no transaction open and bounces nothing."""

    def fail(self: MaildirStore, appends: Sequence[Append], now: int) -> list[OSError | None]:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(MaildirStore, "append_all", fail)
    work = MemoryWork([transaction(1, ("anna@example.org",), route="local")])
    asyncio.run(deliver(agent(tmp_path), work))
    assert isinstance(work.settled[1][0], TemporaryFailure)


def test_cancelled_lane_settles_what_is_being_written(tmp_path: Path) -> None:
    """A file on its way to the disk cannot be called back: its end counts."""
    gate = threading.Event()
    started = threading.Event()

    class SlowStore(MaildirStore):
        def append_all(self, appends: Sequence[Append], now_wall_ms: int) -> list[OSError | None]:
            started.set()
            gate.wait(60)
            return super().append_all(appends, now_wall_ms)

    async def main() -> None:
        local = agent(tmp_path, SlowStore(str(tmp_path)))
        work = MemoryWork([transaction(1, ("anna@example.org",), route="local")])
        running = asyncio.create_task(local.run("local", work))
        await asyncio.to_thread(started.wait, 60)
        running.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        work.check()
        assert isinstance(work.settled[1][0], Delivered) and len(files(tmp_path)) == 1
        local.close()

    asyncio.run(main())


def test_many_messages_share_a_hop(tmp_path: Path) -> None:
    """A batch is one call of the store; every message has its own file and its own end."""
    calls = []

    class CountingStore(MaildirStore):
        def append_all(self, appends: Sequence[Append], now_wall_ms: int) -> list[OSError | None]:
            calls.append(len(appends))
            return super().append_all(appends, now_wall_ms)

    work = MemoryWork([transaction(n, ("anna@example.org",), route="local") for n in range(1, 101)])
    asyncio.run(deliver(agent(tmp_path, CountingStore(str(tmp_path))), work))
    assert calls[0] == 32 and sum(calls) == 100 and len(files(tmp_path)) == 100


def test_message_tried_again_after_a_crash_is_there_once(tmp_path: Path) -> None:
    """The outcome was not recorded; the file is found and taken for what it is."""
    for _ in range(2):
        work = MemoryWork([transaction(1, ("anna@example.org",), route="local")])
        asyncio.run(deliver(agent(tmp_path), work))
        assert isinstance(work.settled[1][0], Delivered)
    assert len(files(tmp_path)) == 1


def test_lane_ends_when_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its idle time the lane says that it is finished."""
    monkeypatch.setattr("cmail.delivery.local._IDLE_S", 0.01)
    work = MemoryWork([transaction(1, ("anna@example.org",), route="local")])
    local = agent(tmp_path)
    assert asyncio.run(local.run("local", work)) == Finished(1)
    local.close()
