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

    timeout: Annotated[timedelta, "Socket Timeout: to open a connection; 45-60s on slow links."] = timedelta(
        seconds=30
    )
    max_message_size: Annotated[ByteSize, "Max incoming size."] = _MESSAGE_SIZE
    fallback_to_host: Annotated[bool, "Fallback to SMTP host if MX fails."] = True
    outbound_port: Annotated[int, "Outbound SMTP Port (MX delivery)."] = 25
    refuse_unknown_users: Annotated[bool, "Refuse message if user unknown."] = True
    connections: Annotated[int, "Connections to one next hop at once, all workers together."] = 20
    messages_per_connection: Annotated[int, "Messages on one connection before a new one."] = 1000
    idle: Annotated[timedelta, "How long a connection is kept for the next message."] = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """[smtp] SMTP Configuration."""

    delivery: Annotated[Literal["smarthost", "mx"], "Through an upstream server, or by MX."] = "smarthost"
    host: Annotated[str, "SMTP Host: the upstream server."] = ""
    port: Annotated[int, "Port Number."] = 25
    tls: Annotated[
        Literal["none", "opportunistic", "required", "implicit"],
        "required and implicit verify name and chain, opportunistic nothing.",
    ] = "opportunistic"
    username: Annotated[str, "For the upstream server."] = ""
    password_file: Annotated[str, "Holds its password; or $CMAIL_SMTP_PASSWORD."] = ""
    kick: Annotated[bool, "Kick SMTP server on connection to the Internet."] = False
    trigger_port: Annotated[int, "Trigger Port."] = 79
    validation: Annotated[
        bool,
        "Validation: refuse mail that no mail program could show as its sender meant. Off for"
        " troubleshooting only; a bare CR or LF and NUL are refused all the same.",
    ] = True
    advanced: AdvancedSettings = field(default_factory=AdvancedSettings)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """[local]"""

    delivery: Annotated[Literal["maildir", "lmtp"], "Where mail for people here goes."] = "maildir"
    lmtp: Annotated[str, "unix:/path or host:port of the LMTP server."] = ""
    separator: Annotated[str, "anna+list@ is anna's; empty: switched off."] = "+"


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
