"""Typed settings of the SMTP, submission and LMTP listeners, with defaults and units."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.settings import ByteSize

ListenerKind = Literal[
    "smtp", "submission", "submissions", "lmtp", "odmr", "finger", "pop3", "pop3s", "imap", "imaps"
]

_FREE_SPACE: Final = ByteSize(64 * 2**20)


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """[[listener]]: where mail comes in"""

    kind: Annotated[
        ListenerKind,
        "What is spoken there: smtp for other servers, submission and submissions for mail programs of"
        " people here (they log in), lmtp for programs, odmr (port 366) and finger (port 79) for the servers"
        " of [[site]] that ask for their mail (pop3 and imap come later).",
    ]
    address: Annotated[
        str,
        "The address and port that it listens at: 0.0.0.0:25 is all addresses, [::1]:25 one of IPv6;"
        " unix:/path for lmtp, in the file only.",
    ]


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """[relay]: who may send anywhere"""

    networks: Annotated[
        tuple[str, ...],
        "Addresses that may send anywhere without a password, such as 192.168.7.0/24; everybody else has"
        " to log in.",
    ] = (
        "127.0.0.0/8",
        "::1/128",
    )


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """[limits]: what one client, and all of them together, may take of us"""

    sessions: Annotated[
        int,
        "Sessions at once, a worker (fewer where few files may be open); above it 421. The last tenth is for"
        " relay.networks and for addresses that somebody has logged in from.",
    ] = 2000
    sessions_per_address: Annotated[
        int,
        "Sessions at once of one client address (IPv6: a /64), about, over all workers; above it 421. An"
        " office of 60 behind one address fits. What holds for an address does not bind relay.networks.",
    ] = 100
    connections_per_minute: Annotated[
        int,
        "New connections a minute of one client address that bring neither a message nor a log-in; above it"
        " 421. Who brings something is never counted, however often it comes.",
    ] = 120
    messages_per_minute: Annotated[
        int,
        "Messages a minute of one client address, or of one account once it has logged in; above it 450. An"
        " upstream server that had to wait for us may still bring all it has.",
    ] = 3000
    recipients_per_minute: Annotated[
        int, "Recipients a minute of the same, over all messages; above it 450."
    ] = 10_000
    recipients: Annotated[int, "Recipients a message; the others are told to come in the next one (452)."] = (
        1000
    )
    errors: Annotated[int, "Errors without a message between them before a session is ended (421)."] = 20
    idle_commands: Annotated[
        int,
        "Commands but RCPT without a message before a session is ended (421): nobody honest plays so long.",
    ] = 100
    login_failures_per_address: Annotated[
        int,
        "Log-ins of one client address that may fail in five minutes; then 454 to all log-ins from there but"
        " those of accounts that have logged in from there before.",
    ] = 20
    login_failures_per_account: Annotated[
        int, "The same for one account, wherever the guesses come from; from its known places it logs in on."
    ] = 30
    login_timeout: Annotated[
        timedelta, "How long a session of a submission listener may be without a log-in; then 421."
    ] = timedelta(minutes=2)
    command_timeout: Annotated[
        timedelta,
        "How long a client may be silent, or take for one command; then 421. Where room is short it is 10s"
        " for who is a stranger and has not logged in.",
    ] = timedelta(minutes=5)
    data_timeout: Annotated[
        timedelta, "How long content may come slower than data_rate; then 421. Where room is short, 30s."
    ] = timedelta(minutes=3)
    data_rate: Annotated[
        int, "Octets of content a second, at the least. The slowest satellite has thirty times that."
    ] = 10
    handshakes: Annotated[
        int, "TLS handshakes of strangers at once, a worker; the next one waits for its turn."
    ] = 200
    future_release: Annotated[
        timedelta,
        "How far ahead people here may hand in a message that is to be sent at a certain time; 0s: not at"
        " all.",
    ] = timedelta(days=30)
    deliver_by: Annotated[
        timedelta,
        "Who wants a message back when it is late must leave us at least this long to deliver it. Time off"
        " line does not count.",
    ] = timedelta(seconds=60)
    free_space: Annotated[ByteSize, "With less left on the disk new mail waits outside: 452."] = _FREE_SPACE
