"""EHLO keywords: what we offer, by listener kind and by what the session has (RFC 5321 §4.1.1.1)."""

from collections.abc import Sequence
from typing import Final, Literal

Kind = Literal["smtp", "submission", "submissions", "lmtp", "odmr", "finger"]

SUBMISSION_KINDS: Final = frozenset(("submission", "submissions"))
LOGIN_KINDS: Final = SUBMISSION_KINDS | {"odmr"}  # where nothing is done without a log-in

# RFC 2920, 6152, 6531, 2034, 3030, 3461. PIPECONNECT, as Exim has it: who has been here before may say EHLO
# without waiting for our greeting, and so saves a round trip. SIZE, STARTTLS and AUTH depend; see offers().
_ALWAYS: Final = (
    "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "PIPECONNECT",
)  # fmt: skip


def offers(
    size_max: int, *, is_starttls: bool, mechanisms: Sequence[str], scheduling: Sequence[str] = ()
) -> tuple[str, ...]:
    """The keywords of an EHLO or LHLO reply, in order. `scheduling`: those of scheduling.py, for whom we
    take them from."""
    found = [_ALWAYS[0], f"SIZE {size_max}", *_ALWAYS[1:], *scheduling]
    if is_starttls:
        found.append("STARTTLS")  # RFC 3207: not offered under TLS
    if mechanisms:
        found.append("AUTH " + " ".join(mechanisms))  # RFC 4954 §3
    return tuple(found)


def ehlo_reply(hostname: str, keywords: Sequence[str]) -> bytes:
    """The whole reply: our name, then a line for each keyword."""
    lines = [hostname, *keywords]
    marks = ["-"] * len(keywords) + [" "]
    return "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode()
