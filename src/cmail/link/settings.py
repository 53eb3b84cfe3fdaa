"""Typed settings of the link: [link], [[link.via]], [[link.kick]], [exchange], [[collect]]."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.settings import ByteSize

_NONE: Final = timedelta(0)
_SMALL: Final = ByteSize(100 * 1024)
_NO_LIMIT: Final = ByteSize(0)


@dataclass(frozen=True, slots=True)
class ViaSettings:
    """[[link.via]]: one way to the Internet, and what may use it"""

    name: Annotated[str, "What people call it: fibre, LTE, satellite."]
    device: Annotated[
        tuple[str, ...],
        "Its network devices, such as ppp0 or wwan*. Empty: its state is told by `cmail link up NAME` alone.",
    ] = ()
    use: Annotated[
        Literal["all", "small", "urgent", "nothing"],
        "What may use it: all mail; small and urgent mail; urgent mail alone; nothing.",
    ] = "all"
    rate: Annotated[int, "How fast it is, in kbit/s; 0: fast. For plans, and not to flood a thin one."] = 0
    cost: Annotated[float, "What a MiB costs, in your money; for the history."] = 0.0
    largest: Annotated[ByteSize, "No message larger than this goes over it; 0: no limit."] = _NO_LIMIT
    budget: Annotated[ByteSize, "Octets a day, out and in; then it rests until midnight. 0: no limit."] = (
        _NO_LIMIT
    )
    window_budget: Annotated[
        ByteSize,
        "Octets in one of its windows, or in one exchange, out and in; then it rests until the next. 0: no"
        " limit.",
    ] = _NO_LIMIT
    window: Annotated[
        tuple[str, ...], 'When it may be used: "22:00-06:00", "Mon-Fri 12:00-13:00". Empty: always.'
    ] = ()


@dataclass(frozen=True, slots=True)
class KickSettings:
    """[[link.kick]]: one step of the plan that makes another server send what it keeps for us"""

    method: Annotated[
        Literal["finger", "connect", "string", "etrn", "atrn", "command"],
        "finger: our domain to the finger port. connect: open a connection, say nothing. string: send `text`."
        " etrn: as SMTP has it; mail comes by another connection. atrn: mail comes over the same connection;"
        " the only one that works with a changing address or behind a router. command: run a program.",
    ]
    host: Annotated[str, "Who is kicked; empty: the SMTP Host."] = ""
    port: Annotated[
        int,
        "0: smtp.trigger_port for finger, connect, string; 25, else 587 for etrn; 366, else 25 for atrn.",
    ] = 0
    text: Annotated[
        str,
        "What is said or asked for; empty: the first of host.domains. For etrn a domain, @domain or #queue;"
        " for atrn domains with commas between, or * for all that is kept for the log-in. In that of string"
        r" \r, \n, \t and \\ stand for what they usually do, and a line ends behind it.",
    ] = ""
    tls: Annotated[
        Literal["none", "opportunistic", "required", "implicit"],
        "How etrn and atrn are encrypted: as smtp.tls.",
    ] = "opportunistic"
    username: Annotated[str, "Who we are there, for etrn and atrn (which needs it); empty: no log-in."] = ""
    password_file: Annotated[str, "The file that holds the password, alone."] = ""
    command: Annotated[tuple[str, ...], "The program and its arguments (in the file only)."] = ()
    wait: Annotated[timedelta, "So long mail may take to come; then it was not answered."] = timedelta(
        minutes=2
    )
    repeat: Annotated[int, "How often it is tried again before the next step."] = 1


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """[link]: how it is known whether we are on line"""

    probe: Annotated[
        str,
        "Where a connection is opened to see whether the Internet is there: host:port. Empty: the upstream"
        ' server. "off": nowhere.',
    ] = ""
    probe_every: Annotated[
        timedelta, "How often it is tried again while nothing answers; each try sends about 200 octets."
    ] = timedelta(seconds=5)
    small: Annotated[ByteSize, "What counts as a small message."] = _SMALL
    via: tuple[ViaSettings, ...] = ()
    kick: tuple[KickSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """[exchange]: Timed Operations: when mail for the Internet goes. Nothing set: at once"""

    every: Annotated[timedelta, "An exchange each hour, or whatever you say; 0s: not by this."] = _NONE
    at: Annotated[
        tuple[str, ...], 'At these times and in these windows: "08:00", "Mon-Fri 12:30", "22:00-06:00".'
    ] = ()
    messages: Annotated[int, "As soon as so many messages wait; 0: not by this."] = 0
    oldest: Annotated[timedelta, "As soon as the oldest has waited so long; 0s: not by this."] = _NONE
    urgent: Annotated[bool, "Urgent mail starts an exchange at once."] = True
    longest: Annotated[timedelta, "An exchange ends after this long, whatever is left."] = timedelta(
        minutes=30
    )

    @property
    def is_set(self) -> bool:
        """Whether mail waits for exchanges at all."""
        return bool(self.every or self.at or self.messages or self.oldest)


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """[[collect]]: a mailbox elsewhere, from which mail is fetched"""

    name: Annotated[str, "What people call it."]
    protocol: Annotated[Literal["pop3", "imap"], "How its server is spoken to."]
    host: Annotated[str, "The server."]
    username: Annotated[str, "Who we are there."]
    to: Annotated[
        str,
        "Whose mail it is: an address here, or @domain for a mailbox with mail of a whole domain, which is"
        " then sorted by what its server wrote on it (Delivered-To and the like); postmaster gets what is for"
        " nobody here.",
    ]
    port: Annotated[int, "0: 995 or 993 with implicit TLS, else 110 or 143."] = 0
    tls: Annotated[
        Literal["none", "opportunistic", "required", "implicit"], "How it is encrypted: as smtp.tls."
    ] = "implicit"
    password_file: Annotated[
        str, "The file that holds the password, alone; only root needs to be able to read it."
    ] = ""
    folder: Annotated[str, "The folder (IMAP)."] = "INBOX"
    keep: Annotated[bool, "Leave the messages there; none is fetched twice."] = False
    largest: Annotated[
        ByteSize,
        "Of larger messages only the beginning is fetched, as a preview that says how to fetch the rest; 0:"
        " no limit.",
    ] = _NO_LIMIT
    every: Annotated[timedelta, "How often while we are on line; 0s: at link-up and in exchanges alone."] = (
        timedelta(minutes=15)
    )
    idle: Annotated[bool, "Stay connected and hear of new mail at once (IMAP IDLE)."] = True
