"""open_any(): an SMTP session with the first address of a target that lets us in: TLS, log-in."""

from datetime import timedelta

from cmail.delivery.connections import OpenError, Peer, open_session
from cmail.delivery.hosts import Host
from cmail.delivery.line import SessionLimits
from cmail.delivery.session import Session
from cmail.link.kicks.reach import ADDRESSES_MAX, share_s
from cmail.link.kicks.target import KickResult, Target, not_now, refused


class NoSessionError(Exception):
    """None of them lets us in."""

    def __init__(self, result: KickResult) -> None:
        super().__init__(result.words)
        self.result = result


async def open_any(target: Target, all_s: float) -> tuple[Session, Host]:
    """A session, logged in where there is a log-in; NoSessionError. `all_s`: the time for all of it."""
    ways_count = len(target.ports) * len(target.addresses[:ADDRESSES_MAX])
    timeout = timedelta(seconds=min(target.timeout_s, share_s(all_s, ways_count)))
    result = not_now(f"kick: {target.where} cannot be reached: it has no address")
    for port in target.ports:
        is_silent = True
        for address in target.addresses[:ADDRESSES_MAX]:
            host = Host(target.host, address, port)
            try:
                session, _ = await open_session(_peer(target, host, timeout))
            except OpenError as error:
                result = _judge(error)
                is_silent = is_silent and error.is_connection
                continue
            return session, host
        if not is_silent:
            break  # somebody is there: the other port is no other server
    raise NoSessionError(result)


def _peer(target: Target, host: Host, timeout: timedelta) -> Peer:
    return Peer(
        host,
        target.hostname,
        tls=target.tls,
        credentials=target.credentials,
        ca_file=target.ca_file,
        timeout=timeout,
        limits=SessionLimits(patience=0.2),  # of the times of RFC 5321: a minute for a reply
    )


def _judge(error: OpenError) -> KickResult:
    reply = error.failure.reply
    words = f"kick: {error.failure.reason}"
    return refused(words) if reply is not None and reply.is_permanent else not_now(words)
