"""Exchanging: begins and ends exchanges, runs what belongs to them, counts and keeps their history."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

from cmail.app.link_workers import Workers
from cmail.app.settings import Settings
from cmail.link.allowance import next_turn_s
from cmail.link.exchanges import AT_START, Exchanges, Now
from cmail.link.history import Entry, History
from cmail.link.links import OneLink
from cmail.link.saving import Saving
from cmail.link.state import Link
from cmail.link.waiting import Gone, Tally, Waiting, add_waiting, read_gone
from cmail.link.windows import midnight_after
from cmail.observe import maillog
from cmail.world import Clock

POLL_S: Final = 5.0
POLL_OPEN_S: Final = 1.0  # while an exchange goes on that is to end by itself, or by a budget
POLL_NEAR_S: Final = 0.2  # when a budget is nearly used, as fast as octets go now
SLEEP_MAX_S: Final = 30.0  # somebody may set the clock
MOVE_S: Final = 0.2  # so long mail waits for another link until it is counted what went by the one before
NOTE_S: Final = 30.0  # how much of a budget's use a crash may forget
KEEP_S: Final = 60.0  # how much of what went a power cut may take from the history
KEEP_IDLE_S: Final = 300.0  # and of how long it lasted, when nothing goes
MIB: Final = 2**20

Hook = Callable[[], Awaitable[str]]  # does something at link-up or in an exchange; says how it ended, or ""


class Exchanging:
    """In the link process. `hooks`: what is done in an exchange besides sending, each with its kind ("kick"
    or "collect")."""

    def __init__(self, link: Link, workers: Workers, history: History, clock: Clock) -> None:
        self._link, self._workers, self._clock = link, workers, clock
        self.history = history
        self.hooks: list[tuple[str, Hook]] = []
        self.was_away = False  # before this start, for so long that a link-up may have been missed
        self.waiting: Waiting | None = None
        self.tally = Tally()
        self._entry: Entry | None = None
        self._before = Gone()  # the tally when the entry began
        self._cost_before = 0.0  # of what went since the last one ended: at link-up mail does not wait for us
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], Entry | None] = {}
        self._noted_s = self._counted_s = self._kept_s = 0.0
        self._kept = Gone()  # what the file says of the entry
        self._saving = Saving("link-history.json", self._write)
        self._speed = 0.0  # octets a second, when they were counted last
        self._payer: OneLink | None = None  # by which went what is not counted yet
        self._has_begun = False
        self._has_rested = False
        self.rested: Callable[[bool], None] = lambda rests: None  # the budget of an exchange is used, or new
        self._is_hurried = False  # what waits is asked for as it is now
        self._settings: Settings
        self.exchanges: Exchanges

    def start(self, settings: Settings) -> None:
        """Read the history; blocks a moment."""
        self._settings = settings
        self.exchanges = Exchanges(
            settings.exchange, is_batch=settings.queue.batch, now_s=self._clock.wall_ms() / 1000
        )
        self.history.open()
        if self.history.entries:
            last = self.history.entries[-1]
            self.exchanges.resume(last.begin_ms, last.end_ms)
        self._set_open()
        self._link.links.exchange = self.exchanges.turn
        self._link.turned.append(self._turned)
        self._link.moving = self._moving

    def apply(self, settings: Settings) -> None:
        """Other settings."""
        self._settings = settings
        self.exchanges.apply(
            settings.exchange, is_batch=settings.queue.batch, now_s=self._clock.wall_ms() / 1000
        )
        self._set_open()
        if self._entry is None:
            self._begin_anew()
        self._woken.set()

    @property
    def is_working(self) -> bool:
        """Whether a kick or a collection is under way."""
        return bool(self._running)

    @property
    def is_open(self) -> bool:
        """Whether an exchange goes on: until the workers are being told that it is over."""
        exchanges = self.exchanges
        return exchanges.current is not None or (
            exchanges.is_planned and self._link.orders.is_exchange_open and not self._link.reading.is_down
        )

    @property
    def entry(self) -> Entry | None:
        """What the history says of the exchange that goes on."""
        return self._entry

    async def run(self) -> None:
        """For ever. What the workers had counted before we came is nobody's."""
        for name, answer in (await self._workers.ask("link.octets")).items():
            self.tally.take(name, read_gone(answer))
        self._has_begun, self.tally.total = True, Gone()
        if not (self._link.reading.is_down or self.exchanges.is_always or self.exchanges.is_planned):
            self._kick_after_absence()
        while True:
            self._woken.clear()
            await self.look()
            try:
                await asyncio.wait_for(self._woken.wait(), self._sleep_s())
            except TimeoutError:
                continue

    async def close(self) -> None:
        """End what goes on; say so in the history."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._entry is not None:
            await self._end("the server was stopped")
        if self._must_count:
            self._link.note()
        await self._saving.close()

    def came(self, messages: int, octets: int) -> None:
        """What was collected here, and not by a worker."""
        new = Gone(messages_in=messages, octets_in=octets)
        self.tally.total.add(new)
        self._charge(new)

    def urgent_came(self) -> None:
        """A worker has urgent mail that waits for an exchange: it is looked at once whether one begins."""
        if self.exchanges.urgent_came():
            self._is_hurried = True
            self._woken.set()

    # Deciding.

    async def look(self) -> None:
        """Begin or end what is to begin or end now."""
        if self._must_ask:
            await self._ask()
        if self._must_count:
            await self._look_at_link()  # what was counted may have used one up
        if self._entry is not None or self.exchanges.current is not None:
            if why := self.exchanges.why_end(self._now()):
                await self._end(why)
        if why := self.exchanges.why_begin(self._now()):
            await self._begin(why)
        await self._look_at_link()  # windows of links, budgets, midnight
        await self._keep()

    async def _look_at_link(self) -> None:
        """Other orders hold now, perhaps; who collects rests with it."""
        await self._link.look()
        rests = self._link.outlook.is_until_exchange
        if rests is not self._has_rested:
            self._has_rested = rests
            self.rested(rests)

    async def begin_by_hand(self) -> bool:
        """`cmail link exchange`: False when one goes on already; it does its work once more then."""
        await self._ask()
        if self.exchanges.current is None:
            await self._begin("asked for by hand")
            return True
        await self._workers.begin_exchange()
        self.run_hooks()
        return False

    async def send_now(self) -> None:
        """`cmail queue flush`, Send now: one begins, unless one goes on. Each worker says so by itself."""
        if self.exchanges.is_planned and self.exchanges.current is None:
            await self._begin("all that waits is to be sent now")

    def run_hooks(self) -> None:
        """Kick and collect, at the same time."""
        for kind, hook in self.hooks:
            self.begin(kind, hook)

    def _kick_after_absence(self) -> None:
        """Whoever is switched on with the link up has not seen it come up: what has gathered at a provider
        meanwhile is asked for all the same. Mailboxes are collected at each start by themselves."""
        if self.was_away:
            for kind, hook in self.hooks:
                if kind == "kick":
                    self.begin(kind, hook)

    def begin(self, kind: str, hook: Hook) -> None:
        """One of them, or the like; how it ends stands in the history of the exchange that goes on."""
        task = asyncio.create_task(self._run(kind, hook, self._entry), name=kind)
        self._running[task] = self._entry
        task.add_done_callback(self._hook_ended)

    async def _run(self, kind: str, hook: Hook, entry: Entry | None) -> None:
        try:
            words = await hook()
        except Exception:
            maillog.failed(kind)
            return
        if words:
            maillog.noted(words)
            if entry is not None:
                entry.tell(kind, words)

    def _hook_ended(self, task: "asyncio.Task[None]") -> None:
        entry = self._running.pop(task, None)
        if entry is not None and entry.end_ms:
            self._save()
        self._woken.set()

    def _turned(self, is_down: bool) -> None:
        """The link went down or came up."""
        if is_down:
            self.exchanges.went_down()
        rests = is_down or self._link.outlook.is_until_exchange
        if not (rests or self.exchanges.is_always or self.exchanges.is_planned):
            self.run_hooks()  # queue.batch alone: no exchange begins, and the kick does not wait for one
        self._woken.set()

    def _now(self) -> Now:
        octets_out = self.tally.total.octets_out
        now_s = self._clock.wall_ms() / 1000
        outlook = self._link.outlook
        return Now(
            now_s, self._link.reading.is_down, self.waiting, octets_out, self.is_working, outlook.spent
        )

    async def _begin(self, why: str) -> None:
        exchanges = self.exchanges
        now = self._now()
        exchanges.begin(why, now)
        if not exchanges.is_always:  # else what went since the last one belongs to this one: it is just up
            self._begin_anew()
        self._entry = Entry(round(now.now_s * 1000), why, self._link.outlook.link, cost=self._cost_before)
        self.history.add(self._entry)
        if not exchanges.is_always:
            maillog.noted(f"an exchange begins: {why}")
        self._set_open()
        await self._look_at_link()
        if not (exchanges.is_always or exchanges.is_planned):
            await self._workers.begin_exchange()
        if why == AT_START and exchanges.is_always:
            self._kick_after_absence()
        else:
            self.run_hooks()
        self._save()

    async def _end(self, why: str) -> None:
        exchanges, entry = self.exchanges, self._entry
        await self._count()
        is_always = exchanges.is_always
        exchanges.end(self._now())
        if entry is not None:  # before anybody hears that none is open, and looks why
            entry.end_ms, entry.ended = self._clock.wall_ms(), why
        self._entry = None
        self._begin_anew()
        self._set_open()
        await self._look_at_link()
        if entry is None:
            return
        if not is_always:
            maillog.noted(
                f"the exchange is over: {why}; {entry.messages_out} messages sent, {entry.messages_in} came"
            )
        self._save()

    def _set_open(self) -> None:
        self._link.is_exchange_open = self.exchanges.is_open
        self._link.is_batch_open = self.exchanges.current is not None and not self.exchanges.is_always

    async def _keep(self) -> None:
        """An exchange may last for weeks, and a power cut end it."""
        passed_s = self._clock.monotonic() - self._kept_s
        if self._entry is None or passed_s < KEEP_S:
            return
        await self._count()
        if passed_s >= KEEP_IDLE_S or self.tally.total != self._kept:
            self._save()

    def _save(self) -> None:
        self._kept_s, self._kept = self._clock.monotonic(), _copy(self.tally.total)
        self._saving.soon()

    async def _write(self) -> None:
        await asyncio.to_thread(self.history.save, self.history.octets(self._clock.wall_ms()))

    # Asking and counting.

    @property
    def _must_ask(self) -> bool:
        """Whether anybody needs to know what waits and what went."""
        exchanges = self.exchanges
        is_timed = exchanges.is_planned or (exchanges.current is not None and not exchanges.is_always)
        return is_timed or self._must_count

    @property
    def _must_count(self) -> bool:
        return any(via.budget or via.window_budget for via in self._settings.link.via)

    async def _ask(self) -> None:
        if not self.exchanges.is_always:
            is_hurried, self._is_hurried = self._is_hurried, False
            await self._ask_what_waits(is_fresh=is_hurried)
            if self.exchanges.current is not None and self.waiting and not self.waiting.admitted_messages:
                await self._ask_what_waits(is_fresh=True)  # it ends by that
        await self._count()

    async def _moving(self) -> None:
        """From now on mail goes by another link: what went so far is paid for by the one before."""
        if self._has_begun:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._count(), MOVE_S)

    async def _ask_what_waits(self, *, is_fresh: bool = False) -> None:
        answers = await self._workers.ask("queue.internet", is_fresh=is_fresh)
        if len(answers) == self._workers.count:  # else nobody knows what waits there
            self.waiting = add_waiting(answers.values())

    async def _count(self) -> None:
        """What went since it was counted last; it went by the link by which mail went then."""
        answers = await self._workers.ask("link.octets")
        new = Gone()
        for name, answer in answers.items():
            new.add(self.tally.take(name, read_gone(answer)))
        self._charge(new)
        now_s = asyncio.get_running_loop().time()
        self._speed = new.octets / max(POLL_NEAR_S, now_s - self._counted_s)
        self._counted_s = now_s
        if self._entry is not None:
            went = self.tally.total.less(self._before)
            for name in Gone.__slots__:
                setattr(self._entry, name, getattr(went, name))

    def _begin_anew(self) -> None:
        """What is counted from now on belongs to the exchange that begins next."""
        self._before, self._cost_before = _copy(self.tally.total), 0.0

    def _charge(self, new: Gone) -> None:
        carrier = self._payer_of_what_went()
        if carrier is None or carrier.via is None or not new.octets:
            return
        now_s = self._clock.wall_ms() / 1000
        carrier.use(new.octets, now_s, None, self.exchanges.turn(now_s))
        cost = carrier.via.cost * new.octets / MIB
        if self._entry is not None:
            self._entry.cost += cost
        else:
            self._cost_before += cost
        if self._must_count and not 0 <= now_s - self._noted_s < NOTE_S:  # nor was the clock set back
            self._noted_s = now_s
            self._link.note()

    def _payer_of_what_went(self) -> OneLink | None:
        """The link by which mail went when it was counted last; for what goes next it is that of now."""
        links, before = self._link.links, self._payer
        self._payer = links.carrier or before
        return before if before in links.all else links.carrier

    def _sleep_s(self) -> float:
        """Until something may happen by itself."""
        if self._entry is not None and self._must_count:
            return min(POLL_OPEN_S, max(POLL_NEAR_S, self._used_up_in_s() / 2))
        if self.exchanges.current is not None and not self.exchanges.is_always:
            return POLL_OPEN_S
        if self._must_ask:
            return POLL_S
        now_s = self._clock.wall_ms() / 1000
        turn_s = next_turn_s(self._settings.link.via, now_s, midnight_after)
        return max(0.05, min(SLEEP_MAX_S, turn_s - now_s))

    def _used_up_in_s(self) -> float:
        """When a budget of the link will be used, if it goes on as fast as now."""
        carrier, now_s = self._link.links.carrier, self._clock.wall_ms() / 1000
        if carrier is None or not self._speed:
            return SLEEP_MAX_S
        return carrier.left(now_s, None, self.exchanges.turn(now_s)) / self._speed

    # Telling.

    async def entries(self) -> list[dict[str, Any]]:
        """The history, the newest first, with what is known now of the one that goes on."""
        if self._entry is not None:
            await self._count()
        return [asdict(entry) for entry in reversed(self.history.entries)]


def _copy(gone: Gone) -> Gone:
    return gone.less(Gone())
