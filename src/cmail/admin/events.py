"""Events: what happened, as it stands in the log, and the kinds that somebody may want to see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# The kinds that can be chosen, and what in a line tells of them, in either format: a block of the journal
# without any of these octets has none of that kind. No marks: every line may be one.
KINDS: Final[Mapping[str, tuple[str, Sequence[bytes]]]] = {
    "accepted": ("Received", (b"(queue active)", b'"event":"accepted"')),
    "sent": ("Delivered", (b"status=sent (", b'"status":"sent"', b'"event":"expanded"')),
    "deferred": ("Put off", (b"status=deferred (", b'"status":"deferred"')),
    "bounced": ("Failed", (b"status=bounced (", b'"status":"bounced"', b"status=expired",
        b'"event":"expired"')),
    "refused": ("Refused", (b"NOQUEUE: reject: ", b"too many errors", b'"event":"refused"',
        b'"event":"too_many')),
    "login": ("Failed log-ins", (b": SASL ", b'"event":"login_', b"page: a log-in")),
    "queue": (
        "Queue",
        (b"on hold by ", b"from hold by ", b"deleted by ", b": sender ", b'"event":"held"',
         b'"event":"released"', b'"event":"deleted"', b'"event":"reported"'),
    ),
    "removed": ("Done with", (b": removed", b'"event":"removed"')),
    "session": ("Connections", (b"connect from ", b'connected"')),
    "link": ("The line", (b"cmail/link[", b'"process":"link"')),
    "settings": ("Settings", (b": settings ", b'"text":"settings ')),
    "server": ("Server", ()),
    "warning": ("Warnings", (b": warning: ", b'"event":"warned"')),
    "error": ("Errors", (b": error: ", b'"event":"failed"')),
}  # fmt: skip
NOISE: Final = frozenset(("session", "removed"))  # of no interest until somebody asks for them
USUAL: Final = frozenset(KINDS) - NOISE


@dataclass(slots=True)
class Event:
    """Something that happened. Empty where it is not known."""

    wall_ms: int
    kind: str  # of KINDS
    what: str  # as maillog names it; an attempt is sent, deferred or bounced
    process: str  # "smtpd", "worker-0": who wrote it
    pid: int
    queue_id: str
    fields: dict[str, str]
    raw: str  # its lines
    place: str = ""  # where in the journal it stands

    def get(self, name: str) -> str:
        """A field; "" for none."""
        return self.fields.get(name, "")
