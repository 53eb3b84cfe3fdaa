"""Port 25 outwards: whether the provider lets us reach other mail servers. Only when somebody asks."""

import asyncio
from typing import Final

from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.world import IPAddress

CONNECT_S: Final = 4.0
HOSTS_MAX: Final = 2
_OTHER: Final = (
    "Name one that takes mail: Domain to try port 25 with, on the page Advanced SMTP Configuration"
    " (port25_domain under [checks] in cmail.toml)."
)


async def check_port25(inquiry: Inquiry) -> Finding:
    """Connect to the mail host of a domain that surely takes mail."""
    inquiry.need_line()
    subject = inquiry.subject
    domain, port = subject.checks.port25_domain.strip(), subject.smtp.advanced.outbound_port
    expected = (
        "A connection to the mail servers of others." if subject.is_mx else "Only needed for delivery by MX."
    )
    if "." not in domain:
        return Finding(State.UNKNOWN, "No domain to try it with is named.", expected, _OTHER)
    records = sorted(await inquiry.ask(lambda: inquiry.reach.dns.mx(domain)), key=lambda r: r.preference)
    hosts = [record.exchange for record in records if record.exchange] or [domain]
    addresses: list[tuple[str, IPAddress]] = []
    for host in hosts[:HOSTS_MAX]:
        addresses += [(host, each) for each in (await inquiry.addresses(host))[:1]]
    if not addresses:
        words = f"{domain} has no mail host that could be tried."
        return Finding(State.UNKNOWN, words, expected, _OTHER)
    failures = []
    for host, address in addresses:
        try:
            said = await inquiry.reach.greeting(address, port, timeout_s=CONNECT_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            failures.append(f"{host}[{address}]:{port}: {_reason(error)}")
            continue
        return _judge(inquiry, host, said, expected)
    return _blocked(inquiry, domain, port, failures, expected)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing for {CONNECT_S:.0f} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _judge(inquiry: Inquiry, host: str, said: str, expected: str) -> Finding:
    if said.startswith("220"):
        return Finding(State.GOOD, f"Port 25 is open: {host} has answered.", expected, raw=(said,))
    if said[:1] in ("4", "5"):
        words = f"{host} can be reached, but does not want to talk to this address."
        advice = "Often the address is on a blocklist, or has no reverse DNS: see that row."
        state = State.LOOK if inquiry.subject.is_mx else State.GOOD
        return Finding(state, words, expected, advice if inquiry.subject.is_mx else "", raw=(said,))
    words = "Something answers on port 25, but it is no mail server."
    advice = "A device on the way has taken the connection: a firewall, or your provider."
    return Finding(State.WRONG if inquiry.subject.is_mx else State.LOOK, words, expected, advice, raw=(said,))


def _blocked(inquiry: Inquiry, domain: str, port: int, failures: list[str], expected: str) -> Finding:
    raw = tuple(failures)
    words = (
        f"No mail server of {domain} can be reached on port {port}: your provider (or a firewall) blocks it."
    )
    if not inquiry.subject.is_mx:
        upstream = inquiry.subject.smtp.host or "your upstream server"
        return Finding(
            State.GOOD, f"{words} It does not matter: mail goes out through {upstream}.", expected, raw=raw
        )
    advice = "Ask your provider to open port 25, or send through an upstream server: see SMTP Configuration."
    return Finding(State.WRONG, words, expected, advice, raw=raw)
