"""Who is silent, slow or not logged in for too long is told so, and goes: looked at once a second."""

from typing import TYPE_CHECKING, Final

from cmail.mail import limits
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.extensions import LOGIN_KINDS
from cmail.smtpd.patience import Patience

if TYPE_CHECKING:
    from cmail.smtpd.connection import Connection

CLOSE_S: Final = 30  # how long a client may take to read our last words
LOGIN_TIMED_OUT: Final = b"421 4.7.0 You did not log in for too long\r\n"


def expire(connection: "Connection", now: int, patience: Patience, crowded: Patience) -> None:
    """Whether it was silent for too long (RFC 5321 §4.5.3.2); called about once a second."""
    machine = connection.machine
    if connection.site_talk is not None:  # it waits for us; or has turned round, and has other times
        return
    if machine.is_over:
        if now - connection.ended > CLOSE_S:  # it does not read our last words
            connection.abort()
        return
    if not connection.is_proved and connection.intake.guests.is_crowded(connection.client):
        patience = crowded
    if _is_late(connection, now, patience) or now - connection.began > limits.SERVER_SESSION_MAX_S:
        connection.end(replies.TIMED_OUT)
        if machine.waiting_count:  # the disk has not answered for ten minutes
            connection.abort()
    elif _lacks_login(connection, now, patience):
        connection.end(LOGIN_TIMED_OUT)


def _lacks_login(connection: "Connection", now: int, patience: Patience) -> bool:
    session = connection.session
    return (
        now - connection.began > patience.login_s
        and session.facts.kind in LOGIN_KINDS
        and not session.username
        and connection.login is None
    )


def _is_late(connection: "Connection", now: int, patience: Patience) -> bool:
    machine = connection.machine
    if machine.is_in_content and not machine.holding:
        return _is_content_slow(connection, now, patience)
    connection.mark = (0, 0)
    is_ours = machine.waiting_count or connection.login is not None  # it waits for us
    return now - connection.heard > (limits.CLIENT_DOT_TIMEOUT_S if is_ours else patience.command_s)


def _is_content_slow(connection: "Connection", now: int, patience: Patience) -> bool:
    """Whether content has come to a stand, or to a trickle that keeps others out (rule 11)."""
    since, octets = connection.mark
    if since and now - since < patience.data_s:
        return False
    connection.mark = (now, connection.octets)
    connection.heard = now  # the command behind it has its own time
    return bool(since) and connection.octets - octets < patience.data_rate * (now - since)
