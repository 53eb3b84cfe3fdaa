"""A connection that has turned round: lent to one shard after the other, clean or not at all."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cmail.delivery.agent import Finished
from cmail.delivery.turned import (
    Turn,
    TurnedPipe,
    offers_fields,
    parse_offers_fields,
    run_turned,
)
from cmail.mail.outcome import Delivered
from cmail.protocol.smtp.client_handshake import HandshakeError
from cmail.protocol.smtp.client_offers import Offers
from tests.support.memory_work import MemoryWork, transaction

NAME = "turn-0-0"
OFFERS = Offers(has_pipelining=True)
Site = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Hub(asyncio.Protocol):
    """The protocol that had the connection before ATRN."""

    def __init__(self) -> None:
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Nothing is read until the pipe has it."""
        self.transport = transport
        transport.pause_reading()


async def turned(site: Site) -> tuple[TurnedPipe, list[Exception | None], "asyncio.Task[None]"]:
    """A pipe, when it was lost, and the site at the other end of it."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    hub = Hub()
    await loop.create_connection(lambda: hub, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    lost: list[Exception | None] = []
    pipe = TurnedPipe(hub.transport, lost.append)
    pipe.take_over()
    return pipe, lost, asyncio.create_task(site(reader, writer))


async def takes_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A strict server: MAIL within a transaction is 503; a recipient whose name begins with `no` is refused."""
    writer.write(b"220 ship ready\r\n")
    is_open, count = False, 0
    while line := await reader.readline():
        verb = line[:4].upper()
        if verb == b"EHLO":
            writer.write(b"250-ship\r\n250 PIPELINING\r\n")
        elif verb == b"MAIL":
            writer.write(b"503 5.5.1 nested\r\n" if is_open else b"250 ok\r\n")
            is_open, count = True, 0
        elif verb == b"RCPT":
            is_refused = b"<no" in line
            count += not is_refused
            writer.write(b"450 4.2.1 not now\r\n" if is_refused else b"250 ok\r\n")
        elif verb == b"DATA" and count:
            writer.write(b"354 go\r\n")
            while await reader.readline() != b".\r\n":
                pass
            writer.write(b"250 2.0.0 taken\r\n")
            is_open = False
        elif verb == b"DATA":
            writer.write(b"503 5.5.1 no recipients\r\n")
        elif verb == b"QUIT":
            writer.write(b"221 bye\r\n")
            writer.close()
            return
        else:
            is_open = False
            writer.write(b"250 ok\r\n")


def turn_of(folder: Path, work: MemoryWork) -> Turn:
    """A shard's turn that is over when its work is."""
    return Turn(str(folder), NAME, OFFERS, "ship[192.0.2.7]", lambda: not work.ready)


def play(test: Coroutine[Any, Any, None]) -> None:
    """In a loop; long before anything idles to its end."""
    asyncio.run(asyncio.wait_for(test, 8))


def test_shards_take_turns_and_the_end_is_in_order(tmp_path: Path) -> None:
    """Greeting and EHLO once; each shard's mail; a shard ends as soon as nothing is left; QUIT at the end."""

    async def test() -> None:
        pipe, lost, site = await turned(takes_all)
        assert (await pipe.shake("hub.example")).has_pipelining
        await pipe.lend(str(tmp_path), NAME)
        for number in range(3):
            work = MemoryWork([transaction(number * 10 + n) for n in range(number)])
            turn = turn_of(tmp_path, work)
            assert await run_turned(turn, work, lambda: 0.0) == Finished(number)
            assert turn.is_clean and turn.transactions_count == number
            assert all(type(o) is Delivered for each in work.settled.values() for o in each.values())
        await pipe.quit()
        await site
        await pipe.ended.wait()
        assert lost == [None] and pipe.borrowed_count == 3
        pipe.close()

    play(test())


