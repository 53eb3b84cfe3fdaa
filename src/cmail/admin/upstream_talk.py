"""Talk: the conversation of a delivery, with who listens to each reply and looks at the certificate."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Any, Final, cast

from cmail.admin import upstream_words as words
from cmail.admin.certificates import SOON_DAYS, Certificate, read_certificate
from cmail.admin.upstream_steps import ENCRYPTION, GREETING, LOG_IN, OFFERS, SENDER, Report, State
from cmail.delivery.hosts import Host
from cmail.delivery.line import Line, SessionLimits
from cmail.mail.reply import Reply
from cmail.net.tls_client import client_context
from cmail.protocol.smtp.client_handshake import Say
from cmail.protocol.smtp.client_offers import Offers, parse_offers
from cmail.protocol.smtp.client_replies import read_reply

STEP_S: Final = 10.0
LOOK_S: Final = 4.0  # whether a server that did not do what was asked does the other thing
SAID_LINES_MAX: Final = 200
SAID_OCTETS_MAX: Final = 500  # of one line
_STEPS: Final = {
    "the greeting": GREETING,
    "EHLO": OFFERS,
    "HELO": OFFERS,
    "STARTTLS": ENCRYPTION,
    "MAIL": SENDER,
}


class Stopped(Exception):
    """The report has all that is to be said."""


class Talk(Line):
    """One connection. `step` is where it is; `said` what was said on the line, without secrets."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Report,
        host: Host,
        fault: ssl.SSLCertVerificationError | None,
        *,
        ends_at_tls: bool,
    ) -> None:
        """`fault`: why its certificate was not good when it was verified. `ends_at_tls`: it is looked at, and
        nothing is said to who has it."""
        super().__init__(loop, SessionLimits())
        self._report, self._host = report, host
        self._fault, self._ends_at_tls = fault, ends_at_tls
        self.step = ENCRYPTION
        self.said: list[str] = []
        self.is_encrypted = False
        self.has_offers = False

    async def ask(self, command: str, name: str, *, is_last: bool = False) -> Reply:
        """One command more. `is_last`: whatever is answered."""
        self.step = _STEPS.get(name, self.step)
        try:
            return read_reply(await self._say(Say(f"{command}\r\n".encode(), name)))
        except Exception:
            if not is_last:
                raise
            return Reply(221, None, "")

    async def _say(self, step: Say) -> bytes:
        self.step = LOG_IN if step.name.startswith("AUTH") else _STEPS.get(step.name, self.step)
        if step.octets:
            is_secret = step.name.startswith("AUTH")
            self._note(
                "C", [f"{step.name} ..." if is_secret else step.octets.decode("utf-8", "replace").strip()]
            )
        async with asyncio.timeout(STEP_S):
            raw = await super()._say(step)
        reply = read_reply(raw)
        self._note("S", [line.decode("utf-8", "replace") for line in raw.split(b"\n")])
        self._hear(step.name, reply, raw)
        return raw

    def _note(self, who: str, lines: Sequence[str]) -> None:
        for line in lines:
            if len(self.said) < SAID_LINES_MAX:
                shown = "".join(c if c.isprintable() else "?" for c in line[:SAID_OCTETS_MAX])
                self.said.append(f"{who}: {shown}")

    def _hear(self, name: str, reply: Reply, raw: bytes) -> None:
        if not reply.is_success:
            return
        if name == "the greeting":
            self._report.say(GREETING, "ok", f"It says: {reply}", raw=self.said)
        elif name in ("EHLO", "HELO"):
            self.has_offers = True
            offers = parse_offers(read_reply(raw, is_whole=True)) if name == "EHLO" else Offers()
            self._report.say(OFFERS, "ok", _offers_words(offers), raw=self.said)

    async def _start_tls(self, context: ssl.SSLContext, name: str) -> None:
        self.step = ENCRYPTION
        async with asyncio.timeout(STEP_S):
            await super()._start_tls(context, name)
        self.encrypted()

    def encrypted(self) -> None:
        """TLS is there: look at it. Stopped when it must not go on."""
        self.is_encrypted = True
        assert self._transport is not None
        ssl_object = self._transport.get_extra_info("ssl_object")
        self.step = GREETING
        certificate = _read(ssl_object.getpeercert(binary_form=True))
        version = str(ssl_object.version()).replace("TLSv", "TLS ")
        self._report.say(ENCRYPTION, *self._judge(certificate, version), raw=self.said)
        if self._ends_at_tls:
            raise Stopped

    def _judge(self, certificate: Certificate | None, version: str) -> tuple[State, str, str]:
        if certificate is None:
            return "note", f"{version}, but the server shows no certificate that can be read.", ""
        if self._fault is None:
            what, advice = words.certificate_fine(certificate, version)
            return ("note" if certificate.days_left() < SOON_DAYS else "ok"), what, advice
        what, advice = words.certificate_trouble(self._fault, certificate, self._host.name)
        if self._ends_at_tls:
            return "failed", what, advice
        not_asked = "Security does not ask for verification, so mail goes all the same."
        return "note", f"{version}, not verified. {what} {not_asked}", ""

    def end(self) -> None:
        """Nothing is left open."""
        self._close()


def _read(der: bytes | None) -> Certificate | None:
    with contextlib.suppress(ValueError):
        return read_certificate(der) if der else None
    return None


def _offers_words(offers: Offers) -> str:
    found = []
    if offers.size_max:
        found.append(f"takes messages up to {offers.size_max / 1_000_000:.0f} MB")
    if offers.has_starttls:
        found.append("offers encryption (STARTTLS)")
    if offers.mechanisms:
        found.append(f"takes a log-in by {', '.join(offers.mechanisms)}")
    if offers.has_pipelining:
        found.append("takes many commands at once")
    return (
        f"It {', '.join(found)}." if found else "It speaks plain SMTP, without extensions that matter here."
    )


async def has_tls_at_once(host: Host) -> bool:
    """Whether a server that greets nobody shakes hands for TLS."""
    try:
        async with asyncio.timeout(LOOK_S):
            _, writer = await asyncio.open_connection(
                str(host.address), host.port, ssl=client_context("", is_verified=False)
            )
    except (OSError, ValueError):
        return False
    cast(Any, writer.transport).abort()
    return True


async def has_clear_greeting(host: Host) -> bool:
    """Whether a server that does not shake hands for TLS greets in the clear."""
    try:
        async with asyncio.timeout(LOOK_S):
            reader, writer = await asyncio.open_connection(str(host.address), host.port)
            try:
                return (await reader.readexactly(4)) in (b"220 ", b"220-")
            finally:
                cast(Any, writer.transport).abort()
    except (OSError, asyncio.IncompleteReadError):
        return False
