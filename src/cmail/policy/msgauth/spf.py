"""check_host: may this address send mail of that domain? Sender Policy Framework (RFC 7208 §4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_network
from typing import Final, Protocol

from cmail.mail.limits import DOMAIN_OCTETS_MAX
from cmail.policy.msgauth.spf_macros import Facts, expand, expand_domain, needs_pointer
from cmail.policy.msgauth.spf_record import (
    QUALIFIERS,
    Mechanism,
    SpfRecord,
    SpfSyntaxError,
    parse_record,
    select_records,
)
from cmail.world import DnsError, IPAddress, MxRecord, NoSuchDomainError

LOOKUPS_MAX: Final = 10  # RFC 7208 §4.6.4: terms that ask the DNS, of all records together
VOID_LOOKUPS_MAX: Final = 2  # of them, or of what they ask, those that find nothing
MX_HOSTS_MAX: Final = 10
POINTERS_MAX: Final = 10


class Spf(StrEnum):
    """How it ends (RFC 7208 §2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class SpfResult:
    """The result and what led to it."""

    result: Spf
    mechanism: str = ""  # the term that matched, as it stands in the record
    reason: str = ""  # in words, when there is an error
    explanation: str = ""  # what the domain says to who was refused; foreign text
    lookups: int = 0  # that it took


class SpfDns(Protocol):
    """The DNS as SPF needs it: no /etc/hosts, no literals. Each raises DnsError or NoSuchDomainError; no
    records is an empty list."""

    async def txt(self, name: str) -> Sequence[str]:
        """The TXT records of a name."""
        ...

    async def mx(self, domain: str) -> Sequence[MxRecord]:
        """The MX records of a domain."""
        ...

    async def address_records(self, host: str, version: int) -> Sequence[IPAddress]:
        """Its A records (version 4) or AAAA (6)."""
        ...

    async def pointers(self, address: IPAddress) -> Sequence[str]:
        """The names of an address (PTR)."""
        ...


async def check_host(
    dns: SpfDns, client: IPAddress, domain: str, sender: str = "", helo: str = "", **more: str | int
) -> SpfResult:
    """RFC 7208 §4. `sender` is the reverse-path; "" is postmaster@domain. `more`: receiver and time_s of
    spf_macros.Facts. Whoever calls it has a budget of time, 20 s at the least (§4.6.4)."""
    mapped = client.ipv4_mapped if isinstance(client, IPv6Address) else None
    local_part, _, sender_domain = sender.rpartition("@")
    full = f"{local_part or 'postmaster'}@{sender_domain or domain}"
    facts = Facts(mapped or client, full, helo, **more)  # type: ignore[arg-type]
    question = _Question(dns, facts)
    try:
        return await question.judge(domain, is_first=True)
    except _Stop as stop:
        return SpfResult(stop.result, reason=stop.reason, lookups=question.lookups)


class _Stop(Exception):
    """An error ends everything at once, however deep (RFC 7208 §2.6.6, §2.6.7)."""

    def __init__(self, result: Spf, reason: str) -> None:
        super().__init__(reason)
        self.result, self.reason = result, reason


@dataclass(slots=True)
class _Question:
    """One check_host with all that it includes: its limits are counted over all of it."""

    dns: SpfDns
    facts: Facts
    lookups: int = 0
    _void: int = 0
    _names: list[str] | None = field(default=None)  # validated names of the client

    async def judge(self, domain: str, *, is_first: bool = False) -> SpfResult:
        """The record of one domain."""
        if not _is_domain(domain):  # RFC 7208 §4.3
            return SpfResult(Spf.NONE, reason=f"{domain!r} is no domain")
        record = await self._record(domain)
        if record is None:
            return SpfResult(Spf.NONE, reason=f"{domain} has no SPF record", lookups=self.lookups)
        for mechanism in record.mechanisms:
            if await self._is_match(mechanism, domain):
                result = Spf(QUALIFIERS[mechanism.qualifier])
                is_asked = is_first and result is Spf.FAIL and record.exp
                explanation = await self._explain(record.exp, domain) if is_asked else ""
                return SpfResult(result, str(mechanism), "", explanation, self.lookups)
        if record.redirect:
            return await self._redirect(record, domain, is_first=is_first)
        return SpfResult(Spf.NEUTRAL, lookups=self.lookups)  # RFC 7208 §4.7

    async def _record(self, domain: str) -> SpfRecord | None:
        try:
            texts = await self.dns.txt(domain)
        except NoSuchDomainError:
            return None
        except DnsError as error:
            raise _Stop(Spf.TEMPERROR, f"no answer from the DNS for {domain}: {error}") from None
        found = select_records(texts)
        if len(found) > 1:
            raise _Stop(Spf.PERMERROR, f"{domain} has {len(found)} SPF records; there may be one")
        try:
            return parse_record(found[0]) if found else None
        except SpfSyntaxError as error:
            raise _Stop(Spf.PERMERROR, f"the record of {domain}: {error}") from None

    async def _redirect(self, record: SpfRecord, domain: str, *, is_first: bool) -> SpfResult:
        """RFC 7208 §6.1."""
        self._count()
        target = await self._expand(record.redirect, domain)
        result = await self.judge(target, is_first=is_first)
        if result.result is Spf.NONE:
            raise _Stop(Spf.PERMERROR, f"redirect={target}: {result.reason}")
        return result

    async def _is_match(self, mechanism: Mechanism, domain: str) -> bool:
        match mechanism.name:
            case "all":
                return True
            case "ip4" | "ip6":
                return mechanism.network is not None and self.facts.client in mechanism.network
        self._count()
        target = await self._expand(mechanism.domain, domain)
        match mechanism.name:
            case "include":
                return await self._includes(target)
            case "a":
                return await self._has_address(target, mechanism)
            case "mx":
                return await self._has_mx(target, mechanism)
            case "exists":  # A whatever the client has (RFC 7208 §5.7)
                return _is_domain(target) and bool(await self._addresses(target, 4))
            case _:
                return await self._has_pointer(target)

    async def _includes(self, target: str) -> bool:
        """RFC 7208 §5.2: a pass matches; nothing there is an error."""
        result = await self.judge(target)
        if result.result is Spf.NONE:
            raise _Stop(Spf.PERMERROR, f"include:{target}: {result.reason}")
        return result.result is Spf.PASS

    async def _has_address(self, host: str, mechanism: Mechanism) -> bool:
        if not _is_domain(host):
            return False
        version = self.facts.client.version
        prefix = mechanism.prefix4 if version == 4 else mechanism.prefix6
        found = await self._addresses(host, version)
        return any(self.facts.client in ip_network(f"{each}/{prefix}", strict=False) for each in found)

    async def _has_mx(self, target: str, mechanism: Mechanism) -> bool:
        if not _is_domain(target):
            return False
        try:
            records = await self.dns.mx(target)
        except NoSuchDomainError:
            records = ()
        except DnsError as error:
            raise _Stop(Spf.TEMPERROR, f"no answer from the DNS for {target}: {error}") from None
        self._note(records)
        if len(records) > MX_HOSTS_MAX:
            raise _Stop(Spf.PERMERROR, f"{target} has {len(records)} MX records, 10 may be asked for")
        for record in sorted(records, key=lambda record: record.preference):
            if await self._has_address(record.exchange, mechanism):
                return True
        return False

    async def _has_pointer(self, target: str) -> bool:
        """RFC 7208 §5.5: a name of the client that leads back to it and is the target or below it."""
        wanted = target.lower()
        return any(name == wanted or name.endswith("." + wanted) for name in await self._pointers())

    async def _pointers(self) -> list[str]:
        if self._names is None:
            self._names = []
            try:
                names = await self.dns.pointers(self.facts.client)
            except DnsError:
                return self._names  # RFC 7208 §5.5: it just does not match
            except NoSuchDomainError:
                names = ()
            self._note(names)
            for name in names[:POINTERS_MAX]:
                if await self._leads_back(name):
                    self._names.append(name.lower().removesuffix("."))
        return self._names

    async def _leads_back(self, name: str) -> bool:
        try:
            return self.facts.client in await self.dns.address_records(name, self.facts.client.version)
        except (DnsError, NoSuchDomainError):
            return False

    async def _addresses(self, host: str, version: int) -> Sequence[IPAddress]:
        try:
            found = await self.dns.address_records(host, version)
        except NoSuchDomainError:
            found = ()
        except DnsError as error:
            raise _Stop(Spf.TEMPERROR, f"no answer from the DNS for {host}: {error}") from None
        self._note(found)
        return found

    async def _expand(self, text: str, domain: str) -> str:
        return expand_domain(text, self.facts, domain, await self._pointer(text, domain))

    async def _pointer(self, text: str, domain: str) -> str:
        """What %{p} says: the name in the domain, else one below it, else any (RFC 7208 §7.3)."""
        if not needs_pointer(text):
            return ""
        names = sorted(
            await self._pointers(), key=lambda name: (name != domain, not name.endswith("." + domain))
        )
        return names[0] if names else ""

    async def _explain(self, spec: str, domain: str) -> str:
        """RFC 7208 §6.2: whatever is wrong with it, there is none."""
        try:
            texts = await self.dns.txt(await self._expand(spec, domain))
            if len(texts) != 1 or not texts[0].isascii() or not texts[0].isprintable():
                return ""
            return expand(texts[0], self.facts, domain, await self._pointer(texts[0], domain))
        except (DnsError, NoSuchDomainError):
            return ""

    def _count(self) -> None:
        """A term that asks the DNS."""
        self.lookups += 1
        if self.lookups > LOOKUPS_MAX:
            raise _Stop(Spf.PERMERROR, f"it asks the DNS more than {LOOKUPS_MAX} times")

    def _note(self, answer: Sequence[object]) -> None:
        """A void look-up: no such name, or no records (RFC 7208 §4.6.4)."""
        self._void += not answer
        if self._void > VOID_LOOKUPS_MAX:
            raise _Stop(Spf.PERMERROR, f"more than {VOID_LOOKUPS_MAX} of its look-ups find nothing")


def _is_domain(name: str) -> bool:
    """Whether the DNS can be asked for it (RFC 7208 §4.3): two labels at least, none empty or too long."""
    labels = name.removesuffix(".").split(".")
    return len(labels) > 1 and len(name) <= DOMAIN_OCTETS_MAX and all(0 < len(each) <= 63 for each in labels)
