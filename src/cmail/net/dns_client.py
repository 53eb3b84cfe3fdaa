"""DnsClient: the Resolver on dnspython, with time-outs that end and answers that are kept."""

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from cmail.net.dns_cache import STALE_MAX_S, DnsCache
from cmail.net.hosts_file import HostsFile
from cmail.net.settings import DnsSettings
from cmail.world import DnsError, IPAddress, MxRecord, NoSuchDomainError

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.name
    import dns.resolver

LIFETIME_S: Final = 10.0  # of one question, over all servers and tries
TRY_S: Final = 3.0
_NEGATIVE_TTL_S: Final = 60.0  # a name that somebody is about to create is not denied for long
STALE_AFTER_S: Final = 2.0  # so long a new answer is waited for when there is an old one (RFC 8767 §5: 1.8)
_OURS_TTL_S: Final = 5.0  # a host that the settings name and nobody knows: it is asked for again soon
_FOR_ROUTES: Final = frozenset(("MX", "A", "AAAA"))  # old answers are for finding hosts, not for judging any
_SILENCE_S: Final = 60.0  # when no server said anything for so long, it is we who are off line

_Kept = tuple[Any, ...] | NoSuchDomainError


def _is_doubtful(kind: str, kept: _Kept) -> bool:
    """Whether it may have been a lie of the way there. That a host has no IPv6 is believed as an address is:
    most have none, and to ask again would be a round trip at each link-up."""
    return isinstance(kept, NoSuchDomainError) or (not kept and kind != "AAAA")


class Word(Enum):
    """What is said of a name."""

    THERE = "there"
    DENIED = "denied"
    DENIED_BY_ITS_OWN = "denied by its own"  # by a server of the zone that it would be in
    NO_ANSWER = "no answer"


