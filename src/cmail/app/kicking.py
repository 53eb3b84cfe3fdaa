"""Kicking: the plan of kicks in the link process; at link-up, on demand and in exchanges, one at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from cmail.app.kick_record import KickRecord
from cmail.app.snapshot import Snapshot
from cmail.link.kick import Kicks, Ourselves, plan_of
from cmail.link.kick_plan import Came, KickEnding, Told, run_plan
from cmail.link.kicks.target import KickResult, Target, Verdict, not_now
from cmail.net.clock import RealClock
from cmail.net.control import EX_TEMPFAIL, ControlClient, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog

EX_CONFIG: Final = 78
ATRN_S: Final = 150.0  # a worker needs so long at most to turn a connection round
ASK_S: Final = 5.0
_LINES_MAX: Final = 5000  # more than the longest plan has

_ENDINGS: Final = {
    KickEnding.ANSWERED: "",  # said when it came
    KickEnding.NOTHING: "kick: no mail waits for us there",
    KickEnding.UNANSWERED: "kick: no mail has come, and the plan is at its end",
    KickEnding.STOPPED: "",
}


class Kicking:
    """One plan at a time: who begins another ends the one before."""

    def __init__(self, run_folder: str, workers: Sequence[str], is_down: Callable[[], bool]) -> None:
        self._arrivals = _Arrivals(run_folder, workers)
        self._run_folder, self._first_worker = run_folder, workers[0]
        self._is_down = is_down
        self._running: asyncio.Task[KickEnding] | None = None
        self._listeners: set[asyncio.Queue[Told | None]] = set()
        self._snapshot: Snapshot
        self._resolver: DnsClient
        self._who = ""  # was kicked last, and how
        self._own_hosts: set[str] = set()  # who have answered from the addresses that were kicked
        self.last = ""  # what was said last, for people
        self._record = KickRecord(RealClock().wall_ms)
        self.ending: KickEnding | None = None  # of the last plan

    def apply(self, snapshot: Snapshot, resolver: DnsClient) -> None:
        """Other settings, for the next plan."""
        self._snapshot, self._resolver = snapshot, resolver
        self._record.apply(plan_of(snapshot.settings.smtp, snapshot.settings.link.kick))

    def status(self) -> dict[str, Any]:
        """For `cmail link status`, and the page."""
        return {
            "last_kick": self.last,
            "is_kicking": self.is_under_way,
            "kick": self._record.fields(),
        }

    @property
    def has_plan(self) -> bool:
        """Whether the settings say that anybody is to be kicked."""
        settings = self._snapshot.settings
        return settings.smtp.kick or bool(settings.link.kick)

    @property
    def is_under_way(self) -> bool:
        """Whether a plan waits for its answer."""
        return self._running is not None and not self._running.done()

    async def run(self) -> KickEnding | None:
        """The whole plan, from its beginning; None when there is none."""
        if not self.has_plan:
            return None
        task = self._begin()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise  # it is we who are cancelled; the plan goes on
            return KickEnding.STOPPED

    async def at_link_up(self) -> str:
        """As run(), for an exchange: how it ended, for its history; "" where there is no plan."""
        ending = await self.run()
        if ending is None:
            return ""
        return _ENDINGS[ending] or f"kick: {ending.value} ({self._who})"

    async def stop(self) -> None:
        """End the plan that is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def answer(self, _request: Fields) -> AsyncIterator[Fields]:
        """link.kick: begin the plan, a row for each line of it."""
        self.check()
        queue: asyncio.Queue[Told | None] = asyncio.Queue(_LINES_MAX)
        task = self._begin()
        self._listeners.add(queue)
        return self._rows(queue, task)

    def check(self) -> None:
        """ControlError when nobody can be kicked now."""
        if not self.has_plan:
            raise ControlError(
                "nobody is to be kicked: neither smtp.kick nor a [[link.kick]] is set", EX_CONFIG
            )
        if self._is_down():
            raise ControlError("the link is down: nobody can be kicked", EX_TEMPFAIL)

    async def _rows(
        self, queue: "asyncio.Queue[Told | None]", task: "asyncio.Task[KickEnding]"
    ) -> AsyncIterator[Fields]:
        try:
            while (told := await queue.get()) is not None:
                yield told.fields()
            await asyncio.wait([task])
            ending = KickEnding.STOPPED if task.cancelled() else task.result()
            yield {"ending": ending.value, "words": _ENDINGS[ending]}
        finally:
            self._listeners.discard(queue)

    def _begin(self) -> "asyncio.Task[KickEnding]":
        if self._running is not None:
            self._running.cancel()
            self._end_listeners()  # theirs is over
        self._running = task = asyncio.create_task(self._plan(), name="kick")
        task.add_done_callback(self._over)
        return task

    async def _plan(self) -> KickEnding:
        settings = self._snapshot.settings
        self._record.begin()
        self._resolver.forget_failures()  # on line again, perhaps elsewhere
        host = settings.host
        ourselves = Ourselves(
            host.hostname,
            host.domains[0] if host.domains else host.hostname,
            settings.tls.ca_file,
            settings.smtp.advanced.timeout.total_seconds(),
            lambda path: self._snapshot.passwords.get(path, ""),
        )
        kicks = Kicks(
            ourselves, self._resolver, self._arrivals.count, self._turn_round, self._is_down, self._own_hosts
        )
        return await run_plan(plan_of(settings.smtp, settings.link.kick), kicks, self._tell)

    def _tell(self, told: Told) -> None:
        self.last, self._who = told.words, f"{told.method} {told.host}".rstrip()
        self._record.tell(told)
        maillog.noted(told.words)
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(told)

    def _over(self, task: "asyncio.Task[KickEnding]") -> None:
        if task is not self._running:
            return
        if task.cancelled():
            self._ended(KickEnding.STOPPED)
        elif task.exception() is None:
            self._ended(task.result())
        self._end_listeners()

    def _ended(self, ending: KickEnding) -> None:
        self.ending = ending
        self._record.end(ending)

    def _end_listeners(self) -> None:
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)
        self._listeners.clear()

    async def _turn_round(self, target: Target) -> KickResult:
        """atrn: the first worker does it, and has the session then."""
        client = ControlClient(self._run_folder, self._first_worker, ATRN_S)
        try:
            answer = (await client.ask("kick.atrn", fields_of(target))).ok
            return KickResult(Verdict(answer["verdict"]), str(answer["words"]))
        except ControlError as error:
            return not_now(f"kick: {error}")


