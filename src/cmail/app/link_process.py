"""The link process: the one owner of the link's state; tells the workers, kicks the upstream server."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Mapping

from cmail.app.estate import LINK_FILE, Estate
from cmail.app.process import PortKey, Tasks
from cmail.app.snapshot import Snapshot
from cmail.link.clock import LinkReading
from cmail.link.kick import SmarthostKick
from cmail.link.state import Link
from cmail.net.clock import RealClock
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, ControlClient, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog


class LinkProcess:
    """See process.Part."""

    def __init__(self, estate: Estate) -> None:
        self._snapshot = estate.snapshot
        self._run_folder = estate.run_folder
        self._workers = [f"worker-{number}" for number in range(estate.workers_count)]
        self._link = Link(
            os.path.join(estate.data_dir, LINK_FILE), RealClock(), maillog, self._announce, self._kick
        )
        estate.release()

    async def start(self, tasks: Tasks) -> None:
        """Read how the link was; workers read the same."""
        self._link.open()
        self._resolver = DnsClient(self._snapshot.settings.dns)

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Other settings, for the next kick."""
        self._snapshot = snapshot
        self._resolver.update(snapshot.settings.dns)

    async def stop(self) -> None:
        """End a kick that is under way."""
        await self._link.close()

    def answers(self) -> Mapping[str, AnswerFunction]:
        """`cmail link up|down|status`."""

        async def up(request: Fields) -> Fields:
            _only_all(request)
            return await _recorded(self._link.up())

        async def down(request: Fields) -> Fields:
            _only_all(request)
            return await _recorded(self._link.down())

        async def status(_request: Fields) -> Fields:
            return self._link.status()

        return {"link.up": up, "link.down": down, "link.status": status}

    async def _kick(self) -> str:
        self._resolver.forget()  # on line again, perhaps elsewhere
        settings = self._snapshot.settings
        primary = settings.host.domains[0] if settings.host.domains else settings.host.hostname
        return await SmarthostKick(settings.smtp, primary, self._resolver)()

    async def _announce(self, reading: LinkReading) -> None:
        await asyncio.gather(*(self._tell(name, reading) for name in self._workers))

    async def _tell(self, name: str, reading: LinkReading) -> None:
        """A worker that is being restarted reads it from the file."""
        try:
            await ControlClient(self._run_folder, name, 5.0).ask("link.changed", reading.fields())
        except ControlError as error:
            maillog.warned(f"{name} was not told of the link: {error}")


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
