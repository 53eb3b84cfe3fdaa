"""ATRN: a site takes its mail over the connection that it came by, with the roles reversed (RFC 2645)."""

import asyncio
from typing import TYPE_CHECKING, Final

from cmail.delivery.turned import TurnedPipe
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.server_states import Hold
from cmail.protocol.smtp.site_commands import NO_ATRN, Etrn
from cmail.smtpd.etrn import answer_etrn
from cmail.smtpd.facts import Session
from cmail.smtpd.roles import SiteDesk, SiteTurn
from cmail.storage.spool import SpoolError

if TYPE_CHECKING:
    from cmail.smtpd.connection import Connection

NO_MAIL: Final = b"453 4.0.0 You have no mail\r\n"
NOT_YOURS: Final = b"450 4.7.1 ATRN request refused: not all of that is yours\r\n"
NO_SITE: Final = b"450 4.7.1 ATRN request refused: no site here has that log-in\r\n"
NOT_NOW: Final = b"451 4.3.0 Unable to process ATRN request now\r\n"
LOG_IN: Final = b"530 5.7.0 Log in first\r\n"


async def answer_atrn(desk: SiteDesk | None, session: Session, domains: tuple[str, ...]) -> bytes | SiteTurn:
    """Why not (RFC 2645 §5.2.1); or what is to be done with the connection when it has turned round.

    A site is one server: whichever of its domains it names, it is sent what waits for all of them."""
    if desk is None or session.facts.kind != "odmr":
        return NO_ATRN
    if not session.username:
        return LOG_IN
    mine = desk.book.of_user(session.username)
    if not mine:
        return NO_SITE
    if not set(domains) <= {domain for site in mine for domain in site.domains}:
        return NOT_YOURS
    meant = [site for site in mine if not domains or set(domains) & set(site.domains)]
    try:
        waiting = await desk.waiting(meant)
    except SpoolError:
        return NOT_NOW
    if waiting.messages_count:
        return desk.turn(meant, session.client.log_text)
    if not waiting.is_complete:
        return NOT_NOW
    for site in meant:
        desk.seen(site, "ATRN, no mail")
    return NO_MAIL


class SiteTalk:
    """One ETRN or ATRN of a session. Input is held until it is answered."""

    def __init__(self, connection: "Connection", desk: SiteDesk | None) -> None:
        self._connection = connection
        self._desk = desk
        self._task: asyncio.Task[None] | None = None
        self.pipe: TurnedPipe | None = None  # once the connection has turned round

    def begin_etrn(self, etrn: Etrn) -> None:
        """ETRN was said."""
        self._begin(self._etrn(etrn), "ETRN")

    def begin_atrn(self, domains: tuple[str, ...]) -> None:
        """ATRN was said."""
        self._begin(self._atrn(domains), "ATRN")

    def cancel(self) -> None:
        """The client has gone. A connection that has turned round knows it by itself."""
        if self._task is not None and self.pipe is None:
            self._task.cancel()

    def _begin(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        self._connection.machine.hold(Hold.HOUSE)
        self._task = asyncio.get_running_loop().create_task(work, name=name)

    async def _etrn(self, etrn: Etrn) -> None:
        try:
            reply = await answer_etrn(self._desk, self._connection.session, etrn)
        except Exception:  # ours: the site asks again
            self._connection.log_failure("ETRN")
            reply = replies.LOCAL_ERROR
        self._connection.site_answered(reply)

    async def _atrn(self, domains: tuple[str, ...]) -> None:
        connection = self._connection
        try:
            answer = await answer_atrn(self._desk, connection.session, domains)
        except Exception:
            connection.log_failure("ATRN")
            answer = NOT_NOW
        if isinstance(answer, bytes):
            connection.site_answered(answer)
            return
        self.pipe = connection.turn()
        if self.pipe is None:
            return
        try:
            await answer.run(self.pipe)
        except Exception:
            connection.log_failure("a connection that has turned round")
        finally:
            self.pipe.close()
