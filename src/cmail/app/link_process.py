"""The link process: the one owner of the link's state; tells the workers, kicks the upstream server."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from cmail.app.collecting import Collecting
from cmail.app.estate import CLOCK_FILE, LINK_FILE, Estate
from cmail.app.kicking import Kicking
from cmail.app.process import PortKey, Tasks
from cmail.app.snapshot import Snapshot
from cmail.link import lived
from cmail.link.clock import LinkReading
from cmail.link.state import Link
from cmail.net.clock import RealClock
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, ControlClient, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog

AGAIN_S: Final = 0.5
AGAIN_TIMES: Final = 120  # who does not hear for a minute is ended by the supervisor, and reads the file


class LinkProcess:
    """See process.Part."""

    def __init__(self, estate: Estate) -> None:
        self._snapshot = estate.snapshot
        workers = [f"worker-{number}" for number in range(estate.workers_count)]
        self._announcer = Announcer(estate.run_folder, workers)
        self._lived = estate.lived
        self._clock_file = os.path.join(estate.data_dir, CLOCK_FILE)
        self._link = Link(
            os.path.join(estate.data_dir, LINK_FILE), self._lived, maillog, self._tell, self._at_link_up
        )
        self._collecting = Collecting(estate.data_dir, estate.run_folder)
        self._kicking = Kicking(estate.run_folder, workers, lambda: self._link.reading.is_down)
        estate.release()

    async def start(self, tasks: Tasks) -> None:
        """Read how the link was; workers read the same."""
        self._link.open()
        self._resolver = DnsClient(self._snapshot.settings.dns)
        self._kicking.apply(self._snapshot, self._resolver)
        await self._collecting.start(self._snapshot, self._resolver, is_online=not self._link.reading.is_down)
        tasks.spawn(self._note_the_time(), "note the time")

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Other settings, for the next kick and the next collection."""
        self._snapshot = snapshot
        self._resolver.update(snapshot.settings.dns)
        self._kicking.apply(snapshot, self._resolver)
        self._collecting.apply(snapshot)

    async def stop(self) -> None:
        """End a kick and collections that are under way."""
        self._announcer.close()
        await self._link.close()
        await self._kicking.stop()
        await self._collecting.stop()
        with contextlib.suppress(OSError):  # said before, and the note of before is good enough
            await asyncio.to_thread(lived.note, self._clock_file, RealClock(), self._lived)

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
        """`cmail link up|down|status|kick`."""

        async def up(request: Fields) -> Fields:
            _only_all(request)
            return await _recorded(self._link.up())

        async def down(request: Fields) -> Fields:
            _only_all(request)
            return await _recorded(self._link.down())

        async def status(_request: Fields) -> Fields:
            told = self._link.status()
            since_ms = told["changed_wall_ms"]
            told["changed_wall_ms"] = since_ms + self._lived.ahead_ms() if since_ms else 0
            return {**told, **self._kicking.status()}

        return {
            "link.up": up,
            "link.down": down,
            "link.status": status,
            "link.kick": self._kicking.answer,
            **self._collecting.answers(),
        }

    async def _tell(self, reading: LinkReading) -> None:
        self._collecting.set_online(not reading.is_down)
        await self._announcer.tell(reading)

    async def _at_link_up(self) -> str:
        """Kick and collect begin together."""
        said, _ = await asyncio.gather(self._kicking.at_link_up(), self._collecting.run_all("link-up"))
        return said


class Announcer:
    """Tells the workers how the link is. One that cannot hear it now (it starts, and has perhaps read the
    file of before already) is told a moment later."""

    def __init__(self, run_folder: str, workers: Sequence[str]) -> None:
        self._run_folder = run_folder
        self._workers = workers
        self._latest = LinkReading()
        self._behind: dict[str, asyncio.Task[None]] = {}

    async def tell(self, reading: LinkReading) -> None:
        """Tell all; when it returns, whoever could hear it has heard it."""
        self._latest = reading
        await asyncio.gather(*(self._tell(name, reading) for name in self._workers))

    async def _tell(self, name: str, reading: LinkReading) -> None:
        try:
            await self._ask(name, reading)
        except ControlError as error:
            maillog.warned(f"{name} was not told of the link, it is told again: {error}")
            if name not in self._behind:
                self._behind[name] = asyncio.create_task(self._tell_again(name), name=f"tell {name}")

    async def _tell_again(self, name: str) -> None:
        try:
            for _ in range(AGAIN_TIMES):
                await asyncio.sleep(AGAIN_S)
                try:
                    await self._ask(name, self._latest)
                    return
                except ControlError:
                    continue
        finally:
            del self._behind[name]

    async def _ask(self, name: str, reading: LinkReading) -> None:
        await ControlClient(self._run_folder, name, 5.0).ask("link.changed", reading.fields())

    def close(self) -> None:
        """Tell nobody any more."""
        for task in list(self._behind.values()):
            task.cancel()


def _only_all(request: Fields) -> None:
    """Links by name come with [[link.via]]; until then one that is named is refused, not ignored."""
    if request.get("name"):
        raise ControlError(f"there is no link named {request['name']!r}: links by name are not there yet", 64)


async def _recorded(change: Awaitable[LinkReading]) -> Fields:
    try:
        reading = await change
    except OSError as error:
        raise ControlError(f"the state of the link cannot be written: {error}", EX_TEMPFAIL) from None
    return reading.fields()
