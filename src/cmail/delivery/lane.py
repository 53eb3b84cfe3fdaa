"""One connection's life behind an agent: open, converse, end; with what cancellation leaves to be done."""

import asyncio
from collections.abc import Callable

from cmail.delivery.agent import Ending, Finished, HostTrouble, Work
from cmail.delivery.blame import Blame
from cmail.delivery.connections import Peer, open_session
from cmail.delivery.session import HALTED_DOT_TIMEOUT_S, Session
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import BAD_CONNECTION
from cmail.protocol.smtp.client import SmtpClient


async def run_session(
    peer: Peer,
    work: Work,
    monotonic: Callable[[], float],
    blame: Blame,
    log: Callable[[str], None],
    *,
    is_upstream: bool,
) -> Ending:
    """One connection to one host, from its opening to its end. OpenError: it could not be opened."""
    session, offers = await open_session(peer)
    work.goes_from(session.local_address, session.acknowledged, session.is_there)
    machine = SmtpClient(offers, peer.relay, is_lmtp=peer.is_lmtp, is_upstream=is_upstream)
    try:
        session.converse(machine, work, monotonic, blame.is_second)
        await asyncio.wait({session.ended})
    except asyncio.CancelledError:
        await _stop(session, peer.limits.patience)
        if machine.doubted:
            log(f"warning: {peer.relay}: {_doubt(machine.doubted)}")
        raise
    except BaseException:
        session.fail("a mistake of ours ended the connection")
        raise
    if session.error is not None:
        raise session.error
    return _ending(session, machine, peer.relay)


async def _stop(session: Session, patience: float) -> None:
    """The link is down, or we stop: a final dot that is out gets a minute for its reply."""
    try:
        if session.stop():
            await asyncio.wait({session.ended}, timeout=HALTED_DOT_TIMEOUT_S * patience)
    finally:
        session.fail("the delivery was stopped")


def _doubt(count: int) -> str:
    what = "a message" if count == 1 else f"{count} messages"
    return (
        f"the connection had to end while replies were out: {what} may have arrived and will be sent again;"
        " no attempt is counted"
    )


def _ending(session: Session, machine: SmtpClient, relay: str) -> Ending:
    count = session.settled
    if machine.trouble is not None:
        reply = machine.trouble
        detail = reply.status.what if reply.status is not None else BAD_CONNECTION
        reason = f"{relay}: our log-in is not accepted: {reply}"
        return HostTrouble(TemporaryFailure(reason, NotNow.HOST, detail, relay, reply), count)
    if machine.doubt is None or count or session.was_idle or session.is_message_blamed:
        is_broken = machine.doubt is not None and not session.was_idle and not session.has_delivered
        return Finished(count, is_broken, session.closed_after)
    failure = TemporaryFailure(f"{relay}: {machine.doubt}", NotNow.HOST, BAD_CONNECTION, relay)
    return HostTrouble(failure, count)
