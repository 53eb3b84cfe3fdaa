"""etrn: the server is to begin with what it keeps for us (RFC 1985), in the forms that real servers know."""

import asyncio
import contextlib
from typing import Final

from cmail.delivery.session import Session
from cmail.link.kicks.session import NoSessionError, open_any
from cmail.link.kicks.target import KickResult, Target, Verdict, not_now, refused, shown
from cmail.link.kicks.texts import etrn_argument
from cmail.mail.reply import Reply
from cmail.protocol.smtp.client_handshake import HandshakeError
from cmail.protocol.smtp.client_replies import read_reply

ALL_S: Final = 120.0  # from the first octet to the last
QUIT_S: Final = 3.0

# RFC 1985 §5; what stands behind them is what it means for us.
_MEANINGS: Final = {
    250: (Verdict.SENT, "it begins with our mail"),
    251: (Verdict.NOTHING, "no mail waits for us there"),
    252: (Verdict.SENT, "it begins with the mail that waits"),
    253: (Verdict.SENT, "it begins with the mail that waits"),
    421: (Verdict.NOT_NOW, "it has no time now"),
    453: (Verdict.NOTHING, "no mail waits for us there"),  # RFC 2645 has it for ATRN; some say it here too
    458: (Verdict.NOT_NOW, "it cannot begin with it now"),
    459: (Verdict.REFUSED, "it does not do that for this name"),
    500: (Verdict.REFUSED, "it does not know ETRN"),
    501: (Verdict.REFUSED, "it does not understand the name"),
    502: (Verdict.REFUSED, "it does not know ETRN"),
    530: (Verdict.REFUSED, "it wants a log-in: set username and password_file"),
}


def judge_etrn(reply: Reply) -> tuple[Verdict, str]:
    """What a reply to ETRN means."""
    if reply.code == 458 and "already" in reply.text.lower():
        return Verdict.SENT, "it is at it already"
    if reply.code == 458 and "prohibit" in reply.text.lower():  # Exim whose acl_smtp_etrn does not allow it
        return Verdict.REFUSED, "it does not allow us to ask"
    if reply.code in _MEANINGS:
        return _MEANINGS[reply.code]
    if reply.code // 100 == 2:
        return Verdict.SENT, "it begins with our mail"
    return (Verdict.NOT_NOW if reply.is_temporary else Verdict.REFUSED), "it refuses"


def wants_queue_name(reply: Reply, argument: str) -> bool:
    """Exim without a command of its own for ETRN takes #names alone."""
    return reply.code == 501 and not argument.startswith("#") and "must begin with #" in reply.text.lower()


async def etrn(target: Target) -> KickResult:
    """EHLO, STARTTLS, AUTH, ETRN, QUIT."""
    try:
        argument = etrn_argument(target.text)
    except ValueError as error:
        return refused(f"kick: {target.text!r} cannot be asked for: {error}")
    try:
        async with asyncio.timeout(ALL_S):
            return await _etrn(target, argument)
    except TimeoutError:
        return not_now(f"kick: {target.where} did not answer in {ALL_S:.0f} s")
    except NoSessionError as error:
        return error.result
    except HandshakeError as error:
        return not_now(f"kick: {target.where}: {error}")


async def _etrn(target: Target, argument: str) -> KickResult:
    session, host = await open_any(target, ALL_S)
    try:
        reply = await _ask(session, argument)
        if wants_queue_name(reply, argument):
            argument = "#" + argument.removeprefix("@")
            reply = await _ask(session, argument)
        with contextlib.suppress(HandshakeError, TimeoutError):
            async with asyncio.timeout(QUIT_S):
                await session.command(b"QUIT\r\n", "QUIT")
    finally:
        session.stop()
    verdict, meaning = judge_etrn(reply)
    return KickResult(
        verdict, f"kick: {host} was told 'ETRN {argument}': {meaning} ({shown(str(reply).encode())})"
    )


async def _ask(session: Session, argument: str) -> Reply:
    return read_reply(await session.command(f"ETRN {argument}\r\n".encode("ascii"), "ETRN"))
