"""Collector: all accounts: when each is collected and what is said of it; nothing while we are off line."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from cmail.link.collect import incoming
from cmail.link.collect.account import hand_over
from cmail.link.collect.box import BoxError, box_name
from cmail.link.collect.ledger import FILE_NAME, Entry, State
from cmail.link.collect.parts import Ask, LedgerThread, Log, Parts, Terms
from cmail.link.collect.result import Result
from cmail.link.collect.watch import OFF_LINE, Watch
from cmail.link.settings import CollectSettings
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, ControlError, Fields
from cmail.world import Clock, Resolver

AT_ONCE_MAX: Final = 4  # boxes that are being collected; those that only listen do not count
RECOVER_AGAIN_S: Final = 10.0
LOOK_AGAIN_S: Final = 60.0
NUMBER_END: Final = 2**63  # SQLite's
EX_USAGE: Final = 64
EX_NOUSER: Final = 67


class Collector:
    """Made by the link process; start() when the loop runs."""

    def __init__(
        self,
        data_dir: str,
        ask: Ask,
        resolver: Resolver,
        clock: Clock,
        log: Log,
        came: Callable[[int, int], None] = lambda messages, octets: None,
        silent: Callable[[], None] = lambda: None,
    ) -> None:
        """`ask`: a question to the first worker. `came` is told what was fetched, whoever asked for it;
        `silent` that a server did not answer."""
        folder = os.path.join(data_dir, incoming.FOLDER)
        ledger = LedgerThread(os.path.join(data_dir, FILE_NAME), clock.wall_ms)
        self._parts = Parts(ledger, folder, ask, resolver, clock, log, came, silent)
        self._watches: dict[str, Watch] = {}
        self._room = asyncio.Semaphore(AT_ONCE_MAX)
        self._recovering: asyncio.Task[None] | None = None
        self._terms = Terms("localhost", 0, "", {})
        self._is_online = False
        self._is_swept = False  # the ledger can be used, and what nobody needs any more is gone
        self.ready = asyncio.Event()  # what the last run left is handed over, or has been tried
        self.trouble = ""

    # The life of it.

    async def start(self, *, is_online: bool) -> None:
        """Go on where the last run was cut short, then collect."""
        self._is_online = is_online
        self._recovering = asyncio.create_task(self._recover(), name="collect: recover")

    def apply(self, accounts: Sequence[CollectSettings], terms: Terms, *, is_planned: bool = False) -> None:
        """Other settings. `is_planned`: exchanges say when; nothing is collected beside them. Accounts that
        have not changed go on, those that have begin anew."""
        wanted = {account.name: account for account in accounts}
        for name, watch in list(self._watches.items()):
            if wanted.get(name) != watch.account or terms != self._terms:
                watch.close()
                del self._watches[name]
        self._terms = terms
        self._parts.configured.clear()
        self._parts.configured.update(box_name(account) for account in accounts)
        for name, account in wanted.items():
            if name not in self._watches:
                self._watches[name] = Watch(account, terms, self._parts, self._room)
            self._watches[name].is_planned = is_planned
        if self.ready.is_set():
            self._begin()

    def set_online(self, is_online: bool) -> None:
        """The link went down: sessions end; or it came up: what is due by time may begin."""
        self._is_online = is_online
        for watch in self._watches.values():
            watch.set_online(is_online)

    def line_answers(self) -> None:
        """A probe got through."""
        for watch in self._watches.values():
            watch.line_answers()

    async def stop(self) -> None:
        """End what is under way; the ledger says how far it came."""
        tasks: list[asyncio.Task[None]] = []
        if self._recovering is not None:
            self._recovering.cancel()
            tasks.append(self._recovering)
        for watch in self._watches.values():
            tasks += watch.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._parts.ledger.close()

    def _begin(self) -> None:
        for watch in self._watches.values():
            watch.start(is_online=self._is_online)

    async def _recover(self) -> None:
        """What was being handed over when the last run ended goes first: only then can anybody fetch. A
        message that the worker cannot take holds up its own mailbox alone."""
        while True:
            wait_s = RECOVER_AGAIN_S
            try:
                is_known = await asyncio.to_thread(os.path.isdir, self._parts.folder)
                if is_known or self._watches:  # else nobody has ever collected here: no ledger is made
                    await self._hand_over_again()
                    await asyncio.to_thread(incoming.forget_parts, self._parts.folder, time.time())
                self.trouble = ""
                wait_s, self._is_swept = LOOK_AGAIN_S, True
            except BoxError as error:
                self._say(f"mail that was collected waits: {error.words}")
            except Exception:
                self._parts.log.failed("collect")
            if self._is_swept and not self.ready.is_set():
                self.ready.set()
                self._begin()
            await asyncio.sleep(wait_s)

    async def _hand_over_again(self) -> None:
        """Also later, now and then: what the worker could not take must not wait for the link."""
        parts = self._parts
        rows: list[tuple[int, Entry]] = await parts.ledger.run(lambda ledger: ledger.handing())
        if not self._is_swept:
            tokens = {entry.token for _, entry in rows}
            await asyncio.to_thread(incoming.sweep, parts.folder, tokens)
            self._is_swept = True
        troubles: dict[int, BoxError] = {}
        for box, entry in rows:
            if entry.token in parts.under_way or box in troubles:
                continue
            try:
                name = str(entry.handover.get("account", ""))
                await hand_over(parts, box, entry, Result(name))
                if name in self._watches:
                    self._watches[name].we_are_well()
            except BoxError as error:  # it holds up its own mailbox alone
                troubles[box] = error
        for trouble in troubles.values():
            raise trouble

    def _say(self, words: str) -> None:
        if words != self.trouble:
            self._parts.log.warned(words)
        self.trouble = words

    # On demand.

    async def run_all(self, why: str, names: Sequence[str] = ()) -> list[Result]:
        """Collect from all, or from those that are named, and wait until all have ended. `why`: "link-up",
        "exchange", or "demand", which also asks where the password was wrong a moment ago."""
        watches = [watch for name, watch in self._watches.items() if not names or name in names]
        results = await asyncio.gather(*(watch.ask(is_demand=why == "demand") for watch in watches))
        return list(results)

    @property
    def has_accounts(self) -> bool:
        """Whether there is anything to collect from."""
        return bool(self._watches)

    def answers(self) -> Mapping[str, AnswerFunction]:
        """Question -> its function, for the control server."""
        return {
            "collect.now": self._now,
            "collect.status": self._status,
            "collect.list": self._list,
            "collect.fetch": self._fetch,
        }

    async def _now(self, request: Fields) -> Fields:
        """{names: [...]}: {results: [...]} when all have ended."""
        names = request.get("names") or []
        if not isinstance(names, list):
            raise ControlError("names must be a list", EX_USAGE)
        self.check([str(name) for name in names])
        results = await self.run_all("demand", [str(name) for name in names])
        return {"results": [{**result.fields(), "told": result.tell()} for result in results]}

    def check(self, names: Sequence[str]) -> list[str]:
        """The names of those (all, when none is named) that can be collected from now; ControlError."""
        for name in names:
            self._watch(name)
        if not self._watches:
            raise ControlError("no mailbox is set up to collect from ([[collect]])", EX_USAGE)
        if not self._is_online:
            raise ControlError(OFF_LINE, EX_TEMPFAIL)
        return list(names or self._watches)

    def troubles(self) -> list[Fields]:
        """What is wrong with which of them."""
        return [trouble for watch in self._watches.values() if (trouble := watch.trouble()) is not None]

    async def _status(self, _request: Fields) -> Fields:
        """{accounts: [...], trouble}."""
        rows = [{**watch.status(), "counts": await self._counts(watch)} for watch in self._watches.values()]
        return {"accounts": rows, "trouble": self.trouble, "is_online": self._is_online}

    async def _counts(self, watch: Watch) -> Fields:
        name = box_name(watch.account)
        with contextlib.suppress(BoxError):
            counts = await self._parts.ledger.run(lambda ledger: ledger.counts(ledger.box(name)))
            return {state.name.lower(): count for state, count in counts.items()}
        return {}

    async def _list(self, request: Fields) -> Fields:
        """{name}: {messages: [...]}: what is at the servers and was not fetched whole."""
        named = str(request.get("name", ""))
        watches = [self._watch(named)] if named else list(self._watches.values())
        rows: list[Fields] = []
        for watch in watches:
            name = box_name(watch.account)
            found: list[Entry] = await self._run(
                lambda ledger, name=name: ledger.rows(ledger.box(name), (State.PREVIEWED, State.LEFT))
            )
            rows += [_row(watch.account.name, entry) for entry in found]
        return {"messages": rows}

    async def _fetch(self, request: Fields) -> Fields:
        """{name, id}: fetch all of a message that was too large: {result} when it is here."""
        watch = self._watch(str(request.get("name", "")))
        number = request.get("id")
        if type(number) is not int or not 0 < number < NUMBER_END:
            raise ControlError("id must be the number of a message", EX_USAGE)
        name = box_name(watch.account)
        entry: Entry | None = await self._run(lambda ledger: ledger.want(ledger.box(name), number))
        if entry is None:
            words = f"nothing waits at {watch.account.name} under the number {number} (cmail collect list)"
            raise ControlError(words, EX_NOUSER)
        if not self._is_online:
            return {"result": None, "told": "noted: it is fetched when we are on line"}
        asked = watch.ask(is_demand=True)
        if request.get("is_waited_for") is False:
            return {"result": None, "told": "it is being fetched"}
        result = await asked
        after: Entry | None = await self._run(lambda ledger: ledger.numbered(ledger.box(name), number))
        is_here = after is not None and after.state in (State.DONE, State.DELETED)
        if is_here:
            told = "it is fetched"
        elif result.is_ok and after is not None and after.state is State.LEFT and after.words:
            told = f"it cannot be fetched: {after.words}"
        elif result.is_ok:
            told = "it is not there any more"
        else:
            told = f"noted: it is fetched as soon as that can be. Now: {result.words}"
        return {"result": {**result.fields(), "is_here": is_here}, "told": told}

    def _watch(self, name: str) -> Watch:
        watch = self._watches.get(name)
        if watch is None:
            known = ", ".join(self._watches) or "none"
            raise ControlError(f"there is no [[collect]] named {name!r}; there are: {known}", EX_NOUSER)
        return watch

    def _run(self, work: Callable[..., Any]) -> Coroutine[Any, Any, Any]:
        async def run() -> Any:
            try:
                return await self._parts.ledger.run(work)
            except BoxError as error:
                raise ControlError(error.words, EX_TEMPFAIL) from None

        return run()


def _row(name: str, entry: Entry) -> Fields:
    return {
        "name": name,
        "id": entry.id,
        "state": entry.state.name.lower(),
        "size": entry.size,
        "at_ms": entry.at_ms,
        "words": entry.words,
        "is_wanted": entry.is_wanted,
    }
