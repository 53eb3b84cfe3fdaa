"""Watching: what the kernel shows and the probe finds, brought to the link; in the link process."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

from cmail.app.link_confirm import Confirming
from cmail.app.link_workers import Workers
from cmail.app.settings import Settings
from cmail.link.judging import Hand
from cmail.link.known import HostPort
from cmail.link.links import Facts, OneLink
from cmail.link.probe import NAMES, Seen, Target, mailbox_targets, probe_each, target_of
from cmail.link.state import Link
from cmail.net.control import Fields
from cmail.net.dns_client import DnsClient
from cmail.net.kernel_watch import KernelWatch
from cmail.observe import maillog
from cmail.world import DnsError, IPAddress, NoSuchDomainError

# Nothing is sent there: the kernel is asked which way it would go to somewhere far away (a root name server).
FAR: Final = (ip_address("198.41.0.4"), ip_address("2001:503:ba3e::2:30"))
PAUSE_S: Final = 0.5  # between a probe that got no answer in its time and the next


class Watching:
    """Keeps the link informed. Where the kernel does not tell, nothing is known and mail is delivered."""

    def __init__(self, link: Link, workers: Workers, resolver: Callable[[], DnsClient]) -> None:
        self._link, self._workers, self._resolver = link, workers, resolver
        self._confirming = Confirming(link, resolver, self._device, self._has_failed)
        self._watch = KernelWatch(self._on_kernel)
        self._is_watching = False
        self._woken = asyncio.Event()
        self._living: frozenset[IPAddress] = frozenset()
        self._own: frozenset[IPAddress] = frozenset()
        self._way: int | None = None  # the device by which mail goes, when the kernel told something last
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[tuple[Target, Seen]]] = set()  # one probe each
        self._hurried = asyncio.Event()  # who waits between two probes waits no longer
        self._looking_up: set[asyncio.Task[None]] = set()
        self.answered: Callable[[], None] = lambda: None  # is told when a probe got through
        self._settings: Settings

    def start(self, settings: Settings) -> None:
        """Begin to hear the kernel."""
        self._settings = settings
        if self._link.links.upstream_name not in ("", settings.smtp.host):
            self._link.links.upstream = ()
        self._workers.upstream = self._known_upstream
        try:
            self._watch.open()
            self._is_watching = True
        except (OSError, ValueError) as error:
            self._watch.close()
            maillog.warned(f"the kernel does not tell of its network ({error}): go by hooks and deliveries")
        self._living = self._watch.kernel.living_addresses()
        self._own = self._watch.kernel.own_addresses()

    def apply(self, settings: Settings) -> None:
        """Other settings."""
        is_other = settings.smtp.host != self._settings.smtp.host
        self._settings = settings
        if is_other:
            self._link.links.upstream = ()
            self._do_soon(self._link.tell(), "that the upstream server is another")
            self._look_up_soon()
        self._woken.set()

    def close(self) -> None:
        """Hear no more."""
        self._watch.close()
        self._confirming.close()
        for task in (*self._probing.values(), *self._looking_up):
            task.cancel()

    async def run(self) -> None:
        """What the kernel tells is weighed at once, for ever."""
        self._look_up_soon()
        await self.look()  # the orders of the file are those of the last run
        self._do_soon(self._link.tell(), "where the upstream server was")
        self._woken.set()
        while True:
            await self._woken.wait()
            self._woken.clear()
            before, own_before, way_before = self._living, self._own, self._way
            self._living = self._watch.kernel.living_addresses()
            self._own = self._watch.kernel.own_addresses()
            self._way = self._way_out()
            if self._way != way_before or self._living - before:
                self._probe_anew()
            await self.look()
            # Another lease while the cable was out: it was not living, and now it is not even ours.
            await self._tell_lost((before - self._living) | (own_before - self._own))

    async def look(self) -> None:
        """Weigh all anew; who is in doubt is probed."""
        await self._link.look(self.facts())
        self.probe_doubtful()

    def facts(self) -> Facts | None:
        """What the kernel shows now."""
        if not self._is_watching:
            return None
        return Facts(self._watch.kernel, self._way_out(), self._upstream())

    def _way_out(self) -> int | None:
        """The device by which the kernel goes to the upstream server, else to the world. In a network of its
        own, without a default route, and by MX: to all hosts that mail went to last."""
        if not self._is_watching:
            return None
        links, kernel = self._link.links, self._watch.kernel
        if any(kernel.is_own(address) for address in links.upstream):
            return kernel.loopback
        for address in (*links.upstream, *FAR):
            if (way := self._watch.way_to(address)) is not None:
                return way.index
        hosts = links.known.hosts if self._settings.smtp.delivery == "mx" else ()
        ways = [self._watch.way_to(address) for address, _ in hosts]
        return ways[0].index if ways and ways[0] is not None and all(ways) else None

    def seen(self, *, is_ok: bool, kind: str) -> bool:
        """A worker tells how deliveries end. True: it changes something, look anew."""
        carrier = self._link.links.carrier
        if carrier is None:
            return False
        was_wrong = carrier.doubt.verdict is not None
        carrier.doubt.seen(is_ok=is_ok, kind=kind)
        return carrier.doubt.is_open or was_wrong

    def silent(self) -> None:
        """A server from which mail is fetched did not answer."""
        if self.seen(is_ok=False, kind="silent"):
            self._woken.set()

    def _on_kernel(self) -> None:
        self._woken.set()

    async def _tell_lost(self, addresses: frozenset[IPAddress]) -> None:
        if addresses:
            gone = addresses - self._watch.kernel.own_addresses()
            await self._workers.lost([str(each) for each in addresses], [str(each) for each in gone])

    # The upstream server.

    def _upstream(self) -> IPAddress | None:
        known = self._link.links.upstream
        return known[0] if known else None

    def _look_up_soon(self) -> None:
        """Beside: the kernel's word does not wait for the DNS."""
        self._do_soon(self._look_up(), "where the upstream server is")

    def _do_soon(self, what: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(what, name=name)
        self._looking_up.add(task)
        task.add_done_callback(self._looking_up.discard)

    async def _look_up(self) -> None:
        """Where the upstream server is; what was known of it stays when nobody answers."""
        host = self._settings.smtp.host
        if not host:
            self._link.links.upstream = ()
            return
        try:
            found = await self._resolver().addresses(host.strip("[]"))
        except (DnsError, NoSuchDomainError):
            return
        if self._found_upstream(found):
            self._woken.set()

    def _found_upstream(self, found: Sequence[IPAddress]) -> bool:
        """Workers that have not asked for it are told: the DNS may fail when they do. Whether it is new."""
        links, host = self._link.links, self._settings.smtp.host
        if _is_here(found) and links.upstream and not _is_here(links.upstream):
            return False  # it was elsewhere: so says the DNS of a router that has lost the Internet
        before, links.upstream, links.upstream_name = links.upstream, tuple(found[:4]), host
        if links.upstream == before:
            return False
        self._link.note()
        self._do_soon(self._link.tell(), "where the upstream server was found")
        return True

    def _known_upstream(self) -> Fields:
        """As workers are told it; nothing of another host."""
        links, host = self._link.links, self._settings.smtp.host
        addresses = links.upstream if links.upstream_name == host else ()
        return {"name": host, "addresses": [str(each) for each in addresses]}

    # Probes.

    def _target(self) -> Target | None:
        smtp = self._settings.smtp
        host = "" if _is_here(self._link.links.upstream) else smtp.host.strip("[]")
        said = self._settings.link.probe
        target = target_of(said, host, smtp.port, smtp.tls, self._settings.tls.ca_file)
        if target is None:
            return self._names() if not said and smtp.delivery == "mx" else None
        # By MX the upstream server is a fallback at most: that it is away says nothing of the line.
        hosts = self._link.links.known.hosts
        return replace(
            target, hosts=() if said or smtp.delivery != "mx" else hosts, trusted=_addresses(hosts)
        )

    def _targets(self) -> list[Target]:
        """What is probed: any of them that answers will do. Who only fetches mail has the servers that it is
        fetched from."""
        target = self._target()
        if target is not None or self._settings.link.probe or self._settings.smtp.host:
            return [target] if target is not None else []
        return mailbox_targets(self._settings.collect, self._settings.tls.ca_file)

    def probe_now(self, name: str = "") -> list[str]:
        """Look now how the links are that the kernel shows as up: all, or one. Their names; none: there is
        nothing that could be probed."""
        if not self._targets():
            return []
        chosen = [link for link in self._link.links.all if name in ("", link.name) and _can_be_probed(link)]
        for link in chosen:
            link.doubt.begin()
        self._hurry()
        self.probe_doubtful()
        return [link.name for link in chosen]

    async def confirm(self, domain: str = "") -> str:
        """See Confirming; of what is probed first."""
        says = await self._confirming.confirm(self._target(), domain)
        if says == "no":
            await self.look()
        return says

    def _has_failed(self, carrier: OneLink, seen: Seen, target: Target) -> None:
        carrier.doubt.begin()
        self._conclude(carrier, seen, target)

    def reached(self, names: Sequence[object], hosts: Sequence[object]) -> bool:
        """A worker tells where mail went. False: not noted, for a log-in page may have taken it."""
        carrier = self._link.links.carrier
        if self._link.reading.is_down or (carrier is not None and carrier.doubt.is_open):
            return False
        if self._link.links.known.note(names, hosts):
            self._link.note()
            self._woken.set()  # the way there may be the only one that there is
        return True

    def _names(self) -> Target:
        known = self._link.links.known
        return replace(NAMES, names=known.names, hosts=known.hosts, trusted=_addresses(known.hosts))

    def probe_doubtful(self) -> None:
        """Probe the links of which somebody is in doubt, until it is clear how they are."""
        targets = self._targets()
        for link in self._link.links.all:
            if not link.doubt.is_open:
                continue
            if not targets:
                link.doubt.end()
            elif link.name not in self._probing:
                task = asyncio.create_task(self._probe(link), name=f"probe {link.name}")
                self._probing[link.name] = task
                task.add_done_callback(self._probed)

    def _probe_anew(self) -> None:
        """Mail goes by another device, or from another address: what was found wrong was so of the one before
        perhaps, and what waits for an answer there waits in vain."""
        for asking in self._asking:
            asking.cancel()
        self._hurry()

    def _hurry(self) -> None:
        self._hurried.set()
        self._hurried.clear()

    def _probed(self, task: "asyncio.Task[None]") -> None:
        self._probing = {name: each for name, each in self._probing.items() if each is not task}
        if not task.cancelled() and task.exception() is not None:
            maillog.warned(f"{task.get_name()}: {task.exception()!r}")

    async def _probe(self, link: OneLink) -> None:
        """One after the other, while there is doubt."""
        while link.doubt.is_open and (targets := self._targets()):
            begun_s = time.monotonic()
            found = await self._ask(targets, link)
            if found is None:
                continue
            target, seen = found
            self._conclude(link, seen, target)
            await self._link.look(self.facts())
            if not link.doubt.is_open:
                self._look_up_soon()
                if seen.is_answered:
                    self.answered()
                return
            wait_s = link.doubt.wait_s(self._settings.link.probe_every.total_seconds())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._hurried.wait(), max(PAUSE_S, begun_s + wait_s - time.monotonic())
                )

    async def _ask(self, targets: Sequence[Target], link: OneLink) -> tuple[Target, Seen] | None:
        """One probe; None: it was asked by a way that is not the way any more."""
        resolver = self._resolver()  # a new one: what it knew before may be what is no longer true
        known, device = self._link.links.upstream, self._device(link)
        asking = asyncio.create_task(probe_each(targets, resolver, known, device), name="one probe")
        self._asking.add(asking)
        try:
            await asyncio.wait({asking})
        finally:
            asking.cancel()
            self._asking.discard(asking)
        return None if asking.cancelled() else asking.result()

    def _conclude(self, link: OneLink, seen: Seen, target: Target) -> None:
        if seen.is_portal:
            link.doubt.trapped(seen.words)
        elif seen.is_answered:
            link.doubt.answered()
        elif seen.is_failure:
            link.doubt.failed(seen.words)
        elif link.doubt.verdict is None:
            link.doubt.end()  # it cannot be probed so, and nothing is known against it
        if seen.is_portal:
            self._found_upstream(())  # what was found may be the page's address
        elif seen.address is not None and target.host == self._settings.smtp.host.strip("[]"):
            others = [each for each in self._link.links.upstream if each != seen.address]
            self._found_upstream((seen.address, *others))

    def _device(self, link: OneLink) -> str:
        """By which device it is probed; "" for the way that the kernel goes anyway."""
        if link is self._link.links.carrier or link.via is None:
            return ""
        devices = self._watch.kernel.named(link.via.device)
        return next((device.name for device in devices if device.has_carrier), "")


def _is_here(addresses: Sequence[IPAddress]) -> bool:
    return any(each.is_loopback or each.is_unspecified for each in addresses)


def _addresses(hosts: Sequence[HostPort]) -> tuple[IPAddress, ...]:
    return tuple(address for address, _ in hosts)


def _can_be_probed(link: OneLink) -> bool:
    return not link.kernel.is_down and link.hand is not Hand.DOWN
