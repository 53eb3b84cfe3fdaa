"""Connection: feeds octets to protocol.smtp.server and answers its questions."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from cmail.delivery.turned import TurnedPipe
from cmail.mail import limits
from cmail.mail.reply import Reply, ReplySyntaxError, parse_reply
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.commands import Mail, Rcpt
from cmail.protocol.smtp.extensions import SUBMISSION_KINDS
from cmail.protocol.smtp.server import SmtpServer
from cmail.protocol.smtp.server_states import Hold, Slot
from cmail.protocol.smtp.site_commands import Etrn
from cmail.smtpd.acceptance import accept, judge_aside, written
from cmail.smtpd.checks import check_mail, check_rcpt
from cmail.smtpd.context import Client, ListenerFacts
from cmail.smtpd.etrn import offer, offered
from cmail.smtpd.facts import Session, Transaction
from cmail.smtpd.judge import begin_examination, count_refusal
from cmail.smtpd.login import Login
from cmail.smtpd.odmr import SiteTalk
from cmail.smtpd.receive import Receiver, new_message

if TYPE_CHECKING:
    from cmail.smtpd.intake import Intake


class Connection(asyncio.Protocol):
    """One client. What the machine says is written once a read; what the spool says, when it says it."""

    def __init__(self, intake: "Intake", facts: ListenerFacts, client: Client, *, is_tls: bool) -> None:
        self.intake = intake
        self.context = facts.context
        self.client = client
        self._transport: asyncio.Transport | None = None
        self._is_tls = is_tls
        self._is_paused = False
        self._transaction: Transaction | None = None
        self._receiver: Receiver | None = None
        self.login: Login | None = None
        self.site_talk: SiteTalk | None = None
        self.session = Session(facts, client)
        self.machine = SmtpServer(facts.rules, self, facts.greeting, is_tls=is_tls)
        self.octets = 0  # received
        self.mark = (0, 0)  # while content comes: when we looked, and how much there was
        self.heard = 0  # when, by the intake's clock of whole seconds
        self.began = 0
        self.ended = 0
        self.has_begun = False
        self._awaits_turn = False
        self.is_proved = client.may_relay  # it brought a message or has logged in; or need not

    # What the event loop calls.

    def connection_made(self, transport: Any) -> None:
        """Also after STARTTLS, with another transport."""
        self._transport = transport
        if self._is_tls:
            self.session.tls = _tls_version(transport)
        self.heard = self.began = self.intake.now
        self.has_begun = True
        self.intake.open(self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Octets of the client."""
        self.octets += len(data)
        if data[-1:] == b"\n":  # a command that comes octet by octet must be whole in time, too
            self.heard = self.intake.now
        try:
            self.machine.receive(data)
        except Exception:  # a mistake of ours delays mail, never loses it (rule 15)
            self._fail("a command")
        self._flush()

    def eof_received(self) -> bool:
        """The client has said all; what it is owed is still written."""
        self.machine.end(b"")
        self._flush()
        return self._transport is not None and not self._is_tls and bool(self.machine.waiting_count)

    def pause_writing(self) -> None:
        """The client does not read our replies: nor do we read its commands."""
        self.machine.hold(Hold.CLIENT)
        self._flush()

    def resume_writing(self) -> None:
        """It reads again."""
        self._release(Hold.CLIENT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Over. What the spool was given it keeps, whether or not the client hears of it."""
        self._transport = None
        self.machine.part()
        self.on_reset()
        if self.login is not None:
            self.login.cancel()
        if self.site_talk is not None:
            self.site_talk.cancel()
        self.intake.close(self)

    # What intake calls.

    def end(self, reply: bytes) -> None:
        """The session ends with this reply."""
        self.machine.end(reply)
        self._flush()

    def abort(self) -> None:
        """It ends now."""
        if self._transport is not None:
            self._transport.abort()
        elif self.site_talk is not None and self.site_talk.pipe is not None:
            self.site_talk.pipe.close()

    # What the machine asks.

    def on_helo(self, name: str, verb: str) -> bytes:
        """HELO, EHLO, LHLO."""
        self._refresh()
        session = self.session
        session.helo = name
        session.is_extended = verb != "HELO"
        session.forget()
        facts = session.facts
        if verb == "HELO":
            return facts.helo_reply
        client = self.client
        reply = facts.ehlo_reply(
            is_tls=self._is_tls,
            is_loopback=client.is_loopback,
            is_logged_in=bool(session.username),
            may_relay=client.may_relay,
        )
        sites = self.context.sites
        keyword = offered(sites, session) if sites is not None else b""
        return offer(reply, keyword) if keyword else reply

    def on_mail(self, mail: Mail) -> bytes:
        """A transaction begins."""
        if self.context is not self.intake.context:
            self._refresh()
        refusal = check_mail(self.session, mail)
        if not refusal and not self.client.may_relay:
            intake = self.intake
            refusal = intake.guests.take_message(self.client, self.session.username, intake.now)
        if refusal:
            path = mail.reverse_path.text if mail.reverse_path else ""
            return self.refused("MAIL", refusal, path)
        self._transaction = Transaction(mail)
        return replies.SENDER_OK

    def on_rcpt(self, rcpt: Rcpt) -> bytes:
        """A recipient more."""
        transaction = self._transaction
        assert transaction is not None
        recipient = rcpt.recipient
        refusal = check_rcpt(self.session, recipient, transaction.mail.size_bytes)
        if not refusal and not self.client.may_relay:
            intake = self.intake
            refusal = intake.guests.take_recipient(self.client, self.session.username, intake.now)
        if refusal:
            reverse_path = transaction.mail.reverse_path
            from_ = reverse_path.text if reverse_path else ""
            return self.refused("RCPT", refusal, from_, recipient.forward_path.text)
        transaction.recipients.append(recipient)
        transaction.routes.append(self.context.routing.route(recipient.forward_path))
        return replies.RECIPIENT_OK

    def on_data(self) -> bytes:
        """Content may come."""
        return b""

    def on_piece(self, piece: bytes) -> None:
        """Some content, and more follows."""
        assert self._transaction is not None
        receiver = self._receiver or self._new_receiver(self._transaction)
        receiver.take(piece)
        if receiver.file is not None and receiver.file.is_full:
            self.machine.hold(Hold.CONTENT)

    def on_message(self, slot: Slot, piece: bytes, size_bytes: int, seen: int) -> None:
        """All content is here: make it durable, then say so."""
        transaction, receiver = self._transaction, self._receiver
        self._transaction = self._receiver = None
        assert transaction is not None
        octets = piece
        if receiver is None and (
            len(piece) > limits.CONTENT_IN_MEMORY_MAX or len(piece) > self.intake.budget.left
        ):
            receiver, self._receiver = self._new_receiver(transaction), None
        if receiver is not None:
            receiver.take(piece)
            if receiver.refusal:
                return self._refuse_message(slot, receiver, transaction, receiver.refusal)
            octets = receiver.whole()
        try:
            arrival = new_message(self.session, transaction, octets, size_bytes, seen, receiver)
        except Exception:
            self.context.maillog.failed("a message could not be taken")
            return self._refuse_message(slot, receiver, transaction, replies.LOCAL_ERROR)
        if arrival.refusal:
            if arrival.verdict is not None:
                count_refusal(arrival.verdict)
            return self._refuse_message(slot, receiver, transaction, arrival.refusal)
        if receiver is not None and receiver.file is not None:
            receiver.file.finish(partial(written, self, slot, arrival, receiver))
        else:
            if receiver is None:
                self.intake.budget.left -= slot.octets
            if arrival.verdict is None:
                judge_aside(self, slot, arrival, receiver, transaction.mail)
            else:
                accept(self, slot, arrival, receiver)

    def on_drop(self, reply: bytes) -> None:
        """The content is refused while it comes."""
        self._abort_content()
        self.refused("END-OF-MESSAGE", reply, self._sender())

    def on_reset(self) -> None:
        """The transaction is given up."""
        self._abort_content()
        self._transaction = None

    def on_starttls(self) -> None:
        """Reading stops here, before the 220 is written (rule 7)."""
        assert self._transport is not None
        self._transport.pause_reading()
        self._is_paused = True
        self.intake.start_tls(self)

    def on_auth(self, mechanism: str, initial: bytes | None) -> None:
        """A log-in begins."""
        self._refresh()
        facts = self.session.facts
        is_private = self._is_tls or self.client.is_loopback
        refusal = b""
        if facts.context.accounts is None or facts.kind == "lmtp":
            refusal = replies.NO_AUTH
        elif self.session.username:
            refusal = replies.AUTH_ALREADY
        elif mechanism not in facts.mechanisms(is_private=True):
            refusal = replies.UNKNOWN_MECHANISM if is_private else replies.AUTH_NEEDS_TLS
        elif mechanism not in facts.mechanisms(is_private=is_private):
            refusal = replies.AUTH_NEEDS_TLS
        if refusal:
            self.machine.finish_auth(refusal)
            return
        self.login = Login(self, mechanism)
        self.login.begin(initial)

    def on_auth_response(self, response: bytes | None) -> None:
        """The client's answer to a challenge."""
        login = self.login
        if response is None:
            self.login = None
        elif login is not None:
            login.go_on(response)

    def on_etrn(self, etrn: Etrn) -> None:
        """A site asks for its mail."""
        self._refresh()
        self.site_talk = SiteTalk(self, self.context.sites)
        self.site_talk.begin_etrn(etrn)

    def on_atrn(self, domains: tuple[str, ...]) -> None:
        """A site asks for its mail on this connection."""
        self._refresh()
        self.site_talk = SiteTalk(self, self.context.sites)
        self.site_talk.begin_atrn(domains)

    def on_refused(self, line: bytes, reply: bytes) -> None:
        """The machine refused a command: a line of the log, when it names a stage that counts."""
        if reply is replies.TOO_MANY_ERRORS:
            stage = next(reversed(self.machine.said), b"CONNECT").decode("ascii", "replace").upper()
            service = self.session.facts.service
            self.context.maillog.too_many_errors(service, self.client.log_text, stage=stage)
        if reply is replies.TLS_NOT_HERE:
            self.refused("CONNECT", reply, None)
        elif reply is replies.EARLY_OCTETS or line[:4].upper() in (b"MAIL", b"RCPT"):
            stage = line[:4].decode("ascii", "replace").upper()
            self.refused(stage, reply, self._sender() if stage == "RCPT" else None)

    # How.

    def _refresh(self) -> None:
        """Settings or accounts have changed since: from this transaction on the new ones hold."""
        context, session = self.intake.context, self.session
        if context is not self.context:
            self.context = context
            session.facts = context.facts(session.facts.kind)
            session.client = self.client = context.client(self.client.address)
            session.forget()
            self.machine.rules = session.facts.rules

    def login_done(self, username: str, mechanism: str, reply: bytes) -> None:
        """The log-in has ended; it is the account's own name, or ""."""
        self.login = None
        if username:
            self.session.username, self.session.mechanism = username, mechanism
            self.session.forget()
            self.prove()
            if self.context.sites is not None and self.session.facts.kind != "odmr":
                self.context.sites.logged_in(username, self.client.address)
        self.machine.finish_auth(reply)

    def site_answered(self, reply: bytes) -> None:
        """The reply to ETRN, or the refusal of ATRN."""
        self.site_talk = None
        self.heard = self.intake.now
        self.machine.finish(reply)
        self.go_on()

    def turn(self) -> TurnedPipe | None:
        """ATRN is obeyed: say so, and let go of the connection. None: the client is not there, or has
        spoken on."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self.machine.turn():
            self.site_talk = None
            self._flush()
            return None
        self._flush()
        self._transport = None
        pipe = TurnedPipe(transport, self.connection_lost)
        pipe.take_over()
        return pipe

    def log_failure(self, what: str) -> None:
        """A mistake of ours."""
        self.context.maillog.failed(f"{self.client.log_text}: {what} could not be answered")

    def prove(self) -> None:
        """It has brought a message or logged in: no stranger where room is short."""
        if not self.is_proved:
            self.is_proved = True
            self.intake.guests.proved(self.client)

    def go_on(self) -> None:
        """Take the input that was held."""
        self._release(Hold.HOUSE)

    def begin_tls(self) -> asyncio.Transport | None:
        """The transport to shake hands over, once the 220 is on its way."""
        self._flush()
        return self._transport

    def tls_is_up(self, transport: asyncio.Transport) -> None:
        """Under TLS now: a new session, but for the connection it is on."""
        self._transport = transport
        self._is_tls = True
        self._is_paused = False
        facts, client = self.session.facts, self.client
        self.session = Session(facts, client)
        self.session.tls = _tls_version(transport)
        self.heard = self.intake.now
        self.machine.restart_under_tls()
        self._flush()

    def _new_receiver(self, transaction: Transaction) -> Receiver:
        intake = self.intake
        is_judged = self.session.facts.context.validation
        self._receiver = Receiver(
            self.context.spool,
            intake.budget,
            intake.writers,
            self._on_room,
            hides_bcc=self.session.facts.kind in SUBMISSION_KINDS,
            examination=begin_examination(transaction.mail) if is_judged else None,
        )
        return self._receiver

    def _refuse_message(
        self, slot: Slot, receiver: Receiver | None, transaction: Transaction, reply: bytes
    ) -> None:
        if receiver is not None:
            receiver.abort()
        reverse_path = transaction.mail.reverse_path
        self.refused("END-OF-MESSAGE", reply, reverse_path.text if reverse_path else "")
        self.machine.answer(slot, reply)

    def answer(self, slot: Slot, reply: bytes) -> None:
        """The reply to a message that waited for it."""
        machine = self.machine
        machine.answer(slot, reply)
        if self._is_paused:
            self.data_received(b"")
        if self.intake.is_stopping and machine.is_idle:
            machine.end(replies.SHUTTING_DOWN)
        self._flush()

    def _next_turn(self) -> None:
        self._awaits_turn = False
        if self._transport is not None:
            self._release(Hold.TURN)

    def _release(self, why: int) -> None:
        self.machine.release(why)
        self.data_received(b"")

    def _on_room(self) -> None:
        if self.machine.holding & Hold.CONTENT:
            self._release(Hold.CONTENT)

    def _abort_content(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.abort()

    def _sender(self) -> str | None:
        if self._transaction is None:
            return None
        reverse_path = self._transaction.mail.reverse_path
        return reverse_path.text if reverse_path else ""

    def _flush(self) -> None:
        """Write what there is, and read on or not: the machine says."""
        transport = self._transport
        if transport is None:
            return
        machine = self.machine
        out = machine.take_outgoing()
        if out:
            transport.write(out)
        if machine.holding:
            if machine.is_over:
                self.ended = self.ended or self.intake.now
                transport.close()
                return
            if machine.holding & Hold.TURN and not self._awaits_turn:
                self._awaits_turn = True
                asyncio.get_running_loop().call_soon(self._next_turn)
            if not self._is_paused:
                self._is_paused = True
                transport.pause_reading()
        elif self._is_paused:
            self._is_paused = False
            transport.resume_reading()

    def refused(self, stage: str, reply: bytes, from_: str | None, to: str | None = None) -> bytes:
        """A line of the log; the same reply."""
        session = self.session
        try:
            parsed = parse_reply([reply.rstrip(b"\r\n")])
        except ReplySyntaxError:
            parsed = Reply(550, None, "refused")
        self.context.maillog.refused(
            session.facts.service,
            session.client.log_text,
            stage=stage,
            reply=parsed,
            reverse_path=from_,
            forward_path=to,
            protocol=session.trace(False)[1],
            helo=session.helo,
        )
        return reply

    def _fail(self, what: str) -> None:
        self.context.maillog.failed(f"{self.client.log_text}: {what} could not be answered")
        self.on_reset()
        self.machine.end(replies.LOCAL_ERROR)


def _tls_version(transport: Any) -> str:
    ssl_object = transport.get_extra_info("ssl_object")
    return str(ssl_object.version() or "TLS") if ssl_object is not None else "TLS"
