"""The admin process: page and figures, which may stall without any mail noticing."""

import asyncio
import socket
from collections.abc import Mapping

from cmail import __version__
from cmail.app.estate import Estate
from cmail.app.process import PortKey, Tasks
from cmail.app.snapshot import Snapshot
from cmail.net.control import AnswerFunction, ControlClient, ControlError
from cmail.observe import maillog, metrics


class AdminProcess:
    """See process.Part."""

    def __init__(self, estate: Estate) -> None:
        assert estate.admin_port is not None
        self._socket = estate.admin_port.sockets[0].dup()
        self._run_folder = estate.run_folder
        self._workers = [f"worker-{number}" for number in range(estate.workers_count)]
        self._hostname = estate.settings.host.hostname
        self._started_wall_ms = estate.started_wall_ms
        estate.release()

    async def start(self, tasks: Tasks) -> None:
        """Serve the pages."""
        from cmail.web.server import WebContext, serve  # 30 MB that no other process shall have

        context = WebContext(
            self._figures, __version__, self._started_wall_ms, self._hostname, troubles=self._troubles
        )
        tasks.spawn(serve([self._socket], context), "web server")

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Its own settings are fixed while the server runs."""

    async def stop(self) -> None:
        """What is asked is answered; see web.server.serve."""

    def answers(self) -> Mapping[str, AnswerFunction]:
        """Nothing but what every process answers."""
        return {}

    async def _figures(self) -> metrics.Snapshot:
        """Of all workers together; those that do not answer are left out, with a word in the log."""
        answers = await asyncio.gather(*(self._ask(name) for name in self._workers))
        found = [answer for answer in answers if answer is not None]
        if not found:
            raise ControlError("no worker answered")
        return metrics.total(found)

    async def _troubles(self) -> list[str]:
        """What is wrong now, of all workers. One that does not answer may be just starting."""
        answers = await asyncio.gather(*(self._ask_troubles(name) for name in self._workers))
        return [
            f"{name}: {words}" for name, some in zip(self._workers, answers, strict=True) for words in some
        ]

    async def _ask_troubles(self, name: str) -> list[str]:
        try:
            found = (await ControlClient(self._run_folder, name, 4.0).ask("troubles")).ok
        except ControlError:
            return []
        return [str(words) for words in found.get("troubles", ())]

    async def _ask(self, name: str) -> "Mapping[str, Mapping[str, int]] | None":
        try:
            return (await ControlClient(self._run_folder, name, 4.0).ask("metrics")).ok
        except ControlError as error:
            maillog.warned(f"no figures of {name}: {error}")
            return None