class _Arrivals:
    """The counts of all workers together. One that was started anew begins at 0; nothing is lost by it."""

    def __init__(self, run_folder: str, workers: Sequence[str]) -> None:
        self._run_folder = run_folder
        self._last = dict.fromkeys(workers, Came(0, 0))
        self._sum = Came(0, 0)

    async def count(self, addresses: Sequence[str]) -> Came:
        """Watch these addresses; how many messages have come so far."""
        await asyncio.gather(*(self._ask(name, addresses) for name in self._last))
        return self._sum

    async def _ask(self, name: str, addresses: Sequence[str]) -> None:
        try:
            client = ControlClient(self._run_folder, name, ASK_S)
            answer = (await client.ask("link.arrivals", {"addresses": list(addresses)})).ok
        except ControlError:
            return  # it starts, perhaps; asked again in a moment
        came = Came(int(answer.get("messages", 0)), int(answer.get("own", 0)))
        last, self._last[name] = self._last[name], came
        if came.messages < last.messages:
            last = Came(0, 0)
        messages, own = came.messages - last.messages, came.own - last.own
        self._sum = Came(self._sum.messages + messages, self._sum.own + own)


def fields_of(target: Target) -> dict[str, Any]:
    """A target as it goes to a worker; the password last, because the beginning of a question that goes
    wrong is logged."""
    credentials = target.credentials
    return {
        "host": target.host,
        "addresses": [str(address) for address in target.addresses],
        "ports": list(target.ports),
        "text": target.text,
        "tls": target.tls,
        "username": credentials.username if credentials else "",
        "password": credentials.password if credentials else "",
    }
