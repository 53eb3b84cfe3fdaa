"""Session without a socket: when reading stops, and what one timer does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cmail.delivery.agent import Transaction
from cmail.delivery.fit import Fit
from cmail.delivery.line import SessionLimits
from cmail.delivery.session import Session
from cmail.mail.content import Content
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_handshake import HandshakeError, Manners
from cmail.protocol.smtp.client_offers import Offers
from tests.support.memory_work import MemoryWork, transaction
from tests.support.until import until


class Wire(asyncio.Transport):
    """A transport that keeps what is written and done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.done: list[str] = []
        self.unsent: list[int] = []  # octets that the line has not carried yet, each time that one looks

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.done.append("pause")

    def abort(self) -> None:
        self.done.append("abort")

    def is_closing(self) -> bool:
        return "abort" in self.done

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unsent.pop(0) if self.unsent else 0


def test_reading_stops_within_the_callback_of_the_220() -> None:
    """No octet that comes behind it can be taken for the server's (rule 7)."""

    async def main() -> None:
        session, wire = Session(asyncio.get_running_loop(), SessionLimits()), Wire()
        session.connection_made(wire)
        shaking = asyncio.create_task(session.shake(Manners("me", "required"), None, "mx"))
        for reply in (b"220 hi\r\n", b"250-mx\r\n250 STARTTLS\r\n"):
            await asyncio.sleep(0)
            session.data_received(reply)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.written.endswith(b"STARTTLS\r\n") and not wire.done
        session.data_received(b"220 go\r\n")
        assert wire.done == ["pause"]
        shaking.cancel()
        await asyncio.wait({shaking})

    asyncio.run(main())


@pytest.mark.parametrize("replies", [b"220 hi\r\n250 mx\r\nmumble\r\n", b"220 hi\r\nmumble\r\n"])
def test_garbage_in_the_handshake_ends_it(replies: bytes) -> None:
    """What is no reply is not waited upon."""

    async def main() -> None:
        session = Session(asyncio.get_running_loop(), SessionLimits())
        session.connection_made(Wire())
        first, behind = replies.split(b"\r\n", 1)
        session.data_received(first + b"\r\n" if b"250" in replies else replies)
        if b"250" in replies:
            shaking = asyncio.create_task(session.shake(Manners("me"), None, "mx"))
            await asyncio.sleep(0)
            session.data_received(behind)
            await shaking
            machine, work = SmtpClient(Offers(), "mx"), MemoryWork([transaction()])
            session.converse(machine, work, lambda: 0.0, lambda transaction: False)
            assert session.ended.done() and machine.doubt and len(work.ready) == 1
        else:
            with pytest.raises(HandshakeError):
                await session.shake(Manners("me"), None, "mx")

    asyncio.run(main())


def test_paused_transport_takes_no_further_message() -> None:
    """A slow peer makes us wait, not grow; what waits goes on when it reads again."""

    async def main() -> None:
        session, wire = Session(asyncio.get_running_loop(), SessionLimits()), Wire()
        session.connection_made(wire)
        work = MemoryWork([transaction(n) for n in range(20)])
        session.pause_writing()
        offers = Offers(has_pipelining=True, has_chunking=True)
        session.converse(SmtpClient(offers, "mx"), work, lambda: 0.0, lambda transaction: False)
        assert not wire.written and len(work.ready) == 20
        session.resume_writing()
        assert wire.written.count(b"BDAT") == 8 and len(work.ready) == 12
        session.fail("enough")
        work.check()

    asyncio.run(main())


