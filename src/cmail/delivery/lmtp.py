"""LmtpAgent: to the LMTP server of [local]; a reply for each recipient after the content (RFC 2033)."""

import traceback
from collections.abc import Callable
from datetime import timedelta

from cmail.delivery.agent import Ending, HostTrouble, Work
from cmail.delivery.blame import Blame
from cmail.delivery.connections import OpenError, Peer
from cmail.delivery.hosts import Host, NoHostError, upstream_hosts
from cmail.delivery.lane import run_session
from cmail.delivery.line import SessionLimits
from cmail.delivery.settings import LocalSettings
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import LOCAL_TROUBLE, UNABLE_TO_ROUTE
from cmail.world import Clock, Resolver


class LmtpAgent:
    """DeliveryAgent for the route "lmtp". update() changes what the next connection does."""

    def __init__(
        self,
        local: LocalSettings,
        hostname: str,
        clock: Clock,
        resolver: Resolver | None = None,
        log: Callable[[str], None] | None = None,
        timeout: timedelta = timedelta(seconds=30),
        limits: SessionLimits | None = None,
    ) -> None:
        self._clock, self._resolver = clock, resolver
        self._log = log or (lambda line: None)
        self._timeout = timeout
        self._limits = limits or SessionLimits()
        self._blame = Blame()
        self.update(local, hostname)

    def update(self, local: LocalSettings, hostname: str) -> None:
        """New settings, from the next connection on."""
        self._local, self._hostname = local, hostname

    async def run(self, route: str, work: Work) -> Ending:
        """One connection to the LMTP server."""
        try:
            ending = await self._run(work)
        except Exception as error:  # a mistake of ours delays mail, it does not lose or bounce any
            self._log(f"error: delivery by LMTP failed: {traceback.format_exc()}")
            reason = f"a mistake in this program ({type(error).__name__}): see its log"
            return HostTrouble(TemporaryFailure(reason, NotNow.HOST, LOCAL_TROUBLE))
        if isinstance(ending, HostTrouble):
            self._log(f"warning: LMTP: {ending.failure.reason}")
        return ending

    async def _run(self, work: Work) -> Ending:
        try:
            peers = await self._peers()
        except (NoHostError, ValueError) as error:
            failure = error.failure if isinstance(error, NoHostError) else None
            if not isinstance(failure, TemporaryFailure):
                failure = TemporaryFailure(str(error), NotNow.HOST, UNABLE_TO_ROUTE)
            return HostTrouble(failure, is_unfound=isinstance(error, NoHostError))
        ending: Ending | None = None
        for peer in peers:
            try:
                ending = await run_session(
                    peer, work, self._clock.monotonic, self._blame, self._log, is_upstream=True
                )
            except OpenError as error:
                ending = HostTrouble(error.failure)
                continue
            if not isinstance(ending, HostTrouble) or ending.transactions_count:
                break
        assert ending is not None
        return ending

    async def _peers(self) -> list[Peer]:
        path, host, port = parse_lmtp(self._local.lmtp)
        if path:
            return [self._peer(None, path)]
        if self._resolver is None:
            raise ValueError(f"local.lmtp = {self._local.lmtp!r} needs a name to be looked up")
        return [self._peer(host, "") for host in await upstream_hosts(host, port, self._resolver)]

    def _peer(self, host: Host | None, path: str) -> Peer:
        return Peer(
            host,
            self._hostname,
            unix_path=path,
            is_lmtp=True,
            timeout=self._timeout,
            limits=self._limits,
        )


def parse_lmtp(text: str) -> tuple[str, str, int]:
    """Path, or host and port, of unix:/path and host:port; ValueError says what would be right."""
    if text.startswith("unix:/"):
        return text.removeprefix("unix:"), "", 0
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"local.lmtp = {text!r} is neither unix:/path nor host:port")
    return "", host, int(port)
