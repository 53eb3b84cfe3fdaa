"""Offers: what a server said in its reply to EHLO or LHLO, as far as a client cares (RFC 5321 §4.1.1.1)."""

from dataclasses import dataclass
from typing import Final

from cmail.mail.reply import Reply

# The name that Exim has for it, its first one, and that of draft-harris-early-pipe.
_EARLY: Final = frozenset(("PIPECONNECT", "X_PIPE_CONNECT", "PIPE_CONNECT"))


@dataclass(frozen=True, slots=True)
class Offers:
    """The extensions of the peer that we use."""

    has_pipelining: bool = False  # RFC 2920
    has_chunking: bool = False  # RFC 3030
    has_8bitmime: bool = False  # RFC 6152
    has_smtputf8: bool = False  # RFC 6531
    has_dsn: bool = False  # RFC 3461
    has_size: bool = False  # RFC 1870
    size_max: int = 0  # 0: not said
    has_starttls: bool = False  # RFC 3207
    mechanisms: tuple[str, ...] = ()  # of AUTH, RFC 4954
    has_auth: bool = False
    has_deliverby: bool = False  # RFC 2852
    by_min_s: int = 0  # the shortest deadline that it takes; 0: any
    has_mt_priority: bool = False  # RFC 6710
    has_early_pipelining: bool = False  # PIPECONNECT: EHLO may come before the greeting


def parse_offers(reply: Reply) -> Offers:
    """The offers in a 250 to EHLO; the first line is the greeting and offers nothing."""
    size_max = by_min_s = 0
    keywords: set[str] = set()
    mechanisms: list[str] = []
    for line in reply.text.split("\n")[1:]:
        words = line.upper().replace("AUTH=", "AUTH ", 1).split()  # AUTH=LOGIN: an old custom
        if not words:
            continue
        keywords.add(words[0])
        if words[0] == "SIZE" and len(words) > 1 and words[1].isdecimal() and len(words[1]) <= 20:
            size_max = int(words[1])  # RFC 1870 §4: up to 20 digits, 0 is no limit
        elif words[0] == "DELIVERBY" and len(words) > 1:
            by_min_s = _by_min_s(words[1])
        elif words[0] == "AUTH":
            mechanisms += [word for word in words[1:] if word not in mechanisms]
    return Offers(
        has_pipelining="PIPELINING" in keywords,
        has_chunking="CHUNKING" in keywords,
        has_8bitmime="8BITMIME" in keywords,
        has_smtputf8="SMTPUTF8" in keywords,
        has_dsn="DSN" in keywords,
        has_size="SIZE" in keywords,
        size_max=size_max,
        has_starttls="STARTTLS" in keywords,
        mechanisms=tuple(mechanisms),
        has_auth="AUTH" in keywords,
        has_deliverby="DELIVERBY" in keywords,
        by_min_s=by_min_s,
        has_mt_priority="MT-PRIORITY" in keywords,
        has_early_pipelining=not keywords.isdisjoint(_EARLY),
    )


def _by_min_s(word: str) -> int:
    """min-by-time, up to nine digits; extensions may stand behind a comma (RFC 2852)."""
    digits = word.partition(",")[0]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 9 else 0
