"""Guests: who is connected, counted in all and by client address; who may come in, and how often.

A client of relay.networks meets the limit of all sessions and no other, and so does one whom we have asked
to send what it keeps for us. Each worker hands out its share of
what is meant for all of them (policy.places.share_of)."""

from collections.abc import Callable
from typing import Final

from cmail.policy.places import share_of
from cmail.policy.rates import Buckets
from cmail.smtpd.arrivals import Arrivals
from cmail.smtpd.context import Client, IntakeContext
from cmail.smtpd.settings import IntakeSettings

TOO_MANY: Final = b"421 4.3.2 Too many sessions: try again later\r\n"
TOO_MANY_OF_YOU: Final = b"421 4.7.0 Too many sessions from your address\r\n"
TOO_OFTEN: Final = b"421 4.7.0 Too many connections from your address that brought nothing: wait a minute\r\n"
TOO_MANY_MESSAGES: Final = b"450 4.7.0 Too many messages in one minute: try again later\r\n"
TOO_MANY_RECIPIENTS: Final = b"450 4.7.0 Too many recipients in one minute: try again later\r\n"

LINES_BURST: Final = 3  # of the log, about connections of an address that are turned away
LINES_PER_MINUTE: Final = 6  # a storm must not fill the disk


class Guests:
    """The counts of one worker. Time is the intake's clock of whole seconds."""

    def __init__(self, context: IntakeContext) -> None:
        self._by_place: dict[str, int] = {}
        self.count = 0
        self._lines = Buckets(LINES_BURST, LINES_PER_MINUTE)
        self._limits: tuple[IntakeSettings, int] | None = None
        self.arrivals = Arrivals()
        self.update(context)

    def update(self, context: IntakeContext) -> None:
        """Other settings; what was counted still counts, unless its limit is another."""
        accounts = context.accounts
        self._is_known: Callable[[str], bool] = accounts.knows if accounts is not None else _nobody
        limits, workers = context.settings, context.workers_count
        if self._limits == (limits, workers):
            return
        self._limits = (limits, workers)
        self._sessions_max = limits.sessions
        self._strangers_max = max(1, limits.sessions * 9 // 10)
        self._place_max = share_of(limits.sessions_per_address, workers)
        self._connections = _rate(share_of(limits.connections_per_minute, workers))
        self._messages = _rate(share_of(limits.messages_per_minute, workers))
        self._recipients = _rate(share_of(limits.recipients_per_minute, workers))

    def admit(self, client: Client, now: int) -> bytes:
        """b"": it is counted, and depart() must follow. Else why it cannot come in."""
        place = client.place
        if self.count >= self._sessions_max:
            return TOO_MANY
        if not client.may_relay and not self.arrivals.is_watched(client):
            if self.count >= self._strangers_max and not self._is_known(place):
                return TOO_MANY
            if self._by_place.get(place, 0) >= self._place_max:
                return TOO_MANY_OF_YOU
            if not self._connections.take(place, now):
                return TOO_OFTEN
        self.count += 1
        self._by_place[place] = self._by_place.get(place, 0) + 1
        return b""

    def depart(self, client: Client) -> None:
        """It has gone."""
        self.count -= 1
        left = self._by_place[client.place] - 1
        if left:
            self._by_place[client.place] = left
        else:
            del self._by_place[client.place]

    def proved(self, client: Client) -> None:
        """It brought a message, or has logged in: its connection was no idle one."""
        self._connections.give_back(client.place)

    def is_crowded(self, client: Client) -> bool:
        """Whether room is short, in all or for its address, so that it must be quick."""
        if client.may_relay:
            return False
        here = self._by_place.get(client.place, 0)
        return self.count * 4 >= self._sessions_max * 3 or here * 4 >= self._place_max * 3

    def is_trusted(self, client: Client) -> bool:
        """Whether it is of our own networks, or of an address that somebody has logged in from."""
        return client.may_relay or self._is_known(client.place)

    def take_message(self, client: Client, username: str, now: int) -> bytes:
        """b"", or why it may not begin a message now."""
        if self._messages.take(username or client.place, now) or self.arrivals.is_watched(client):
            return b""
        return TOO_MANY_MESSAGES

    def take_recipient(self, client: Client, username: str, now: int) -> bytes:
        """b"", or why it may not name one recipient more."""
        if self._recipients.take(username or client.place, now) or self.arrivals.is_watched(client):
            return b""
        return TOO_MANY_RECIPIENTS

    def is_worth_a_line(self, client: Client, now: int) -> bool:
        """Whether it is still to be logged that the client is turned away."""
        return self._lines.take(client.place, now)


def _rate(per_minute: int) -> Buckets:
    return Buckets(per_minute, per_minute)


def _nobody(_place: str) -> bool:
    return False