@pytest.mark.parametrize("where", ["take", "settle"])
def test_mistake_of_ours_ends_the_session(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """An exception is kept for the agent, and nobody waits for a session that cannot go on."""

    async def main() -> None:
        session = Session(asyncio.get_running_loop(), SessionLimits())
        session.connection_made(Wire())
        work = MemoryWork([transaction(1)])

        def fail(*args: object) -> None:
            raise RuntimeError("a mistake")

        monkeypatch.setattr(work, where, fail)
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        if where == "settle":
            session.data_received(b"250 ok\r\n250 ok\r\n354 go\r\n")
            session.data_received(b"250 ok\r\n")
        assert session.ended.done() and isinstance(session.error, RuntimeError)

    asyncio.run(main())


def test_deadline_that_moves_closer_is_kept() -> None:
    """After the long wait for a final dot comes the shorter one for MAIL: the one timer must not sleep on."""

    async def main() -> None:
        limits = SessionLimits(patience=0.0005, idle_s=1.0)
        session = Session(asyncio.get_running_loop(), limits)
        session.connection_made(Wire())
        work = MemoryWork([transaction(1)])
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        session.data_received(b"250 ok\r\n250 ok\r\n354 go\r\n")  # 600 s, here 0.3 s
        session.data_received(b"250 ok\r\n")  # idle 1 s; a new message waits 300 s, here 0.15 s
        work.add(transaction(2))
        start = asyncio.get_running_loop().time()
        await asyncio.wait_for(session.ended, 2)
        assert asyncio.get_running_loop().time() - start < 0.28
        work.check()
        assert work.put_backs == [2]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("unsent", "looks"),
    [
        pytest.param([0], 1, id="it has all, and says nothing"),
        pytest.param([500_000, 400_000, 200_000, 0, 0], 5, id="a slow line, then it says nothing"),
        pytest.param([500_000, 499_000], 2, id="it reads next to nothing"),
        pytest.param([5_000, 4_000], 2, id="it does not read the rest"),
    ],
)
def test_slow_line_is_not_a_server_that_hangs(unsent: list[int], looks: int) -> None:
    """The time for the reply begins when the line has carried all; who does not read is left all the same."""

    async def main() -> None:
        session, wire = Session(asyncio.get_running_loop(), SessionLimits(patience=0.00002)), Wire()
        session.connection_made(wire)
        wire.unsent = [*unsent, 77]
        work = MemoryWork([transaction(1)])
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        session.data_received(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await asyncio.wait_for(session.ended, 10)
        assert len(unsent) + 1 - len(wire.unsent) == looks
        assert machine.doubt == "no reply in time, to the end of the content"
        work.check()

    asyncio.run(main())


class Yielding(MemoryWork):
    """Work that wants the large content to stand aside once."""

    def __init__(self, first: Transaction) -> None:
        super().__init__([first])
        self.asked = 0
        self.passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pause(self) -> "asyncio.Future[None] | None":  # type: ignore[override]
        self.asked += 1
        return self.passed if self.asked == 2 else None


def large(folder: Path, octets: int) -> Transaction:
    path = folder / "content"
    path.write_bytes((b"x" * 70 + b"\r\n") * (octets // 72))
    size = path.stat().st_size
    return transaction(1, content=Content(b"", b"", size, str(path), size))


def test_large_content_stands_aside_between_two_pieces(tmp_path: Path) -> None:
    """On a thin link small mail does not wait behind megabytes: the next piece waits for it."""

    async def main() -> None:
        session = Session(asyncio.get_running_loop(), SessionLimits(fit=Fit(9)))
        wire = Wire()
        session.connection_made(wire)
        work = Yielding(large(tmp_path, 40_000))
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        session.data_received(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await until(lambda: work.asked == 2)
        await asyncio.sleep(0.01)
        out = len(wire.written)
        assert 2 * Fit(9).piece_octets <= out < 3 * Fit(9).piece_octets
        work.passed.set_result(None)
        await until(lambda: wire.written.endswith(b"\r\n.\r\n"))
        session.data_received(b"250 ok\r\n")
        assert list(work.settled) == [1] and work.asked > 5
        session.fail("enough")
        work.check()

    asyncio.run(main())


def test_connection_that_ends_waits_for_nobody(tmp_path: Path) -> None:
    """A content that stands aside lets go of what it waits for when the link goes."""

    async def main() -> None:
        session = Session(asyncio.get_running_loop(), SessionLimits(fit=Fit(9)))
        session.connection_made(Wire())
        work = Yielding(large(tmp_path, 40_000))
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        session.data_received(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await until(lambda: work.asked == 2)
        assert not session.stop()
        await until(work.passed.cancelled)
        assert work.put_backs == [1]
        work.check()

    asyncio.run(main())


def test_slow_line_is_seen_in_the_buffers_of_the_kernel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of a line at 9.6 kbit/s lie there: the time for the reply begins when they have left."""

    async def main() -> None:
        session, wire = Session(asyncio.get_running_loop(), SessionLimits(patience=0.00002)), Wire()
        session.connection_made(wire)
        left = [700_000, 500_000, 300_000, 100_000, 0]
        monkeypatch.setattr("cmail.delivery.session.unacknowledged", lambda _: left.pop(0) if left else 0)
        work = MemoryWork([transaction(1)])
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        session.data_received(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await asyncio.wait_for(session.ended, 10)
        assert not left
        work.check()

    asyncio.run(main())


def test_nobody_waits_for_the_good_bye_over_a_thin_link() -> None:
    """QUIT is said and the connection closed in order; the reply would be one more round trip."""

    class Closing(Wire):
        def close(self) -> None:
            self.done.append("close")

    async def main() -> None:
        limits = SessionLimits(idle_s=0.0, fit=Fit(64))
        session, wire = Session(asyncio.get_running_loop(), limits), Closing()
        session.connection_made(wire)
        machine = SmtpClient(Offers(has_pipelining=True), "mx")
        session.converse(machine, MemoryWork(), lambda: 0.0, lambda transaction: False)
        await asyncio.wait_for(session.ended, 5)
        assert wire.written == b"QUIT\r\n" and wire.done == ["close"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "put_back"),
    [
        pytest.param(None, True, id="it closed"),
        pytest.param(ConnectionResetError(), True, id="it left something unread"),
        pytest.param(BrokenPipeError(), True, id="we wrote, and it had closed"),
        pytest.param(TimeoutError(), False, id="nobody was there any more"),
    ],
)
@pytest.mark.parametrize("idled", [False, True])
def test_a_peer_that_closes_has_not_looked_at_what_it_did_not_answer(
    error: Exception | None, put_back: bool, idled: bool
) -> None:
    """It goes to another connection where the peer ended this one. How many the peer takes is known by it,
    unless the connection idled before: then its patience was over."""

    async def main() -> None:
        session = Session(asyncio.get_running_loop(), SessionLimits(idle_s=60))
        session.connection_made(Wire())
        work = MemoryWork([transaction(1)] if idled else [transaction(1), transaction(2)])
        machine = SmtpClient(Offers(has_pipelining=True, has_chunking=True), "mx")
        session.converse(machine, work, lambda: 0.0, lambda transaction: False)
        session.data_received(b"250 ok\r\n250 ok\r\n250 queued\r\n")
        if idled:
            work.add(transaction(2))
            await until(lambda: not work.ready)
        session.connection_lost(error)
        work.check()
        assert work.put_backs == ([2] if put_back else [])
        assert session.closed_after == (1 if put_back and not idled else 0)

    asyncio.run(main())
