"""The probe: is the Internet there? Opens a TCP connection, looks whether a log-in page stands in between.

Never ICMP: what answers a ping is not what takes mail, and much that takes mail answers none."""

import asyncio
import errno
import os
import secrets
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

from cmail.link.collect.box import port_of
from cmail.link.known import HostPort
from cmail.link.settings import CollectSettings
from cmail.net.tls_look import NoTlsError, names_somebody_else
from cmail.settings import parse_endpoint
from cmail.world import DnsError, IPAddress, NoSuchDomainError, Resolver

CONNECT_S: Final = 5.0  # three tries of TCP, over a satellite too
NEXT_S: Final = (
    1.0  # until the next address is tried, too: one may be silent, of a family that is dead perhaps
)
PORTAL_S: Final = 15.0  # names and a handshake
ADDRESSES_MAX: Final = 3
MAILBOXES_MAX: Final = 3  # servers that are tried, one after the other
OFF: Final = "off"
_MADE_UP: Final = (".com", ".net")  # two names that nobody has

# Where no host can be probed (delivery by MX) a name that everybody knows is looked up, and those that mail
# went to last; when none is there any more, connections are opened to the hosts that took it.
NAMES_PORT: Final = 0
WELL_KNOWN: Final = "a.root-servers.net"

PORTAL: Final = "a log-in page stands in between"


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed."""

    host: str
    port: int
    tls: Literal["none", "required", "implicit"] = "none"  # of the upstream server, when it must be right
    ca_file: str = ""
    # Where mail went last (link/known.py), for a target that is a name alone, or a fallback.
    names: tuple[str, ...] = ()
    hosts: tuple[HostPort, ...] = ()
    trusted: tuple[IPAddress, ...] = ()  # who has taken mail is no log-in page, if every name leads there

    @property
    def is_name(self) -> bool:
        """Whether its name alone is looked up: that shows log-in pages, and no more."""
        return self.port == NAMES_PORT

    def __str__(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"


NAMES: Final = Target(WELL_KNOWN, NAMES_PORT)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe saw. Neither answered nor failed: it says nothing."""

    is_answered: bool
    words: str
    is_portal: bool = False
    is_failure: bool = False
    address: IPAddress | None = None  # of the host, when it was found
    # Where names alone are asked for. Strange: it denies what everybody knows, and no more is known.
    dns: Literal["", "good", "bad", "strange"] = ""


def target_of(probe: str, host: str, port: int, tls: str, ca_file: str) -> Target | None:
    """What the settings say is probed; None: nothing."""
    if probe == OFF:
        return None
    if probe:
        endpoint = parse_endpoint(probe)
        return Target(endpoint.host, endpoint.port)
    if not host:
        return None
    if tls == "required" or tls == "implicit":
        return Target(host, port, tls, ca_file)  # type: ignore[arg-type]  # mypy does not narrow str
    return Target(host, port)


def mailbox_targets(accounts: Sequence[CollectSettings], ca_file: str) -> list[Target]:
    """The servers from which mail is fetched, but for those on this machine."""
    found: dict[tuple[str, int], Target] = {}
    for account in accounts:
        host, port = account.host, port_of(account.protocol, account.port, account.tls)
        if not _is_here(host):
            tls: Literal["none", "implicit"] = "implicit" if account.tls == "implicit" else "none"
            found.setdefault((host, port), Target(host, port, tls, ca_file))
    return list(found.values())[:MAILBOXES_MAX]


async def probe_each(
    targets: Sequence[Target], resolver: Resolver, known: Sequence[IPAddress], device: str = ""
) -> tuple[Target, Seen]:
    """One after the other, until one shows how it is; else what counts most of what was seen."""
    seen: list[tuple[Target, Seen]] = []
    for target in targets:
        found = await probe(target, resolver, known, device)
        if found.is_answered or found.is_portal:
            return target, found
        seen.append((target, found))
    return next((each for each in seen if each[1].is_failure), seen[0])


async def probe(target: Target, resolver: Resolver, known: Sequence[IPAddress], device: str = "") -> Seen:
    """One probe, by a device when one is named. `known`: the addresses of the host from before, should the
    DNS be silent."""
    if target.is_name:
        return await _ask_names(target, resolver, device)
    try:
        addresses = list(await resolver.addresses(target.host))
    except NoSuchDomainError:  # so says the DNS of a router that has lost the Internet, too
        addresses = list(known)
        if not addresses:
            return Seen(False, f"{target.host} does not exist, says the DNS")
    except DnsError as error:
        addresses = list(known)
        if not addresses:
            return Seen(False, f"the DNS does not answer ({error})", is_failure=True)
    address, words = await _first(addresses[:ADDRESSES_MAX], target.port, device)
    if address is not None:
        portal = await _portal(target, addresses, address, resolver)
        return Seen(not portal, portal, is_portal=bool(portal), address=address)
    words = words or f"{target.host} has no address"
    if target.hosts and (await _any_answers(target.hosts, device)).is_answered:
        return Seen(True, "")
    return Seen(False, f"{target}: {words}", is_failure=bool(addresses))


