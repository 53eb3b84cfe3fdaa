"""Worker: one of N identical processes; its shards, sessions, connections and log-ins, put together."""

import asyncio
import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

import apsw

from cmail.admin.worker import queue_answers
from cmail.app.estate import LINK_FILE, Estate
from cmail.app.process import EX_CONFIG, PortKey, StartError, Tasks
from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot
from cmail.delivery.agent import DeliveryAgent
from cmail.delivery.lmtp import LmtpAgent
from cmail.delivery.local import LocalAgent
from cmail.delivery.smtp import SmtpAgent
from cmail.link.clock import LinkView, parse_reading
from cmail.link.state import read_state
from cmail.mail.address import Address
from cmail.net.clock import RealClock
from cmail.net.control import AnswerFunction, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog, metrics
from cmail.policy.rewriting import ToMailbox
from cmail.policy.routing import LOCAL, RoutingTable
from cmail.queue.report import Reports
from cmail.queue.router import Router
from cmail.queue.scheduler import Scheduler
from cmail.smtpd.context import IntakeContext
from cmail.smtpd.drop import DropWatch
from cmail.smtpd.intake import Intake
from cmail.storage import durable
from cmail.storage.account_book import AccountError
from cmail.storage.accounts import AccountRules, Accounts
from cmail.storage.mailboxes import MaildirStore
from cmail.storage.migrations import SchemaTooNewError
from cmail.storage.spool import Spool, SpoolError
from cmail.storage.spool_rows import stored_address
from cmail.storage.spool_shards import ShardTakenError, shards
from cmail.storage.spool_sqlite import SqliteSpool
from cmail.world import IPAddress

LOCAL_LANES: Final = 2  # each takes many messages a thread hop
SEND_S: Final = 10.0  # what is being sent when we stop may end within this
SHARD_S: Final = 10.0  # the process before us may still be closing our shard


class Chance:
    """world.Entropy, in earnest."""

    def jitter(self) -> float:
        """A number from 0.0 up to, not including, 1.0."""
        return random.random()


