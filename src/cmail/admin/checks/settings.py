"""Typed settings of Checks: [checks]."""

from dataclasses import dataclass
from typing import Annotated, Final

_TIME_SERVERS: Final = ("time.cloudflare.com", "time.nist.gov", "ptbtime1.ptb.de")


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """[checks]: whom Checks ask."""

    time_servers: Annotated[
        tuple[str, ...],
        "Who is asked how late it is (NTP), with :port unless it is 123; empty: nobody. While the line is"
        " down nobody is asked.",
    ] = _TIME_SERVERS
    port25_domain: Annotated[
        str,
        "A domain that surely takes mail: its mail host is connected to when somebody wants to know whether"
        " the provider lets port 25 out, and only then.",
    ] = "gmail.com"
