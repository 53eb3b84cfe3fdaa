"""[Test connection]: look up, connect, greet, encrypt, log in, ask whether our mail would be taken.

No message is sent. What is said on the line is what a delivery says: the same conversation drives it."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final

from cmail.admin import upstream_words as words
from cmail.admin.upstream_steps import (
    CONNECTION,
    ENCRYPTION,
    GREETING,
    LINE,
    LOG_IN,
    MAIL_HOSTS,
    NAME,
    OFFERS,
    SENDER,
    Report,
    Step,
)
from cmail.admin.upstream_talk import STEP_S, Stopped, Talk, has_clear_greeting, has_tls_at_once
from cmail.delivery.connections import Tls
from cmail.delivery.hosts import Host, MxRouter, NoHostError, literal_address, upstream_hosts
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.net.tls_client import client_context
from cmail.policy.routing import is_near
from cmail.protocol.sasl_client import Credentials, choose_mechanism
from cmail.protocol.smtp.client_handshake import HandshakeError, Manners
from cmail.world import Resolver

TOTAL_S: Final = 90.0
HOSTS_MAX: Final = 3  # that are connected to, until one answers
NOT_SENT: Final = "No message was sent."


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is tried: settings, perhaps not saved yet."""

    hostname: str  # ours, for EHLO
    sender: str  # for MAIL FROM
    host: str = ""
    port: int = 25
    tls: Tls = "opportunistic"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    hint: str = ""  # what the provider wants for its log-in


async def test_upstream(upstream: Upstream, resolver: Resolver, *, is_offline: bool = False) -> list[Step]:
    """The upstream server of the settings, step by step."""
    report = Report()
    if not upstream.host:
        report.say(NAME, "failed", "No SMTP Host is set.", "Ask your provider for it, or choose it below.")
    elif is_offline and not is_near(upstream.host):
        _say_offline(report)
    else:
        try:
            async with asyncio.timeout(TOTAL_S):
                if hosts := await _look_up(upstream, resolver, report):
                    await _Trial(upstream, report).run(hosts)
        except TimeoutError:
            report.say(LINE, "failed", "All of it took too long.", "Try again when the line is less busy.")
    is_tls_first = upstream.tls == "implicit"
    return report.steps(is_tls_first=is_tls_first, has_log_in=bool(upstream.username))


async def test_mx(
    domain: str, upstream: Upstream, resolver: Resolver, *, is_offline: bool = False
) -> list[Step]:
    """The mail hosts of a domain, as mail for it would be delivered by MX; host, user name and password of
    `upstream` do not matter, its port is the outbound one."""
    report = Report()
    if is_offline:
        _say_offline(report)
    else:
        try:
            async with asyncio.timeout(TOTAL_S):
                if hosts := await _look_up_mx(domain, upstream, resolver, report):
                    await _Trial(upstream, report).run(hosts)
        except TimeoutError:
            report.say(LINE, "failed", "All of it took too long.", "Try again when the line is less busy.")
    return report.steps(is_tls_first=False, has_log_in=False)


def _say_offline(report: Report) -> None:
    advice = "See to the line, or say `cmail link up` if it is there. Mail waits and does not get older."
    report.say(LINE, "failed", "This machine is off line, so nothing can be tried.", advice)


async def _look_up(upstream: Upstream, resolver: Resolver, report: Report) -> list[Host]:
    name, port = upstream.host, upstream.port
    if literal_address(name) is not None:
        report.say(NAME, "ok", f"{name} is an address; there is nothing to look up.")
        return await upstream_hosts(name, port, resolver)
    try:
        async with asyncio.timeout(STEP_S + 1):
            hosts = await upstream_hosts(name, port, resolver)
    except NoHostError as error:
        report.say(NAME, "failed", *_name_trouble(error, name))
        return []
    except TimeoutError:
        report.say(NAME, "failed", f"The DNS did not say what {name} is.", "Is the line up? See DNS servers.")
        return []
    report.say(NAME, "ok", f"{name} is {_addresses(hosts)}.")
    return hosts


def _name_trouble(error: NoHostError, name: str) -> tuple[str, str]:
    failure = error.failure
    if isinstance(failure, TemporaryFailure) and failure.kind is NotNow.OFFLINE:
        return (
            f"No name server answers, so nobody knows what {name} is: this machine seems to be off line.",
            "See to the line. If it is up, see `servers` under [dns] in cmail.toml.",
        )
    reason = f"{failure.reason[:1].upper()}{failure.reason[1:]}."
    if error.is_dns:
        return reason, "The name servers have trouble; try again in a minute."
    return reason, "Is the name spelled right? Compare it with what your provider says."


