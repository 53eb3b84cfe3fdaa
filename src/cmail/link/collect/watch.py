"""Watch: one account over time: its turns, waits after failures, IDLE, and what is told of it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from cmail.link.collect.account import Fetcher
from cmail.link.collect.blame import Blame
from cmail.link.collect.box import BoxError, Fault
from cmail.link.collect.parts import Parts, Terms
from cmail.link.collect.result import Result
from cmail.link.settings import CollectSettings

OFF_LINE: Final = "we are off line: nothing is collected until the link is up"
CUT: Final = "the link went down while it was collected; it goes on at the next link-up"
# How long to wait after a failure; the last one repeats.
WAITS_S: Final = (60.0, 120.0, 300.0, 600.0, 900.0)
QUIET_S, QUIET_OCTETS = 10.0, 1024  # a session of which so little comes in this time takes no room
LOG_IN_WAIT_S: Final = 3600.0  # who tries a wrong password too often is locked out


class Watch:
    """start() begins its turns, close() ends them."""

    def __init__(self, account: CollectSettings, terms: Terms, parts: Parts, room: asyncio.Semaphore) -> None:
        self.account = account
        self.is_planned = False  # exchanges say when
        self._terms, self._parts, self._room = terms, parts, room
        self._blame = Blame()
        self._living: asyncio.Task[None] | None = None
        self._session: asyncio.Task[None] | None = None
        self._fetcher: Fetcher | None = None
        self._asked: list[asyncio.Future[Result]] = []
        self._wake = asyncio.Event()
        self._is_online = False
        self._due_at = 0.0  # loop time; by `every`, or after a failure
        self._failures = 0
        self._last: Result | None = None
        self._last_ms = 0
        self._ended_at = 0.0  # loop time; the last collection
        self._fetched = 0
        self._failing_ms = 0  # since when it has failed each time; 0: it has not
        self._quiet = ""  # the words of a trouble that was said already

    def start(self, *, is_online: bool) -> None:
        """Begin, once."""
        self._is_online = is_online
        if not is_online:
            self._answer_off_line()
        if self._living is None:
            self._living = asyncio.create_task(self._live(), name=f"collect {self.account.name}")

    def close(self) -> list[asyncio.Task[None]]:
        """End it; what is still to be waited for."""
        tasks = [task for task in (self._living, self._session) if task is not None]
        for task in tasks:
            task.cancel()
        self._answer(Result(self.account.name, False, "the settings have changed, or the server stops"))
        return tasks

    def set_online(self, is_online: bool) -> None:
        """Down ends the session; up lets a wait be over that a bad line has caused."""
        was_online, self._is_online = self._is_online, is_online
        if was_online and not is_online:
            if self._session is not None:
                self._session.cancel()
            self._answer_off_line()
        elif is_online and not was_online:
            self._failing_ms = self._last_ms if self._is_log_in_trouble else 0
            if not self._is_log_in_trouble:
                self._due_at, self._failures = 0.0, 0
            self._wake.set()

    def line_answers(self) -> None:
        """The line is well, as a probe saw. Who found nobody there tries again at once; but once: it may be
        the server that is away, and then it waits longer each time."""
        last = self._last
        if last is not None and last.is_silence and self._failures == 1:
            self._due_at = 0.0
            self._wake.set()

    def we_are_well(self) -> None:
        """A message of it that could not be taken was taken: what was in the way here is over."""
        if self._last is not None and self._last.fault is Fault.OURS:
            self._due_at = 0.0
            self._wake.set()

    def ask(self, *, is_demand: bool) -> "asyncio.Future[Result]":
        """Collect now; done when it has ended."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if not self._is_online and self._living is not None:  # who asks before we began waits for that
            answer.set_result(self._off_line())
        elif self._is_log_in_trouble and not is_demand and self._wait_s() > 0 and self._last is not None:
            again_min = max(1, round(self._wait_s() / 60))
            words = f"{self._last.words}; it is tried again in {again_min} min, or by `cmail collect now`"
            answer.set_result(Result(self.account.name, False, words, Fault.LOG_IN, was_tried=False))
        else:
            self._asked.append(answer)
            self._wake.set()
            fetcher = self._fetcher
            if self._session is not None and fetcher is not None and not fetcher.is_collecting:
                self._session.cancel()  # it listens: another one collects
        return answer

    def status(self) -> dict[str, Any]:
        """For who asks."""
        account, last = self.account, self._last
        return {
            "name": account.name,
            "protocol": account.protocol,
            "host": account.host,
            "username": account.username,
            "to": account.to,
            "keep": account.keep,
            "state": self._state(),
            "is_ok": last is None or last.is_ok,
            "words": last.tell() if last is not None else "",
            "last_ms": self._last_ms,
            "next_s": round(self._wait_s()) if self._will_come() else -1,
            "fetched": self._fetched,
        }

    def trouble(self) -> dict[str, Any] | None:
        """What is wrong with it while we are on line; None: nothing."""
        last = self._last
        if last is None or last.is_ok or not self._is_online or not self._failing_ms:
            return None
        return {
            "name": self.account.name,
            "words": last.words,
            "fault": last.fault.value if last.fault is not None else "",
            "since_ms": self._failing_ms,
        }

    def _state(self) -> str:
        if not self._is_online:
            return "off line"
        if self._session is None:
            return "waiting"
        is_listening = self._fetcher is not None and not self._fetcher.is_collecting
        return "listening" if is_listening else "collecting"

    # Its turns.

    @property
    def _is_log_in_trouble(self) -> bool:
        return self._last is not None and self._last.fault is Fault.LOG_IN

    def _wait_s(self) -> float:
        return max(0.0, self._due_at - asyncio.get_running_loop().time())

    def _will_come(self) -> bool:
        """Whether it is collected by time."""
        return self._is_online and not self.is_planned and self._due_at >= 0

    async def _live(self) -> None:
        while True:
            await self._until_due()
            await self._room.acquire()
            if self._is_online and (self._asked or self._will_come()):
                await self._turn()
            else:
                self._room.release()

    async def _until_due(self) -> None:
        while True:
            self._wake.clear()
            if self._is_online and self._asked:
                return
            wait_s = self._wait_s() if self._will_come() else None
            if wait_s == 0.0:
                return
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _turn(self) -> None:
        """One session; when it has collected and listens, its room is for others."""
        fetcher = self._fetcher = Fetcher(self.account, self._terms, self._parts, self._blame)
        has_ended = asyncio.Event()

        def ended(result: Result) -> None:
            self._ended(result)
            has_ended.set()

        self._session = asyncio.create_task(
            self._guarded(fetcher, ended), name=f"collect {self.account.name}: session"
        )
        session = self._session
        waiting = asyncio.create_task(has_ended.wait())
        try:
            await self._need_room(fetcher, session, waiting)
        finally:
            self._room.release()
            waiting.cancel()
        try:
            await asyncio.wait((session,))
        finally:
            session.cancel()
            self._session = self._fetcher = None

    async def _need_room(
        self, fetcher: Fetcher, session: asyncio.Task[None], waiting: asyncio.Task[bool]
    ) -> None:
        """Until it has collected, or nothing comes: servers that hang must not keep others waiting."""
        octets, more = 0, QUIET_OCTETS
        while more >= QUIET_OCTETS:
            done, _ = await asyncio.wait(
                (session, waiting), timeout=QUIET_S, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return
            more, octets = fetcher.octets_in - octets, fetcher.octets_in

    async def _guarded(self, fetcher: Fetcher, ended: Callable[[Result], None]) -> None:
        name = self.account.name
        try:
            await fetcher.run(ended, lambda: not self.is_planned)
        except asyncio.CancelledError:
            if not self._is_online and fetcher.is_collecting:
                ended(fetcher.broken(BoxError(CUT, Fault.NETWORK)))
            raise
        except BoxError as error:
            if fetcher.is_collecting or error.fault is not Fault.NETWORK:
                ended(fetcher.broken(error))
            else:
                # It only listened: connect anew at once, but not to who hangs up each time.
                now = asyncio.get_running_loop().time()
                self._due_at = 0.0 if now - self._ended_at >= WAITS_S[0] else now + WAITS_S[0]
            if error.is_silence:
                self._parts.silent()
        except Exception:
            self._parts.log.failed(f"collect {name}")
            ended(Result(name, False, "an error of ours; the log has its trace", Fault.OURS))

    def _ended(self, result: Result) -> None:
        now = self._ended_at = asyncio.get_running_loop().time()
        every_s = self.account.every.total_seconds()
        if result.is_ok:
            self._failures = 0
            self._due_at = now + every_s if every_s else -1.0
        else:
            wait_s = WAITS_S[min(self._failures, len(WAITS_S) - 1)]
            self._failures += 1
            self._due_at = now + (LOG_IN_WAIT_S if result.fault is Fault.LOG_IN else wait_s)
        self._last, self._last_ms = result, self._parts.clock.wall_ms()
        if result.is_ok:
            self._failing_ms = 0
        elif self._is_online:
            self._failing_ms = self._failing_ms or self._last_ms
        self._fetched += result.fetched
        self._say(result)
        self._answer(result)

    def _say(self, result: Result) -> None:
        """In the log what is new: mail, a trouble once, and its end."""
        log, name, words = self._parts.log, self.account.name, result.tell()
        if not result.is_ok:
            if result.words not in (self._quiet, CUT):
                log.warned(f"collect {name}: {words}")
            self._quiet = result.words
            return
        if self._quiet or result.fetched or result.previewed or result.left:
            log.noted(f"collect {name}: {words}")
        self._quiet = ""

    def _off_line(self) -> Result:
        return Result(self.account.name, False, OFF_LINE, Fault.NETWORK, was_tried=False)

    def _answer_off_line(self) -> None:
        self._answer(self._off_line())

    def _answer(self, result: Result) -> None:
        asked, self._asked = self._asked, []
        for answer in asked:
            if not answer.done():
                answer.set_result(result)
