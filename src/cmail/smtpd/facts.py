"""Session and Transaction: what is known of the client, and of the message it is sending."""

from cmail.mail.envelope import Recipient
from cmail.mail.trace import protocol_word, received_head
from cmail.protocol.smtp.commands import Mail
from cmail.smtpd.context import Client, ListenerFacts


class Session:
    """One connection. What RSET cannot touch."""

    __slots__ = ("_heads", "client", "facts", "helo", "is_extended", "mechanism", "tls", "username")

    def __init__(self, facts: ListenerFacts, client: Client) -> None:
        self.facts = facts
        self.client = client
        self.helo = ""
        self.is_extended = False
        self.tls = ""  # "TLSv1.3", "" without
        self.username = ""  # the account, once logged in
        self.mechanism = ""
        self._heads: dict[bool, tuple[str, str]] = {}

    def forget(self) -> None:
        """Something that the trace field says has changed."""
        if self._heads:
            self._heads = {}

    def trace(self, is_utf8: bool) -> tuple[str, str]:
        """The head of its Received fields, and the protocol's name."""
        found = self._heads.get(is_utf8)
        if found is None:
            protocol = protocol_word(
                is_lmtp=self.facts.kind == "lmtp",
                is_extended=self.is_extended,
                is_tls=bool(self.tls),
                is_authenticated=bool(self.username),
                is_utf8=is_utf8,
            )
            client, by = self.client, self.facts.context.hostname
            head = received_head(self.helo, client.name, client.address or "local", by, protocol)
            found = self._heads[is_utf8] = (head, protocol)
        return found


class Transaction:
    """MAIL up to the reply after content. RSET throws it away."""

    __slots__ = ("mail", "recipients", "routes")

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self.recipients: list[Recipient] = []
        self.routes: list[str] = []
