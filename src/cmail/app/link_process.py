"""The link process: the one owner of the state of all links; exchanges, kicks; tells the workers."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

from cmail.app.collecting import Collecting
from cmail.app.estate import CLOCK_FILE, LINK_FILE, Estate
from cmail.app.exchanging import Exchanging
from cmail.app.kicking import Kicking
from cmail.app.link_answers import LinkAnswers
from cmail.app.link_line import SharedLine
from cmail.app.link_watch import Watching
from cmail.app.link_workers import Workers
from cmail.app.process import PortKey, Tasks
from cmail.app.snapshot import Snapshot
from cmail.link import lived
from cmail.link.clock import LinkReading
from cmail.link.exchanges import longest_s
from cmail.link.history import History
from cmail.link.links import Links
from cmail.link.saving import Saving
from cmail.link.state import Link
from cmail.link.told import TOLD_FILE, Told
from cmail.net.clock import RealClock
from cmail.net.control import AnswerFunction, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog
from cmail.policy.orders import Orders

EX_CONFIG: Final = 78
HISTORY_FILE: Final = "link-history.json"  # in the data folder


class LinkProcess:
    """See process.Part."""

    def __init__(self, estate: Estate) -> None:
        self._snapshot = estate.snapshot
        names = [f"worker-{number}" for number in range(estate.workers_count)]
        self._clock = RealClock()
        self._lived = estate.lived
        self._clock_file = os.path.join(estate.data_dir, CLOCK_FILE)
        self._workers = Workers(estate.run_folder, names)
        self._line = SharedLine(names)
        links = Links(estate.settings.link)
        path = os.path.join(estate.data_dir, LINK_FILE)
        self._saving = Saving(TOLD_FILE, self._save_told)
        self._told = Told(os.path.join(estate.data_dir, TOLD_FILE), maillog)
        self._link = Link(path, self._lived, self._clock, maillog, links, self._announce)
        self._watching = Watching(self._link, self._workers, self._new_resolver)
        history = History(os.path.join(estate.data_dir, HISTORY_FILE), maillog)
        self._exchanging = Exchanging(self._link, self._workers, history, self._clock)
        self._kicking = Kicking(estate.run_folder, names, lambda: self._link.reading.is_down)
        self._collecting = Collecting(estate.data_dir, estate.run_folder)
        self._exchanging.hooks += [("kick", self._kicking.at_link_up), ("collect", self._collect)]
        self._collecting.came = self._exchanging.came
        self._collecting.silent = self._watching.silent
        self._watching.answered = self._collecting.line_answers
        self._answers = LinkAnswers(
            self._link, self._watching, self._exchanging, self._workers, self._lived, self._clock
        )
        self._answers.settings = estate.settings
        estate.release()

    async def start(self, tasks: Tasks) -> None:
        """Read how the links were (workers read the same), see how they are."""
        settings = self._snapshot.settings
        self._link.open()
        self._told.open()
        self._resolver = DnsClient(settings.dns)
        self._kicking.apply(self._snapshot, self._resolver)
        self._link.links.apply(settings.link, longest_s(settings.exchange))
        up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._exchanging.was_away = lived.was_away(self._clock_file, RealClock(), up_s)
        self._exchanging.rested = lambda rests: self._rested(tasks, rests)
        self._exchanging.start(settings)
        self._watching.start(settings)
        await self._collecting.start(self._snapshot, self._resolver, is_online=not self._rests)
        self._link.turned.append(lambda is_down: self._collecting.set_online(not self._rests))
        tasks.spawn(self._watching.run(), "watch the links")
        tasks.spawn(self._exchanging.run(), "exchanges")
        tasks.spawn(self._note_the_time(), "note the time")

    @property
    def _rests(self) -> bool:
        """Whether nothing may be asked for: off line, or the budget of an exchange is used."""
        return self._link.reading.is_down or self._link.outlook.is_until_exchange

    def _rested(self, tasks: Tasks, rests: bool) -> None:
        self._collecting.set_online(not self._rests)
        if rests:
            tasks.spawn(self._kicking.stop(), "end the kick")

    async def reachable(self) -> None:
        """Nobody tells us of anything that we have read."""

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Other settings, for the next decisions."""
        self._snapshot, settings = snapshot, snapshot.settings
        self._resolver.update(settings.dns)
        self._kicking.apply(snapshot, self._resolver)
        self._collecting.apply(snapshot)
        self._answers.settings = settings
        self._link.links.apply(settings.link, longest_s(settings.exchange))
        self._exchanging.apply(settings)
        self._watching.apply(settings)

    async def stop(self) -> None:
        """End what is under way."""
        self._watching.close()
        await self._exchanging.close()
        self._workers.close()
        await self._link.close()
        await self._saving.close()
        await self._kicking.stop()
        await self._collecting.stop()
        with contextlib.suppress(OSError):  # said before, and the note of before is good enough
            await asyncio.to_thread(lived.note, self._clock_file, RealClock(), self._lived)

    async def _announce(self, reading: LinkReading, orders: Orders, is_said_again: bool) -> None:
        """To all workers; what held when is kept for those that start later."""
        if self._told.note(reading.link_ms(self._lived.wall_ms()), orders):
            self._saving.soon()
        await self._workers.tell(reading, orders, is_said_again)

    async def _save_told(self) -> None:
        await asyncio.to_thread(self._told.save, self._told.octets())

    def _new_resolver(self) -> DnsClient:
        return DnsClient(self._snapshot.settings.dns)

    async def _note_the_time(self) -> None:
        """Now and then, so that the next start knows how long we were there. A full disk is said once."""
        has_said = False
        while True:
            try:
                await asyncio.to_thread(lived.note, self._clock_file, RealClock(), self._lived)
                has_said = False
            except OSError as error:
                if not has_said:
                    maillog.warned(f"how late it is cannot be noted: {error}")
                has_said = True
            await asyncio.sleep(lived.NOTE_EVERY_S)

    def answers(self) -> Mapping[str, AnswerFunction]:
        """`cmail link ...`, and what workers tell."""

        async def status(request: Fields) -> Fields:
            troubles = self._collecting.troubles()
            answer = await self._answers.status(request)
            collecting = {"collects": self._collecting.has_accounts, "collect_troubles": troubles}
            return {**answer, **self._kicking.status(), **collecting}

        return {
            **self._answers.functions(),
            **self._collecting.answers(),
            "link.status": status,
            "line.use": self._line.use,
            "link.kick": self._kicking.answer,
            "link.collect": self._bring,
        }

    async def _bring(self, request: Fields) -> Fields:
        """link.collect {kick, collect, names}: begin the plan of kicks and collection (from all, or those
        that are named) together, and wait for neither. What is not set up is left out, unless it is all that
        was asked for."""
        names = [str(name) for name in request.get("names") or ()]
        is_kick, is_collect = (request.get(name) is not False for name in ("kick", "collect"))
        if is_kick and is_collect and not names:
            is_kick, is_collect = self._kicking.has_plan, self._collecting.has_accounts
            if not (is_kick or is_collect):
                raise ControlError("nobody is to be kicked, and no mailbox to be collected from", EX_CONFIG)
        found = self._collecting.check(names) if is_collect else []
        if is_kick:
            self._kicking.check()
            self._exchanging.begin("kick", self._kicking.at_link_up)
        if is_collect:
            self._exchanging.begin("collect", lambda: self._collect("demand", names))
        return {"is_kicked": is_kick, "collects": found}

    async def _collect(self, why: str = "exchange", names: Sequence[str] = ()) -> str:
        """All accounts, or those that are named; how it ended, for the history."""
        results = await self._collecting.run_all(why, names)
        return "; ".join(f"collect: {result.name}: {result.tell()}" for result in results)