class DnsClient:
    """Answers from the servers of the settings, the system's otherwise. IPv4 before IPv6: a peer judges
    mail by the name of its address, and many networks with IPv6 have none."""

    def __init__(
        self,
        settings: DnsSettings,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        lifetime_s: float = LIFETIME_S,
        try_s: float = TRY_S,
        hosts_path: str = "/etc/hosts",
    ) -> None:
        self._monotonic = monotonic
        self._lifetime_s, self._try_s = lifetime_s, try_s
        self._hosts = HostsFile(monotonic, hosts_path)
        self._cache: DnsCache[tuple[Any, ...] | NoSuchDomainError] = DnsCache(monotonic)
        self._asking: dict[tuple[str, str], asyncio.Task[_Kept]] = {}  # behind an old answer
        self._heard_at = float("-inf")
        self._servers = settings.servers
        self._resolver: dns.asyncresolver.Resolver | Exception | None = None
        self.ours: frozenset[str] = frozenset()  # hosts of the settings: an old answer does at once
        # What they had last, and when: a DNS that denies them is more often wrong than the settings are.
        self._had: dict[tuple[str, str], tuple[_Kept, float]] = {}
        self._told: dict[str, Sequence[IPAddress]] = {}

    def update(self, settings: DnsSettings) -> None:
        """New servers, from the next question on."""
        self._resolver = None
        if settings.servers != self._servers:
            self._servers = settings.servers
            self._cache.clear()
            self._had.clear()

    def forget(self) -> None:
        """Ask anew, and read the system's servers anew: the link came up, perhaps elsewhere."""
        self._resolver = None
        self._cache.clear()
        self._had.clear()
        self._told = {}

    def told(self, host: str, addresses: Sequence[str]) -> None:
        """Where others found a host of the settings last: for when the DNS denies it, or fails."""
        self._told = {host: [ip_address(each) for each in addresses]} if addresses else {}

    def forget_failures(self) -> None:
        """The link came up, perhaps elsewhere: other servers perhaps, and what did not exist may have been
        a lie of the way there. What was answered is kept for its time, and for a day where nobody answers:
        a question is a round trip."""
        self._resolver = None
        self._cache.drop(lambda key, kept: _is_doubtful(key[0], kept))

    async def mx(self, domain: str) -> Sequence[MxRecord]:
        """See Resolver."""
        records = await self._ask("MX", domain, _mx)
        return records

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        """See Resolver."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        known = self._hosts.addresses(host.lower().removesuffix("."))
        if known:
            return known
        if host not in self._told:
            return await self._addresses(host)
        try:
            return await self._addresses(host) or self._told.get(host, [])
        except (DnsError, NoSuchDomainError):
            if instead := self._told.get(host):
                return instead
            raise

    async def _addresses(self, host: str) -> Sequence[IPAddress]:
        found = await asyncio.gather(
            self._ask("A", host, _address), self._ask("AAAA", host, _address), return_exceptions=True
        )
        addresses: list[IPAddress] = []
        for answer in found:
            if isinstance(answer, BaseException):
                if not isinstance(answer, DnsError):
                    raise answer
            else:
                addresses += answer
        if addresses:  # half an answer is enough to connect
            return addresses
        for answer in found:
            if isinstance(answer, DnsError):
                raise answer
        return []

    async def ptr(self, address: IPAddress) -> str:
        """See Resolver."""
        try:
            names = await self._ask("PTR", address.reverse_pointer, _ptr)
        except (DnsError, NoSuchDomainError):
            return ""
        return names[0] if names else ""

    # What the world sees, without /etc/hosts: for checks of our own records and for SPF.

    async def txt(self, name: str) -> Sequence[str]:
        """The TXT records of a name, the strings of each put together; octets above ASCII as Latin-1."""
        records = await self._ask("TXT", name, _txt)
        return records

    async def address_records(self, host: str, version: int) -> Sequence[IPAddress]:
        """The A records of a name (version 4), or its AAAA (6)."""
        records = await self._ask("A" if version == 4 else "AAAA", host, _address)
        return records

    async def pointers(self, address: IPAddress) -> Sequence[str]:
        """All names of an address (PTR), in lower case."""
        records = await self._ask("PTR", address.reverse_pointer, _ptr)
        return records

    async def word_on(self, domain: str) -> Word:
        """What the servers say of a mail domain now; nothing that was kept counts."""
        words = set()
        for kind in ("MX", "A", "AAAA"):
            word = await self._word(kind, domain)
            if word is Word.THERE or word is Word.NO_ANSWER:
                return word
            words.add(word)
        return Word.DENIED if Word.DENIED in words else Word.DENIED_BY_ITS_OWN

    async def _word(self, kind: str, name: str) -> Word:
        """Who is authoritative for the zone that the name would be in needs to ask nobody (RFC 2308 §2)."""
        import dns.exception
        import dns.resolver

        if self._resolver is None:
            self._resolver = await asyncio.to_thread(_make_resolver, self._servers, self._try_s)
        resolver, question = self._resolver, _absolute(name)
        if isinstance(resolver, Exception) or question is None:
            self._resolver = None
            return Word.NO_ANSWER
        try:
            answer = await resolver.resolve(
                question, kind, lifetime=self._lifetime_s, search=False, raise_on_no_answer=False
            )
            if answer.rrset is not None:
                return Word.THERE
            response = answer.response
        except dns.resolver.NXDOMAIN as error:
            response = error.response(question)  # type: ignore[no-untyped-call]
        except (dns.exception.DNSException, OSError, ValueError):
            return Word.NO_ANSWER
        return Word.DENIED_BY_ITS_OWN if _is_of_its_own(response, question) else Word.DENIED

    async def _ask(self, kind: str, name: str, read: "Callable[[Any], Any]") -> tuple[Any, ...]:
        kept = self._cache.get(kind, name)
        if kept is None:
            kept = await self._ask_anew(kind, name, read)
        if isinstance(kept, NoSuchDomainError):
            raise NoSuchDomainError(*kept.args)
        return kept

    async def _ask_anew(self, kind: str, name: str, read: "Callable[[Any], Any]") -> "_Kept":
        old = self._cache.get_stale(kind, name)
        if kind not in _FOR_ROUTES or old is None or _is_doubtful(kind, old):
            return await self._query_and_keep(kind, name, read)
        key = (kind, name)
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._query_and_keep(kind, name, read), name=f"DNS: {kind} {name}")
            self._asking[key] = asking
            asking.add_done_callback(lambda task: self._answered(key, task))
        await asyncio.wait({asking}, timeout=0 if name in self.ours else STALE_AFTER_S)
        if not asking.done() or asking.cancelled() or asking.exception() is not None:
            return old
        return asking.result()

    def _answered(self, key: tuple[str, str], task: "asyncio.Task[_Kept]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # whoever waited has the old answer

    async def _query_and_keep(self, kind: str, name: str, read: "Callable[[Any], Any]") -> "_Kept":
        kept, ttl_s = await self._query(kind, name, read)
        if name in self.ours and kind in _FOR_ROUTES:
            kept, ttl_s = self._of_ours(kind, name, kept, ttl_s)
        self._cache.put(kind, name, kept, ttl_s)
        return kept

    def _of_ours(self, kind: str, name: str, kept: "_Kept", ttl_s: float) -> "tuple[_Kept, float]":
        """Of a host that the settings name: what it had before, for a day, when it is denied now."""
        now_s, key = self._monotonic(), (kind, name)
        if not _is_doubtful(kind, kept):
            self._had[key] = kept, now_s
            return kept, ttl_s
        before, at_s = self._had.get(key, (kept, now_s))
        return (before if now_s - at_s <= STALE_MAX_S else kept), _OURS_TTL_S

    async def _query(self, kind: str, name: str, read: "Callable[[Any], Any]") -> "tuple[_Kept, float]":
        """What to keep and for how long; DnsError is not kept."""
        if self._resolver is None:  # imports take 50 ms and 6 MiB, and files are read: in a thread
            self._resolver = await asyncio.to_thread(_make_resolver, self._servers, self._try_s)
        import dns.exception
        import dns.resolver

        resolver = self._resolver
        try:
            if isinstance(resolver, Exception):
                self._resolver = None
                raise resolver
            question = _absolute(name)
            if question is None:
                return NoSuchDomainError(f"{name} is no domain name"), _NEGATIVE_TTL_S
            answer = await resolver.resolve(
                question, kind, lifetime=self._lifetime_s, search=False, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            self._heard_at = self._monotonic()
            return NoSuchDomainError(f"{name} does not exist"), _NEGATIVE_TTL_S
        except dns.resolver.NoNameservers as error:
            if _is_answered(error):
                self._heard_at = self._monotonic()
            raise DnsError(_failure_words(error), is_unreachable=self._is_silent()) from None
        except dns.resolver.LifetimeTimeout as error:
            if _is_answered(error):
                self._heard_at = self._monotonic()
            reason = f"no answer within {self._lifetime_s:g} s"
            raise DnsError(reason, is_unreachable=self._is_silent()) from None
        except (dns.resolver.NoResolverConfiguration, OSError, ValueError) as error:
            raise DnsError(f"no DNS server can be asked: {error}", is_unreachable=True) from None
        except dns.exception.DNSException as error:
            raise DnsError(f"{type(error).__name__}: {error}".splitlines()[0]) from None
        self._heard_at = self._monotonic()
        if answer.rrset is None:
            return (), _NEGATIVE_TTL_S
        return tuple(read(record) for record in answer.rrset), float(answer.rrset.ttl)

    def _is_silent(self) -> bool:
        """Whether no server has said anything of late: not their domain, our line is the trouble."""
        return self._monotonic() - self._heard_at > _SILENCE_S


def _make_resolver(servers: Sequence[str], try_s: float) -> "dns.asyncresolver.Resolver | Exception":
    """A resolver for these servers, none: the system's; or why there is none."""
    import dns.asyncresolver
    import dns.exception

    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            resolver.nameservers = [_server(text) for text in servers]
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return error
    resolver.timeout = try_s
    resolver.cache = None
    return resolver


