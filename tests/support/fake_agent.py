"""FakeAgent: a DeliveryAgent that delivers to a list; a test says how each attempt ends."""

import asyncio
from collections.abc import Callable

from cmail.delivery.agent import Ending, Finished, Transaction, Work
from cmail.mail.outcome import Delivered, Outcome
from cmail.storage.spool import QueuedRecipient

SENT = Delivered("sink[127.0.0.1]:25", "250 2.0.0 ok")


def deliver(transaction: Transaction, queued: QueuedRecipient) -> Outcome:
    """The usual end."""
    return SENT


class FakeAgent:
    """Takes, answers and idles as the contract says. `outcome` decides each recipient; `ending`, when
    set, ends a connection before its first transaction; while `gate` is cleared nothing is answered.
    `large_gate` is the same for large messages alone, and between their pieces they stand aside when they
    are told to. `address` is our end of its connections."""

    def __init__(self, idle_s: float = 0.05) -> None:
        self.outcome: Callable[[Transaction, QueuedRecipient], Outcome] = deliver
        self.ending: Ending | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.large_gate = asyncio.Event()
        self.large_gate.set()
        self.address = ""
        self.pauses_count = 0
        self.paused_count = 0  # that stand aside now
        self.idle_s = idle_s
        self.delivered: list[tuple[int, str]] = []  # queue id, recipient
        self.transactions: list[list[str]] = []
        self.attempts_count = 0
        self.connections_count = 0  # begun
        self.open_count = 0
        self.open_max = 0
        self.cancelled_count = 0

    async def run(self, route: str, work: Work) -> Ending:
        """One connection."""
        self.connections_count += 1
        self.open_count += 1
        self.open_max = max(self.open_max, self.open_count)
        try:
            return await self._serve(work)
        finally:
            self.open_count -= 1

    async def _serve(self, work: Work) -> Ending:
        await asyncio.sleep(0)
        work.goes_from(self.address)
        count = 0
        while self.ending is None:
            transaction = work.take()
            if transaction is None:
                try:
                    await asyncio.wait_for(work.more(), self.idle_s)
                except TimeoutError:
                    return Finished(count)
                continue
            count += 1
            try:
                await self.gate.wait()
                if transaction.is_large:
                    await self._send_large(work)
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.cancelled_count += 1
                work.put_back(transaction)
                raise
            self._answer(transaction, work)
        return self.ending

    async def _send_large(self, work: Work) -> None:
        """Piece by piece until the gate is open, and one more."""
        is_last = False
        while not is_last:
            is_last = self.large_gate.is_set()
            while (pause := work.pause()) is not None:
                self.pauses_count += 1
                self.paused_count += 1
                try:
                    await pause
                finally:
                    self.paused_count -= 1
            await asyncio.sleep(0.0005)

    def _answer(self, transaction: Transaction, work: Work) -> None:
        self.attempts_count += 1
        self.transactions.append([q.recipient.forward_path.text for q in transaction.recipients])
        outcomes = {q.position: self.outcome(transaction, q) for q in transaction.recipients}
        for queued in transaction.recipients:
            if isinstance(outcomes[queued.position], Delivered):
                self.delivered.append((transaction.message.queue_id, queued.recipient.forward_path.text))
        work.settle(transaction, outcomes)