async def _look_up_mx(domain: str, upstream: Upstream, resolver: Resolver, report: Report) -> list[Host]:
    router = MxRouter(resolver, _NoChance(), upstream.hostname, lambda address, port: False)
    try:
        async with asyncio.timeout(2 * STEP_S):
            hosts = [host async for host in router.hosts(domain, upstream.port)]
    except NoHostError as error:
        report.say(MAIL_HOSTS, "failed", *_name_trouble(error, domain))
        return []
    except TimeoutError:
        report.say(MAIL_HOSTS, "failed", f"The DNS did not say where mail for {domain} goes.", "Try again.")
        return []
    names = ", ".join(dict.fromkeys(host.name for host in hosts))
    report.say(MAIL_HOSTS, "ok", f"Mail for {domain} goes to {names}.")
    return hosts


class _NoChance:
    """world.Entropy: the same hosts in the same order each time."""

    def jitter(self) -> float:
        return 0.0


def _addresses(hosts: Sequence[Host]) -> str:
    return " and ".join(str(host.address) for host in hosts)


class _NoTlsError(Exception):
    """No encryption came about where it may be missing."""


class _Trial:
    """One server, from the connection on."""

    def __init__(self, upstream: Upstream, report: Report) -> None:
        self._upstream, self._report = upstream, report
        self._is_implicit = upstream.tls == "implicit"

    async def run(self, hosts: Sequence[Host]) -> None:
        """The first host that a connection comes about to."""
        host = await self._connect(hosts)
        if host is None:
            return
        try:
            if self._upstream.tls == "none":
                await self._talk(host, None)
            else:
                await self._talk_encrypted(host)
        except _NoTlsError as error:  # RFC 7435 §3: rather in the clear than not at all
            what = f"No encryption came about ({error}): mail would go in the clear."
            self._report.say(ENCRYPTION, "note", what)
            await self._talk(host, None)
        except Stopped:
            return

    async def _connect(self, hosts: Sequence[Host]) -> Host | None:
        """Try the port alone, so that what is wrong there is told from what is wrong behind it."""
        trouble = ("", "")
        for host in hosts[:HOSTS_MAX]:
            begin = asyncio.get_running_loop().time()
            try:
                (await connect(host)).close()
            except OSError as error:  # TimeoutError is one
                trouble = words.connection_trouble(error, str(host.address), host.port)
                continue
            ms = (asyncio.get_running_loop().time() - begin) * 1000
            said = f"Port {host.port} of {host.address} answers ({ms:.0f} ms)."
            if trouble[0]:
                self._report.say(CONNECTION, "note", f"{said} Before that: {trouble[0]}")
            else:
                self._report.say(CONNECTION, "ok", said)
            return host
        self._report.say(CONNECTION, "failed", *trouble)
        return None

    async def _talk_encrypted(self, host: Host) -> None:
        """With verification, to see whether the certificate is good; if not, once more to see it, and, where
        nobody asked for verification, to go on."""
        is_asked = self._upstream.tls in ("required", "implicit")
        try:
            context = await asyncio.to_thread(client_context, self._upstream.ca_file, is_verified=True)
        except OSError as error:
            what = f"The file of trusted authorities cannot be used: {error.strerror or error}"
            self._report.say(ENCRYPTION, "failed", what, "See ca_file under [tls] in cmail.toml.")
            return
        try:
            await self._talk(host, context)
        except ssl.SSLCertVerificationError as error:
            unverified = client_context("", is_verified=False)
            await self._talk(host, unverified, fault=error, ends_at_tls=is_asked)

    async def _talk(
        self,
        host: Host,
        context: ssl.SSLContext | None,
        *,
        fault: ssl.SSLCertVerificationError | None = None,
        ends_at_tls: bool = False,
    ) -> None:
        """One conversation; Stopped when it came to an end before the last step."""
        upstream, report = self._upstream, self._report
        talk = Talk(asyncio.get_running_loop(), report, host, fault, ends_at_tls=ends_at_tls)
        try:
            await self._open(talk, host, context if self._is_implicit else None)
            offers = await talk.shake(self._manners(host, context), context, server_name(host))
            if upstream.tls == "none":
                report.say(ENCRYPTION, "note", "None: Security is switched off, all can be read on the way.")
            elif not talk.is_encrypted and context is not None:
                report.say(ENCRYPTION, "note", *words.no_starttls(is_required=False))
            if upstream.username:
                mechanism = choose_mechanism(offers.mechanisms, True)
                report.say(LOG_IN, "ok", f"Logged in as {upstream.username} ({mechanism}).")
            await self._ask_sender(talk)
        except HandshakeError as error:
            await self._explain(error, talk, host)
        except TimeoutError:
            await self._explain(None, talk, host)
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:  # ssl.SSLError is one
            if upstream.tls == "opportunistic" and context is not None:
                raise _NoTlsError(words.tls_words(error)) from error
            speaks_plain = self._is_implicit and await has_clear_greeting(host)
            said = words.handshake_trouble(
                error, host.port, speaks_plain=speaks_plain, is_implicit=self._is_implicit
            )
            report.say(ENCRYPTION, "failed", *said, raw=talk.said)
        finally:
            talk.end()

    async def _open(self, talk: Talk, host: Host, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(STEP_S + 1):
            await loop.create_connection(
                lambda: talk,
                sock=await connect(host),
                ssl=context,
                server_hostname=server_name(host) if context else None,
                ssl_handshake_timeout=STEP_S if context else None,
            )
        if context is not None:
            talk.encrypted()

    def _manners(self, host: Host, context: ssl.SSLContext | None) -> Manners:
        upstream = self._upstream
        return Manners(
            upstream.hostname,
            "none" if upstream.tls == "implicit" or context is None else upstream.tls,
            Credentials(upstream.username, upstream.password) if upstream.username else None,
            is_encrypted=self._is_implicit,
            is_loopback=host.address.is_loopback,
        )

    async def _ask_sender(self, talk: Talk) -> None:
        """Whether it would take our mail (RFC 5321 §4.1.1.2); taken back at once."""
        sender = self._upstream.sender
        reply = await talk.ask(f"MAIL FROM:<{sender}>", "MAIL")
        if reply.is_success:
            await talk.ask("RSET", "RSET")
            fine = f"It would take mail from <{sender}>. {NOT_SENT}"
            self._report.say(SENDER, "ok", fine, raw=talk.said)
        else:
            has_log_in = bool(self._upstream.username)
            said = words.sender_trouble(reply, sender, has_log_in=has_log_in)
            self._report.say(SENDER, "failed", *said, raw=talk.said)
        await talk.ask("QUIT", "QUIT", is_last=True)

    async def _explain(self, error: HandshakeError | None, talk: Talk, host: Host) -> None:
        """At which step it ended. None: nothing was said in time."""
        step, upstream = talk.step, self._upstream
        reason = error.reason if error is not None else "there was no reply within 10 seconds"
        reply = error.reply if error is not None else None
        if step == ENCRYPTION and self._is_implicit:
            speaks_plain = await has_clear_greeting(host)
            trouble = error or TimeoutError(reason)
            said = words.handshake_trouble(trouble, host.port, speaks_plain=speaks_plain, is_implicit=True)
        elif step == GREETING and reply is not None:
            said = words.greeting_refused(reply)
        elif step == GREETING:
            speaks_tls = not talk.is_encrypted and await has_tls_at_once(host)
            is_silent = error is None or speaks_tls
            said = words.silence(host.port, speaks_tls=speaks_tls) if is_silent else words.no_greeting(reason)
        elif step == OFFERS and talk.has_offers and upstream.tls == "required" and not talk.is_encrypted:
            step, said = ENCRYPTION, words.no_starttls(is_required=True)
        elif step == LOG_IN or (step == OFFERS and talk.has_offers):
            step, said = LOG_IN, words.log_in_trouble(reply, reason, upstream.hint)
        else:
            said = (
                f"{reason[:1].upper()}{reason[1:]}.",
                "Try again in a minute; then ask who runs the server.",
            )
        self._report.say(step, "failed", *said, raw=talk.said)


async def connect(host: Host) -> socket.socket:
    """A connection to it; OSError or TimeoutError."""
    family = socket.AF_INET6 if isinstance(host.address, IPv6Address) else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setblocking(False)
    try:
        async with asyncio.timeout(STEP_S):
            await asyncio.get_running_loop().sock_connect(bound, (str(host.address), host.port))
    except BaseException:
        bound.close()
        raise
    return bound


def server_name(host: Host) -> str:
    """What its certificate has to be for."""
    return str(host.address) if literal_address(host.name) is not None else host.name
