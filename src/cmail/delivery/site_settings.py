"""Typed settings of [[site]]: servers that come and go, for which mail is kept here."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.policy.routing import site_route
from cmail.settings import ByteSize, Endpoint, parse_endpoint

SITE_PORT: Final = 25  # of a host that says none, and of a client that has asked
_NO_LIMIT: Final = ByteSize(0)


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """[[site]]: a server that comes and goes, for which mail is kept here"""

    name: Annotated[str, "What people call it: letters, digits, - and _."]
    domains: Annotated[
        tuple[str, ...],
        "Mail for these domains is taken from everybody, whoever it is for, and kept until the site is"
        " there.",
    ]
    user: Annotated[str, "The account with which it logs in for ATRN and ETRN; empty: neither by log-in."] = (
        ""
    )
    password_file: Annotated[
        str,
        "A file with the password of that user alone: with it, CRAM-MD5 is offered where kind is odmr, for"
        " programs that know nothing else.",
    ] = ""
    networks: Annotated[
        tuple[str, ...], "Where it may come from when it asks by ETRN or finger without a log-in."
    ] = ()
    host: Annotated[
        str,
        "Where its mail is sent after ETRN, finger or a log-in: host:port. Empty: after ETRN and finger to"
        " port 25 of the address that it asked from.",
    ] = ""
    tls: Annotated[
        Literal["none", "opportunistic", "required", "implicit"],
        "How the way to it is encrypted: as smtp.tls. ATRN keeps the encryption that it came with.",
    ] = "opportunistic"
    largest: Annotated[
        ByteSize,
        "Larger messages are held; its postmaster is told of each, once, and how to have it sent."
        " 0: no limit.",
    ] = _NO_LIMIT
    messages: Annotated[
        int,
        "When about so many wait, held ones too, further mail for it is refused for now (452); 0: no limit.",
    ] = 0
    size: Annotated[
        ByteSize, "When about so many octets wait, likewise (a larger message: for good, 550); 0: no limit."
    ] = _NO_LIMIT
    stays: Annotated[timedelta, "So long it counts as there after it has asked."] = timedelta(minutes=10)

    @property
    def route(self) -> str:
        """The route of its mail."""
        return site_route(self.name)

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it listens, when the settings say so."""
        return parse_endpoint(self.host, SITE_PORT) if self.host else None
