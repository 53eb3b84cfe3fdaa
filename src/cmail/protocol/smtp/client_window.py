"""How much one connection may have out before it is acknowledged: messages and octets, for a rate and a
round trip. Pure."""

from dataclasses import dataclass
from typing import Final

MESSAGES_MIN: Final = 8  # sent by BDAT whose reply waits; a lost connection doubts them all
MESSAGES_MAX: Final = 64
OCTETS_MIN: Final = 8 * 1024  # a text message; less would leave a slow line idle between two
OCTETS_MAX: Final = 512 * 1024  # of them together, so that a slow peer costs no memory
A_MESSAGE_S: Final = 0.002  # what a server takes for one: so many more fill a long round trip
ROUND_TRIPS: Final = (
    4  # of content: what is lost on the way comes a round trip later, and holds up what follows
)


@dataclass(frozen=True, slots=True)
class Window:
    """Another message may begin while less than this is out."""

    messages: int = MESSAGES_MIN
    octets: int = OCTETS_MAX


def window_for(rate: int, round_trip_s: float) -> Window:
    """For a rate in kbit/s (0: fast) and the time from a command to its reply. On a thin link the octets
    say how much is enough, and many small messages fit in them."""
    if rate > 0:
        octets = int(rate * 125 * round_trip_s * ROUND_TRIPS)
        return Window(MESSAGES_MAX, max(OCTETS_MIN, min(octets, OCTETS_MAX)))
    messages = int(round_trip_s / A_MESSAGE_S)
    return Window(max(MESSAGES_MIN, min(messages, MESSAGES_MAX)), OCTETS_MAX)