def test_what_one_shard_leaves_open_at_the_site_is_not_the_next_ones(tmp_path: Path) -> None:
    """The last message of a shard was refused at its recipients, and the transaction is still open there: the
    next shard's first is not refused for it."""

    async def test() -> None:
        pipe, _, site = await turned(takes_all)
        await pipe.shake("hub.example")
        await pipe.lend(str(tmp_path), NAME)
        refused = MemoryWork([transaction(1, to=("nobody@ship.example",))])
        assert await run_turned(turn_of(tmp_path, refused), refused, lambda: 0.0) == Finished(1)
        work = MemoryWork([transaction(2)])
        await run_turned(turn_of(tmp_path, work), work, lambda: 0.0)
        assert type(work.settled[2][0]) is Delivered
        pipe.close()
        site.cancel()

    play(test())


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """The second one's octets do not come between those of the first."""

    async def test() -> None:
        pipe, _, site = await turned(takes_all)
        await pipe.shake("hub.example")
        await pipe.lend(str(tmp_path), NAME)
        works = [MemoryWork([transaction(10 * n + i) for i in range(20)]) for n in range(2)]
        turns = [turn_of(tmp_path, work) for work in works]
        await asyncio.gather(*(run_turned(t, w, lambda: 0.0) for t, w in zip(turns, works, strict=True)))
        assert all(turn.is_clean and turn.transactions_count == 20 for turn in turns)
        pipe.close()
        site.cancel()

    play(test())


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """After EHLO, at the first MAIL."""
    writer.write(b"220 ship\r\n")
    await reader.readline()
    writer.write(b"250 ship\r\n")
    while not (await reader.readline()).startswith(b"MAIL"):
        writer.write(b"250 ok\r\n")
    writer.close()


def test_a_site_that_hangs_up_gets_nothing_more(tmp_path: Path) -> None:
    """What was not sent is put back; the turn was not clean; who comes then is turned away, and counts nothing."""

    async def test() -> None:
        pipe, lost, site = await turned(hangs_up)
        await pipe.shake("hub.example")
        await pipe.lend(str(tmp_path), NAME)
        work = MemoryWork([transaction(1)], keeps_put_back=True)
        turn = turn_of(tmp_path, work)
        assert await run_turned(turn, work, lambda: 0.0) == Finished(0)
        assert not turn.is_clean and work.put_backs == [1] and not work.settled
        await site
        await pipe.ended.wait()
        late = MemoryWork([transaction(2)], keeps_put_back=True)
        turn = turn_of(tmp_path, late)
        await run_turned(turn, late, lambda: 0.0)
        assert not turn.is_clean and not late.settled
        await pipe.quit()
        pipe.close()
        assert len(lost) == 1

    play(test())


async def says_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A reply that nobody asked for, behind EHLO."""
    writer.write(b"220 ship\r\n")
    await reader.readline()
    writer.write(b"250 ship\r\n")
    await reader.read(1)


async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The greeting is none."""
    writer.write(b"554 go away\r\n")
    await reader.read(1)


def test_words_that_nobody_asked_for_end_it(tmp_path: Path) -> None:
    """While no shard has the connection the site has nothing to say: whose answer would that be?"""

    async def test() -> None:
        pipe, _, site = await turned(says_too_much)
        await pipe.shake("hub.example")
        await pipe.lend(str(tmp_path), NAME)
        pipe.data_received(b"250 2.0.0 taken\r\n")
        assert pipe.is_over
        work = MemoryWork([transaction(1)], keeps_put_back=True)
        turn = turn_of(tmp_path, work)
        await run_turned(turn, work, lambda: 0.0)
        assert not turn.is_clean and not work.settled
        pipe.close()
        site.cancel()

    play(test())


def test_a_site_that_does_not_greet_gets_nothing() -> None:
    """5xx instead of 220."""

    async def test() -> None:
        pipe, _, site = await turned(refuses)
        with pytest.raises(HandshakeError):
            await pipe.shake("hub.example")
        pipe.close()
        site.cancel()

    play(test())


def test_offers_go_over_a_control_socket() -> None:
    """And back; what are none are refused."""
    offers = Offers(has_pipelining=True, has_size=True, size_max=7, mechanisms=("PLAIN",))
    fields = {**offers_fields(offers), "mechanisms": ["PLAIN"]}
    assert parse_offers_fields(fields) == offers
    with pytest.raises(ValueError, match="offers"):
        parse_offers_fields({"has_pipelining": True, "has_feathers": True})
