"""Which checks there are: one table for the machine, one for each domain."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cmail.admin.checks.addresses import check_addresses, check_reverse
from cmail.admin.checks.certificate import check_certificate
from cmail.admin.checks.clock import check_clock
from cmail.admin.checks.disk import check_disk
from cmail.admin.checks.dmarc import check_dmarc
from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.inquiry import Inquiry, Subject
from cmail.admin.checks.mx import check_mx
from cmail.admin.checks.port25 import check_port25
from cmail.admin.checks.spf import check_spf
from cmail.admin.checks.upstream import check_upstream
from cmail.policy.routing import is_near


@dataclass(frozen=True, slots=True)
class Check:
    """One row."""

    name: str  # "disk", "mx:example.org"
    title: str
    run: Callable[[Inquiry], Awaitable[Finding]] = field(repr=False)
    domain: str = ""  # "": of this machine
    is_on_demand: bool = False  # bothers others: only when somebody asks

    @property
    def kind(self) -> str:
        """The name without its domain."""
        return self.name.partition(":")[0]


_OF_MACHINE: Final = (
    Check("addresses", "Addresses (A, AAAA)", check_addresses),
    Check("reverse", "Reverse DNS (PTR)", check_reverse),
    Check("certificate", "TLS certificate", check_certificate),
    Check("upstream", "Upstream server", check_upstream, is_on_demand=True),
    Check("port25", "Port 25 outwards", check_port25, is_on_demand=True),
    Check("clock", "Clock", check_clock),
    Check("disk", "Disk", check_disk),
)
_OF_DOMAIN: Final[Sequence[tuple[str, str, Callable[[Inquiry, str], Awaitable[Finding]]]]] = (
    ("mx", "MX: the way to us", check_mx),
    ("spf", "SPF: who may send", check_spf),
    ("dmarc", "DMARC: the policy", check_dmarc),
)


def checks_of(subject: Subject) -> list[Check]:
    """All rows, in the order in which they are read best: the machine, then each domain."""
    has_upstream = bool(subject.smtp.host) and not subject.is_mx
    found = [check for check in _OF_MACHINE if check.name != "upstream" or has_upstream]
    for domain in dict.fromkeys(map(str.lower, subject.domains)):
        for kind, title, run in _OF_DOMAIN:
            found.append(Check(f"{kind}:{domain}", title, _for(run, domain), domain))
    return found


def _for(
    run: Callable[[Inquiry, str], Awaitable[Finding]], domain: str
) -> Callable[[Inquiry], Awaitable[Finding]]:
    if "." in domain and not is_near(domain):
        return lambda inquiry: run(inquiry, domain)

    async def judge_near(_: Inquiry) -> Finding:
        words = f"{domain} is a name of your own network: nobody outside asks for its records."
        return Finding(State.GOOD, words)

    return judge_near
