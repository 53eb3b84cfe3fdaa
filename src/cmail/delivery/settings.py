"""Typed settings of sending: [smtp], [smtp.advanced], [local]."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.settings import ByteSize

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
    validation: Annotated[bool, "Validation."] = True
    advanced: AdvancedSettings = field(default_factory=AdvancedSettings)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """[local]"""

    delivery: Annotated[Literal["maildir", "lmtp"], "Where mail for people here goes."] = "maildir"
    lmtp: Annotated[str, "unix:/path or host:port of the LMTP server."] = ""
    separator: Annotated[str, "anna+list@ is anna's; empty: switched off."] = "+"
