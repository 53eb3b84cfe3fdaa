"""Parts: what a collection works with; ledger and worker are made fit for an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import apsw

from cmail.link.collect.box import BoxError, Fault
from cmail.link.collect.ledger import Ledger, LedgerError
from cmail.link.settings import CollectSettings
from cmail.net.control import ControlError
from cmail.world import Clock, Resolver

HAND_TIMES: Final = 20  # a worker that is started again is there in a moment
HAND_AGAIN_S: Final = 0.5
_AT_FAULT: Final = 65  # EX_DATA: the message, not we
_NOBODY: Final = 67  # EX_NOUSER: whom it is for, until somebody has that address
_T = TypeVar("_T")

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]  # a question to the first worker


class Log(Protocol):
    """What of observe.maillog is called here."""

    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...
    def failed(self, text: str) -> None: ...


class RefusedError(Exception):
    """The worker does not take this message, now or later; in words."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What settings say, for all accounts."""

    hostname: str
    size_max: int
    ca_file: str
    passwords: dict[str, str]  # by file
    connect_s: float = 30.0  # to one of a host's addresses

    def password(self, account: CollectSettings) -> str:
        """Of an account; "" when there is none."""
        return self.passwords.get(account.password_file, "")


class LedgerThread:
    """The ledger, in a thread of its own: each call is over before the next begins, cancelled or not."""

    def __init__(self, path: str, wall_ms: Callable[[], int]) -> None:
        self._path, self._wall_ms = path, wall_ms
        self._thread = ThreadPoolExecutor(1, "collect")
        self._ledger: Ledger | None = None

    async def run(self, work: Callable[[Ledger], _T]) -> _T:
        """Do something with it. BoxError: it cannot be."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        except (LedgerError, apsw.Error, OSError) as error:
            raise BoxError(f"what was fetched cannot be noted: {error}", Fault.OURS) from None

    def _run(self, work: Callable[[Ledger], _T]) -> _T:
        if self._ledger is None:
            self._ledger = Ledger(self._path, self._wall_ms)
        return work(self._ledger)

    async def close(self) -> None:
        """After what is under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the link process."""

    ledger: LedgerThread
    folder: str  # DATA/collect/incoming
    ask: Ask
    resolver: Resolver
    clock: Clock
    log: Log
    came: Callable[[int, int], None] = lambda messages, octets: None  # is told what was fetched
    silent: Callable[[], None] = lambda: None  # is told that nobody answers: is it the line?
    under_way: set[str] = field(default_factory=set)  # tokens that are being handed over
    boxes: dict[str, asyncio.Lock] = field(default_factory=dict)  # by name: one session at a time with each
    configured: set[str] = field(default_factory=set)  # names of the boxes that the settings have now

    async def hand(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Give the worker a message: its answer. A worker that is away is waited for, a moment. RefusedError:
        never; BoxError: not now."""
        for turn in range(HAND_TIMES):
            try:
                return await self.ask("messages.collect", fields)
            except ControlError as error:
                if error.code == _AT_FAULT:
                    raise RefusedError(error.words) from None
                if error.code == _NOBODY:
                    raise BoxError(f"{error.words}: nothing is fetched for it", Fault.OURS) from None
                words = error.words
            if turn + 1 < HAND_TIMES:
                await asyncio.sleep(HAND_AGAIN_S)
        raise BoxError(f"no message can be kept just now: {words}", Fault.OURS)
