"""Login: one AUTH exchange, from the SASL machine to the account (RFC 4954)."""

import asyncio
import base64
from typing import TYPE_CHECKING, Final, assert_never

from cmail.protocol import sasl
from cmail.protocol.cram_md5 import CRAM_MD5, CramMd5
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.server_states import Hold
from cmail.storage.accounts import TooBusyError

if TYPE_CHECKING:
    from cmail.smtpd.connection import Connection

FAILURE_DELAY_S: Final = 1.0  # before a wrong password is answered; only that session waits
MALFORMED: Final = b"501 5.5.2 Not what the mechanism asks for\r\n"
BUSY: Final = b"454 4.7.0 No log-in is possible just now\r\n"  # RFC 4954 §6


class Login:
    """Lives from AUTH to its final reply. While the password is checked the session's input is held."""

    def __init__(self, connection: "Connection", mechanism: str) -> None:
        self._connection = connection
        self._mechanism = mechanism
        self._context = connection.session.facts.context
        assert self._context.accounts is not None
        self._accounts = self._context.accounts
        self._server = self._start(mechanism)
        self._task: asyncio.Task[None] | None = None

    def _start(self, mechanism: str) -> sasl.SaslServer:
        context, keys = self._context, self._accounts.at(self._connection.session.client.address)
        if mechanism == CRAM_MD5 and context.sites is not None:
            return CramMd5(keys, context.sites.book.password_of, context.hostname)
        server = sasl.start(mechanism, keys)
        assert server is not None, "only mechanisms that were offered come here"
        return server

    def begin(self, initial: bytes | None) -> None:
        """The initial response, when there was one (RFC 4954 §4)."""
        self._step(self._server.next(initial))

    def go_on(self, response: bytes) -> None:
        """The answer to the last challenge."""
        self._step(self._server.next(response))

    def cancel(self) -> None:
        """The client has gone."""
        if self._task is not None:
            self._task.cancel()

    def _step(self, step: sasl.Step) -> None:
        match step:
            case sasl.Challenge(octets):
                self._connection.machine.challenge(base64.b64encode(octets))
            case sasl.CheckPassword(username, password):
                self._wait(self._check(username, password), "check password")
            case sasl.Success(username):
                self._count(username, is_success=True)
                self._connection.login_done(username, self._mechanism, replies.AUTH_DONE)
            case sasl.Failure(reason, username, is_malformed, is_temporary):
                self._fail(username, reason, is_malformed=is_malformed, is_temporary=is_temporary)
            case _:
                assert_never(step)

    def _fail(self, username: str, reason: str, *, is_malformed: bool, is_temporary: bool) -> None:
        if is_temporary:
            self._log_put_off(username, reason)
            self._connection.login_done("", "", BUSY)
            return
        self._log_failure(username, reason)
        if is_malformed:
            self._connection.login_done("", "", MALFORMED)
        else:
            self._count(username, is_success=False)
            self._wait(self._refuse(), "refuse log-in")

    def _count(self, username: str, *, is_success: bool) -> None:
        """SCRAM ends in the machine; a password that was checked has been counted there."""
        address = self._connection.session.client.address
        self._accounts.scram_ended(username, address, is_success=is_success)

    def _wait(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        self._connection.machine.hold(Hold.HOUSE)
        self._task = asyncio.get_running_loop().create_task(work, name=name)

    async def _check(self, username: str, password: str) -> None:
        address = self._connection.session.client.address
        try:
            account = await self._accounts.check_password(username, password, address)
        except TooBusyError as error:
            self._log_put_off(username, str(error))
            self._end("", BUSY)
            return
        except Exception:  # ours: the client tries again later
            self._context.maillog.failed("a password could not be checked")
            self._end("", BUSY)
            return
        if account is not None:
            self._end(account, replies.AUTH_DONE)
            return
        self._log_failure(username, "authentication failure")
        await self._refuse()

    async def _refuse(self) -> None:
        await asyncio.sleep(FAILURE_DELAY_S)
        self._end("", replies.AUTH_FAILED)

    def _log_failure(self, username: str, reason: str) -> None:
        session, log = self._connection.session, self._context.maillog
        service, client = session.facts.service, session.client.log_text
        log.login_failed(service, client, mechanism=self._mechanism, username=username, reason=reason)

    def _log_put_off(self, username: str, reason: str) -> None:
        session, log = self._connection.session, self._context.maillog
        service, client = session.facts.service, session.client.log_text
        log.login_put_off(service, client, mechanism=self._mechanism, username=username, reason=reason)

    def _end(self, account: str, reply: bytes) -> None:
        self._connection.login_done(account, self._mechanism if account else "", reply)
        self._connection.go_on()
