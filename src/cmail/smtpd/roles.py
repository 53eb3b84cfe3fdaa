"""Whom intake speaks to, whoever plays the role: the log, accounts, the desk for sites that come and go."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cmail.delivery.site_book import SiteBook
from cmail.delivery.site_settings import SiteSettings
from cmail.delivery.turned import TurnedPipe
from cmail.mail.reply import Reply
from cmail.protocol.sasl import KeyStore


class MailLog(Protocol):
    """observe/maillog.py, as far as intake speaks to it."""

    def connected(self, service: str, client: str) -> None: ...

    def disconnected(self, service: str, client: str, counts: Mapping[str, int]) -> None: ...

    def accepted(
        self,
        queue_id: int,
        *,
        client: str,
        helo: str,
        protocol: str,
        message_id: str,
        reverse_path: str,
        size_bytes: int,
        recipients_count: int,
        sasl_method: str = "",
        sasl_username: str = "",
        tls: str = "",
        service: str = "smtpd",
    ) -> None: ...

    def refused(
        self,
        service: str,
        client: str,
        *,
        stage: str,
        reply: Reply,
        reverse_path: str | None = None,
        forward_path: str | None = None,
        protocol: str = "",
        helo: str = "",
    ) -> None: ...

    def too_many_errors(self, service: str, client: str, *, stage: str) -> None: ...

    def login_failed(
        self, service: str, client: str, *, mechanism: str, username: str, reason: str = ""
    ) -> None: ...

    def login_put_off(
        self, service: str, client: str, *, mechanism: str, username: str, reason: str
    ) -> None: ...

    def warned(self, text: str) -> None: ...

    def failed(self, text: str) -> None: ...


class Accounts(Protocol):
    """Who may log in."""

    def at(self, client_address: str) -> KeyStore:
        """The keys of SCRAM, for a client there: its log-ins are braked by where it comes from."""
        ...

    def scram_ended(self, username: str, client_address: str, *, is_success: bool) -> None:
        """To be told how a SCRAM log-in ended, so that it counts."""
        ...

    def knows(self, place: str) -> bool:
        """Whether somebody has logged in from there (policy.places.place_of)."""
        ...

    async def check_password(self, username: str, password: str, client_address: str) -> str | None:
        """The account's own name when the password is right. Runs in a bounded pool. Raises
        storage.accounts.TooBusyError: not now."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages wait for some sites."""

    messages_count: int
    is_complete: bool = True  # False: a part of the queue did not answer


class SiteTurn(Protocol):
    """What is done with a connection that has turned round."""

    async def run(self, pipe: TurnedPipe) -> None:
        """Greet, send all there is, say goodbye. The pipe is closed then."""
        ...


class SiteDesk(Protocol):
    """What intake asks about sites that come and go."""

    @property
    def book(self) -> SiteBook:
        """Which there are, and who may speak for them."""
        ...

    async def waiting(self, sites: Iterable[SiteSettings]) -> Waiting:
        """What waits for them, in all of the queue."""
        ...

    async def came(self, site: SiteSettings, address: str, how: str) -> None:
        """It is there: what waits goes."""
        ...

    def seen(self, site: SiteSettings, how: str) -> None:
        """It was there, and nothing is to be sent because of it."""
        ...

    async def release(self, queue_id: str, sites: Iterable[SiteSettings]) -> int:
        """Let go what is held for them of a message; how many recipients."""
        ...

    def turn(self, sites: Iterable[SiteSettings], client: str) -> SiteTurn:
        """They take all that waits over the connection that has asked."""
        ...

    def refusal(self, domain: str, size_bytes: int) -> bytes:
        """Why mail for a domain cannot be taken now (at RCPT); b"": it can."""
        ...

    def took(self, routes: Iterable[str], size_bytes: int) -> None:
        """A message was accepted."""
        ...

    def logged_in(self, username: str, address: str) -> None:
        """Somebody has logged in: perhaps a site, which is there then."""
        ...