def parse_server(text: str) -> tuple[str, int]:
    """Address and port of "192.0.2.1", "127.0.0.1:5353", "::1" or "[::1]:5353"; ValueError."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: the port is no number from 1 to 65535")
    return str(ip_address(host)), int(port)


def _server(text: str) -> Any:
    import dns.nameserver

    return dns.nameserver.Do53Nameserver(*parse_server(text))


def _absolute(name: str) -> "dns.name.Name | None":
    """The name as a question; None when no domain can have it (an empty or too long label)."""
    import dns.exception
    import dns.name

    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            return None
    try:
        return dns.name.from_text(name, dns.name.root)
    except dns.exception.DNSException:
        return None


def _is_of_its_own(response: Any, question: Any) -> bool:
    """Whether a server denies a name of a zone of its own."""
    import dns.flags
    import dns.name
    import dns.rdatatype

    zones = [each.name for each in response.authority if each.rdtype == dns.rdatatype.SOA]
    is_within = any(zone != dns.name.root and question.is_subdomain(zone) for zone in zones)
    return is_within and bool(response.flags & dns.flags.AA)


def _is_answered(error: Any) -> bool:
    """Whether a server said something, if only SERVFAIL."""
    return any(attempt[4] is not None for attempt in error.kwargs.get("errors") or ())


def _failure_words(error: Any) -> str:
    words = {str(attempt[3]).rstrip(".") for attempt in error.kwargs.get("errors") or ()}
    return ", ".join(sorted(words))[:200] or "no server answered"


def _mx(record: Any) -> MxRecord:
    return MxRecord(record.preference, record.exchange.to_text(omit_final_dot=True).lower().rstrip("."))


def _address(record: Any) -> IPAddress:
    return ip_address(record.address)


def _ptr(record: Any) -> str:
    return str(record.target.to_text(omit_final_dot=True).lower())


def _txt(record: Any) -> str:
    return b"".join(record.strings).decode("latin-1")
