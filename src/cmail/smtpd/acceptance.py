"""From the end of content to its reply: judged where it could not be before, durable, and only then 250."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from cmail.mail.headers import header_of
from cmail.observe.metrics import LINK_MESSAGES, LINK_OCTETS
from cmail.policy.validation.rules import Verdict
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.commands import Mail
from cmail.protocol.smtp.server_states import Slot
from cmail.smtpd.checks import spool_reply
from cmail.smtpd.facts import Session
from cmail.smtpd.judge import count_refusal, judge
from cmail.smtpd.receive import Arrival, Receiver
from cmail.storage.spool import SpoolError

if TYPE_CHECKING:
    from cmail.smtpd.connection import Connection

_MESSAGES_IN: Final = LINK_MESSAGES.of("in")
_OCTETS_IN: Final = LINK_OCTETS.of("in")


def accept(connection: "Connection", slot: Slot, arrival: Arrival, receiver: Receiver | None) -> None:
    """Into the spool; the reply is said when that has spoken."""
    assert arrival.message is not None
    try:
        future = connection.context.spool.accept(arrival.message)
    except Exception as error:
        if not isinstance(error, SpoolError):
            connection.context.maillog.failed("a message could not be kept")
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error)
    future.add_done_callback(partial(_accepted, connection, slot, arrival, receiver, connection.session))


def _accepted(
    connection: "Connection",
    slot: Slot,
    arrival: Arrival,
    receiver: Receiver | None,
    session: Session,
    future: "asyncio.Future[None]",
) -> None:
    """The spool has spoken. A client that went away meanwhile changes nothing."""
    _release_content(connection, slot, receiver)
    message = arrival.message
    assert message is not None
    error = future.exception() if not future.cancelled() else SpoolError("the spool is closed")
    if error is not None:
        reply = spool_reply(error)
        connection.refused("END-OF-MESSAGE", reply, message.envelope.reverse_path_text)
    else:
        reply = b"250 %b: queued as %b\r\n" % (arrival.said, arrival.name)
        connection.context.maillog.accepted(
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
        if not connection.is_proved:
            connection.prove()
        if connection.context.sites is not None:
            connection.context.sites.took(message.routes, message.content.size_bytes)
        arrivals = connection.intake.guests.arrivals
        if arrivals.is_on and not session.username:
            arrivals.note(session.client)
        if not (session.username or session.client.may_relay):
            _MESSAGES_IN.value += 1
            _OCTETS_IN.value += message.content.size_bytes
        verdict = arrival.verdict
        if verdict is not None and verdict.defects:
            now_ms = message.arrived_wall_ms
            connection.intake.noted.add(message.envelope.reverse_path_text, verdict, now_ms)
    connection.answer(slot, reply)


def written(
    connection: "Connection", slot: Slot, arrival: Arrival, receiver: Receiver, error: SpoolError | None
) -> None:
    """Content in a file is complete."""
    if error is not None:
        connection.context.maillog.warned(str(error))
        reply = spool_reply(error)
        assert arrival.message is not None
        connection.refused("END-OF-MESSAGE", reply, arrival.message.envelope.reverse_path_text)
        return connection.answer(slot, reply)
    if receiver.examination is not None:
        arrival.verdict = receiver.examination.finish()
        if arrival.verdict.refusal is not None:
            assert receiver.file is not None
            return receiver.file.remove(partial(_refuse_late, connection, slot, arrival))
    accept(connection, slot, arrival, receiver)


def judge_aside(
    connection: "Connection", slot: Slot, arrival: Arrival, receiver: Receiver | None, mail: Mail
) -> None:
    """Content with so many lines that looking at them would keep the others waiting."""
    message = arrival.message
    assert message is not None
    octets = message.content.octets
    looking = asyncio.get_running_loop().run_in_executor(
        connection.intake.writers.executor, judge, mail, octets, header_of(octets)
    )
    looking.add_done_callback(partial(_judged_aside, connection, slot, arrival, receiver))


def _judged_aside(
    connection: "Connection",
    slot: Slot,
    arrival: Arrival,
    receiver: Receiver | None,
    looking: "asyncio.Future[Verdict]",
) -> None:
    try:
        arrival.verdict = looking.result()
    except (Exception, asyncio.CancelledError):
        connection.context.maillog.failed("a message could not be looked at")
        _release_content(connection, slot, receiver)
        return connection.answer(slot, replies.LOCAL_ERROR)
    if arrival.verdict.refusal is not None:
        _release_content(connection, slot, receiver)
        return _refuse_late(connection, slot, arrival)
    accept(connection, slot, arrival, receiver)


def _refuse_late(connection: "Connection", slot: Slot, arrival: Arrival) -> None:
    """Validation refuses what was gathered already."""
    message, verdict = arrival.message, arrival.verdict
    assert message is not None and verdict is not None and verdict.refusal is not None
    count_refusal(verdict)
    reply = verdict.refusal.reply
    connection.refused("END-OF-MESSAGE", reply, message.envelope.reverse_path_text)
    connection.answer(slot, reply)


def _release_content(connection: "Connection", slot: Slot, receiver: Receiver | None) -> None:
    if receiver is not None:
        receiver.release()
    else:
        connection.intake.budget.left += slot.octets
