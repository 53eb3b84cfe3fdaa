"""The admin process: page, API and figures, which may stall without any mail noticing."""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cmail import __version__
from cmail.app.estate import Estate
from cmail.app.process import PortKey, Tasks
from cmail.app.snapshot import Snapshot
from cmail.net.control import AnswerFunction, ControlClient, ControlError
from cmail.observe import journal_files, maillog, metrics

if TYPE_CHECKING:
    from cmail.admin.checks.board import CheckBoard
    from cmail.admin.history import History, Reading
    from cmail.admin.journal import Journal
    from cmail.web.context import WebContext

APPLY_S: Final = 60.0  # every process takes the new settings over
PRUNE_S: Final = 10.0  # a busy server writes 60 MB of log meanwhile


class AdminProcess:
    """See process.Part."""

    def __init__(self, estate: Estate) -> None:
        assert estate.admin_port is not None
        self._socket = estate.admin_port.sockets[0].dup()
        self._run_folder = estate.run_folder
        self._workers_count = estate.workers_count
        self._workers = [f"worker-{number}" for number in range(estate.workers_count)]
        self._snapshot = estate.snapshot
        self._settings_file = estate.settings_file
        self._data_dir = estate.data_dir
        self._started_wall_ms = estate.started_wall_ms
        self._history: History
        self._journal: Journal
        self._checks: CheckBoard
        is_private = _is_loopback(estate.admin_port.endpoint.host)
        self._server_tls = estate.tls
        self._tls = None if is_private else estate.tls.context  # a password never travels in the clear
        estate.release()

    async def start(self, tasks: Tasks) -> None:
        """Serve the pages."""
        from cmail.admin.history import History
        from cmail.admin.journal import Journal
        from cmail.web.application import guarded  # 40 MB that no other process shall have
        from cmail.web.server import serve

        self._history = History(os.path.join(self._data_dir, "admin", "history.json"), self._look)
        self._journal = Journal(os.path.join(self._data_dir, journal_files.FOLDER))
        tasks.spawn(self._history.run(), "figures over time")
        tasks.spawn(self._prune(), "prune the journal")
        tasks.spawn(serve([self._socket], guarded(self._context()), self._tls), "web server")

    def _context(self) -> "WebContext":
        from cmail.admin.certificates import certificate_of
        from cmail.admin.checks.attention import CheckFinder
        from cmail.admin.checks.board import CheckBoard
        from cmail.admin.checks.inquiry import Subject
        from cmail.admin.checks.reach import real_reach
        from cmail.admin.incoming import Incoming
        from cmail.admin.keys import Keys
        from cmail.admin.link_attention import LinkFinder
        from cmail.admin.nobody_attention import NobodyFinder
        from cmail.admin.overview import Overviews
        from cmail.admin.processes import Processes
        from cmail.admin.quarantine import QuarantineFinder
        from cmail.app.checks import subject_of
        from cmail.app.config_accounts import nobodies_of
        from cmail.app.desk import FileDesk
        from cmail.smtpd.injection import INCOMING
        from cmail.storage.quarantine import Quarantine
        from cmail.web.context import WebContext
        from cmail.web.sessions import Sessions

        processes = Processes(self._run_folder, self._workers_count)

        async def apply() -> None:
            await processes.ask("supervisor", "reload", timeout_s=APPLY_S)

        def subject() -> Subject:
            return subject_of(self._snapshot.settings, self._snapshot.smtp_password)

        overviews = Overviews(processes)
        self._checks = CheckBoard(subject, real_reach(processes, self._snapshot.settings.dns))
        overviews.finders.append(CheckFinder(self._checks))
        overviews.finders.append(QuarantineFinder(Quarantine(self._data_dir)))
        overviews.finders.append(LinkFinder(processes, lambda: bool(self._snapshot.settings.site)))
        overviews.finders.append(NobodyFinder(lambda: nobodies_of(self._snapshot.settings)))
        return WebContext(
            version=__version__,
            started_wall_ms=self._started_wall_ms,
            data_dir=self._data_dir,
            hostname=lambda: self._snapshot.settings.host.hostname,
            figures=self._figures,
            processes=processes,
            overviews=overviews,
            desk=FileDesk(self._snapshot.path, self._data_dir, apply, self._settings_file),
            keys=Keys(self._data_dir),
            sessions=Sessions(),
            journal=self._journal,
            incoming=Incoming(os.path.join(self._data_dir, INCOMING), processes),
            message_size_max=lambda: self._snapshot.settings.smtp.advanced.max_message_size,
            checks=self._checks,
            smtp_password=lambda: self._snapshot.smtp_password,
            password_of=self._password_of,
            ca_file=lambda: self._snapshot.settings.tls.ca_file,
            certificate=lambda: certificate_of(self._server_tls.context),
            history=self._history,
        )

    def _password_of(self, path: str) -> str:
        """As the supervisor has read it; the settings may name it from their own folder."""
        folder = os.path.dirname(self._snapshot.path)
        return self._snapshot.passwords.get(os.path.normpath(os.path.join(folder, path)), "")

    async def reachable(self) -> None:
        """Nobody tells us of anything that we have read."""

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Its address is fixed while the server runs; the name may change."""
        self._snapshot = snapshot
        with suppress(ValueError):  # perhaps only root can read it: the old one goes on
            await asyncio.to_thread(self._server_tls.reload, snapshot.settings.tls)

    async def stop(self) -> None:
        """What is asked is answered; see web.server.serve. Who looks at the log is told that it ends."""
        self._journal.close()
        await self._checks.close()
        await self._history.write()

    def answers(self) -> Mapping[str, AnswerFunction]:
        """Nothing but what every process answers."""
        return {}

    async def _prune(self) -> None:
        """The journal keeps as much as the settings say. What is wrong is said once."""
        folder, said = os.path.join(self._data_dir, journal_files.FOLDER), ""
        while True:
            log, free_min = self._snapshot.settings.log, 2 * self._snapshot.settings.limits.free_space
            try:
                await asyncio.to_thread(journal_files.prune, folder, log.keep, log.keep_size, free_min)
                said = ""
            except OSError as error:
                if said != str(error):
                    said = str(error)
                    maillog.warned(f"old days of the journal cannot be removed: {error}")
            await asyncio.sleep(PRUNE_S)

    async def _figures(self) -> metrics.Snapshot:
        """Of all workers together; those that do not answer are left out, with a word in the log."""
        answers = await asyncio.gather(*(self._ask(name) for name in self._workers))
        found = [answer for answer in answers if answer is not None]
        if not found:
            raise ControlError("no worker answered")
        return metrics.total(found)

    async def _look(self) -> "Mapping[str, Reading]":
        """The figures of each worker that answers, for the history."""
        found = await asyncio.gather(*(self._read(name) for name in self._workers))
        return {name: each for name, each in zip(self._workers, found, strict=True) if each is not None}

    async def _read(self, name: str) -> "Reading | None":
        from cmail.admin.history import Reading

        client = ControlClient(self._run_folder, name, 4.0)
        try:
            process = (await client.ask("process")).ok
            return Reading(int(process["started_ms"]), (await client.ask("metrics")).ok)
        except ControlError:
            return None  # it is being started; what it counts is seen the next time

    async def _ask(self, name: str) -> "Mapping[str, Mapping[str, int]] | None":
        try:
            return (await ControlClient(self._run_folder, name, 4.0).ask("metrics")).ok
        except ControlError as error:
            maillog.warned(f"no figures of {name}: {error}")
            return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
