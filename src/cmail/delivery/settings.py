"""Typed settings of sending: [smtp], [smtp.advanced], [local], [[forward]]."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.policy.routing import host_route
from cmail.settings import ByteSize, parse_endpoint

FORWARD_PORT: Final = 25  # of a host that says none
_MESSAGE_SIZE: Final = ByteSize(50 * 2**20)


@dataclass(frozen=True, slots=True)
class AdvancedSettings:
    """[smtp.advanced] Advanced SMTP Configuration."""

    timeout: Annotated[
        timedelta,
        "How long another server may take to answer when a connection is opened; 45s to 60s on slow lines.",
    ] = timedelta(seconds=30)
    max_message_size: Annotated[
        ByteSize,
        "A message that is larger is refused while it comes in, and its sender is told.",
    ] = _MESSAGE_SIZE
    fallback_to_host: Annotated[
        bool,
        "With delivery by MX: when no mail host of a domain answers, the SMTP Host is given the mail"
        " instead.",
    ] = True
    outbound_port: Annotated[
        int,
        "The port of other servers that mail by MX goes to; 25, unless something in between wants another.",
    ] = 25
    refuse_unknown_users: Annotated[
        bool, "On: who writes to nobody here is told at once. Off: such mail goes to postmaster's mailbox."
    ] = True
    connections: Annotated[
        int, "Connections to one server at once, of all workers together; many servers take no more than 20."
    ] = 20
    messages_per_connection: Annotated[int, "Messages on one connection before a new one is made."] = 1000
    idle: Annotated[timedelta, "How long a connection stays open for the next message."] = timedelta(
        seconds=2
    )


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """[smtp] SMTP Configuration."""

    delivery: Annotated[
        Literal["smarthost", "mx"],
        "Who takes our mail for the Internet: one server of your provider (smarthost), or the mail hosts"
        " of each recipient's domain, which the DNS names (mx). From an office line the first is right.",
    ] = "smarthost"
    host: Annotated[
        str,
        "The name of the upstream server, such as smtp.isp.example. Empty: mail for the Internet waits here.",
    ] = ""
    port: Annotated[
        int,
        "The port of the upstream server: 587 (STARTTLS) or 465 (TLS from the first byte) with a log-in;"
        " 25 without.",
    ] = 25
    tls: Annotated[
        Literal["none", "opportunistic", "required", "implicit"],
        "How the way to the upstream server is encrypted. required (STARTTLS) and implicit (TLS from the"
        " first byte) verify its certificate, and nothing goes without; opportunistic encrypts when the"
        " server can and verifies nothing.",
    ] = "opportunistic"
    username: Annotated[
        str, "Who we are at the upstream server, often a whole e-mail address; empty: it wants no log-in."
    ] = ""
    password_file: Annotated[
        str, "The file that holds the password for the upstream server, alone; else $CMAIL_SMTP_PASSWORD."
    ] = ""
    kick: Annotated[
        bool,
        "When the line comes up, ask the SMTP Host to send what waits there for us. For providers that"
        " keep mail until they are asked.",
    ] = False
    trigger_port: Annotated[
        int, "The port that a kick goes to, as the provider says; 79 is that of finger."
    ] = 79
    validation: Annotated[
        bool,
        "Validation: refuse mail that no mail program could show as its sender meant. Off for"
        " troubleshooting only; a bare CR or LF and NUL are refused all the same.",
    ] = True
    advanced: AdvancedSettings = field(default_factory=AdvancedSettings)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """[local]: mail for people here"""

    delivery: Annotated[
        Literal["maildir", "lmtp"],
        "Where mail for people here goes: into mailboxes on this machine, or to another program by LMTP.",
    ] = "maildir"
    lmtp: Annotated[str, "The LMTP server: host:port, or unix:/path (that in the file only)."] = ""
    separator: Annotated[
        str,
        "The sign behind which a local part may say more: mail for anna+list comes to anna. Empty:"
        " switched off.",
    ] = "+"


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """[[forward]]: whole domains that another server has"""

    domain: Annotated[
        str,
        "Mail for this domain is taken from everybody and sent on to the host, whoever it is for: the host"
        " knows its users, we do not. The domain is not in host.domains.",
    ]
    host: Annotated[
        str,
        "Where it goes: a name or an address, with :port unless it is 25. No MX record is asked for. A"
        " private address, a name without a dot or in .lan, .local or .internal does not need the Internet.",
    ]
    tls: Annotated[
        Literal["none", "opportunistic", "required", "implicit"],
        "How the way to the host is encrypted: as smtp.tls. There is no log-in.",
    ] = "opportunistic"

    @property
    def route(self) -> str:
        """The route of its mail."""
        endpoint = parse_endpoint(self.host, FORWARD_PORT)
        return host_route(endpoint.host, endpoint.port, self.tls)
