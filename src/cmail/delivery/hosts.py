"""Next hop -> the hosts to try, in order: MX, implicit MX, null MX, literals, loops (RFC 5321 §5.1)."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby

from cmail.mail.outcome import NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.status import (
    BAD_SYSTEM,
    DIRECTORY_FAILURE,
    NULL_MX,
    ROUTING_LOOP,
    UNABLE_TO_ROUTE,
    Detail,
)
from cmail.world import DnsError, Entropy, IPAddress, MxRecord, NoSuchDomainError, Resolver


@dataclass(frozen=True, slots=True)
class Host:
    """One address to connect to, and the name that it was found by."""

    name: str
    address: IPAddress
    port: int

    def __str__(self) -> str:
        """As in the log's relay=: name[address]:port."""
        return f"{self.name}[{self.address}]:{self.port}"


class NoHostError(Exception):
    """There is no host to try: for now, or (PermanentFailure) for ever."""

    def __init__(self, failure: TemporaryFailure | PermanentFailure, *, is_dns: bool = False) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.is_dns = is_dns  # the DNS gave no answer: the fallback host may be tried


def literal_address(text: str) -> IPAddress | None:
    """The address in [192.0.2.1] or [IPv6:2001:db8::1]; also without brackets. None: a name."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return ip_address(inner.removeprefix("IPv6:").removeprefix("ipv6:"))
    except ValueError:
        return None


async def upstream_hosts(name: str, port: int, resolver: Resolver) -> list[Host]:
    """The addresses of a host that the settings name; whatever is wrong with it is never a bounce."""
    literal = literal_address(name)
    if literal is not None:
        return [Host(name, literal, port)]
    try:
        addresses = await resolver.addresses(name)
    except NoSuchDomainError:
        raise _not_now(f"the host {name} of the settings does not exist (DNS)", UNABLE_TO_ROUTE) from None
    except DnsError as error:
        raise _no_answer(name, error) from None
    if not addresses:
        raise _not_now(f"the host {name} of the settings has no address (DNS)", UNABLE_TO_ROUTE)
    return [Host(name, address, port) for address in addresses]


@dataclass(frozen=True, slots=True)
class MxRouter:
    """Finds the hosts of a mail domain."""

    resolver: Resolver
    entropy: Entropy
    hostname: str
    is_own_address: Callable[[IPAddress, int], bool]

    async def hosts(self, domain: str, port: int) -> AsyncGenerator[Host, None]:
        """Hosts in the order to try; later preferences are looked up only when they are reached.
        NoHostError when there was none at all."""
        literal = literal_address(domain) if domain.startswith("[") else None
        if literal is not None:
            if self.is_own_address(literal, port):
                raise _loop(domain)
            yield Host(domain, literal, port)
            return
        trouble: NoHostError | None = None
        count = 0
        for group in by_preference(await self._exchanges(domain), self.entropy):
            found = await asyncio.gather(*(self._addresses(name, port) for name in group))
            if any(hosts is None for hosts in found):  # RFC 5321 §5.1: it and all behind it are cut
                trouble = trouble or _loop(domain)
                break
            for hosts in found:
                if isinstance(hosts, NoHostError):
                    trouble = hosts if trouble is None or hosts.is_dns else trouble
                    continue
                for host in hosts or ():
                    count += 1
                    yield host
        if not count:
            raise trouble or _not_now(f"no mail host of {domain} has an address", UNABLE_TO_ROUTE)

    async def _exchanges(self, domain: str) -> Sequence[MxRecord]:
        try:
            records = await self.resolver.mx(domain)
            if not records:
                await self._has_address(domain)
                return [MxRecord(0, domain)]  # implicit MX (RFC 5321 §5.1)
        except NoSuchDomainError:
            raise NoHostError(PermanentFailure(f"the domain {domain} does not exist", BAD_SYSTEM)) from None
        except DnsError as error:
            raise _no_answer(domain, error) from None
        if all(record.exchange in ("", ".") for record in records):  # RFC 7505 §3
            raise NoHostError(PermanentFailure(f"{domain} takes no mail (null MX)", NULL_MX))
        return [record for record in records if record.exchange not in ("", ".")]

    async def _has_address(self, domain: str) -> None:
        if not await self.resolver.addresses(domain):
            reason = f"{domain} has neither a mail host nor an address"
            raise NoHostError(PermanentFailure(reason, BAD_SYSTEM))

    async def _addresses(self, name: str, port: int) -> list[Host] | NoHostError | None:
        """The hosts of one exchange; None when it is ourselves."""
        if name == self.hostname:
            return None
        try:
            addresses = await self.resolver.addresses(name)
        except NoSuchDomainError:
            return _not_now(f"the mail host {name} does not exist (DNS)", UNABLE_TO_ROUTE)
        except DnsError as error:
            return _no_answer(name, error)
        if any(self.is_own_address(address, port) for address in addresses):
            return None
        if not addresses:
            return _not_now(f"the mail host {name} has no address (DNS)", UNABLE_TO_ROUTE)
        return [Host(name, address, port) for address in addresses]


def by_preference(records: Sequence[MxRecord], entropy: Entropy) -> list[list[str]]:
    """The exchanges grouped by preference, the best first, each group in an order left to chance."""
    ordered = sorted(records, key=lambda record: record.preference)
    groups = []
    for _, group in groupby(ordered, key=lambda record: record.preference):
        names = list(dict.fromkeys(record.exchange for record in group))
        for last in range(len(names) - 1, 0, -1):  # Fisher-Yates
            other = int(entropy.jitter() * (last + 1))
            names[last], names[other] = names[other], names[last]
        groups.append(names)
    return groups


def _not_now(reason: str, detail: Detail) -> NoHostError:
    return NoHostError(TemporaryFailure(reason, NotNow.HOST, detail))


def _loop(domain: str) -> NoHostError:
    reason = f"the mail host of {domain} is this server, which does not take mail for it: see [host] domains"
    return _not_now(reason, ROUTING_LOOP)


def _no_answer(name: str, error: DnsError) -> NoHostError:
    kind = NotNow.OFFLINE if error.is_unreachable else NotNow.HOST
    failure = TemporaryFailure(f"no answer from the DNS for {name}: {error}", kind, DIRECTORY_FAILURE)
    return NoHostError(failure, is_dns=True)
