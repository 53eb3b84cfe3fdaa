"""How much CPU the scheduler and the recording of outcomes cost a message: `python bench/outgo.py`.

Spool and agent are fakes that do next to nothing, so what is left is ours. Printed: microseconds a
message, with what the fakes cost beside it."""

import argparse
import asyncio
import time
from asyncio import Future
from collections.abc import Callable
from typing import Any

import uvloop

from cmail.delivery.agent import Ending, Finished, Transaction, Work
from cmail.delivery.settings import SmtpSettings
from cmail.mail.address import parse_address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import Delivered
from cmail.mail.queue_id import QueueIds
from cmail.net.clock import RealClock
from cmail.policy.orders import FREE
from cmail.policy.rewriting import Directory
from cmail.policy.routing import RoutingTable
from cmail.queue.router import Router
from cmail.queue.scheduler import Scheduler
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import NewMessage, NextDue, QueuedMessage, RouteSummary, Settlement

SENT = Delivered("sink[127.0.0.1]:25", "250 2.0.0 ok")


class Link:
    """A link that is always up."""

    is_down = False
    periods = 1
    orders = FREE

    def link_ms(self) -> int:
        """Now."""
        return time.time_ns() // 1_000_000


class QuietLog:
    """Says nothing."""

    def attempted(self, *args: Any, **named: Any) -> None:
        """Nothing."""

    def removed(self, queue_id: int) -> None:
        """Nothing."""


class QuickSpool:
    """Accepts a batch a turn of the loop and answers all of it at once, as group commit does."""

    is_blocked = False
    shard = 0

    def __init__(self) -> None:
        self.ids = QueueIds(0, RealClock().wall_ms)
        self.new_queue_id = self.ids.new
        self.waiting: list[Future[None]] = []
        self.settled_count = 0
        self._wanted = 1 << 62
        self._is_done = asyncio.Event()

    async def has_settled(self, count: int) -> None:
        """Wait for so many."""
        self._wanted = count
        if self.settled_count < count:
            await self._is_done.wait()

    def listen(self, listener: Callable[[NewMessage], None]) -> None:
        """Who hears of fresh messages."""
        self.listener = listener

    def settle(self, settlement: Settlement) -> "Future[None]":
        """Recorded in the next turn but one."""
        future = asyncio.get_running_loop().create_future()
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self._commit)
        self.waiting.append(future)
        return future

    def _commit(self) -> None:
        done, self.waiting = self.waiting, []
        self.settled_count += len(done)
        if self.settled_count >= self._wanted:
            self._is_done.set()
        for future in done:
            future.set_result(None)

    def routes(self) -> "Future[list[RouteSummary]]":
        """None."""
        return self._nothing()

    def due(self, *_: Any) -> "Future[list[QueuedMessage]]":
        """Nothing."""
        return self._nothing()

    late = due

    def next_due(self, *_: Any) -> "Future[NextDue | None]":
        """Never."""
        return self._nothing(None)

    def _nothing(self, nothing: object = ()) -> "Future[Any]":
        future = asyncio.get_running_loop().create_future()
        future.set_result(nothing)
        return future


class QuickAgent:
    """Takes up to ten at once and says yes."""

    async def run(self, route: str, work: Work) -> Ending:
        """One connection."""
        count = 0
        while True:
            taken: list[Transaction] = []
            while len(taken) < 10 and (transaction := work.take()) is not None:
                taken.append(transaction)
            if not taken:
                try:
                    await asyncio.wait_for(work.more(), 0.2)
                except TimeoutError:
                    return Finished(count)
                continue
            await asyncio.sleep(0)
            for transaction in taken:
                work.settle(transaction, {transaction.recipients[0].position: SENT})
            count += len(taken)


async def bench(count: int, batch: int) -> None:
    """Send `count` messages in batches, and print what each cost."""
    spool: Any = QuickSpool()
    log: Any = QuietLog()
    clock, link = RealClock(), Link()
    table = RoutingTable("mail.example.org", frozenset({"example.org"}), "maildir", "smarthost")
    directory = Directory(frozenset(), {}, domains=("example.org",))
    router = Router(table, directory, SmtpSettings(host="127.0.0.1"))
    scheduler = Scheduler(
        spool, {"relay": QuickAgent()}, router, QueueSettings(), clock, link, lambda route: 10, log
    )
    scheduler.start()
    await asyncio.sleep(0.01)
    envelope = Envelope(parse_address(b"anna@example.org"), (Recipient(parse_address(b"bob@example.net")),))
    content = from_plain(b"Subject: bench\r\n\r\n" + b"x" * 70 + b"\r\n")
    messages = [
        NewMessage(spool.new_queue_id(), envelope, content, ("relay",), clock.wall_ms(), link.link_ms())
        for _ in range(count)
    ]
    begun = time.process_time()
    for start in range(0, count, batch):
        for message in messages[start : start + batch]:
            spool.listener(message)
        await asyncio.sleep(0)
    await spool.has_settled(count)
    used = time.process_time() - begun
    await scheduler.stop(1.0)
    print(f"{used / count * 1e6:6.1f} us a message, {batch} at a time, with fake agent and spool")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    given = parser.parse_args()
    for batch in (1, 10, 50):
        uvloop.run(bench(given.count, batch))


if __name__ == "__main__":
    main()
