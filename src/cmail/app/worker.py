"""Worker: one of N identical processes; its shards, sessions, connections and log-ins, put together."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Final

from cmail.admin.worker import queue_answers
from cmail.app import rights
from cmail.app.agents import Agents
from cmail.app.estate import LINK_FILE, Estate
from cmail.app.in_words import in_words
from cmail.app.process import EX_CONFIG, PortKey, StartError, Tasks
from cmail.app.settings import Settings
from cmail.app.shards import open_shard, own_shards, reroute
from cmail.app.sites import new_sites
from cmail.app.snapshot import Snapshot
from cmail.app.turned import kick_answers
from cmail.app.worker_figures import WorkerFigures
from cmail.app.worker_link import WorkerLink, first_state
from cmail.app.worker_rules import account_rules, literals_of, routing_table, upstream_of
from cmail.link.clock import LinkView
from cmail.link.told import TOLD_FILE, read_told
from cmail.mail.address import Address
from cmail.mail.queue_id import QueueId
from cmail.net.clock import RealClock
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, Fields
from cmail.observe import maillog
from cmail.policy.rewriting import ToMailbox
from cmail.queue.report import Reports
from cmail.queue.router import Router
from cmail.queue.scheduler import Scheduler
from cmail.smtpd.collected import FOLDER as COLLECTED
from cmail.smtpd.collected import Collected
from cmail.smtpd.context import IntakeContext
from cmail.smtpd.drop import DropWatch
from cmail.smtpd.injection import INCOMING, Injection
from cmail.smtpd.intake import Intake
from cmail.smtpd.release import Release, sweep_daily
from cmail.storage.account_book import AccountError, AccountsTooNewError
from cmail.storage.accounts import Accounts
from cmail.storage.quarantine import Quarantine
from cmail.storage.spool import Change, QueueFilter, Spool
from cmail.storage.spool_sqlite import SqliteSpool

SEND_S: Final = 10.0  # what is being sent when we stop may end within this


class Worker:
    """See process.Part."""

    def __init__(self, estate: Estate, number: int) -> None:
        self._number = number
        self._data_dir = estate.data_dir
        self._quarantine = Quarantine(estate.data_dir)
        self._snapshot = estate.snapshot
        self._tls = estate.tls
        self._workers_count = estate.workers_count
        self._sockets: dict[PortKey, socket.socket] = {
            port.key: port.of_worker(number).dup() for port in estate.ports
        }
        self._own_ports = frozenset(port.endpoint.port for port in estate.ports)
        self._own_literals = literals_of(port.endpoint.host for port in estate.ports)
        self._places = estate.places
        self._sessions_said = 0  # what limits.sessions was when we said that it cannot be
        estate.release()
        self._clock = RealClock()
        self._link_clock = LinkView(estate.lived)
        self._worker_link = WorkerLink(
            estate.run_folder,
            f"worker-{number}",
            lambda: self._schedulers,
            lambda: self._agents.resolver,
            self._link_clock,
        )
        self._sites = new_sites(number, estate.workers_count, estate.data_dir, self._clock, self._link_clock)
        self._accounts: Accounts
        self._router: Router
        self._schedulers: list[Scheduler] = []
        self._spools: list[SqliteSpool] = []
        drop_trouble = (lambda: self._drop.trouble) if number == 0 else None
        self._figures = WorkerFigures(self._data_dir, self._spools, self._link_clock, drop_trouble)

    @property
    def _settings(self) -> Settings:
        return self._snapshot.settings

    # --- start ---------------------------------------------------------------------------------

    async def start(self, tasks: Tasks) -> None:
        """Open the shards, begin to send, then listen."""
        settings = self._settings
        self._link_clock.changed(*first_state(os.path.join(self._data_dir, LINK_FILE), settings))
        self._open_accounts()
        self._router = self._new_router(settings)
        self._agents = self._new_agents()
        self._sites.update(settings.site, settings.host.hostname, self._snapshot.passwords)
        await self._open_shards()
        self._schedulers = [self._new_scheduler(spool) for spool in self._spools]
        self._intake = Intake(self._context(settings))
        self._drop = self._drop_watch(settings)
        self._begin_to_send()
        for (kind, _), bound in self._sockets.items():
            self._intake.add(kind, bound)  # type: ignore[arg-type]  # checked with the settings
        self._spawn(tasks)

    def _open_accounts(self) -> None:
        rules = account_rules(self._settings, self._workers_count)
        self._accounts = Accounts(self._data_dir, rules, places=self._places)
        try:
            self._accounts.start()
        except AccountError as error:
            code = EX_CONFIG if isinstance(error, AccountsTooNewError) else EX_TEMPFAIL
            raise StartError(f"the accounts cannot be read: {error}", code) from None

    async def _open_shards(self) -> None:
        folder, free_space = self._spool_folder, self._settings.limits.free_space
        for shard in own_shards(folder, self._number, self._workers_count):
            self._spools.append(await open_shard(folder, shard, self._clock, self._needs_link, free_space))

    def _begin_to_send(self) -> None:
        for scheduler in self._schedulers:
            scheduler.start()
            self._link_clock.listen(scheduler.link_changed)
        self._link_clock.listen_to_turns(self._worker_link.turned)

    def _spawn(self, tasks: Tasks) -> None:
        """What goes on all the time; for all workers together the first does it."""
        for spool, scheduler in zip(self._spools, self._schedulers, strict=True):
            tasks.spawn(self._reroute(spool, scheduler), f"reroute {spool.shard}")
        tasks.spawn(self._worker_link.sight.run(), "what deliveries see")
        tasks.spawn(self._worker_link.exchange.run(), "urgent mail waits")
        tasks.spawn(self._worker_link.line.run(), "the thin line")
        tasks.spawn(self._sites.run(), "sites")
        if self._number == 0:
            tasks.spawn(self._drop.run(), "drop folder")
            tasks.spawn(sweep_daily(self._quarantine, self._clock), "quarantine")

    async def reachable(self) -> None:
        """Who changed accounts while we were starting found nobody to tell: they are read once more."""
        try:
            await self._accounts.reload()
        except AccountError as error:
            maillog.warned(f"the accounts cannot be read: {error}; those of before hold")
            return
        self._rebuild()

    @property
    def _spool_folder(self) -> str:
        return os.path.join(self._data_dir, "spool")

    def _new_agents(self) -> Agents:
        agents = Agents(
            self._snapshot,
            self._workers_count,
            self._own_ports,
            self._mailbox_of,
            self._clock,
            self._link_clock,
        )
        agents.smtp.reached = self._worker_link.reached.took
        return agents

    def _new_scheduler(self, spool: SqliteSpool) -> Scheduler:
        agent = self._sites.agent(self._agents.smtp)
        scheduler = Scheduler(
            spool,
            self._worker_link.watcher.watched({**self._agents.by_kind, "site": agent}),
            self._router,
            self._settings.queue,
            self._clock,
            self._link_clock,
            lambda route: agent.connections_max(route, self._agents.connections_max(route)),
            maillog,
            self._settings.host.hostname,
        )
        scheduler.admission.know(read_told(os.path.join(self._data_dir, TOLD_FILE), maillog))
        scheduler.urgent_waits = self._worker_link.exchange.urgent_waits
        scheduler.is_stranger = self._worker_link.reached.is_stranger
        scheduler.is_on_line = self._worker_link.confirm.is_on_line
        if self._workers_count > 1:
            self._worker_link.line.share(scheduler)
        self._sites.attach(scheduler, agent)
        return scheduler

    def _new_reports(self, spool: Spool) -> Reports:
        hostname = self._settings.host.hostname
        return Reports(hostname, spool.new_queue_id, self._clock, self._link_clock, maillog)

    def _drop_watch(self, settings: Settings) -> DropWatch:
        return DropWatch(
            os.path.join(self._data_dir, "drop"),
            os.path.join(self._data_dir, "aside"),
            self._spools[0],
            lambda: self._router.table,
            self._clock,
            self._link_clock,
            settings.host.hostname,
            settings.smtp.advanced.max_message_size,
            self._quarantine if settings.smtp.validation else None,
        )

    def _context(self, settings: Settings) -> IntakeContext:
        return IntakeContext(
            settings.host.hostname,
            settings.host.domains,
            self._router.table,
            self._accounts.directory,
            self._spools[0],
            self._clock,
            self._link_clock,
            maillog,
            replace(settings.limits, sessions=self._sessions_max(settings.limits.sessions)),
            settings.relay,
            settings.smtp.advanced.max_message_size,
            settings.smtp.advanced.refuse_unknown_users,
            self._accounts,
            self._tls.context,
            self._workers_count,
            settings.smtp.validation,
            self._sites if settings.site else None,
        )

    def _sessions_max(self, wanted: int) -> int:
        """Sessions that leave enough files for content, deliveries and the spool."""
        room = rights.sessions_room()
        if room < wanted != self._sessions_said:
            self._sessions_said = wanted
            maillog.warned(
                f"only {room} sessions at once, not limits.sessions = {wanted}: more files cannot be open"
                " (LimitNOFILE of the unit, ulimit -n)"
            )
        return min(room, wanted)

    def _new_router(self, settings: Settings) -> Router:
        table = routing_table(settings, self._own_literals)
        return Router(table, self._accounts.directory, settings.smtp)

    # --- what the parts ask ----------------------------------------------------------------------

    def _needs_link(self, route: str) -> bool:
        return self._router.needs_link(route)

    def _mailbox_of(self, address: Address) -> Address | None:
        found = self._accounts.directory.resolve(address, is_expanded=True)
        return found.address if isinstance(found, ToMailbox) else None

    # --- what changes ----------------------------------------------------------------------------

    async def apply(
        self, snapshot: Snapshot, ports: list[PortKey], new: dict[PortKey, socket.socket]
    ) -> None:
        """Other settings: what is under way goes on with the old ones."""
        settings = snapshot.settings
        old = self._settings
        fixed = replace(settings.host, data_dir=old.host.data_dir, workers=old.host.workers)
        settings = replace(settings, host=fixed)
        await asyncio.to_thread(self._reload_tls, settings)
        await self._accounts.reload(account_rules(settings, self._workers_count))
        before, self._snapshot = self._snapshot, replace(snapshot, settings=settings)
        is_other_upstream = upstream_of(self._snapshot) != upstream_of(before)
        self._take_ports(ports, new)
        self._drop.hostname = settings.host.hostname
        self._drop.size_max = settings.smtp.advanced.max_message_size
        self._drop.quarantine = self._quarantine if settings.smtp.validation else None
        self._rebuild()
        for spool, scheduler in zip(self._spools, self._schedulers, strict=True):
            await self._reroute(spool, scheduler)
            if is_other_upstream:
                scheduler.upstream_changed()

    def _reload_tls(self, settings: Settings) -> None:
        try:
            self._tls.reload(settings.tls)
        except ValueError as error:  # perhaps only root can read it: the old one goes on
            maillog.warned(f"the certificate is not loaded anew, the old one goes on: {error}")

    def _take_ports(self, ports: list[PortKey], new: dict[PortKey, socket.socket]) -> None:
        for key, bound in new.items():
            self._sockets[key] = bound
            self._intake.add(key[0], bound)  # type: ignore[arg-type]
        for key in set(self._sockets) - set(ports):
            self._intake.remove(self._sockets.pop(key))

    def _rebuild(self) -> None:
        """Everything that is made of settings and accounts, anew."""
        settings = self._settings
        self._router = self._new_router(settings)
        self._agents.update(self._snapshot)
        self._sites.update(settings.site, settings.host.hostname, self._snapshot.passwords)
        for scheduler in self._schedulers:
            scheduler.reports = self._new_reports(scheduler.spool)
            scheduler.apply(settings.queue, self._router)
        self._intake.update(self._context(settings))

    async def _reroute(self, spool: SqliteSpool, scheduler: Scheduler) -> None:
        router = self._router
        if await reroute(self._spool_folder, spool, router.table, lambda: router is self._router):
            scheduler.apply(self._settings.queue, self._router)

    # --- questions -------------------------------------------------------------------------------

    def answers(self) -> Mapping[str, AnswerFunction]:
        """What an operator and the other processes may ask."""
        found: dict[str, AnswerFunction] = {
            **queue_answers(
                lambda: self._schedulers, self._clock, self._link_clock, self._worker_link.exchange.begin
            ),
            **Injection(os.path.join(self._data_dir, INCOMING), lambda: self._intake.context).functions(),
            **self._collected().functions(),
            **self._worker_link.answers(),
            **kick_answers(lambda: self._intake, lambda: self._settings),
            **self._sites.answers(),
            "accounts.changed": self._accounts_changed,
            "quarantine.release": self._release,
            "validation.noted": self._noted,
            "metrics": self._figures.metrics,
            "status": self._status,
            "troubles": self._figures.troubles,
        }
        return {name: in_words(function) for name, function in found.items()}

    def _collected(self) -> Collected:
        folder = os.path.join(self._data_dir, COLLECTED)
        return Collected(folder, lambda: self._intake.context, self._quarantine, self._let_go)

    async def _let_go(self, queue_id: QueueId) -> None:
        """What was on hold until all of it was noted."""
        what = QueueFilter(ids=(queue_id,))
        changed = await self._spools[0].change(what, Change.RELEASE, {"": 0})  # never tried: due at once
        self._schedulers[0].changed(Change.RELEASE, changed.queue_ids)

    async def _accounts_changed(self, _request: Fields) -> Fields:
        await self._accounts.reload()
        self._rebuild()
        return {"users": self._accounts.users_count}

    async def _release(self, request: Fields) -> Fields:
        release = Release(
            self._quarantine,
            self._spools[0],
            lambda: self._router.table,
            self._clock,
            self._link_clock,
            self._settings.host.hostname,
        )
        return {"recipients": await release.let_go(str(request.get("id", "")))}

    async def _noted(self, _request: Fields) -> AsyncIterator[Fields]:
        return _rows(self._intake.noted.rows())

    async def _status(self, request: Fields) -> Fields:
        return {
            "number": self._number,
            "settings": self._snapshot.number,
            "sessions": self._intake.sessions_count,
            "sessions_max": self._sessions_max(self._settings.limits.sessions),
            "shards": [spool.shard for spool in self._spools],
            "users": self._accounts.users_count,
            "routes": [route for scheduler in self._schedulers for route in scheduler.figures()],
            **await self._figures.troubles(request),
        }

    # --- the end ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Sessions first, then what is being sent, then the shards."""
        sending = [scheduler.stop(SEND_S) for scheduler in self._schedulers]
        await asyncio.gather(self._intake.stop(), *sending)
        await asyncio.gather(*(spool.close() for spool in self._spools))
        self._sites.close()
        self._agents.close()
        self._accounts.close()


async def _rows(found: Iterable[Fields]) -> AsyncIterator[Fields]:
    for row in found:
        yield row