async def _ask_names(target: Target, resolver: Resolver, device: str) -> Seen:
    """Whether the DNS knows what it did; where it knows nothing any more, whether a host is there."""
    seen, is_there = await asyncio.gather(_look_up(target, resolver), _any_is_there(target.names, resolver))
    if seen.is_portal or seen.dns == "good" or not (target.names or target.hosts):
        return seen
    return Seen(True, "", dns="good") if is_there else await _any_answers(target.hosts, device)


async def _look_up(target: Target, resolver: Resolver) -> Seen:
    """A DNS that says no is none of a log-in page; one that says nothing proves nothing."""
    try:
        addresses = [each for each in await resolver.addresses(target.host) if not each.is_loopback]
        is_portal = bool(addresses) and await _answers_everything(target, addresses, resolver)
    except NoSuchDomainError:
        return Seen(True, "", dns="strange")
    except DnsError as error:
        return Seen(False, f"the DNS does not answer ({error})")
    words = f"{PORTAL}: every name has the same address ({addresses[0]})" if is_portal else ""
    return Seen(not is_portal, words, is_portal=is_portal, dns="good" if addresses else "strange")


async def _any_is_there(names: Sequence[str], resolver: Resolver) -> bool:
    """Whether the DNS knows one of these mail domains."""
    return any(await asyncio.gather(*(_is_there(name, resolver) for name in names)))


async def _is_there(name: str, resolver: Resolver) -> bool:
    try:
        return bool(await resolver.mx(name) or await resolver.addresses(name))
    except (DnsError, NoSuchDomainError):
        return False


async def _any_answers(hosts: Sequence[HostPort], device: str) -> Seen:
    """The DNS knows nothing that it knew: whether the line is gone with it."""
    found = await asyncio.gather(*(_connect(address, port, device) for address, port in hosts))
    words = "the DNS knows none of the names that mail went to"
    if "" in found:
        return Seen(True, words, dns="bad")
    words += ", and no host of those answers" if hosts else ""
    return Seen(False, words, is_failure=True, dns="bad")


async def _first(addresses: Sequence[IPAddress], port: int, device: str) -> tuple[IPAddress | None, str]:
    """The first address at which somebody is; else why at the last of them nobody is."""
    words = ""
    asking = [
        asyncio.create_task(_connect_after(n * NEXT_S, address, port, device), name=f"probe {address}")
        for n, address in enumerate(addresses)
    ]
    try:
        for each in asyncio.as_completed(asking):
            address, words = await each
            if not words:
                return address, ""
    finally:
        for task in asking:
            task.cancel()
    return None, words


async def _connect_after(wait_s: float, address: IPAddress, port: int, device: str) -> tuple[IPAddress, str]:
    await asyncio.sleep(wait_s)
    return address, await _connect(address, port, device)


async def _connect(address: IPAddress, port: int, device: str) -> str:
    """Why nobody is there; "" when somebody is, if only to refuse: what answers is there."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setblocking(False)
        if device:
            _go_by(made, device)
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(made, (str(address), port))
        except TimeoutError:
            return f"no answer within {CONNECT_S:.0f} s"
        except ConnectionRefusedError:
            return ""
        except OSError as error:
            return os.strerror(error.errno or errno.EIO).lower()
    return ""


def _go_by(made: socket.socket, device: str) -> None:
    """By this device whatever the routes say; where that is not allowed, by the routes."""
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    except OSError:
        return


async def _portal(
    target: Target, addresses: Sequence[IPAddress], address: IPAddress, resolver: Resolver
) -> str:
    """Why what answered is not the Internet; "" when it may well be."""
    try:
        async with asyncio.timeout(PORTAL_S):
            if not _is_number(target.host) and await _answers_everything(target, addresses, resolver):
                return f"{PORTAL}: every name has the same address ({addresses[0]})"
            if target.tls != "none" and (name := await _wrong_name(target, address)):
                return f"{PORTAL}: {target.host} shows a certificate for {name}"
    except (TimeoutError, OSError, NoTlsError):
        pass  # it answers, and more than that was not asked
    return ""


async def _answers_everything(target: Target, addresses: Sequence[IPAddress], resolver: Resolver) -> bool:
    """Whether names that we make up lead to where the host is. In a lab they do, and mail was taken there."""
    if set(addresses) & set(target.trusted):
        return False
    for ending in _MADE_UP:
        name = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(20)) + ending
        try:
            found = await resolver.addresses(name)
        except (DnsError, NoSuchDomainError):
            return False
        if not set(found) & set(addresses):
            return False
    return True


async def _wrong_name(target: Target, address: IPAddress) -> str:
    """Whom the certificate is for, when that is not the host; "" when it is."""
    try:
        return await names_somebody_else(
            str(address), target.port, target.host, target.ca_file, is_implicit=target.tls == "implicit"
        )
    except ssl.SSLError:
        return ""


def _is_here(host: str) -> bool:
    return host.lower() == "localhost" or (_is_number(host) and ip_address(host).is_loopback)


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
