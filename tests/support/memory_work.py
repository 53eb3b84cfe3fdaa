"""MemoryWork: what waits for one next hop, as a list; keeps how each transaction ended."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from cmail.delivery.agent import IsThere, Transaction
from cmail.mail.address import parse_address
from cmail.mail.content import Content, from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import Delivered, Outcome
from cmail.mail.queue_id import QueueId
from cmail.storage.spool import QueuedMessage, QueuedRecipient

TEXT = b"From: <ann@example.org>\nSubject: hello\n\nA line.\n.a dot\n..two dots\n"


def transaction(
    number: int = 1,
    to: Sequence[str] = ("bob@example.net",),
    content: Content | None = None,
    envelope: Envelope | None = None,
    sender: str = "ann@example.org",
    route: str = "relay",
) -> Transaction:
    """A message as the scheduler hands it out; `number` is its queue id."""
    recipients = tuple(Recipient(parse_address(address.encode())) for address in to)
    if envelope is None:
        reverse_path = parse_address(sender.encode()) if sender else None
        envelope = Envelope(reverse_path, recipients)
    queued = [QueuedRecipient(i, recipient, route) for i, recipient in enumerate(envelope.recipients)]
    message = QueuedMessage(
        QueueId(number), envelope, content or from_plain(TEXT), queued, len(queued), 1_700_000_000_000, 0
    )
    return Transaction(message, queued)


class MemoryWork:
    """Work. Fails the test when a transaction ends twice, or misses a recipient."""

    def __init__(self, transactions: Sequence[Transaction] = (), *, keeps_put_back: bool = False) -> None:
        self.ready = deque(transactions)
        self.settled: dict[int, dict[int, Outcome]] = {}  # queue id -> position -> outcome
        self.put_backs: list[int] = []
        self.open: set[int] = set()
        self.mistakes: list[str] = []
        self.addresses: list[str] = []  # our ends of its connections
        self._keeps_put_back = keeps_put_back
        self._waiters: list[asyncio.Future[None]] = []

    def add(self, transaction: Transaction) -> None:
        """One more, also while a connection idles."""
        self.ready.append(transaction)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def take(self) -> Transaction | None:
        if not self.ready:
            return None
        transaction = self.ready.popleft()
        self.open.add(transaction.message.queue_id)
        return transaction

    @property
    def has_delivered(self) -> bool:
        """See Work."""
        return any(isinstance(each, Delivered) for ends in self.settled.values() for each in ends.values())

    def settle(self, transaction: Transaction, outcomes: Mapping[int, Outcome]) -> None:
        number = transaction.message.queue_id
        self._close(number)
        if outcomes.keys() != {queued.position for queued in transaction.recipients}:
            self.mistakes.append(f"{number}: outcomes for {sorted(outcomes)}")
        self.settled.setdefault(number, {}).update(outcomes)

    def put_back(self, transaction: Transaction) -> None:
        self._close(transaction.message.queue_id)
        self.put_backs.append(transaction.message.queue_id)
        if self._keeps_put_back:
            self.ready.appendleft(transaction)

    def more(self) -> "asyncio.Future[None]":
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.ready:
            waiter.set_result(None)
        else:
            self._waiters.append(waiter)
        return waiter

    def pause(self) -> None:
        return None

    def goes_from(
        self, address: str, acknowledged: Callable[[], int] = lambda: 0, is_there: IsThere | None = None
    ) -> None:
        self.addresses.append(address)

    def _close(self, number: int) -> None:
        if number not in self.open:
            self.mistakes.append(f"{number} ended without being open")
        self.open.discard(number)

    def check(self) -> None:
        """Every transaction that was taken has ended, once."""
        assert not self.mistakes, self.mistakes
        assert not self.open, f"never ended: {self.open}"
