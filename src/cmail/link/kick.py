"""The kick: what the settings plan, with the network under it; the plan itself is in kick_plan."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cmail.delivery.hosts import literal_address
from cmail.delivery.settings import SmtpSettings
from cmail.link.kick_plan import Came
from cmail.link.kicks.command import command
from cmail.link.kicks.connect import connect
from cmail.link.kicks.etrn import etrn
from cmail.link.kicks.finger import finger
from cmail.link.kicks.string import string
from cmail.link.kicks.target import KickResult, Target, not_now, refused
from cmail.link.settings import KickSettings
from cmail.protocol.sasl_client import Credentials
from cmail.world import DnsError, IPAddress, NoSuchDomainError, Resolver

TIMEOUT_S: Final = 30.0  # one try of a method without replies: by then it was told or it was not
COMMAND_S: Final = 60.0

_PORTS: Final = {"etrn": (25, 587), "atrn": (366, 25)}  # RFC 1985, RFC 2645 §1; where nobody says another
_METHODS: Final[dict[str, Callable[[Target], Awaitable[KickResult]]]] = {
    "finger": finger,
    "connect": connect,
    "string": string,
    "etrn": etrn,
    "command": command,
}


def plan_of(smtp: SmtpSettings, steps: Sequence[KickSettings]) -> tuple[KickSettings, ...]:
    """The steps with nothing left to be looked up in other settings; smtp.kick is a finger before all."""
    first = (KickSettings("finger"),) if smtp.kick else ()
    return tuple(_filled(step, smtp) for step in (*first, *steps))


def _filled(step: KickSettings, smtp: SmtpSettings) -> KickSettings:
    port = step.port or (0 if step.method in _PORTS else smtp.trigger_port)
    return replace(step, host=step.host or smtp.host, port=port)


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Who we are to those whom we kick."""

    hostname: str
    primary_domain: str
    ca_file: str
    timeout_s: float  # to open a connection for SMTP
    passwords: Callable[[str], str]  # by the path of their file


class Kicks:
    """kick_plan.Ground, in earnest."""

    def __init__(
        self,
        ourselves: Ourselves,
        resolver: Resolver,
        count_arrivals: Callable[[Sequence[str]], Awaitable[Came]],
        turn_round: Callable[[Target], Awaitable[KickResult]],
        is_down: Callable[[], bool],
        own_hosts: set[str],
    ) -> None:
        """`count_arrivals` watches these addresses from now on and says how many messages came so far;
        `turn_round` is atrn, which a worker does; `own_hosts`: who has answered from its own addresses."""
        self._ourselves = ourselves
        self._resolver = resolver
        self._count_arrivals = count_arrivals
        self._methods = {**_METHODS, "atrn": turn_round}
        self.is_down = is_down
        self._own_hosts = own_hosts
        self._addresses: dict[str, tuple[IPAddress, ...]] = {}

    async def kick(self, step: KickSettings) -> KickResult:
        """One try, with what is known of the host now."""
        why = ""
        if step.host:
            why = await self._look_up(step.host)
        elif step.method != "command":
            return refused("kick: smtp.host is not set, so there is nobody to kick")
        if why and step.method != "command":
            return not_now(f"kick: {why}")
        await self.arrivals(step)  # from here on mail from these addresses is counted
        return await self._methods[step.method](self._target(step))

    async def arrivals(self, step: KickSettings) -> Came:
        """Messages so far."""
        return await self._count_arrivals([str(address) for address in self._addresses.get(step.host, ())])

    def answers_itself(self, step: KickSettings) -> bool:
        """Whether it has before."""
        return step.host in self._own_hosts

    def answered_itself(self, step: KickSettings) -> None:
        """It has now."""
        self._own_hosts.add(step.host)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def _look_up(self, host: str) -> str:
        """Why the addresses of a host cannot be known now; "": they are."""
        literal = literal_address(host)
        if literal is not None:
            self._addresses[host] = (literal,)
            return ""
        try:
            found = tuple(await self._resolver.addresses(host))
        except NoSuchDomainError:
            return f"there is no host {host}"
        except DnsError as error:
            return f"{host} could not be looked up: {error}"
        self._addresses[host] = found
        return "" if found else f"{host} has no address"

    def _target(self, step: KickSettings) -> Target:
        ourselves = self._ourselves
        credentials = None
        if step.username:
            credentials = Credentials(step.username, ourselves.passwords(step.password_file))
        is_smtp = step.method in _PORTS
        seconds = ourselves.timeout_s if is_smtp else TIMEOUT_S
        return Target(
            step.method,
            step.host,
            self._addresses.get(step.host, ()),
            (step.port,) if step.port else _PORTS.get(step.method, ()),
            step.text or ourselves.primary_domain,
            ourselves.hostname,
            COMMAND_S if step.method == "command" else seconds,
            step.tls,
            credentials,
            ourselves.ca_file,
            step.command,
        )
