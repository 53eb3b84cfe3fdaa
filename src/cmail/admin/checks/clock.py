"""The clock: how wrong it is by the time servers of the settings, or by the upstream server."""

import asyncio
from typing import Final

from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.admin.rows import duration
from cmail.net.sntp import PORT
from cmail.protocol.sntp import Reading, SntpError
from cmail.settings import Endpoint, parse_endpoint
from cmail.world import DnsError, NoSuchDomainError

FINE_S: Final = 5.0
WRONG_S: Final = 300.0  # log-ins, certificates and TLS go wrong
SERVERS_MAX: Final = 3
ASK_S: Final = 1.5
EXPECTED: Final = "Right to a few seconds."
_OTHERS: Final = (
    "Name others: Time servers on the page Advanced SMTP Configuration (time_servers under [checks] in"
    " cmail.toml)."
)
ADVICE: Final = "Switch the time service of the system on, for example: timedatectl set-ntp true"


async def check_clock(inquiry: Inquiry) -> Finding:
    """All are asked at once."""
    servers = [*inquiry.subject.checks.time_servers[:SERVERS_MAX]]
    if inquiry.subject.checks.time_servers and inquiry.subject.smtp.host and not inquiry.subject.is_mx:
        servers.append(inquiry.subject.smtp.host)
    if not servers:
        words = "Nobody is asked for the time: checks.time_servers is empty."
        return Finding(State.UNKNOWN, words, EXPECTED)
    inquiry.need_line()
    failures: list[str] = []
    found = await asyncio.gather(*(_ask(inquiry, server, failures) for server in servers))
    readings = sorted(
        (reading.offset_s, server) for reading, server in zip(found, servers, strict=True) if reading
    )
    if readings:  # the middle one: a server that is wrong itself does not decide
        return judge(*readings[len(readings) // 2])
    words = "No time server can be reached, so it is not known how right the clock is."
    return Finding(State.UNKNOWN, words, EXPECTED, _OTHERS, raw=failures)


def judge(offset_s: float, server: str) -> Finding:
    """What is to be said of it."""
    wrong_s = abs(offset_s)
    if wrong_s <= FINE_S:
        return Finding(State.GOOD, f"The clock is right ({server} was asked).", EXPECTED)
    late = "slow" if offset_s > 0 else "fast"
    words = f"The clock is {duration(int(wrong_s * 1000))} {late} ({server} was asked)."
    state = State.WRONG if wrong_s > WRONG_S else State.LOOK
    return Finding(state, words, EXPECTED, ADVICE)


async def _ask(inquiry: Inquiry, server: str, failures: list[str]) -> Reading | None:
    try:
        endpoint = _endpoint(server)
        addresses = await inquiry.reach.dns.addresses(endpoint.host)
        if not addresses:
            raise OSError("it has no address")
        found = await inquiry.reach.ask_time(addresses[0], endpoint.port, timeout_s=ASK_S)
    except (OSError, TimeoutError, DnsError, NoSuchDomainError, SntpError, ValueError) as error:
        failures.append(f"{server}: {str(error) or 'no answer'}")
        return None
    assert isinstance(found, Reading)
    return found


def _endpoint(server: str) -> Endpoint:
    return parse_endpoint(server, PORT)