class Worker:
    """See process.Part."""

    def __init__(self, estate: Estate, number: int) -> None:
        self._number = number
        self._data_dir = estate.data_dir
        self._snapshot = estate.snapshot
        self._tls = estate.tls
        self._workers_count = estate.workers_count
        self._sockets: dict[PortKey, socket.socket] = {
            port.key: port.of_worker(number).dup() for port in estate.ports
        }
        self._own_ports = frozenset(port.endpoint.port for port in estate.ports)
        self._own_literals = frozenset(_literals(port.endpoint.host for port in estate.ports))
        estate.release()
        self._clock = RealClock()
        self._link_clock = LinkView(self._clock)
        self._accounts: Accounts
        self._router: Router
        self._schedulers: list[Scheduler] = []
        self._spools: list[SqliteSpool] = []

    @property
    def _settings(self) -> Settings:
        return self._snapshot.settings

    # --- start ---------------------------------------------------------------------------------

    async def start(self, tasks: Tasks) -> None:
        """Open the shards, begin to send, then listen."""
        settings = self._settings
        self._link_clock.changed(read_state(os.path.join(self._data_dir, LINK_FILE), maillog))
        self._accounts = Accounts(self._data_dir, _account_rules(settings))
        try:
            self._accounts.start()
        except AccountError as error:
            raise StartError(f"the accounts cannot be read: {error}", EX_CONFIG) from None
        self._router = self._new_router(settings)
        self._resolver = DnsClient(settings.dns)
        self._make_agents(settings)
        for shard in self._own_shards():
            self._spools.append(await self._open(shard))
        self._schedulers = [self._new_scheduler(spool) for spool in self._spools]
        self._intake = Intake(self._context(settings))
        for scheduler in self._schedulers:
            scheduler.start()
            self._link_clock.listen(scheduler.link_changed)
        self._link_clock.listen(self._resolver.forget)
        for (kind, _), bound in self._sockets.items():
            self._intake.add(kind, bound)  # type: ignore[arg-type]  # checked with the settings
        for spool, scheduler in zip(self._spools, self._schedulers, strict=True):
            tasks.spawn(self._reroute(spool, scheduler), f"reroute {spool.shard}")
        self._drop = self._drop_watch(settings)
        if self._number == 0:
            tasks.spawn(self._drop.run(), "drop folder")

    def _own_shards(self) -> list[int]:
        """Ours, and for the first worker those that nobody has since there are fewer of us."""
        found = [self._number]
        if self._number == 0:
            found += [n for n in shards(self._spool_folder) if n >= self._workers_count]
        return found

    @property
    def _spool_folder(self) -> str:
        return os.path.join(self._data_dir, "spool")

    async def _open(self, shard: int) -> SqliteSpool:
        until = time.monotonic() + SHARD_S
        while True:
            try:
                return SqliteSpool.open(
                    self._spool_folder,
                    shard,
                    self._clock,
                    needs_link=self._needs_link,
                    free_space_min=self._settings.limits.free_space,
                    report=maillog.warned,
                )
            except ShardTakenError as error:
                if time.monotonic() > until:
                    raise StartError(str(error)) from None
            except SchemaTooNewError as error:
                raise StartError(str(error), EX_CONFIG) from None
            except (apsw.Error, OSError) as error:
                folder = os.path.join(self._spool_folder, str(shard))
                raise StartError(f"the spool {folder} cannot be opened: {error}") from None
            await asyncio.sleep(0.05)

    def _make_agents(self, settings: Settings) -> None:
        host, clock, resolver = settings.host, self._clock, self._resolver
        self._smtp = SmtpAgent(
            settings.smtp,
            host.hostname,
            self._smtp_password,
            resolver,
            clock,
            Chance(),
            settings.tls.ca_file,
            _log,
            self._is_own_address,
            lambda: self._link_clock.is_down,
        )
        self._lmtp = LmtpAgent(settings.local, host.hostname, clock, resolver, _log)
        store = MaildirStore(os.path.join(self._data_dir, "mail"))
        self._local = LocalAgent(store, self._mailbox_of, host.hostname, clock, _log)

    def _new_scheduler(self, spool: SqliteSpool) -> Scheduler:
        agents: Mapping[str, DeliveryAgent] = {
            "local": self._local,
            "lmtp": self._lmtp,
            "relay": self._smtp,
            "mx": self._smtp,
        }
        return Scheduler(
            spool,
            agents,
            self._router,
            self._settings.queue,
            self._clock,
            self._link_clock,
            self._connections_max,
            maillog,
            self._settings.host.hostname,
        )

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
            settings.limits,
            settings.relay,
            settings.smtp.advanced.max_message_size,
            settings.smtp.advanced.refuse_unknown_users,
            self._accounts,
            self._tls.context,
        )

    def _new_router(self, settings: Settings) -> Router:
        host = settings.host
        table = RoutingTable(
            host.hostname,
            frozenset(host.domains),
            settings.local.delivery,
            settings.smtp.delivery,
            self._own_literals,
        )
        return Router(table, self._accounts.directory, settings.smtp)

    # --- what the parts ask ----------------------------------------------------------------------

    def _needs_link(self, route: str) -> bool:
        return self._router.needs_link(route)

    def _connections_max(self, route: str) -> int:
        """Our share of the connections to a next hop."""
        if route == LOCAL:
            return LOCAL_LANES
        return max(1, self._settings.smtp.advanced.connections // self._workers_count)

    def _smtp_password(self) -> str:
        return self._snapshot.smtp_password

    def _mailbox_of(self, address: Address) -> Address | None:
        found = self._accounts.directory.resolve(address, is_expanded=True)
        return found.address if isinstance(found, ToMailbox) else None

    def _is_own_address(self, address: IPAddress, port: int) -> bool:
        return port in self._own_ports and _is_of_this_machine(address)

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
        await self._accounts.reload(_account_rules(settings))
        self._snapshot = replace(snapshot, settings=settings)
        self._resolver.update(settings.dns)
        self._smtp.update(settings.smtp, settings.host.hostname, self._smtp_password, settings.tls.ca_file)
        self._lmtp.update(settings.local, settings.host.hostname)
        self._take_ports(ports, new)
        self._drop.hostname = settings.host.hostname
        self._drop.size_max = settings.smtp.advanced.max_message_size
        self._rebuild()
        for spool, scheduler in zip(self._spools, self._schedulers, strict=True):
            await self._reroute(spool, scheduler)

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
        self._local.update(self._mailbox_of, settings.host.hostname)
        for scheduler in self._schedulers:
            scheduler.reports = self._new_reports(scheduler.spool)
            scheduler.apply(settings.queue, self._router)
        self._intake.update(self._context(settings))

    async def _reroute(self, spool: SqliteSpool, scheduler: Scheduler) -> None:
        """Routes stand in the spool: when the table is another than the one they were made by, they
        are made anew. A file beside the shard says which one that was."""
        path = os.path.join(self._spool_folder, f"{spool.shard}.routing")
        table = self._router.table
        if await asyncio.to_thread(_read, path) == _fingerprint(table):
            return
        try:
            count = await spool.reroute(lambda forward_path: table.route(stored_address(forward_path)))
        except SpoolError as error:
            maillog.warned(f"mail in the queue goes its old way until the next start: {error}")
            return
        if table is not self._router.table:
            return  # replaced meanwhile: who did it is at it again
        with contextlib.suppress(OSError):  # then it is done once more at the next start
            await asyncio.to_thread(durable.write_durably, path, _fingerprint(table))
        if count:
            maillog.noted(f"{count} recipients in the queue go another way, as the settings say now")
            scheduler.apply(self._settings.queue, self._router)

    # --- questions -------------------------------------------------------------------------------

    def answers(self) -> Mapping[str, AnswerFunction]:
        """What an operator and the other processes may ask."""
        return {
            **queue_answers(lambda: self._schedulers, self._clock, self._link_clock),
            "accounts.changed": self._accounts_changed,
            "link.changed": self._link_changed,
            "metrics": self._metrics,
            "status": self._status,
        }

    async def _accounts_changed(self, _request: Fields) -> Fields:
        await self._accounts.reload()
        self._rebuild()
        return {"users": self._accounts.users_count}

    async def _link_changed(self, request: Fields) -> Fields:
        try:
            self._link_clock.changed(parse_reading(request))
        except ValueError as error:
            raise ControlError(str(error)) from None
        return {}

    async def _metrics(self, _request: Fields) -> Fields:
        recipients: dict[str, int] = {}
        messages = 0
        for spool in self._spools:
            figures = await spool.figures()
            messages += figures.messages_count
            for state, count in figures.recipients.items():
                recipients[state.lower()] = recipients.get(state.lower(), 0) + count
        metrics.QUEUE_MESSAGES.value = messages
        for state, count in recipients.items():
            metrics.QUEUE_RECIPIENTS.of(state).value = count
        metrics.LINK_UP.value = int(not self._link_clock.is_down)
        return dict(metrics.snapshot())

    async def _status(self, _request: Fields) -> Fields:
        return {
            "number": self._number,
            "settings": self._snapshot.number,
            "sessions": self._intake.sessions_count,
            "shards": [spool.shard for spool in self._spools],
            "users": self._accounts.users_count,
            "routes": [route for scheduler in self._schedulers for route in scheduler.figures()],
        }

    # --- the end ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Sessions first, then what is being sent, then the shards."""
        sending = [scheduler.stop(SEND_S) for scheduler in self._schedulers]
        await asyncio.gather(self._intake.stop(), *sending)
        await asyncio.gather(*(spool.close() for spool in self._spools))
        self._local.close()
        self._accounts.close()


def _account_rules(settings: Settings) -> AccountRules:
    return AccountRules(
        settings.host.hostname,
        settings.host.domains,
        settings.local.separator,
        settings.smtp.advanced.refuse_unknown_users,
        settings.local.delivery == "lmtp",
    )


def _literals(hosts: Iterable[str]) -> list[str]:
    """The address literals that mean us: those that we listen on by name."""
    found = []
    for host in hosts:
        try:
            address = ip_address(host)
        except ValueError:
            continue
        if not address.is_unspecified:
            found.append(f"[IPv6:{address}]" if address.version == 6 else f"[{address}]")
    return found


@lru_cache(maxsize=1000)
def _is_of_this_machine(address: IPAddress) -> bool:
    """Whether an address is one of this machine's: only then can a socket be bound to it."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _fingerprint(table: RoutingTable) -> bytes:
    facts = [table.hostname, sorted(table.domains), table.local_delivery, table.delivery]
    return json.dumps([*facts, sorted(table.own_literals)]).encode() + b"\n"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _log(line: str) -> None:
    """What agents say comes as `warning: ...` or `error: ...`."""
    maillog.warned(line.removeprefix("warning: ").removeprefix("error: "))
