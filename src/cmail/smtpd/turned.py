"""Turned connections: we open one, ask with ATRN, and are the server on it from then on (RFC 2645 §5.3)."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cmail.link.kicks.atrn import judge_atrn
from cmail.link.kicks.session import NoSessionError, open_any
from cmail.link.kicks.target import KickResult, Target, Verdict, not_now, refused, shown
from cmail.link.kicks.texts import atrn_line
from cmail.protocol.smtp.client_handshake import HandshakeError
from cmail.protocol.smtp.client_replies import read_reply
from cmail.smtpd.connection import Connection
from cmail.smtpd.context import Client, IntakeContext, ListenerFacts

if TYPE_CHECKING:
    from cmail.delivery.hosts import Host
    from cmail.delivery.session import Session
    from cmail.smtpd.intake import Intake

ALL_S: Final = 90.0  # from the first octet to the turn


class TurnedFacts(ListenerFacts):
    """What is offered there: as on port 25, but nobody of ours logs in from the other end."""

    def __init__(self, context: IntakeContext) -> None:
        super().__init__(context, "smtp")

    def mechanisms(self, *, is_private: bool) -> tuple[str, ...]:
        """None."""
        return ()


class TurnedConnection(Connection):
    """Its client is a stranger, wherever it is: what it brings is checked as from anybody, and nothing is
    relayed for it."""

    def __init__(self, intake: "Intake", client: Client, *, is_tls: bool) -> None:
        super().__init__(intake, TurnedFacts(intake.context), as_stranger(client), is_tls=is_tls)

    def _refresh(self) -> None:
        if self.intake.context is self.context:
            return
        super()._refresh()
        session = self.session
        session.facts = TurnedFacts(self.context)
        session.client = self.client = as_stranger(self.client)


def as_stranger(client: Client) -> Client:
    """The same, without the rights that its network gives it."""
    return replace(client, may_relay=False)


async def turn_round(intake: "Intake", target: Target) -> KickResult:
    """Connect, TLS, AUTH, ATRN. When the answer is 250, the session goes on by itself as one of intake's."""
    try:
        line = atrn_line(target.text)
    except ValueError as error:
        return refused(f"kick: {target.text!r} cannot be asked for: {error}")
    try:
        async with asyncio.timeout(ALL_S):
            session, host = await open_any(target, ALL_S)
    except TimeoutError:
        return not_now(f"kick: {target.where} did not answer in {ALL_S:.0f} s")
    except NoSessionError as error:
        return error.result
    try:
        return await _atrn(intake, session, host, line)
    except HandshakeError as error:
        return not_now(f"kick: {host}: {error}")
    finally:
        session.stop()  # nothing, when it was handed over


async def _atrn(intake: "Intake", session: "Session", host: "Host", line: bytes) -> KickResult:
    reply = read_reply(await session.command(line, "ATRN"))
    verdict, meaning = judge_atrn(reply)
    if verdict is Verdict.SENT:
        client = intake.context.client(str(host.address))
        name = client.name if host.name.startswith("[") else host.name
        client = replace(client, name=name, log_text=f"{name}[{client.address}]")
        if not serve(intake, session.hand_over(), client):
            return not_now(f"kick: {host}: the connection turned round, and there is no room for a session")
    asked = line.decode("ascii").rstrip()
    return KickResult(verdict, f"kick: {host} was told {asked!r}: {meaning} ({shown(str(reply).encode())})")


def serve(intake: "Intake", transport: Any, client: Client) -> bool:
    """Be the server on a connection from now on; False: there is no room."""
    facts_service = "smtpd"
    if intake.admit(replace(client, may_relay=True), facts_service):  # we asked for it: one limit is enough
        transport.abort()
        return False
    is_tls = transport.get_extra_info("ssl_object") is not None
    connection = TurnedConnection(intake, client, is_tls=is_tls)
    transport.set_protocol(connection)
    connection.connection_made(transport)
    transport.resume_reading()
    return True
