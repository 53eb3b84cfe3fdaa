"""LocalAgent: into the mailboxes of this system, several messages a thread hop."""

import asyncio
import errno
import os
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from cmail.delivery.agent import Ending, Finished, Transaction, Work
from cmail.mail.address import Address
from cmail.mail.outcome import Delivered, NotNow, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import print_queue_id
from cmail.mail.status import BAD_MAILBOX, LOCAL_TROUBLE, MAILBOX_FULL, SYSTEM_FULL
from cmail.observe import trouble
from cmail.storage.mailboxes import Append, ContentReadError, MaildirStore, MailFolderError
from cmail.storage.spool import QueuedRecipient
from cmail.world import Clock

BATCH_MAX: Final = 32  # transactions a hop: their syncs share a commit of the file system
BATCH_OCTETS_MAX: Final = 4 * 2**20
_THREADS: Final = 4
_IDLE_S: Final = 1.0

_DELIVERED: Final = Delivered("local", "delivered to mailbox", is_local=True)


@dataclass(frozen=True, slots=True)
class _Placed:
    """One append and whom it is for."""

    transaction: Transaction
    queued: QueuedRecipient
    append: Append


class LocalAgent:
    """DeliveryAgent for mailboxes here. `mailbox_of` says whose mailbox an address is; None: nobody's."""

    def __init__(
        self,
        store: MaildirStore,
        mailbox_of: Callable[[Address], Address | None],
        hostname: str,
        clock: Clock,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log or (lambda line: None)
        self._pool: ThreadPoolExecutor | None = None
        self.update(mailbox_of, hostname)

    def update(self, mailbox_of: Callable[[Address], Address | None], hostname: str) -> None:
        """New accounts or another host name, from the next batch on."""
        self._mailbox_of = mailbox_of
        self._file_host = _file_host(hostname)

    def close(self) -> None:
        """End the threads; what they write is written."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    async def run(self, route: str, work: Work) -> Ending:
        """One lane of local delivery."""
        count = 0
        while True:
            batch = self._take(work)
            if batch:
                await self._deliver(batch, work)
                count += len(batch)
            elif not await _has_more(work):
                return Finished(count)

    def _take(self, work: Work) -> list[Transaction]:
        batch: list[Transaction] = []
        octets = 0
        while len(batch) < BATCH_MAX and octets < BATCH_OCTETS_MAX:
            transaction = work.take()
            if transaction is None:
                break
            transaction.started = self._clock.monotonic()
            batch.append(transaction)
            octets += transaction.message.content.size_bytes * len(transaction.recipients)
        return batch

    async def _deliver(self, batch: list[Transaction], work: Work) -> None:
        """Every transaction is settled, also when the lane is cancelled meanwhile: a file that is being
        written cannot be called back."""
        outcomes: dict[int, dict[int, Outcome]] = {id(transaction): {} for transaction in batch}
        cancelled = None
        try:
            placed = self._place(batch, outcomes)
            errors, cancelled = await self._append([one.append for one in placed])
        except Exception as error:
            self._log(f"error: local delivery failed: {traceback.format_exc()}")
            failure = TemporaryFailure(f"a mistake of this program: {error!r}", detail=LOCAL_TROUBLE)
            for transaction in batch:
                work.settle(transaction, {q.position: failure for q in transaction.recipients})
            return
        for one, failed in zip(placed, errors, strict=True):
            outcome = _DELIVERED if failed is None else self._failure(one.append, failed)
            if failed is None and trouble.is_any():
                trouble.end(_what(one.append.mailbox))
            outcomes[id(one.transaction)][one.queued.position] = outcome
        for transaction in batch:
            work.settle(transaction, outcomes[id(transaction)])
        if cancelled is not None:
            raise cancelled

    def _place(self, batch: Sequence[Transaction], outcomes: dict[int, dict[int, Outcome]]) -> list[_Placed]:
        placed = []
        for transaction in batch:
            for queued in transaction.recipients:
                address = queued.recipient.forward_path
                mailbox = self._mailbox_of(address)
                if mailbox is None:
                    failure = PermanentFailure(f"there is no mailbox {address} here", BAD_MAILBOX, "local")
                    outcomes[id(transaction)][queued.position] = failure
                else:
                    placed.append(_Placed(transaction, queued, self._append_of(transaction, queued, mailbox)))
        return placed

    def _append_of(self, transaction: Transaction, queued: QueuedRecipient, mailbox: Address) -> Append:
        message = transaction.message
        seconds = message.arrived_wall_ms // 1000
        # Known before the first try and the same at each: seconds, queue id and recipient, host.
        name = f"{seconds}.Q{print_queue_id(message.queue_id)}P{queued.position}.{self._file_host}"
        reverse_path = message.envelope.reverse_path_text
        top = f"Return-Path: <{reverse_path}>\nDelivered-To: {queued.recipient.forward_path}\n"  # §4.4
        return Append(mailbox, name, top.encode(), message.content, message.arrived_wall_ms)

    async def _append(
        self, appends: list[Append]
    ) -> tuple[list[OSError | None], asyncio.CancelledError | None]:
        if not appends:
            return [], None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="mailbox")
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._pool, self._store.append_all, appends, self._clock.wall_ms())
        cancelled = None
        while not writing.done():
            try:
                await asyncio.wait({writing})
            except asyncio.CancelledError as error:
                cancelled = error
        return writing.result(), cancelled

    def _failure(self, append: Append, error: OSError) -> TemporaryFailure:
        """What is wrong with our disk is never a bounce (rule 9). It lasts until the mailbox takes as much
        again, which `cmail status` tries."""
        mailbox, content = append.mailbox, append.content
        words = error.strerror or str(error)
        store, size, path = self._store, content.size_bytes, content.path
        is_over = lambda: store.can_write(mailbox, size)  # noqa: E731
        if isinstance(error, ContentReadError):
            detail, reason = LOCAL_TROUBLE, f"the content of the message cannot be read: {error}"
            is_over = lambda: not os.path.exists(path) or _can_read(path)  # noqa: E731
        elif isinstance(error, MailFolderError):
            detail, reason = LOCAL_TROUBLE, f"mail cannot be delivered here: {error}"
        elif error.errno == errno.EDQUOT:
            detail, reason = MAILBOX_FULL, f"the mailbox {mailbox} is over its quota"
        elif error.errno == errno.ENOSPC:
            detail, reason = SYSTEM_FULL, "no space on the disk of the mailboxes"
        else:
            detail, reason = LOCAL_TROUBLE, f"the mailbox {mailbox} cannot be written: {words}"
        self._log(f"warning: {reason}")
        trouble.begin(_what(mailbox), reason, is_over)
        return TemporaryFailure(reason, NotNow.MESSAGE, detail, "local")


def _what(mailbox: Address) -> str:
    return f"mailbox {mailbox}"


def _can_read(path: str) -> bool:
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass
    return True


async def _has_more(work: Work) -> bool:
    """Wait a little for more."""
    more = asyncio.ensure_future(work.more())
    try:
        done, _ = await asyncio.wait({more}, timeout=_IDLE_S)
        return bool(done)
    finally:
        more.cancel()


def _file_host(hostname: str) -> str:
    """The host name as it may stand in the name of a file (maildir: / and : are written \\057 and \\072)."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in ".-_") else "_" for c in hostname)
    return safe[:64] or "localhost"
