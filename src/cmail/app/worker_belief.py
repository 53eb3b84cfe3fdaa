"""What is believed of a delivery that came to nothing: that it is their trouble, or that it was our line."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cmail.app.worker_confirm import WorkerConfirm
from cmail.app.worker_sight import is_silent
from cmail.delivery.agent import Ending, HostTrouble, RouteRefusal
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import BAD_SYSTEM, DIRECTORY_FAILURE, LOCAL_TROUBLE, UNABLE_TO_ROUTE
from cmail.net.dns_client import DnsClient
from cmail.policy.routing import MX_PREFIX, RELAY

DENIALS_MAX: Final = 3  # of a domain, by a DNS of which nothing good is known; then it is believed
DENIED_MAX: Final = 1000  # domains
GAP_S: Final = 60.0  # so long who is silent and found by a probe is tried again at once
_DNS_TROUBLE: Final = frozenset({DIRECTORY_FAILURE, UNABLE_TO_ROUTE})  # with a domain: its DNS, or ours
_DOUBTS: Final = {  # what says else than the DNS, by what the link process says
    "exists": "it exists when it is asked for anew",
    "dns": "the DNS knows nothing that it knew",
    "strange": "the DNS knows not even what everybody knows",
}


class WorkerBelief:
    """One a worker. Nothing bounces, and no attempt counts, for what a dead line says of others."""

    def __init__(self, confirm: WorkerConfirm, resolver: Callable[[], DnsClient]) -> None:
        self._confirm, self._resolver = confirm, resolver
        self._denials: dict[str, int] = {}  # how often a domain was denied, and is not believed
        self._silent_since: float | None = None  # the upstream server

    async def believed(self, ending: Ending, route: str) -> Ending:
        """What the DNS says does not exist, before anybody is told so: the DNS of a router that has lost the
        Internet says so of every name, or leads each to itself. And of a host that cannot be used whether a
        log-in page answers in its place, of one that is silent whether the line died without a word: then we
        are off line, and no attempt was made."""
        domain = route.removeprefix(MX_PREFIX) if route.startswith(MX_PREFIX) else ""
        is_back = route == RELAY and self._was_there(ending)
        match ending:
            case RouteRefusal(failure=failure) if failure.detail == BAD_SYSTEM:
                return self._denied(ending, domain, await self._confirm.word_on(domain))
            case HostTrouble() if domain and _is_dns_trouble(ending):
                return await self._unless_our_dns(ending, domain)
            case HostTrouble() if _is_doubtful(ending):
                return ending if await self._confirm.is_on_line() and not is_back else _offline(ending)
        return ending

    def _was_there(self, ending: Ending) -> bool:
        """Whether the upstream server does not answer, and did a moment ago. When a probe behind that finds
        it, a gap of the line is over: all goes at once, and not when the next attempt would be."""
        if not is_silent(ending):
            self._silent_since = None
            return False
        now = asyncio.get_running_loop().time()
        if self._silent_since is None:
            self._silent_since = now
        return now - self._silent_since < GAP_S

    def _denied(self, refusal: RouteRefusal, domain: str, says: str) -> Ending:
        """By the DNS, and what the link process says of it."""
        count = self._denials.pop(domain, 0) + 1
        is_in_vain = says in ("exists", "strange") and count > DENIALS_MAX
        if says in ("yes", "sure") or (is_in_vain and says == "strange"):
            return refusal
        if len(self._denials) >= DENIED_MAX:
            self._denials.clear()
        self._denials[domain] = count
        self._resolver().forget_failures()
        is_offline = says in ("no", "dns", "exists") and not is_in_vain
        reason = f"{refusal.failure.reason}, says the DNS, but {_DOUBTS.get(says, 'nobody else answers')}"
        kind = NotNow.OFFLINE if is_offline else NotNow.HOST
        return HostTrouble(TemporaryFailure(reason, kind, DIRECTORY_FAILURE))

    async def _unless_our_dns(self, trouble: HostTrouble, domain: str) -> Ending:
        """A DNS that fails for one domain is that domain's, when it knows others."""
        if trouble.transactions_count or await self._confirm.word_on(domain) not in ("no", "dns"):
            return trouble
        self._resolver().forget_failures()
        return _offline(trouble)


def _is_dns_trouble(trouble: HostTrouble) -> bool:
    return trouble.failure.detail in _DNS_TROUBLE and trouble.failure.kind is NotNow.HOST


def _is_doubtful(trouble: HostTrouble) -> bool:
    """Whether it may be the line that was in the way, and not the host; not what is wrong here."""
    is_theirs = trouble.failure.kind is NotNow.HOST and trouble.failure.detail != LOCAL_TROUBLE
    return is_theirs and not (trouble.transactions_count or trouble.is_unfound)


def _offline(trouble: HostTrouble) -> HostTrouble:
    """The same, of us: no attempt was made."""
    return HostTrouble(replace(trouble.failure, kind=NotNow.OFFLINE))
