"""MX: whether mail for a domain finds the way to us (RFC 5321 §5.1)."""

from collections.abc import Sequence
from typing import Final

from cmail.admin.checks.finding import Finding, State, listed
from cmail.admin.checks.inquiry import Inquiry
from cmail.delivery.hosts import literal_address
from cmail.world import IPAddress, MxRecord

PRIORITY: Final = 10


async def check_mx(inquiry: Inquiry, domain: str) -> Finding:
    """One domain."""
    records = await inquiry.ask(lambda: inquiry.reach.dns.mx(domain))
    ordered = sorted(records, key=lambda record: (record.preference, record.exchange))
    expected = f"An MX record that names {inquiry.subject.hostname}."
    if not ordered:
        return await _judge_none(inquiry, domain, expected)
    found = listed([f"{record.exchange or '.'} (priority {record.preference})" for record in ordered])
    found = f"Mail for {domain} goes to {found}."
    raw = tuple(f"{domain}. MX {record.preference} {record.exchange}." for record in ordered)
    if not any(record.exchange for record in ordered):
        words = f"The DNS says that {domain} takes no mail at all (a null MX, RFC 7505)."
        return Finding(State.WRONG, words, expected, "Replace that record.", _record(inquiry, domain), raw)
    state, more, advice = await _judge(inquiry, domain, ordered)
    wanted = () if state is State.GOOD else _record(inquiry, domain)
    return Finding(state, f"{found} {more}".strip(), expected, advice, wanted, raw)


async def _judge(inquiry: Inquiry, domain: str, records: Sequence[MxRecord]) -> tuple[State, str, str]:
    """State, what else there is to say, what to do."""
    hosts = [record.exchange for record in records if record.exchange]
    if literal := next((host for host in hosts if literal_address(host) is not None), None):
        return (
            State.WRONG,
            f"{literal} is an address; an MX record has to be a name.",
            "Put a host name there.",
        )
    addresses = {host: await inquiry.addresses(host) for host in dict.fromkeys(hosts)}
    own_addresses = set(await inquiry.addresses(inquiry.subject.hostname))
    ours = [host for host in addresses if _is_ours(inquiry, host, addresses[host], own_addresses)]
    if missing := [host for host, found in addresses.items() if not found]:
        inquiry.doubt()
        state = State.WRONG if set(ours or addresses) <= set(missing) else State.LOOK
        return (
            state,
            f"{listed(missing)} has no address.",
            "See the row Addresses: the name needs an A record.",
        )
    if not ours:
        return _judge_elsewhere(inquiry, domain, hosts)
    if not any(record.exchange in ours for record in records if record.preference == records[0].preference):
        words = "Another server is tried first, this one only when that is away."
        return (
            State.LOOK,
            words,
            "That is right if the other one passes mail on to you; else exchange the priorities.",
        )
    return State.GOOD, "That is this server.", ""


def _is_ours(inquiry: Inquiry, host: str, addresses: Sequence[IPAddress], own: set[IPAddress]) -> bool:
    if host == inquiry.subject.hostname:
        return True
    return any(each in own or inquiry.reach.is_own(each) for each in addresses)


def _judge_elsewhere(inquiry: Inquiry, domain: str, hosts: Sequence[str]) -> tuple[State, str, str]:
    smtp = inquiry.subject.smtp
    if smtp.kick and smtp.host.lower() in hosts:
        words = "That is your upstream server, which is told to send it on when the line comes up."
        return State.GOOD, words, ""
    words = "That is not this server."
    advice = (
        f"It is right if your provider takes the mail of {domain} in and hands it on to this server. If it"
        " should come here directly, let the MX record name this server."
    )
    return State.LOOK, words, advice


async def _judge_none(inquiry: Inquiry, domain: str, expected: str) -> Finding:
    """No MX: the address of the domain itself counts (RFC 5321 §5.1)."""
    inquiry.doubt()
    addresses = await inquiry.addresses(domain)
    wanted = _record(inquiry, domain)
    advice = "Have this record entered where the DNS of your domain is kept."
    if not addresses:
        found = f"{domain} has no MX record and no address: nobody can send mail to it."
        return Finding(State.WRONG, found, expected, advice, wanted)
    found = (
        f"{domain} has no MX record; other servers try the address of the domain itself, {listed(addresses)}."
    )
    is_ours = any(inquiry.reach.is_own(each) for each in addresses)
    return Finding(State.LOOK if is_ours else State.WRONG, found, expected, advice, wanted)


def _record(inquiry: Inquiry, domain: str) -> tuple[str, ...]:
    return (f"{domain}. 3600 IN MX {PRIORITY} {inquiry.subject.hostname}.",)
