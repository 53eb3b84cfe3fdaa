"""Connection: feeds octets to protocol.smtp.server and answers its questions."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cmail.delivery.turned import TurnedPipe
from cmail.mail import limits
from cmail.mail.headers import header_of
from cmail.mail.reply import Reply, ReplySyntaxError, parse_reply
from cmail.observe.metrics import LINK_MESSAGES, LINK_OCTETS
from cmail.policy.validation.rules import Verdict
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.commands import Mail, Rcpt
from cmail.protocol.smtp.extensions import LOGIN_KINDS, SUBMISSION_KINDS
from cmail.protocol.smtp.server import SmtpServer
from cmail.protocol.smtp.server_states import Hold, Slot
from cmail.protocol.smtp.site_commands import Etrn
from cmail.smtpd.checks import check_mail, check_rcpt, spool_reply
from cmail.smtpd.context import Client, ListenerFacts
from cmail.smtpd.etrn import offer, offered
from cmail.smtpd.facts import Session, Transaction
from cmail.smtpd.judge import begin_examination, count_refusal, judge
from cmail.smtpd.login import Login
from cmail.smtpd.odmr import SiteTalk
from cmail.smtpd.patience import Patience
from cmail.smtpd.receive import Arrival, Receiver, new_message
from cmail.storage.spool import SpoolError

if TYPE_CHECKING:
    from cmail.smtpd.intake import Intake


CLOSE_S: Final = 30  # how long a client may take to read our last words
LOGIN_TIMED_OUT: Final = b"421 4.7.0 You did not log in for too long\r\n"
_MESSAGES_IN: Final = LINK_MESSAGES.of("in")
_OCTETS_IN: Final = LINK_OCTETS.of("in")


class Connection(asyncio.Protocol):
    """One client. What the machine says is written once a read; what the spool says, when it says it."""

    def __init__(self, intake: "Intake", facts: ListenerFacts, client: Client, *, is_tls: bool) -> None:
        self._intake = intake
        self._context = facts.context
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._is_tls = is_tls
        self._is_paused = False
        self._transaction: Transaction | None = None
        self._receiver: Receiver | None = None
        self._login: Login | None = None
        self._site_talk: SiteTalk | None = None
        self.session = Session(facts, client)
        self.machine = SmtpServer(facts.rules, self, facts.greeting, is_tls=is_tls)
        self._octets = 0  # received
        self._mark = (0, 0)  # while content comes: when we looked, and how much there was
        self.heard = 0  # when, by the intake's clock of whole seconds
        self.began = 0
        self.ended = 0
        self.has_begun = False
        self._awaits_turn = False
        self._is_proved = client.may_relay  # it brought a message or has logged in; or need not

    # What the event loop calls.

    def connection_made(self, transport: Any) -> None:
        """Also after STARTTLS, with another transport."""
        self._transport = transport
        if self._is_tls:
            self.session.tls = _tls_version(transport)
        self.heard = self.began = self._intake.now
        self.has_begun = True
        self._intake.open(self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Octets of the client."""
        self._octets += len(data)
        if data[-1:] == b"\n":  # a command that comes octet by octet must be whole in time, too
            self.heard = self._intake.now
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
        if self._login is not None:
            self._login.cancel()
        if self._site_talk is not None:
            self._site_talk.cancel()
        self._intake.close(self)

    # What intake calls.

    def end(self, reply: bytes) -> None:
        """The session ends with this reply."""
        self.machine.end(reply)
        self._flush()

    def abort(self) -> None:
        """It ends now."""
        if self._transport is not None:
            self._transport.abort()
        elif self._site_talk is not None and self._site_talk.pipe is not None:
            self._site_talk.pipe.close()

    def expire(self, now: int, patience: Patience, crowded: Patience) -> None:
        """Whether it was silent for too long (RFC 5321 §4.5.3.2); called about once a second."""
        machine = self.machine
        if self._site_talk is not None:  # it waits for us; or has turned round, and has other times
            return
        if machine.is_over:
            if now - self.ended > CLOSE_S:  # it does not read our last words
                self.abort()
            return
        if not self._is_proved and self._intake.guests.is_crowded(self._client):
            patience = crowded
        if self._is_late(now, patience) or now - self.began > limits.SERVER_SESSION_MAX_S:
            self.end(replies.TIMED_OUT)
            if machine.waiting_count:  # the disk has not answered for ten minutes
                self.abort()
        elif self._lacks_login(now, patience):
            self.end(LOGIN_TIMED_OUT)

    def _lacks_login(self, now: int, patience: Patience) -> bool:
        session = self.session
        return (
            now - self.began > patience.login_s
            and session.facts.kind in LOGIN_KINDS
            and not session.username
            and self._login is None
        )

    def _is_late(self, now: int, patience: Patience) -> bool:
        machine = self.machine
        if machine.is_in_content and not machine.holding:
            return self._is_content_slow(now, patience)
        self._mark = (0, 0)
        is_ours = machine.waiting_count or self._login is not None  # it waits for us
        return now - self.heard > (limits.CLIENT_DOT_TIMEOUT_S if is_ours else patience.command_s)

    def _is_content_slow(self, now: int, patience: Patience) -> bool:
        """Whether content has come to a stand, or to a trickle that keeps others out (rule 11)."""
        since, octets = self._mark
        if since and now - since < patience.data_s:
            return False
        self._mark = (now, self._octets)
        self.heard = now  # the command behind it has its own time
        return bool(since) and self._octets - octets < patience.data_rate * (now - since)

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
        client = self._client
        reply = facts.ehlo_reply(
            is_tls=self._is_tls,
            is_loopback=client.is_loopback,
            is_logged_in=bool(session.username),
            may_relay=client.may_relay,
        )
        sites = self._context.sites
        keyword = offered(sites, session) if sites is not None else b""
        return offer(reply, keyword) if keyword else reply

    def on_mail(self, mail: Mail) -> bytes:
        """A transaction begins."""
        if self._context is not self._intake.context:
            self._refresh()
        refusal = check_mail(self.session, mail)
        if not refusal and not self._client.may_relay:
            intake = self._intake
            refusal = intake.guests.take_message(self._client, self.session.username, intake.now)
        if refusal:
            path = mail.reverse_path.text if mail.reverse_path else ""
            return self._refused("MAIL", refusal, path)
        self._transaction = Transaction(mail)
        return replies.SENDER_OK

    def on_rcpt(self, rcpt: Rcpt) -> bytes:
        """A recipient more."""
        transaction = self._transaction
        assert transaction is not None
        recipient = rcpt.recipient
        refusal = check_rcpt(self.session, recipient, transaction.mail.size_bytes)
        if not refusal and not self._client.may_relay:
            intake = self._intake
            refusal = intake.guests.take_recipient(self._client, self.session.username, intake.now)
        if refusal:
            reverse_path = transaction.mail.reverse_path
            from_ = reverse_path.text if reverse_path else ""
            return self._refused("RCPT", refusal, from_, recipient.forward_path.text)
        transaction.recipients.append(recipient)
        transaction.routes.append(self._context.routing.route(recipient.forward_path))
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
            len(piece) > limits.CONTENT_IN_MEMORY_MAX or len(piece) > self._intake.budget.left
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
            self._context.maillog.failed("a message could not be taken")
            return self._refuse_message(slot, receiver, transaction, replies.LOCAL_ERROR)
        if arrival.refusal:
            if arrival.verdict is not None:
                count_refusal(arrival.verdict)
            return self._refuse_message(slot, receiver, transaction, arrival.refusal)
        if receiver is not None and receiver.file is not None:
            receiver.file.finish(partial(self._written, slot, arrival, receiver))
        else:
            if receiver is None:
                self._intake.budget.left -= slot.octets
            if arrival.verdict is None:
                self._judge_aside(slot, arrival, receiver, transaction.mail)
            else:
                self._accept(slot, arrival, receiver)

    def on_drop(self, reply: bytes) -> None:
        """The content is refused while it comes."""
        self._abort_content()
        self._refused("END-OF-MESSAGE", reply, self._sender())

    def on_reset(self) -> None:
        """The transaction is given up."""
        self._abort_content()
        self._transaction = None

    def on_starttls(self) -> None:
        """Reading stops here, before the 220 is written (rule 7)."""
        assert self._transport is not None
        self._transport.pause_reading()
        self._is_paused = True
        self._intake.start_tls(self)

    def on_auth(self, mechanism: str, initial: bytes | None) -> None:
        """A log-in begins."""
        self._refresh()
        facts = self.session.facts
        is_private = self._is_tls or self._client.is_loopback
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
        self._login = Login(self, mechanism)
        self._login.begin(initial)

    def on_auth_response(self, response: bytes | None) -> None:
        """The client's answer to a challenge."""
        login = self._login
        if response is None:
            self._login = None
        elif login is not None:
            login.go_on(response)

    def on_etrn(self, etrn: Etrn) -> None:
        """A site asks for its mail."""
        self._refresh()
        self._site_talk = SiteTalk(self, self._context.sites)
        self._site_talk.begin_etrn(etrn)

    def on_atrn(self, domains: tuple[str, ...]) -> None:
        """A site asks for its mail on this connection."""
        self._refresh()
        self._site_talk = SiteTalk(self, self._context.sites)
        self._site_talk.begin_atrn(domains)

    def on_refused(self, line: bytes, reply: bytes) -> None:
        """The machine refused a command: a line of the log, when it names a stage that counts."""
        if reply is replies.TOO_MANY_ERRORS:
            stage = next(reversed(self.machine.said), b"CONNECT").decode("ascii", "replace").upper()
            service = self.session.facts.service
            self._context.maillog.too_many_errors(service, self._client.log_text, stage=stage)
        if reply is replies.TLS_NOT_HERE:
            self._refused("CONNECT", reply, None)
        elif reply is replies.EARLY_OCTETS or line[:4].upper() in (b"MAIL", b"RCPT"):
            stage = line[:4].decode("ascii", "replace").upper()
            self._refused(stage, reply, self._sender() if stage == "RCPT" else None)

    # How.

    def _refresh(self) -> None:
        """Settings or accounts have changed since: from this transaction on the new ones hold."""
        context, session = self._intake.context, self.session
        if context is not self._context:
            self._context = context
            session.facts = context.facts(session.facts.kind)
            session.client = self._client = context.client(self._client.address)
            session.forget()
            self.machine.rules = session.facts.rules

    def login_done(self, username: str, mechanism: str, reply: bytes) -> None:
        """The log-in has ended; it is the account's own name, or ""."""
        self._login = None
        if username:
            self.session.username, self.session.mechanism = username, mechanism
            self.session.forget()
            self._prove()
            if self._context.sites is not None and self.session.facts.kind != "odmr":
                self._context.sites.logged_in(username, self._client.address)
        self.machine.finish_auth(reply)

    def site_answered(self, reply: bytes) -> None:
        """The reply to ETRN, or the refusal of ATRN."""
        self._site_talk = None
        self.heard = self._intake.now
        self.machine.finish(reply)
        self.go_on()

    def turn(self) -> TurnedPipe | None:
        """ATRN is obeyed: say so, and let go of the connection. None: the client is not there, or has
        spoken on."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self.machine.turn():
            self._site_talk = None
            self._flush()
            return None
        self._flush()
        self._transport = None
        pipe = TurnedPipe(transport, self.connection_lost)
        pipe.take_over()
        return pipe

    def log_failure(self, what: str) -> None:
        """A mistake of ours."""
        self._context.maillog.failed(f"{self._client.log_text}: {what} could not be answered")

    def _prove(self) -> None:
        if not self._is_proved:
            self._is_proved = True
            self._intake.guests.proved(self._client)

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
        facts, client = self.session.facts, self._client
        self.session = Session(facts, client)
        self.session.tls = _tls_version(transport)
        self.heard = self._intake.now
        self.machine.restart_under_tls()
        self._flush()

    def _new_receiver(self, transaction: Transaction) -> Receiver:
        intake = self._intake
        is_judged = self.session.facts.context.validation
        self._receiver = Receiver(
            self._context.spool,
            intake.budget,
            intake.writers,
            self._on_room,
            hides_bcc=self.session.facts.kind in SUBMISSION_KINDS,
            examination=begin_examination(transaction.mail) if is_judged else None,
        )
        return self._receiver

    def _accept(self, slot: Slot, arrival: Arrival, receiver: Receiver | None) -> None:
        assert arrival.message is not None
        try:
            future = self._context.spool.accept(arrival.message)
        except Exception as error:
            if not isinstance(error, SpoolError):
                self._context.maillog.failed("a message could not be kept")
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        future.add_done_callback(partial(self._accepted, slot, arrival, receiver, self.session))

    def _accepted(
        self,
        slot: Slot,
        arrival: Arrival,
        receiver: Receiver | None,
        session: Session,
        future: "asyncio.Future[None]",
    ) -> None:
        """The spool has spoken. A client that went away meanwhile changes nothing."""
        self._release_content(slot, receiver)
        message = arrival.message
        assert message is not None
        error = future.exception() if not future.cancelled() else SpoolError("the spool is closed")
        if error is not None:
            reply = spool_reply(error)
            self._refused("END-OF-MESSAGE", reply, message.envelope.reverse_path_text)
        else:
            reply = b"250 %b: queued as %b\r\n" % (arrival.said, arrival.name)
            self._context.maillog.accepted(
                message.queue_id,
                client=session.client.log_text,
                helo=session.helo,
                protocol=arrival.protocol,
                message_id=arrival.message_id,
                reverse_path=message.envelope.reverse_path_text,
                size_bytes=message.content.size_bytes,
                recipients_count=len(message.routes),
                sasl_method=session.mechanism,
                sasl_username=session.username,
                tls=session.tls,
                service=session.facts.service,
            )
            if not self._is_proved:
                self._prove()
            if self._context.sites is not None:
                self._context.sites.took(message.routes, message.content.size_bytes)
            arrivals = self._intake.guests.arrivals
            if arrivals.is_on and not session.username:
                arrivals.note(session.client)
            if not (session.username or session.client.may_relay):
                _MESSAGES_IN.value += 1
                _OCTETS_IN.value += message.content.size_bytes
            verdict = arrival.verdict
            if verdict is not None and verdict.defects:
                now_ms = message.arrived_wall_ms
                self._intake.noted.add(message.envelope.reverse_path_text, verdict, now_ms)
        self._answer(slot, reply)

    def _written(self, slot: Slot, arrival: Arrival, receiver: Receiver, error: SpoolError | None) -> None:
        """Content in a file is complete."""
        if error is not None:
            self._context.maillog.warned(str(error))
            reply = spool_reply(error)
            assert arrival.message is not None
            self._refused("END-OF-MESSAGE", reply, arrival.message.envelope.reverse_path_text)
            return self._answer(slot, reply)
        if receiver.examination is not None:
            arrival.verdict = receiver.examination.finish()
            if arrival.verdict.refusal is not None:
                assert receiver.file is not None
                return receiver.file.remove(partial(self._refuse_late, slot, arrival))
        self._accept(slot, arrival, receiver)

    def _judge_aside(self, slot: Slot, arrival: Arrival, receiver: Receiver | None, mail: Mail) -> None:
        """Content with so many lines that looking at them would keep the others waiting."""
        message = arrival.message
        assert message is not None
        octets = message.content.octets
        looking = asyncio.get_running_loop().run_in_executor(
            self._intake.writers.executor, judge, mail, octets, header_of(octets)
        )
        looking.add_done_callback(partial(self._judged_aside, slot, arrival, receiver))

    def _judged_aside(
        self, slot: Slot, arrival: Arrival, receiver: Receiver | None, looking: "asyncio.Future[Verdict]"
    ) -> None:
        try:
            arrival.verdict = looking.result()
        except (Exception, asyncio.CancelledError):
            self._context.maillog.failed("a message could not be looked at")
            self._release_content(slot, receiver)
            return self._answer(slot, replies.LOCAL_ERROR)
        if arrival.verdict.refusal is not None:
            self._release_content(slot, receiver)
            return self._refuse_late(slot, arrival)
        self._accept(slot, arrival, receiver)

    def _refuse_late(self, slot: Slot, arrival: Arrival) -> None:
        """Validation refuses what was gathered already."""
        message, verdict = arrival.message, arrival.verdict
        assert message is not None and verdict is not None and verdict.refusal is not None
        count_refusal(verdict)
        reply = verdict.refusal.reply
        self._refused("END-OF-MESSAGE", reply, message.envelope.reverse_path_text)
        self._answer(slot, reply)

    def _release_content(self, slot: Slot, receiver: Receiver | None) -> None:
        if receiver is not None:
            receiver.release()
        else:
            self._intake.budget.left += slot.octets

    def _refuse_message(
        self, slot: Slot, receiver: Receiver | None, transaction: Transaction, reply: bytes
    ) -> None:
        if receiver is not None:
            receiver.abort()
        reverse_path = transaction.mail.reverse_path
        self._refused("END-OF-MESSAGE", reply, reverse_path.text if reverse_path else "")
        self.machine.answer(slot, reply)

    def _answer(self, slot: Slot, reply: bytes) -> None:
        machine = self.machine
        machine.answer(slot, reply)
        if self._is_paused:
            self.data_received(b"")
        if self._intake.is_stopping and machine.is_idle:
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
                self.ended = self.ended or self._intake.now
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

    def _refused(self, stage: str, reply: bytes, from_: str | None, to: str | None = None) -> bytes:
        session = self.session
        try:
            parsed = parse_reply([reply.rstrip(b"\r\n")])
        except ReplySyntaxError:
            parsed = Reply(550, None, "refused")
        self._context.maillog.refused(
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
        self._context.maillog.failed(f"{self._client.log_text}: {what} could not be answered")
        self.on_reset()
        self.machine.end(replies.LOCAL_ERROR)


def _tls_version(transport: Any) -> str:
    ssl_object = transport.get_extra_info("ssl_object")
    return str(ssl_object.version() or "TLS") if ssl_object is not None else "TLS"
