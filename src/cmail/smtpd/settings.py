"""Typed settings of the SMTP, submission and LMTP listeners, with defaults and units."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.settings import ByteSize

ListenerKind = Literal["smtp", "submission", "submissions", "lmtp", "pop3", "pop3s", "imap", "imaps"]

_FREE_SPACE: Final = ByteSize(64 * 2**20)


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """[[listener]]"""

    kind: Annotated[ListenerKind, "What is spoken there (pop3 and imap come later)."]
    address: Annotated[str, "host:port, [ipv6]:port, or unix:/path for lmtp."]


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """[relay]"""

    networks: Annotated[tuple[str, ...], "May send anywhere without a password; nobody else may."] = (
        "127.0.0.0/8",
        "::1/128",
    )


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """[limits]: what one client, and all of them together, may take of us."""

    sessions: Annotated[int, "Sessions at once, a worker; above it 421."] = 2000
    sessions_per_address: Annotated[int, "Sessions at once of one client address."] = 100
    recipients: Annotated[int, "Recipients a message."] = 1000
    errors: Annotated[int, "Errors before a session is ended."] = 20
    idle_commands: Annotated[int, "Commands but RCPT without a message before it is ended."] = 100
    command_timeout: Annotated[timedelta, "How long a client may be silent."] = timedelta(minutes=5)
    free_space: Annotated[ByteSize, "With less left on the disk new mail waits outside: 452."] = _FREE_SPACE
